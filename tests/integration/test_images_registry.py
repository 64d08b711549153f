"""docker://: pulling from registries, by the rules and against those who break them."""
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import time

from lib import leaks
from lib.clock import moments
from lib.container import must, wait_for
from lib.images import INDEX, MANIFEST, Layout, Store, basic as layout_basic, entry, make_tar
from lib.registry import (QUICK, Certificates, DebianRegistry, FaultRegistry, Server, TokenServer,
                          auth_json, basic, free_port)
from lib.testing import bailey_only, cases, timeout

PLAIN = ("--tls-verify=false", *QUICK)
BIG = 2 << 20  # less than the layers of big()


def pulls(seconds=300):
    return lambda fn: bailey_only("images")(timeout(seconds)(fn))


def noise(n, seed=1):
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(n)


def big(t, layers=1, size=3 << 20, **kw):
    """An image with layers large enough for being kept in part."""
    return layout_basic(t, more=[make_tar([entry(f"big{i}", noise(size, i))])
                                 for i in range(layers)], **kw)


def answer_large(reg, answer):
    """answer(request, blob) instead of what the registry would send of a large one."""
    def fault(rq, kind, ref):
        data = reg.blob(ref) if kind == "blobs" else b""
        if len(data) < BIG:
            return False
        answer(rq, data)
        return True
    reg.fault = fault


def break_off(rq, data):
    rq.reply(200, data[:1 << 20], Content_Length=str(len(data)))
    rq.close_connection = True


def elsewhere(tokens, location, status=302):
    """A fault: who has a token is sent to location(request) for blobs, unless that is None."""
    def fault(rq, kind, ref):
        to = location(rq) if kind == "blobs" else None
        if tokens.guard(rq, kind, ref):
            return True
        if to:
            rq.reply(status, Location=to)
        return bool(to)
    return fault


# ---- Debian's registry ----

@cases(plain=(False, False), tls=(True, False), login=(False, True), both=(True, True))
@pulls()
def test_debian_registry(t, tls, login):
    certs = Certificates(t) if tls else None
    users = {"alice": "wonder:land"} if login else None
    reg = DebianRegistry(t, certs, users)
    lay = layout_basic(t, more=[make_tar([entry("two", "layers")])])
    reg.push(lay.source, "some/name:v1")
    opts = ["--cert-dir", certs.dir] if tls else ["--tls-verify=false"]
    s = Store(t)
    if login:
        t.fails(s("pull", *opts, reg.source("some/name:v1")), "wants a login")
        bad = s("pull", *opts, "--creds", "alice:nonsense", reg.source("some/name:v1"))
        t.fails(bad, "refuses the credentials of --creds")
        t.lacks(bad.err, "nonsense", "the message")
        opts += ["--authfile", auth_json(t, {reg.host: ("alice", "wonder:land")})]
    t.eq(must(s.run(reg.source("some/name:v1"), "/bin/cat", "/two", opts=opts)).out, "layers")
    got = json.loads(must(s("pull", "--json", *opts, reg.source("some/name:v1"))).out.splitlines()[-1])
    t.eq(got["name"], reg.source("some/name:v1"))
    # by digest, and by what the store calls it
    by_digest = reg.source("some/name@" + got["manifest"])
    t.eq(must(s("pull", "-q", *opts, by_digest)).out.strip(), got["id"])
    must(s.run("store:" + reg.source("some/name:v1"), "/bin/true"))
    t.fails(s("pull", *opts, reg.source("some/name:v2")), "404", "unknown")
    s.check()


@pulls()
def test_certificates(t):
    """An unknown authority, another host's certificate, no TLS: all refused, and not to be waved
    through but for loopback."""
    lay = layout_basic(t)
    certs = Certificates(t)
    reg = FaultRegistry(t, lay, certs=certs)
    s = Store(t)
    t.fails(s("pull", *QUICK, reg.source), "certificate is not trusted")
    t.eq(reg.requests, [], "requests before trust")
    must(s("pull", "--cert-dir", certs.dir, reg.source))
    must(s("pull", *PLAIN, reg.source))
    other = Certificates(t, ("DNS:example.com",), "others")
    wrong = FaultRegistry(t, lay, certs=other)
    t.fails(s("pull", *QUICK, "--cert-dir", other.dir, wrong.source), "certificate is not trusted")
    plain = FaultRegistry(t, lay)
    t.fails(s("pull", *QUICK, plain.source), "tls")
    t.eq(plain.requests, [], "requests without TLS")
    for host in ("example.com", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com"):
        t.fails(s("pull", "--tls-verify=false", f"docker://{host}/x"), "only loopback")
    os.rename(certs.dir + "/ca.crt", certs.dir + "/ca.txt")
    t.fails(s("pull", *QUICK, "--cert-dir", certs.dir, reg.source), "not trusted")
    t.file("certs/ca.crt", "not a certificate")
    t.fails(s("pull", *QUICK, "--cert-dir", certs.dir, reg.source), "certs/ca.crt: is not PEM")
    t.fails(s("pull", *QUICK, "--cert-dir", t.tmp + "/none", reg.source), t.tmp + "/none")
    t.file("certs/ca.crt")
    os.unlink(certs.dir + "/ca.crt")
    t.file("certs/me.cert", "x")
    t.fails(s("pull", *QUICK, "--cert-dir", certs.dir, reg.source), "has no", "me.key")


@pulls()
def test_certificate_that_the_server_wants(t):
    import ssl
    certs = Certificates(t)
    reg = FaultRegistry(t, layout_basic(t), certs=None)
    c = certs.context()
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(certs.dir + "/ca.crt")
    reg.http.socket = c.wrap_socket(reg.http.socket, server_side=True,
                                    do_handshake_on_connect=False)
    s = Store(t)
    t.fails(s("pull", *QUICK, "--retries", "0", "--cert-dir", certs.dir, reg.source), bailey=[])
    for ours, theirs in (("me.cert", certs.cert), ("me.key", certs.key)):
        with open(theirs) as f:
            t.file("certs/" + ours, f.read(), 0o600)
    must(s("pull", "--cert-dir", certs.dir, reg.source))


@pulls()
def test_ordinary_user(t):
    """In a user namespace of its own, resumed as well."""
    reg = FaultRegistry(t, big(t))
    s = Store(t, t.as_user())
    must(s("images"))
    part = os.path.join(s.path, "partial", reg.layer(1).replace(":", "-"))
    with open(part, "wb") as f:
        f.write(reg.blob(reg.layer(1))[:BIG])
    os.chown(part, *s.runtime.user)
    must(s("pull", *PLAIN, reg.source))
    t.eq([r[2].get("Range") for r in reg.asked(reg.layer(1))], [f"bytes={BIG}-"])
    t.eq(s.ls("partial"), [])
    s.check()


# ---- names ----

@bailey_only("images")
def test_names(t):
    s = Store(t)
    for name in ("docker:x", "docker:/x", "docker://", "docker://host/UPPER", "docker://h ost/x",
                 "docker://localhost/x@sha256:12", "docker://localhost:99999/x",
                 "docker://user@localhost/x", "docker://localhost/../x", "docker://localhost/x?y"):
        t.fails(s("pull", *PLAIN, name), bailey=[])
    d = "sha256:" + "0" * 64
    t.fails(s("pull", *PLAIN, f"docker://localhost/x:tag@{d}"), "a tag and a digest at once")


@pulls()
def test_platforms_of_an_index(t):
    """An index leads to its manifest by a second request, and media types have to agree."""
    lay = Layout(os.path.join(t.tmp, "multi"))
    lay.image([make_tar([entry("f", "arm")])], {"Cmd": ["/x"]}, platform={"os": "linux", "architecture": "arm64"},
              arch="arm64")
    lay.image([make_tar([entry("f", "amd")])], {"Cmd": ["/x"]}, platform={"os": "linux", "architecture": "amd64"})
    index = lay.put({"schemaVersion": 2, "mediaType": INDEX, "manifests": lay.entries}, INDEX)
    reg = FaultRegistry(t, lay)
    reg.top = lambda: index
    s = Store(t)
    for arch in ("arm64", "amd64"):
        flat = os.path.join(t.tmp, arch)
        must(s("bundle", "--flat", "--platform", "linux/" + arch, *PLAIN, reg.source, flat))
        with open(flat + "/rootfs/f") as f:
            t.eq(f.read(), arch[:3])
    t.fails(s("pull", *PLAIN, "--platform", "linux/riscv64", reg.source), "linux/amd64")

    def other_type(rq, kind, ref):
        if kind != "manifests" or ":" not in ref:
            return False
        rq.reply(200, reg.blob(ref), "application/vnd.docker.distribution.manifest.v2+json")
        return True
    reg.fault = other_type
    t.fails(s("pull", *PLAIN, "--platform", "linux/arm64", reg.source), "the server calls it")


# ---- documents that are not what they should be ----

@pulls()
def test_wrong_documents(t):
    lay = layout_basic(t)
    reg = FaultRegistry(t, lay)
    top = lay.entries[0]["digest"]
    s = Store(t)

    def answer(data, type_=MANIFEST, **headers):
        def fault(rq, kind, ref):
            if kind == "manifests":
                rq.reply(200, data, type_, **headers)
            return kind == "manifests"
        reg.fault = fault
    good = reg.blob(top)
    must(s("pull", *PLAIN, f"{reg.source}@{top}"))
    answer(good + b" ")
    t.fails(s("pull", *PLAIN, f"{reg.source}@{top}"), "corrupt", top)
    answer(good, Docker_Content_Digest="sha256:" + "1" * 64)
    t.fails(s("pull", *PLAIN, reg.source), "docker-content-digest", "corrupt")
    answer(good, Docker_Content_Digest="../../x")
    t.fails(s("pull", *PLAIN, reg.source), "docker-content-digest")
    answer(good, "text/html")
    t.fails(s("pull", *PLAIN, reg.source), "not the type of")
    answer(good, INDEX)
    t.fails(s("pull", *PLAIN, reg.source), "not the type of")
    answer(b"[" * 100000)
    t.fails(s("pull", *PLAIN, reg.source), bailey=[])
    answer(b" " * (5 << 20))
    t.fails(s("pull", *PLAIN, reg.source), "longer than 4194304 bytes")
    reg.fault = lambda rq, kind, ref: rq.reply(404) or True
    t.fails(s("pull", *PLAIN, reg.source), "404")
    t.fails(s("pull", *PLAIN, f"docker://{reg.host}/other"), r"no such\x1b[31m name")
    s.check()


@pulls()
def test_endless_document(t):
    """A body without a length and without an end is cut off at the limit."""
    def fault(rq, kind, ref):
        rq.send_response(200)
        rq.send_header("Content-Type", MANIFEST)
        rq.send_header("Connection", "close")
        rq.end_headers()
        for _ in range(4096):
            rq.wfile.write(b" " * 65536)
        return True
    reg = FaultRegistry(t, layout_basic(t), fault)
    t.fails(Store(t)("pull", *PLAIN, reg.source), "longer than 4194304 bytes")


# ---- blobs ----

@pulls()
def test_blob_that_breaks_off(t):
    """The stream goes on by Range, and by reading again where the server knows no ranges."""
    lay = big(t)
    for ranges in (True, False):
        reg, asked = FaultRegistry(t, lay), []

        def once(rq, data):
            asked.append(rq.path)
            if len(asked) == 1:
                break_off(rq, data)
            else:
                reg.send_blob(rq, data, ranges)
        answer_large(reg, once)
        s = Store(t, name=f"store{ranges}")
        must(s("pull", "-q", *PLAIN, reg.source))
        t.eq([p.rpartition("/")[2] for p in asked], [reg.layer(1)] * 2)
        wanted = reg.asked(reg.layer(1))[1][2].get("Range", "")
        t.true(0 < int(wanted[len("bytes="):-1]) <= 1 << 20, f"Range: {wanted}")
        t.eq(s.ls("partial"), [])
        s.check()


@cases(other_start=lambda n: f"bytes 5-{n - 1}/{n}", other_size=lambda n: f"bytes 1048576-{n - 1}/{n + 1}",
       nonsense=lambda n: "bytes 1-0/0", absent=lambda n: None)
@pulls()
def test_wrong_ranges(t, content_range):
    lay = big(t)
    reg = FaultRegistry(t, lay)

    def answer(rq, data):
        if not rq.headers.get("Range"):
            break_off(rq, data)
            return
        value = content_range(len(data))
        rq.reply(206, data[1 << 20:], **({"Content_Range": value} if value else {}))
    answer_large(reg, answer)
    s = Store(t)
    t.fails(s("pull", *PLAIN, reg.source), bailey=[])
    s.check()


@pulls()
def test_blob_of_another_content(t):
    lay = big(t)
    reg = FaultRegistry(t, lay)
    s = Store(t)

    def answer(rq, data):
        wrong = bytearray(data)
        wrong[len(data) // 2] ^= 1
        rq.reply(200, bytes(wrong))
    answer_large(reg, answer)
    t.fails(s("pull", *PLAIN, reg.source), "digest", reg.layer(1))
    t.lacks(s.ls("partial"), reg.layer(1).replace(":", "-"), "what is kept")
    s.check()
    reg.fault = lambda *a: False
    must(s("pull", *PLAIN, reg.source))


@pulls()
def test_blob_of_another_length(t):
    lay = layout_basic(t)
    reg = FaultRegistry(t, lay)
    s = Store(t)

    def endless(rq, data):
        rq.send_response(200)
        rq.send_header("Connection", "close")
        rq.end_headers()
        rq.wfile.write(data)
        for _ in range(1024):
            rq.wfile.write(b"\0" * 65536)

    def answered(how):
        def fault(rq, kind, ref):
            if kind != "blobs" or ref != reg.layer():
                return False
            how(rq, reg.blob(ref))
            return True
        reg.fault = fault
    answered(lambda rq, data: rq.reply(200, data + b"\0"))
    t.fails(s("pull", *PLAIN, reg.source), "the descriptor says")
    answered(endless)
    t.fails(s("pull", *PLAIN, reg.source), "longer than the")
    answered(lambda rq, data: rq.reply(200, data[:-1]))
    t.fails(s("pull", *PLAIN, reg.source), "the descriptor says")
    s.check()


@pulls()
def test_partial_content_that_is_wrong(t):
    """What was kept is checked with the rest, and dropped when it does not fit."""
    lay = big(t)
    reg = FaultRegistry(t, lay)
    s = Store(t)
    must(s("images"))
    name = reg.layer(1).replace(":", "-")
    with open(os.path.join(s.path, "partial", name), "wb") as f:
        f.write(b"x" * (1 << 20))
    t.fails(s("pull", *PLAIN, reg.source), "digest")
    t.eq(reg.asked(reg.layer(1))[0][2].get("Range"), f"bytes={1 << 20}-")
    t.lacks(s.ls("partial"), name)
    must(s("pull", *PLAIN, reg.source))
    t.eq(s.ls("partial"), [])
    s.check()


# ---- waiting ----

@cases(busy=429, unavailable=503, error=500)
@pulls()
def test_try_again(t, status):
    lay = layout_basic(t)
    seen = {}

    def fault(rq, kind, ref):
        seen[rq.path] = seen.get(rq.path, 0) + 1
        if seen[rq.path] <= 2:
            rq.reply(status, **({"Retry_After": "1"} if status == 429 else {}))
            return True
        return False
    reg = FaultRegistry(t, lay, fault)
    s = Store(t)
    began = time.monotonic()
    must(s("pull", *PLAIN, reg.source))
    t.eq(set(seen.values()), {3}, "requests for each thing")
    if status == 429:
        t.true(time.monotonic() - began >= 6, "Retry-After was not waited for")
    seen.clear()
    reg.fault = lambda rq, kind, ref: rq.reply(status, Retry_After="100000") or True
    t.fails(s("pull", *PLAIN, reg.source), "asks to wait 100000 seconds")
    n = len(reg.requests)
    reg.fault = lambda rq, kind, ref: rq.reply(status) or True
    t.fails(s("pull", *PLAIN, "--retries", "1", reg.source), "given up after 2 attempts", str(status))
    t.eq(len(reg.requests) - n, 2)


@cases(silent=0, slow=20)
@pulls()
def test_stall(t, pieces):
    """A body that does not come, or in drops, ends in the time limit, not never."""
    lay = layout_basic(t)

    def fault(rq, kind, ref):
        if kind != "blobs":
            return False
        data = reg.blob(ref)
        rq.send_response(200)
        rq.send_header("Content-Length", str(len(data)))
        rq.end_headers()
        for i in range(pieces or 40):
            rq.wfile.write(data[i:i + 1] if pieces else b"")
            rq.wfile.flush()
            time.sleep(0.25)
        rq.close_connection = True
        return True
    reg = FaultRegistry(t, lay, fault)
    r = Store(t)("pull", "--tls-verify=false", "--timeout", "2", "--retries", "0", reg.source)
    t.fails(r, "the transfer stalls")


@pulls()
def test_nobody_answers(t):
    s = Store(t)
    t.fails(s("pull", "--tls-verify=false", "--retries", "1", f"docker://127.0.0.1:{free_port()}/x"),
            "given up after 2 attempts")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        began = time.monotonic()
        t.fails(s("pull", "--tls-verify=false", "--retries", "0", "--timeout", "1",
                  f"docker://127.0.0.1:{port}/x"), bailey=[])
        t.true(time.monotonic() - began < 30, "the time limit")


# ---- tokens and credentials ----

@cases(anonymous=None, user=(("bob", "secret"),))
@pulls()
def test_token(t, user):
    lay = big(t, layers=2)
    tokens = TokenServer(t, user)
    reg = FaultRegistry(t, lay, tokens.guard)
    s = Store(t)
    opts = list(PLAIN)
    if user:
        t.fails(s("pull", *opts, reg.source), "wrong password")
        r = s("pull", *opts, "--creds", "bob:wrong-one", reg.source)
        t.fails(r, "the credentials of --creds are refused")
        t.lacks(r.err, "wrong-one", "message")
        opts += ["--authfile", auth_json(t, {reg.host: user})]
    tokens.requests.clear()
    must(s("pull", *opts, reg.source))
    t.eq(tokens.issued, 1, "one token for all")
    asked = tokens.requests[0]
    t.has(asked[1], "scope=repository%3Atest%3Apull", "our own scope")
    t.has(asked[1], "service=the%20service")
    t.eq(asked[2].get("Authorization"), basic(*user) if user else None)
    for rq in reg.requests:
        t.lacks(rq[2].get("Authorization", ""), "Basic", "what the registry gets")


@pulls()
def test_token_that_expires(t):
    lay = layout_basic(t, more=[make_tar([entry("b", "b")])])
    tokens = TokenServer(t)
    used = {"n": 0}

    def fault(rq, kind, ref):
        if tokens.guard(rq, kind, ref):
            return True
        used["n"] += 1
        if used["n"] == 2:
            tokens.token = "expired"
        return False
    reg = FaultRegistry(t, lay, fault)
    must(Store(t)("pull", *PLAIN, reg.source))
    t.eq(tokens.issued, 2)


@pulls()
def test_identity_token(t):
    lay = layout_basic(t)
    tokens = TokenServer(t)
    reg = FaultRegistry(t, lay, tokens.guard)
    auth = auth_json(t, {reg.host: {"identitytoken": "id+tok/en"}})
    must(Store(t)("pull", *PLAIN, "--authfile", auth, reg.source))
    method, _, _, body = tokens.requests[0]
    t.eq(method, "POST")
    t.has(body, "grant_type=refresh_token")
    t.has(body, "refresh_token=id%2Btok%2Fen")


@cases(no_token={"x": 1}, number={"token": 5}, newline={"token": "a\r\nX-Evil: 1"}, empty={"token": ""},
       list=[1], huge={"token": "a" * 100000})
@pulls()
def test_token_that_is_none(t, body):
    tokens = TokenServer(t)
    tokens.answer = lambda rq: rq.reply(200, body)
    reg = FaultRegistry(t, layout_basic(t), tokens.guard)
    t.fails(Store(t)("pull", *PLAIN, reg.source), "token from " + tokens.url)
    t.eq([r for r in reg.requests if "Authorization" in r[2]], [])


@pulls()
def test_realm_of_another_host(t):
    """CVE-2026-65388: a registry's realm does not get the registry's credentials, unless auth.json
    has some for that host by its name."""
    lay = layout_basic(t)
    tokens = TokenServer(t, host="127.0.0.2")
    reg = FaultRegistry(t, lay, tokens.guard)
    s = Store(t)
    auth = auth_json(t, {reg.host: ("carol", "secret")})
    for opts in (["--creds", "carol:secret"], ["--authfile", auth]):
        must(s("pull", *PLAIN, *opts, reg.source))
    t.true(tokens.requests, "the realm was asked")
    t.eq([r for r in tokens.requests if "Authorization" in r[2]], [], "who got credentials")
    tokens.user = ("dave", "word")
    t.fails(s("pull", *PLAIN, "--authfile", auth, reg.source), "are not given to the realm")
    auth = auth_json(t, {reg.host: ("carol", "secret"), tokens.host: ("dave", "word")})
    must(s("pull", *PLAIN, "--authfile", auth, reg.source))


@pulls()
def test_realms_that_are_refused(t):
    """No TLS where the registry has it, other schemes, redirects, doubtful challenges."""
    certs = Certificates(t)
    tokens = TokenServer(t)
    challenge = {"text": ""}

    def fault(rq, kind, ref):
        rq.reply(401, WWW_Authenticate=challenge["text"])
        return True
    reg = FaultRegistry(t, layout_basic(t), fault, certs=certs)
    s = Store(t)
    auth = ["--cert-dir", certs.dir, "--creds", "carol:secret", *QUICK]
    for text, says in (
            (f'Bearer realm="{tokens.url}/token"', "not https: refused"),
            ('Bearer realm="file:///etc/shadow"', "is not of https or http"),
            ('Bearer realm="https://a@127.0.0.1/"', "must not name a user"),
            ('Bearer service="x"', "names no realm"),
            (f'Bearer realm="{tokens.url}",realm="{reg.url}"', "without doubt"),
            ('Bearer realm="https://x', "without doubt"),
            ('Digest realm="x"', "neither bearer nor basic")):
        challenge["text"] = text
        t.fails(s("pull", *auth, reg.source), says)
    t.eq(tokens.requests, [])
    elsewhere = TokenServer(t, certs=certs)
    elsewhere.answer = lambda rq: rq.reply(302, Location=tokens.url + "/x")
    challenge["text"] = f'Bearer realm="{elsewhere.url}/token"'
    t.fails(s("pull", *auth, reg.source), "a redirect where credentials are asked for")
    t.eq(tokens.requests, [])


# ---- redirects ----

@pulls()
def test_redirect_loses_authorization(t):
    """CVE-2020-15157: blobs may lie elsewhere; who keeps them does not get the token."""
    lay = layout_basic(t)
    tokens = TokenServer(t, ("bob", "secret"))
    store = FaultRegistry(t, lay)
    reg = FaultRegistry(t, lay, elsewhere(tokens, lambda rq: f"{store.url}{rq.path}?signature=x%2Fy", 307))
    must(Store(t)("pull", *PLAIN, "--creds", "bob:secret", reg.source))
    t.eq(len(store.requests), 2)
    t.has(store.requests[0][1], "?signature=x%2Fy")
    t.eq([r for r in store.requests if "Authorization" in r[2]], [])


@pulls()
def test_redirect_and_back(t):
    """A redirect home by way of a stranger is the stranger's request: it gets no token."""
    lay = layout_basic(t)
    moved = elsewhere(TokenServer(t), lambda rq: f"{stranger.url}{rq.path}")
    reg = FaultRegistry(t, lay, lambda rq, *a: not rq.path.endswith("?back") and moved(rq, *a))
    stranger = Server(t, lambda rq: rq.reply(302, Location=f"{reg.url}{rq.path}?back"))
    must(Store(t)("pull", *PLAIN, reg.source))
    back = reg.asked("?back")
    t.eq(len(back), 2)
    t.eq([r for r in back if "Authorization" in r[2]], [])


@pulls()
def test_redirect_on_the_same_host(t):
    lay = layout_basic(t)
    tokens = TokenServer(t)
    reg = FaultRegistry(t, lay, elsewhere(tokens, lambda rq: rq.path + "?again" if "?" not in rq.path else None))
    must(Store(t)("pull", *PLAIN, reg.source))
    t.eq(tokens.issued, 1)


@pulls()
def test_redirects_that_are_refused(t):
    certs = Certificates(t)
    lay = layout_basic(t)
    plain = FaultRegistry(t, lay)
    where = {}

    def fault(rq, kind, ref):
        rq.reply(302, **where)
        return True
    reg = FaultRegistry(t, lay, fault, certs=certs)
    s = Store(t)
    for to, says in (
            (plain.url + "/v2/test/manifests/latest", "from https to"),
            ("file:///etc/passwd", "is not of https or http"),
            ("https://user:pw@127.0.0.1/", "must not name a user"),
            ("https://127.0.0.1\\@x/", "has characters that no url has"),
            (reg.url + "/v2/test/manifests/latest", "more than 5 redirects"),
            (None, "without a location")):
        where.clear()
        if to:
            where["Location"] = to
        t.fails(s("pull", *QUICK, "--cert-dir", certs.dir, reg.source), says)
    t.eq(plain.requests, [])
    unverified = FaultRegistry(t, lay, fault)
    where["Location"] = "http://example.com/"
    t.fails(s("pull", *PLAIN, unverified.source), "not https: refused")


# ---- credentials' files ----

@pulls()
def test_auth_files(t):
    """Which file, and which entry of it."""
    lay = layout_basic(t)
    wanted = {"user": ("u", "right")}

    def fault(rq, kind, ref):
        if rq.headers.get("Authorization") == basic(*wanted["user"]):
            return False
        rq.reply(401, WWW_Authenticate='Basic realm="x"')
        return True
    reg = FaultRegistry(t, lay, fault, name="ns/repo")
    s = Store(t)
    home = t.dir("home")

    def pull(*opts, **env):
        saved = s.runtime.environ
        s.runtime.environ = {"PATH": os.environ["PATH"], "HOME": home, **env}
        try:
            return s("pull", *PLAIN, *opts, reg.source)
        finally:
            s.runtime.environ = saved
    right, wrong = ("u", "right"), ("u", "wrong")
    auth = auth_json(t, {reg.host: wrong, reg.host + "/ns": wrong, reg.host + "/ns/repo": right,
                         reg.host + "/ns/rep": wrong, reg.host + "/other": wrong})
    must(pull("--authfile", auth))
    must(pull(REGISTRY_AUTH_FILE=auth))
    auth = auth_json(t, {f"https://{reg.host}/v1/": right, "example.com": wrong})
    must(pull("--authfile", auth))
    for var, path, env in (("XDG_RUNTIME_DIR", "containers/auth.json", True),
                           ("XDG_CONFIG_HOME", "containers/auth.json", True),
                           ("DOCKER_CONFIG", "config.json", True),
                           ("", ".config/containers/auth.json", False),
                           ("", ".docker/config.json", False)):
        base = t.dir("at-" + var) if env else home
        path = os.path.join(base, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(auth, path)
        must(pull(**({var: base} if env else {})))
        os.unlink(path)
    t.fails(pull(), "wants a login")
    t.fails(pull("--authfile", t.tmp + "/none"), t.tmp + "/none")
    t.fails(pull("--authfile", t.file("bad", "{")), "credentials", "/bad")
    secret = auth_json(t, {reg.host: {"auth": "c2VjcmV0"}})
    r = pull("--authfile", secret)
    t.fails(r, "must be the base64 of user:password")
    t.lacks(r.err, "c2VjcmV0")
    helper = auth_json(t, {reg.host: {}}, credsStore="desktop")
    t.fails(pull("--authfile", helper), "credential helper, which is not run")
    t.fails(pull("--creds", "nocolon"), "--creds: must be user:password")


# ---- killed ----

@pulls(3000)
def test_killed_while_pulling(t):
    """SIGKILL at any moment: the store is whole, and the next pull goes on where this one stood."""
    n = moments(t)
    lay = big(t, layers=3, size=BIG + 1)
    reg = FaultRegistry(t, lay)

    def slowly(rq, data):
        first = int((rq.headers.get("Range") or "bytes=0-")[6:-1])
        rq.send_response(206 if first else 200)
        rq.send_header("Content-Length", str(len(data) - first))
        if first:
            rq.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        rq.end_headers()
        for at in range(first, len(data), 65536):
            piece = data[at:at + 65536]
            rq.wfile.write(piece)
            time.sleep(0.01)
    answer_large(reg, slowly)
    s = Store(t)
    rng = random.Random(int.from_bytes(hashlib.sha256(t.mark.encode()).digest()[:4], "big"))
    began = time.monotonic()
    must(s("pull", "-q", *PLAIN, reg.source))
    whole = time.monotonic() - began
    must(s("rmi", reg.source + ":latest"))

    def there():
        return {f: os.path.getsize(os.path.join(s.path, "partial", f)) for f in s.ls("partial")}
    resumed = 0
    for i in range(n):
        if s.names():  # the kill came too late
            must(s("rmi", reg.source + ":latest"))
        p = subprocess.Popen([t.runtime.path, "pull", "-q", "--store", s.path, *PLAIN, reg.source],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True)
        if i % 4 == 3:  # for certain while there is something to go on with
            wait_for("a part", lambda: any(there().values()) or p.poll() is not None, 60)
        else:
            time.sleep(rng.uniform(0, whole))
        p.kill()
        p.wait()
        wait_for("the end of its processes",
                 lambda: leaks.reap() or not leaks.descendants(os.getpid()), 60)
        parts = there()
        if i % 4 == 3:
            before = len(reg.requests)
            must(s("pull", "-q", *PLAIN, reg.source))
            for name, size in parts.items():
                wanted = [rq[2].get("Range") for rq in reg.requests[before:]
                          if name.replace("-", ":") in rq[1]]
                # none: it was there whole, or its layer already
                t.true(set(wanted) <= {f"bytes={size}-" if size else None},
                       f"{name}: {size} bytes were there, asked for {wanted}")
                resumed += size > 0
            s.check()
            t.eq(s.ls("partial"), [])
    t.true(resumed, "no pull had anything to resume")
