"""Registries on loopback: Debian's docker-registry, a server that breaks the rules when told to, and
one that issues tokens. All are the test's own and end with it."""
import base64
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

from . import clock
from .images import INDEX, MANIFEST, digest

QUICK = ("--timeout", "20")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def auth_json(t, entries, name="auth.json", **more):
    """An auth.json of {host: (user, password)}."""
    auths = {h: {"auth": base64.b64encode(":".join(v).encode()).decode()} if isinstance(v, tuple)
             else v for h, v in entries.items()}
    return t.file(name, json.dumps({"auths": auths, **more}), 0o600)


class Certificates:
    """A CA of the test's own, in DIR/ca.crt as --cert-dir wants it, and a server's certificate."""

    def __init__(self, t, names=("IP:127.0.0.1", "DNS:localhost"), name="certs"):
        t.need(shutil.which("openssl"), "no openssl here (tools/deps test)")
        self.dir = t.dir(name)
        private = t.dir(name + ".private")
        self.key, self.cert = private + "/server.key", private + "/server.crt"
        ca_key, request, ext = (private + n for n in ("/ca.key", "/request", "/ext"))
        with open(ext, "w") as f:
            f.write("subjectAltName=" + ",".join(names) + "\n")

        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, capture_output=True, timeout=clock.limit(60))
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *new, "-keyout", ca_key, "-out", self.dir + "/ca.crt",
                "-subj", "/CN=test CA", "-days", "2")
        openssl("req", *new, "-keyout", self.key, "-out", request, "-subj", "/CN=server")
        openssl("x509", "-req", "-in", request, "-CA", self.dir + "/ca.crt", "-CAkey", ca_key,
                "-CAcreateserial", "-CAserial", private + "/serial", "-out", self.cert,
                "-days", "2", "-extfile", ext)

    def context(self):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(self.cert, self.key)
        return c


class DebianRegistry:
    """docker-registry, with TLS by certs and with the htpasswd file's users."""

    def __init__(self, t, certs=None, users=None):
        t.need(shutil.which("docker-registry"), "no docker-registry here (tools/deps test)")
        t.need(shutil.which("skopeo"), "no skopeo here (tools/deps test)")
        self.t, self.certs, self.users = t, certs, users
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        root = t.dir("registry-data")
        lines = ["version: 0.1", "log: {level: error}", "storage:",
                 f"  filesystem: {{rootdirectory: {root}}}", "http:",
                 f"  addr: {self.host}", "  secret: test"]
        if certs:
            lines += [f"  tls: {{certificate: {certs.cert}, key: {certs.key}}}"]
        if users:
            t.need(shutil.which("htpasswd"), "no htpasswd here (tools/deps test)")
            path = os.path.join(t.tmp, "htpasswd")
            for i, (user, password) in enumerate(users.items()):
                subprocess.run(["htpasswd", "-bB" + ("c" if i == 0 else ""), path, user, password],
                               check=True, capture_output=True, timeout=clock.limit(60))
            lines += ["auth:", f"  htpasswd: {{realm: test, path: {path}}}"]
        config = t.file("registry.yml", "\n".join(lines) + "\n")
        log = open(os.path.join(t.tmp, "registry.log"), "w")
        self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log,
                                        stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        t.later(self.stop)
        self.wait()

    def wait(self):
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.1)
        with open(os.path.join(self.t.tmp, "registry.log")) as f:
            raise AssertionError("docker-registry does not start: " + f.read())

    def stop(self):
        self.process.kill()
        self.process.wait()

    def push(self, source, name, *opts):
        """By skopeo, from its kind of source."""
        creds = []
        if self.users:
            creds = ["--dest-creds", ":".join(next(iter(self.users.items())))]
        r = subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
                            *creds, *opts, source, f"docker://{self.host}/{name}"],
                           capture_output=True, text=True, timeout=300, check=False)
        if r.returncode:
            raise AssertionError("skopeo: " + r.stderr)

    def source(self, name):
        return f"docker://{self.host}/{name}"


class Server:
    """An HTTP server; answer(request) is called for each request and may be slow. Every request is
    kept: (method, path, headers, body)."""

    def __init__(self, t, answer, certs=None, host="127.0.0.1"):
        self.requests, self.answer = [], answer
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *a):
                pass

            def do_GET(self):
                n = int(self.headers.get("Content-Length") or 0)
                self.body = self.rfile.read(n).decode()
                server.requests.append((self.command, self.path, dict(self.headers), self.body))
                try:
                    server.answer(self)
                except OSError:  # the client went away
                    self.close_connection = True

            do_POST = do_GET

            def reply(self, status, body=b"", type_="application/json", **headers):
                """Headers with _ for -."""
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", type_)
                if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                for k, v in headers.items():
                    for one in v if isinstance(v, list) else [v]:
                        self.send_header(k.replace("_", "-"), one)
                self.end_headers()
                self.wfile.write(body)

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that does not trust us, or is killed

        self.http = Quiet((host, 0), Handler)
        if certs:
            self.http.socket = certs.context().wrap_socket(self.http.socket, server_side=True,
                                                           do_handshake_on_connect=False)
        self.scheme = "https" if certs else "http"
        self.host = f"{host}:{self.http.server_address[1]}"
        self.url = f"{self.scheme}://{self.host}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        t.later(self.stop)

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    def asked(self, part):
        """The requests whose path has it."""
        return [r for r in self.requests if part in r[1]]


class FaultRegistry(Server):
    """Serves a layout's index as NAME:latest. fault(request, kind, digest) comes first and says
    whether it has answered; kind: "manifests" or "blobs"."""

    def __init__(self, t, layout, fault=None, certs=None, name="test", **kw):
        self.layout, self.name = layout, name
        self.fault = fault or (lambda *a: False)
        super().__init__(t, self.serve, certs, **kw)
        self.source = f"docker://{self.host}/{name}"

    def blob(self, d):
        with open(self.layout.blob_path(d), "rb") as f:
            return f.read()

    def top(self):
        return self.layout.entries[0]

    def layer(self, n=0):
        return self.layout.manifest["layers"][n]["digest"]

    def serve(self, rq):
        path = urllib.parse.urlsplit(rq.path).path
        parts = path[len(f"/v2/{self.name}/"):].split("/")
        if not path.startswith(f"/v2/{self.name}/") or len(parts) != 2:
            rq.reply(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "no such\x1b[31m name"}]})
            return
        kind, ref = parts
        if self.fault(rq, kind, ref):
            return
        if kind == "manifests":
            self.manifest(rq, ref)
        else:
            self.send_blob(rq, self.blob(ref))

    def manifest(self, rq, ref):
        d = self.top()["digest"] if ":" not in ref else ref
        data = self.blob(d)
        kind = INDEX if b'"manifests"' in data else MANIFEST
        rq.reply(200, data, kind, Docker_Content_Digest=digest(data))

    def send_blob(self, rq, data, ranges=True):
        wanted = rq.headers.get("Range")
        status, first, more = 200, 0, {}
        if wanted and ranges:
            first = int(wanted[len("bytes="):].split("-")[0])
            status = 206
            more["Content_Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        rq.reply(status, data[first:], "application/octet-stream", **more)


class TokenServer(Server):
    """Issues tokens to the user, or to everybody; the registry's fault is `guard`."""

    def __init__(self, t, user=None, certs=None, **kw):
        self.user, self.token, self.issued = user, "token-0", 0
        super().__init__(t, self.issue, certs, **kw)

    def issue(self, rq):
        if self.user and rq.headers.get("Authorization") != basic(*self.user):
            rq.reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
            return
        self.issued += 1
        self.token = f"token-{self.issued}"
        rq.reply(200, {"token": self.token, "expires_in": 60})

    def challenge(self):
        return f'Bearer realm="{self.url}/token",service="the service",scope="repository:x:push"'

    def guard(self, rq, kind, ref):
        if rq.headers.get("Authorization") == "Bearer " + self.token and self.issued:
            return False
        rq.reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who is it?"}]},
                 WWW_Authenticate=self.challenge())
        return True
