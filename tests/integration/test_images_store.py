"""The store: what stays, what goes, who waits for whom, and that a kill at any moment leaves it
whole. Bundles of images, and the containers that run from them."""
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
import threading
import time

from lib import kernel, leaks
from lib.clock import limit, moments
from lib.container import must, wait_for, wait_gone
from lib.host import SINGLE_UID
from lib.images import Layout, Store, basic, digest, entry, make_tar, rootfs_tar
from lib.testing import bailey_only, cases, timeout
from lib.trace import kills


def layered(t, n=4, name="layout", size=200000):
    """An image of several layers that take some time to unpack."""
    more = [make_tar([entry(f"d{i}"), *[entry(f"d{i}/f{k}", os.urandom(size // 20))
                                        for k in range(20)]]) for i in range(n)]
    return basic(t, name=name, more=more)


@bailey_only("images")
def test_second_pull_reads_no_layer(t):
    lay = layered(t)
    s = Store(t)
    must(s("pull", lay.source))
    for d in lay.manifest["layers"]:
        os.unlink(lay.blob_path(d["digest"]))
    r = must(s("pull", lay.source))
    t.eq(r.err.count("in the store"), 5)
    must(s.run(lay.source, "/bin/true"))


@bailey_only("images")
def test_layers_are_shared(t):
    a = basic(t, "a")
    b = Layout(os.path.join(t.tmp, "b"))
    b.image([rootfs_tar(t), make_tar([entry("b", "b")])], {"Cmd": ["/bin/true"]})
    s = Store(t)
    must(s("pull", a.source))
    must(s("pull", b.source))
    t.eq(len(s.ls("layers")), 2)
    must(s("rmi", b.source))
    t.eq(len(s.ls("layers")), 1, "the other image's stays")
    must(s.run(a.source, "/bin/true"))
    must(s("rmi", a.source))
    t.eq((s.ls("layers"), s.ls("blobs"), s.ls("names"), s.ls("locks")), ([], [], [], []))


@bailey_only("images")
def test_the_same_layer_on_another_base_is_another(t):
    """Stored by chain ID."""
    top = make_tar([entry("x", "x")])
    other = make_tar([entry("y", "y")])
    s = Store(t)
    for i, tars in enumerate(([rootfs_tar(t), top], [rootfs_tar(t), other, top])):
        lay = Layout(os.path.join(t.tmp, f"l{i}"))
        lay.image(tars, {"Cmd": ["/bin/ls", "/"]})
        t.eq("y" in must(s.run(lay.source)).out.split(), i == 1)
    t.eq(len(s.ls("layers")), 4)


@bailey_only("images")
def test_images(t):
    s = Store(t)
    t.eq(s.names(), [])
    lay = basic(t, ref="v1", top={"created": "2020-01-02T03:04:05Z"})
    p = must(s("pull", "--json", lay.source + ":v1"))
    events = [json.loads(l) for l in p.out.splitlines()]
    t.eq(events[-1]["event"], "pulled")
    t.eq([e["event"] for e in events if e["event"] in ("done", "sync")], ["done", "sync"])
    im = s.names()
    t.eq(len(im), 1)
    t.eq(im[0]["name"], lay.source + ":v1")
    t.eq(im[0]["id"], lay.manifest["config"]["digest"])
    t.eq(im[0]["manifest"], lay.entries[0]["digest"])
    t.eq((im[0]["os"], im[0]["architecture"], im[0]["layers"], im[0]["created"]),
         ("linux", "amd64", 1, "2020-01-02T03:04:05Z"))
    t.eq(im[0]["size"], lay.manifest["layers"][0]["size"])
    table = must(s("images")).out.splitlines()
    t.eq(len(table), 2)
    t.has(table[1], im[0]["id"].split(":")[1][:12])
    t.eq(must(s("images", "-q")).out.strip(), im[0]["id"])
    for name in (lay.source + ":v1", im[0]["id"], im[0]["id"].split(":")[1][:8],
                 im[0]["manifest"]):
        must(s.run("store:" + name, "/bin/true"))
    t.fails(s.run("store:" + im[0]["id"].split(":")[1][:3]), "no image")
    t.fails(s("rmi", "nothing"), "no image")


@bailey_only("images")
def test_relative_names_mean_the_same_from_anywhere(t):
    lay = basic(t)
    s = Store(t)
    must(s("pull", "oci:layout", cwd=t.tmp))
    t.eq([i["name"] for i in s.names()], [lay.source])


# ---- who is in use stays ----

@bailey_only("images")
def test_rmi_and_prune_spare_what_runs(t):
    lay = layered(t, 2)
    s = Store(t)
    c = f"{t.mark}-c"
    must(t.runtime("run", "-d", "--store", s.path, "--image", lay.source, c, "/probe", "sleep"))
    t.later(t.runtime, "delete", "--force", c)
    must(s("rmi", lay.source))
    must(s("prune", "--all"))
    t.eq(len(s.ls("layers")), 3, "a container uses them")
    t.has(must(t.runtime("exec", c, "/bin/cat", "/proc/mounts")).out, " / overlay ")
    t.eq(len(s.ls("bundles")), 2, "its bundle, and the lock")
    must(t.runtime("delete", "--force", c))
    t.eq(s.ls("bundles"), [], "delete removes the bundle")
    must(s("prune"))
    t.eq(s.ls("layers"), [])


@bailey_only("images")
def test_prune_waits_and_rmi_does_not(t):
    lay = basic(t)
    s = Store(t)
    must(s("pull", lay.source))
    with open(os.path.join(s.path, "lock")) as f:
        fcntl.flock(f, fcntl.LOCK_SH)
        r = must(s("rmi", lay.source))
        t.has(r.err, "prune")
        t.eq(len(s.ls("layers")), 1)
        p = t.runtime.spawn("prune", "--store", s.path, stdout=subprocess.PIPE)
        time.sleep(0.3)
        t.eq(p.poll(), None, "it waits")
    p.communicate(timeout=20)
    t.eq(p.returncode, 0)
    t.eq(s.ls("layers"), [])


@bailey_only("images")
def test_prune_takes_unfinished_files(t):
    """Of processes killed between a file's writing and its name's change to the right one."""
    t.need(shutil.which("strace"), "no strace here (tools/deps test)")
    lay = Layout(os.path.join(t.tmp, "layout"))
    lay.image([make_tar([entry("d")])], {"Cmd": ["/x"]})
    s = Store(t)

    def unfinished():
        return [n for _, _, names in os.walk(s.path) for n in names if ".tmp-" in n]
    for _ in kills(t, "renameat", 30, "pull", "--store", s.path, lay.source,
                   children=True):
        pass
    t.true(unfinished(), "some were killed with a file half done")
    must(s("prune"))
    t.eq(unfinished(), [])


@bailey_only("images")
def test_a_pull_does_not_block_a_run(t):
    """podman #25862: a pull that hangs is nobody else's business."""
    lay, slow = basic(t), layered(t, 1, "slow")
    s = Store(t)
    must(s("pull", lay.source))
    chain = digest((slow.diff_ids[0] + " " + slow.diff_ids[1]).encode()).replace(":", "-")
    with open(os.path.join(s.path, "locks", chain), "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        p = t.runtime.spawn("pull", "--store", s.path, slow.source, stderr=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL)
        time.sleep(0.2)
        must(s.run(lay.source, "/bin/true"))
        t.eq(p.poll(), None, "the pull waits for the layer")
    t.eq(p.wait(20), 0)


# ---- bundles ----

@bailey_only("images")
def test_bundle(t):
    lay = layered(t, 2)
    s = Store(t)
    b = os.path.join(t.tmp, "b")
    must(s("bundle", lay.source, b))
    t.true(os.path.ismount(b + "/rootfs"), "mounted")
    t.eq(os.stat(b).st_mode & 0o777, 0o700, "its set-uid programs are nobody's")
    must(t.runtime("run", "-b", b, f"{t.mark}-1"))
    t.fails(s("bundle", lay.source, b), "is a bundle already")
    must(s("prune", "--all"))
    t.eq(len(s.ls("layers")), 3, "the bundle uses them")
    kernel.umount(b + "/rootfs")  # as after a reboot
    must(s("bundle", "--mount", b))
    must(s("bundle", "--mount", b))
    t.true(os.path.ismount(b + "/rootfs"), "mounted again")
    must(t.runtime("run", "-b", b, f"{t.mark}-4"))
    must(s("bundle", "--delete", b))
    t.true(not os.path.exists(b), "gone")
    must(s("prune", "--all"))
    t.eq((s.ls("layers"), s.ls("refs")), ([], []))


@cases(overlay=(), flat=("--flat",))
@bailey_only("images")
def test_bundle_runs_with_runc(t, *opts):
    t.need(shutil.which("runc"), "no runc")
    lay = layered(t, 1)
    s = Store(t)
    b = os.path.join(t.tmp, "b")
    must(s("bundle", *opts, lay.source, b))
    with open(b + "/config.json") as f:
        c = json.load(f)
    c["process"]["args"] = ["/bin/ls", "/d0"]
    c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "cgroup"]
    c["mounts"] = [m for m in c["mounts"] if m["type"] != "cgroup"]
    c["linux"]["cgroupsPath"] = f"/bailey-test/{t.mark}"
    with open(b + "/config.json", "w") as f:
        json.dump(c, f)
    p = subprocess.run(["runc", "--root", t.dir("runc"), "run", "-b", b, f"{t.mark}-r"],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                       check=False)
    t.true(p.returncode == 0, p.stderr)
    t.has(p.stdout.split(), "f19")
    must(s("bundle", "--delete", b))


@bailey_only("images")
def test_bundle_places(t):
    lay = basic(t)
    s = Store(t)
    full = t.dir("full")
    t.file("full/mine", "x")
    for opts in ((), ("--flat",)):
        t.fails(s("bundle", *opts, lay.source, full), "not empty")
        t.eq(os.listdir(full), ["mine"], "untouched")
    t.fails(s("bundle", lay.source, "/nonexistent/dir/b"), "mkdir")
    t.fails(s("bundle", "--delete", full), "not a bundle")
    empty = t.dir("empty")
    must(s("bundle", lay.source, empty))
    must(s("bundle", "--delete", empty))
    t.fails(s("bundle", lay.source), "2 arguments")
    t.fails(s("bundle", "--flat", "--mount", empty), "exclude")


@bailey_only("images")
def test_whiteouts_in_an_overlay(t):
    """Removed and replaced files look the same flat and stacked."""
    tars = [rootfs_tar(t),
            make_tar([entry("d"), entry("d/gone", "1"), entry("d/stays", "2"), entry("o"),
                      entry("o/hidden", "3"), entry("f", "file"), entry("tmp", mode=0o1777)]),
            make_tar([entry("d"), entry("d/.wh.gone", ""), entry("o"), entry("o/new", "4"),
                      entry("o/.wh..wh..opq", ""), entry("f"), entry("f/now-a-directory", "5"),
                      entry("l", type_=tarfile.SYMTYPE, link="/d/stays")])]
    lay = Layout(os.path.join(t.tmp, "l"))
    script = "find /d /o /f /l | sort; cat /l; stat -c %a /tmp /"
    lay.image(tars, {"Cmd": ["/bin/sh", "-c", script]})
    s = Store(t)
    stacked = must(s.run(lay.source)).out
    b = os.path.join(t.tmp, "b")
    must(s("bundle", "--flat", lay.source, b))
    t.eq(must(t.runtime("run", "-b", b, f"{t.mark}-flat")).out, stacked)
    t.eq(stacked.split(), ["/d", "/d/stays", "/f", "/f/now-a-directory", "/l", "/o", "/o/new",
                           "21777", "755"])


@bailey_only("images")
def test_layer_that_hides_all_below(t):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([make_tar([entry("below", "x")]), rootfs_tar(t),
               make_tar([entry("n", "y"), entry(".wh..wh..opq", "")]), rootfs_tar(t)],
              {"Cmd": ["/bin/sh", "-c", "ls / | grep -x -e below -e n"]})
    s = Store(t)
    t.eq(must(s.run(lay.source)).out, "n\n")
    b = os.path.join(t.tmp, "b")
    must(s("bundle", "--flat", lay.source, b))
    t.eq(must(t.runtime("run", "-b", b, f"{t.mark}-flat")).out, "n\n")


@bailey_only("images")
def test_root_directory_attributes(t):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([rootfs_tar(t), make_tar([entry("./", mode=0o750, gid=7)]),
               make_tar([entry("top", "x")])], {"Cmd": ["/bin/stat", "-c", "%a %g", "/"]})
    t.eq(must(Store(t).run(lay.source)).out, "750 7\n")


@bailey_only("images")
@cases(platform=("--platform", "linux/amd64"), store=("--store", "/x"), user=("--user", "1000"),
       env=("--env", "A=b"), cwd=("--cwd", "/tmp"), entrypoint=("--entrypoint", "/bin/sh"),
       tty=("--tty",), hostname=("--hostname", "h"), authfile=("--authfile", "/x"),
       creds=("--creds", "a:b"), cert_dir=("--cert-dir", "/x"), tls=("--tls-verify=true",),
       timeout=("--timeout", "3"), retries=("--retries", "3"))
def test_options_of_images_with_a_bundle(t, *option):
    """Ignored, they would pretend: a container that runs as root for all of --user 1000."""
    c = t.container("/bin/true")
    t.fails(c.run(*option), option[0].partition("=")[0] + ": is for --image", code=1)


@bailey_only("images")
def test_many_layers(t):
    lay = Layout(os.path.join(t.tmp, "l"))
    lay.image([rootfs_tar(t)] + [make_tar([entry(f"n{i}", str(i))]) for i in range(120)],
              {"Cmd": ["/bin/cat", "/n0", "/n119"]})
    s = Store(t)
    subprocess.run(["prlimit", "--nofile=200:", s.runtime.path, "pull", "-q", "--store", s.path, lay.source],
                   check=True, stdout=subprocess.DEVNULL, timeout=limit(60))
    r = s.run(lay.source)
    if kernel.release() < (6, 7):
        t.fails(r, "more than a kernel before Linux 6.7 takes")
    else:
        t.eq(must(r).out, "0119")


# ---- containers of images ----

@bailey_only("images")
def test_run_leaves_nothing(t):
    lay = layered(t, 1)
    s = Store(t)
    t.eq(s.run(lay.source, "/bin/sh", "-c", "echo x >/written; exit 7").code, 7)
    t.eq(s.run(lay.source, "/bin/cat", "/written").code, 1, "the next one starts anew")
    t.fails(s.run(lay.source, "/no/such/program"), "no/such/program")
    t.eq((s.ls("bundles"), s.ls("tmp")), ([], []))
    c = f"{t.mark}-kept"
    must(t.runtime("run", "--keep", "--store", s.path, "--image", lay.source, c, "/bin/true"))
    t.eq(len(s.ls("bundles")), 2)
    r = t.runtime("run", "--store", s.path, "--image", lay.source, c, "/bin/true")
    t.fails(r, "already exists")
    t.eq(len(s.ls("bundles")), 2)
    must(t.runtime("delete", c))
    t.eq(s.ls("bundles"), [])


@bailey_only("images")
def test_bundle_and_image_exclude_each_other(t):
    s = Store(t)
    t.fails(s.run("oci:x", opts=("-b", t.tmp)), "--image excludes")
    t.fails(t.runtime("run", t.mark, "/bin/true"), "--image")


@cases(process="process", runtime="runtime", both="both")
@bailey_only("images")
def test_killed_container_is_deleted_whole(t, whom):
    lay = basic(t)
    s = Store(t)
    c = f"{t.mark}-k"
    p = t.runtime.spawn("run", "--store", s.path, "--image", lay.source, c, "/probe", "sleep",
                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = wait_for("the container", lambda: (t.runtime("state", c).code == 0 and
                                             t.runtime("state", c).json()["status"] == "running"
                                             and t.runtime("state", c).json()["pid"]), 20)
    if whom in ("runtime", "both"):
        p.kill()
        p.wait()
    if whom in ("process", "both"):
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
    p.wait() if whom == "process" else None
    t.runtime("delete", "--force", c)
    s.check()
    with open("/proc/self/mountinfo") as f:
        t.lacks(f.read(), s.path)


def kill_at(t, argv, after):
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        p.wait(after)
    except subprocess.TimeoutExpired:
        pass
    p.kill()
    p.wait()
    # Its child dies with it, but by the kernel's leave: not before this returns.
    # (A zombie's threads may still be at work and hold its locks.)
    wait_for("the end of its processes",
             lambda: leaks.reap() or not leaks.descendants(os.getpid()), 60)
    return p.returncode


@timeout(900)
@bailey_only("images")
def test_pull_killed_at_any_moment(t):
    lay = layered(t, 4)
    s = Store(t)
    argv = t.runtime.argv("pull", "--store", s.path, lay.source)
    start = time.monotonic()
    must(s("pull", lay.source))
    whole = time.monotonic() - start
    rng = random.Random(1)
    killed = 0
    for i in range(moments(t)):
        must(s("rmi", lay.source)) if s.names() else None
        must(s("prune"))
        killed += kill_at(t, argv, rng.uniform(0, whole)) == -signal.SIGKILL
        s.check()
    t.true(killed, "at least one was killed in time")
    must(s("pull", lay.source))
    s.check()


@timeout(900)
@cases(overlay=(), flat=("--flat",))
@bailey_only("images")
def test_bundle_killed_at_any_moment(t, *opts):
    lay = layered(t, 3)
    s = Store(t)
    b = os.path.join(t.tmp, "b")
    argv = t.runtime.argv("bundle", "--store", s.path, *opts, lay.source, b)
    start = time.monotonic()
    must(s("bundle", *opts, lay.source, b))
    whole = time.monotonic() - start
    must(s("bundle", "--delete", b))
    rng = random.Random(2)
    for i in range(moments(t)):
        if not i % 3:
            must(s("prune", "--all"))
        kill_at(t, argv, rng.uniform(0, whole))
        s.check()
        r = s("bundle", *opts, lay.source, b)  # the same again: it is made, or was ready
        t.true(r.code == 0 or "is a bundle already" in r.err or "bundle --delete" in r.err, str(r))
        must(t.runtime("run", "-b", b, f"{t.mark}-{i}"))
        must(s("bundle", "--delete", b))
        t.true(not os.path.exists(b), "nothing is left")
    must(s("prune", "--all"))
    t.eq(s.ls("layers"), [])


@timeout(900)
@bailey_only("images")
def test_run_killed_at_any_moment(t):
    lay = layered(t, 1)
    s = Store(t)
    c = f"{t.mark}-k"
    argv = t.runtime.argv("run", "--store", s.path, "--image", lay.source, c, "/bin/true")
    must(s("pull", lay.source))
    rng = random.Random(3)
    for _ in range(moments(t)):
        kill_at(t, argv, rng.uniform(0, 0.08))
        t.runtime("delete", "--force", c)
        s.check()


@bailey_only("images")
def test_leftovers_are_swept(t):
    s = Store(t)
    s.names()
    os.makedirs(os.path.join(s.path, "tmp/0123456789abcdef/diff/x"))
    t.file("store/tmp/0123456789abcdef.lock")
    os.makedirs(os.path.join(s.path, "tmp/no-lock"))
    t.file("store/tmp/only.lock")
    os.makedirs(os.path.join(s.path, "bundles/0123456789abcdef/upper"))
    t.file("store/blobs/sha256-x.tmp-1")
    s.names()
    t.eq((s.ls("tmp"), s.ls("bundles")), ([], []))
    must(s("prune"))
    t.eq(s.ls("blobs"), [])


@bailey_only("images")
def test_bundle_started_and_killed_before_its_record(t):
    lay = basic(t)
    s = Store(t)
    t.dir("b")
    t.file("b/.bailey-bundle.lock")
    t.file("b/.bailey-bundle.tmp-12345", "{")
    b = os.path.join(t.tmp, "b")
    must(s("bundle", "--flat", lay.source, b))
    t.eq(sorted(os.listdir(b)), [".bailey-bundle", ".bailey-bundle.lock", "config.json", "rootfs"])


# ---- corrupt stores ----

@bailey_only("images")
def test_corrupt_documents_are_named(t):
    lay = basic(t)
    s = Store(t)
    must(s("pull", lay.source))
    blob = os.path.join(s.path, "blobs", lay.manifest["config"]["digest"].replace(":", "-"))
    with open(blob, "a") as f:
        f.write(" ")
    t.fails(s("images"), "corrupt", os.path.basename(blob))
    t.fails(s("prune"), "corrupt")
    t.eq(len(s.ls("layers")), 1, "a sweep that does not know removes nothing")
    must(s("rmi", lay.source))
    must(s("prune"))
    t.eq(s.ls("layers"), [])


@bailey_only("images")
def test_missing_layer(t):
    lay = basic(t)
    s = Store(t)
    must(s("pull", lay.source))
    shutil.rmtree(os.path.join(s.path, "layers", s.ls("layers")[0]))
    t.fails(s.run("store:" + lay.source), "is missing")
    must(s.run(lay.source, "/bin/true"))


@bailey_only("images")
def test_not_a_store(t):
    t.file("f", "")
    t.dir("d")
    t.file("d/format", "something else\n")
    t.fails(t.runtime("images", "--store", os.path.join(t.tmp, "f")), "store")
    t.fails(t.runtime("images", "--store", os.path.join(t.tmp, "d")), "not one that this program")
    t.fails(t.runtime("images", "--store", ""), "must not be empty")


# ---- many at once ----

@timeout(300)
@bailey_only("images")
def test_eight_at_once_unpack_each_layer_once(t):
    lay = layered(t, 4)
    s = Store(t)
    procs = [t.runtime.spawn("pull", "--store", s.path, lay.source, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True) for _ in range(8)]
    done = 0
    for p in procs:
        _, err = p.communicate(timeout=120)
        t.eq(p.returncode, 0, err)
        done += err.count(": done")
    t.eq(done, 5, "layers unpacked by all of them")
    s.check()


@timeout(300)
@bailey_only("images")
def test_eight_bundles_at_once_and_sweeps(t):
    lay = layered(t, 2)
    s = Store(t)
    failures = []

    def work(i):
        b = os.path.join(t.tmp, f"b{i}")
        for _ in range(3):
            for args in (("bundle", lay.source, b), ("prune", "--all"), ("bundle", "--delete", b)):
                r = s(*args)
                if r.code:
                    failures.append(str(r))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    t.eq(failures, [])
    must(s("prune", "--all"))
    t.eq((s.ls("layers"), s.ls("refs")), ([], []))


# ---- ordinary users ----

def user_store(t, **kw):
    r = t.as_user(**kw)
    return Store(t, r), r


def readable(lay):
    for top, dirs, files in os.walk(lay.path):
        os.chmod(top, 0o755)
        for f in files:
            os.chmod(os.path.join(top, f), 0o644)
    return lay


@bailey_only("images")
def test_rootless_run(t):
    t.need(shutil.which("newuidmap"), "no newuidmap")
    more = [make_tar([entry("own", "x", uid=1000, gid=1000, mode=0o640), entry("d"),
                      entry("d/gone", "1")]),
            make_tar([entry("d"), entry("d/.wh.gone", ""), entry("d/new", "2")])]
    lay = readable(basic(t, more=more))
    s, r = user_store(t)
    out = must(s.run(lay.source, "/bin/sh", "-c",
                     "stat -c '%u %g %a' /own; ls /d; id -u; touch /x; chown 1000 /x; "
                     "grep ' / ' /proc/mounts")).out
    t.has(out, "1000 1000 640\nnew\n0\n")
    t.has(out, "userxattr")
    must(s.run(lay.source, "/bin/true", opts=("--user", "user")))
    t.eq((s.ls("bundles"), s.ls("tmp")), ([], []), "files of other ids are removed too")
    must(s("rmi", lay.source))
    t.eq(s.ls("layers"), [])


@bailey_only("images")
def test_rootless_root_image(t):
    """Owners are those that the container sees, not the host's."""
    t.need(shutil.which("newuidmap"), "no newuidmap")
    t.need(shutil.which("mkfs.erofs"), "no mkfs.erofs (erofs-utils)")
    lay = readable(basic(t, more=[make_tar([entry("own", "x", uid=1000, gid=1001, mode=0o600)])]))
    s, r = user_store(t)
    must(s("pull", "--rootfs-image", lay.source))
    path = os.path.join(s.path, "roots", s.ls("roots")[0])
    dump = subprocess.run(["dump.erofs", "--path=/own", path], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    t.has(dump, "Uid: 1000")
    t.has(dump, "Gid: 1001")
    must(s("rmi", lay.source))
    t.eq((s.ls("roots"), s.ls("layers")), ([], []))


@bailey_only("images")
def test_rootless_flat_bundle(t):
    t.need(shutil.which("newuidmap"), "no newuidmap")
    lay = readable(basic(t, more=[make_tar([entry("own", "x", uid=1000, mode=0o600)])]))
    s, r = user_store(t)
    b = os.path.join(os.path.dirname(s.path), "b")
    t.fails(s("bundle", lay.source, b), "--flat")
    must(s("bundle", "--flat", lay.source, b))
    t.eq(os.stat(b + "/rootfs/own").st_uid, 700000 + 999)
    must(r("run", "-b", b, f"{t.mark}-f"))
    must(s("bundle", "--delete", b))
    t.true(not os.path.exists(b), "gone")


@bailey_only("images")
def test_rootless_without_ranges(t):
    """One id alone: an image of root's files runs, another names the entry and the remedy."""
    lay = readable(basic(t))
    s, r = user_store(t, uid=SINGLE_UID)
    must(s.run(lay.source, "/bin/true"))
    bad = readable(basic(t, "bad", more=[make_tar([entry("own", "x", uid=1000)])]))
    t.fails(s.run(bad.source, "/bin/true"), "own", "1000")
    s.check()


@bailey_only("images")
def test_rootless_refuses_roots_store(t):
    s = Store(t)
    s.names()
    for top, dirs, files in os.walk(s.path):
        os.chmod(top, 0o777)
        for f in files:
            os.chmod(os.path.join(top, f), 0o666)
    r = t.as_user()
    t.fails(r("images", "--store", s.path), "made by root")
