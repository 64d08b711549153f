"""What the host's side hands out or touches: its files, its descriptors, its directories."""
import os
import subprocess

from lib.container import must
from lib.testing import bailey_only, timeout


def test_stdin_file_keeps_its_owner(t):
    """A file that the payload may read must not become the payload user's, who could write it."""
    c = t.container("/bin/sh", "-c", "cat; echo more >> /proc/self/fd/0; chmod 666 /proc/self/fd/0")
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    c.bundle.write_config()
    secret = t.file("secret", "text\n", 0o644)
    with open(secret) as f:
        c.made = True
        subprocess.run(c.runtime.argv("run", "-b", c.bundle.path, c.id), stdin=f, timeout=20,
                       capture_output=True, check=False)
    st = os.stat(secret)
    t.eq((st.st_uid, st.st_mode & 0o777, open(secret).read()), (0, 0o644, "text\n"))


def test_output_can_be_reopened(t):
    """Pipes and files to write to are given away."""
    c = t.container("/bin/sh", "-c", "echo one > /proc/self/fd/1; echo two > /proc/self/fd/2")
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    c.bundle.write_config()
    c.made = True
    p = subprocess.run(c.runtime.argv("run", "-b", c.bundle.path, c.id), timeout=20,
                       stdin=subprocess.DEVNULL, capture_output=True, check=False)
    t.eq((p.returncode, p.stdout, p.stderr), (0, b"one\n", b"two\n"))


@bailey_only("texts")
def test_foreign_listen_fds(t):
    """LISTEN_FDS of the engine's own: its descriptor 3 is not the container's."""
    c = t.container("/probe")
    c.bundle.write_config()
    c.made = True
    for env in ({"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}):
        p = subprocess.run(
            ["/bin/sh", "-c", 'exec "$@" 3</etc/passwd', "sh",
             *c.runtime.argv("run", "-b", c.bundle.path, c.id)], stdin=subprocess.DEVNULL,
            env={**os.environ, **env}, capture_output=True, timeout=20, check=False)
        t.eq(p.returncode, 0, p.stderr)
        t.lacks(p.stdout, b"LISTEN_FDS")
        t.lacks(p.stdout.split(b'"fds"')[1].split(b"}")[0], b'"3"')


def test_listen_pid_is_the_payloads(t):
    """Without a pid namespace of its own it is not 1."""
    c = t.container("/probe", "sleep")
    pid = c.up()
    b = t.container("/bin/sh", "-c", "echo $LISTEN_PID $$ $LISTEN_FDS")
    b.config.namespace("pid", f"/proc/{pid}/ns/pid")
    b.bundle.write_config()
    b.made = True
    p = subprocess.run(
        ["/bin/sh", "-c", 'export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@" 3</dev/null', "sh",
         *b.runtime.argv("run", "-b", b.bundle.path, b.id)], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=20, check=False)
    got = p.stdout.split()
    t.eq((p.returncode, got[0], got[2]), (0, got[1], "1"), str(p))


@bailey_only("peers differ")
def test_pid_file_in_a_directory_of_others(t):
    """What lies under the temporary name is not written to and not waited for."""
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    c.made = True
    d = t.dir("shared", 0o777)
    victim = t.file("victim", "precious")
    script = (f'ln {victim} {d}/pid.tmp-$$; exec "$@"', f'mkfifo {d}/pid.tmp-$$; exec "$@"',
              f'ln -s {victim} {d}/pid.tmp-$$; exec "$@"')
    for s in script:
        p = subprocess.run(["/bin/sh", "-c", s, "sh", *c.runtime.argv(
            "create", "-b", c.bundle.path, "--pid-file", f"{d}/pid", c.id)], timeout=20,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False)
        t.eq(p.returncode, 0, s)
        t.eq(open(victim).read(), "precious")
        t.true(not os.path.islink(f"{d}/pid"), s)
        t.eq(open(f"{d}/pid").read(), str(c.pid()))
        must(c.delete("--force"))


@timeout(60)
@bailey_only("peers fail")
def test_many_deletes_at_once(t):
    for _ in range(25):
        c = t.container("/bin/true", bundle=t.containers[0].bundle if t.containers else None)
        must(c.create())
        ps = [c.runtime.spawn("delete", "--force", c.id, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) for _ in range(6)]
        for p in ps:
            err = p.communicate(timeout=20)[1]
            t.eq((p.returncode, err), (0, b""))
        t.true(not os.path.exists(os.path.join(t.root, c.id)), "gone")
