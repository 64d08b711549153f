"""Drives the guest's agent without a guest: native-agent (tests/guest/native.c) as the first process
of namespaces of its own, a socket in place of the console port, a directory in place of the
virtio-fs. It speaks guest/proto.h as the monitor does."""
import json
import os
import select
import socket
import struct
import subprocess
import time

from . import clock, leaks

WINDOW, MAX_DATA = 256 << 10, 32 << 10
TYPES = ("OK", "ERROR", "CREDIT", "TIME", "ENTROPY", "NET", "CREATE", "START", "EXEC", "SIGNAL",
         "WINSIZE", "STDIN", "UPDATE", "STATS", "PS", "SHUTDOWN", "HELLO", "JSON", "STDOUT", "STDERR",
         "EXIT", "OOM", "LOG")
NUMBER = {name: i + 1 for i, name in enumerate(TYPES)}
HEADER = struct.Struct("<IHHIII")


class AgentError(Exception):
    def __init__(self, code, exit_, text):
        super().__init__(f"{text} (code {code}, exit {exit_})")
        self.code, self.exit, self.text = code, exit_, text


class Frame:
    def __init__(self, type_, container, process, seq, body):
        self.type, self.container, self.process, self.seq, self.body = (
            type_, container, process, seq, body)

    def __repr__(self):
        return f"<{self.type} {self.container}/{self.process} #{self.seq} {self.body[:60]!r}>"


class Proc:
    """What the host knows of a process: credit it has, output it got, how it ended."""

    def __init__(self):
        self.stdin_credit = WINDOW
        self.nobody_reads = False
        self.out = {1: bytearray(), 2: bytearray()}
        self.bytes = {1: 0, 2: 0}
        self.ended = {1: False, 2: False}
        self.credit = {1: WINDOW, 2: WINDOW}
        self.keep = True
        self.grant = True
        self.honest = True  # keeps to its credit
        self.status = None

    @property
    def stdout(self):
        return self.out[1].decode(errors="replace")

    @property
    def stderr(self):
        return self.out[2].decode(errors="replace")


class Agent:
    def __init__(self, t, bundle):
        self.t, self.bundle = t, bundle
        self.config = bundle.config
        self.procs, self.replies, self.logs, self.order = {}, {}, [], []
        self.oom, self.hello, self.closed = {}, None, False
        self.lives = set()
        self.seq = 0
        self.data = bytearray()
        self.export = os.path.join(t.tmp, "export")
        os.makedirs(os.path.join(self.export, "m"))
        os.symlink(bundle.rootfs, os.path.join(self.export, "rootfs"))
        self.sock, theirs = socket.socketpair()
        program = os.path.join(os.path.dirname(t.probe_path), "native-agent")
        t.need(os.access(program, os.X_OK), "native-agent was not built (make tests)")
        self.stderr = open(os.path.join(t.tmp, "agent.log"), "w+b")
        # Under another name than the test's own: it is no container of the runtime.
        self.process = subprocess.Popen(
            ["unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork",
             "--kill-child=KILL", program, str(theirs.fileno()), self.export,
             f"/bailey-test/{t.mark}-agent-"],
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=self.stderr,
            stdout=self.stderr)
        theirs.close()
        t.later(self.close)
        self.wait(lambda: self.hello, "HELLO")

    # ---- frames ----
    def send(self, type_, body=b"", container=0, process=0, seq=0):
        if isinstance(body, str):
            body = body.encode()
        self.raw(HEADER.pack(len(body), NUMBER[type_], 0, container, process, seq) + body)

    def raw(self, data):
        """All of it, reading meanwhile, as the agent may wait for that."""
        view = memoryview(data)
        while view:
            _, w, _ = select.select([], [self.sock], [], 0)
            if w:
                try:
                    view = view[self.sock.send(view, socket.MSG_DONTWAIT):]
                    continue
                except BlockingIOError:
                    pass
            self.pump(0.05)

    def pump(self, timeout=0.0):
        """Takes in what there is; False at the end of the conversation."""
        r, _, _ = select.select([self.sock], [], [], timeout)
        if not r:
            return True
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.data += data
        while len(self.data) >= HEADER.size:
            n, number, zero, c, p, seq = HEADER.unpack_from(self.data)
            assert zero == 0 and 0 < number <= len(TYPES), (number, zero)
            if len(self.data) < HEADER.size + n:
                break
            body = bytes(self.data[HEADER.size:HEADER.size + n])
            # First: what is done with the frame may send, wait for room and come here again.
            del self.data[:HEADER.size + n]
            self._take(Frame(TYPES[number - 1], c, p, seq, body))
        return True

    def proc(self, number=0, container=0):
        return self.procs.setdefault((container, number), Proc())

    def _take(self, f):
        if f.type in ("OK", "ERROR", "JSON"):
            assert f.seq not in self.replies, f
            self.replies[f.seq] = f
        elif f.type == "HELLO":
            version, cpus, memory = struct.unpack_from("<IIQ", f.body)
            self.hello = (version, cpus, memory, f.body[16:].decode())
        elif f.type in ("STDOUT", "STDERR"):
            self._output(self.proc(f.process, f.container), 1 if f.type == "STDOUT" else 2, f)
        elif f.type == "CREDIT":
            p = self.proc(f.process, f.container)
            stream, n = struct.unpack("<II", f.body)
            assert stream == 0, f
            p.stdin_credit += n
            assert p.stdin_credit <= WINDOW or not p.honest, f
            p.nobody_reads |= n == 0
        elif f.type == "EXIT":
            p = self.proc(f.process, f.container)
            assert p.status is None, f"a second {f}"
            p.status = struct.unpack("<i", f.body)[0]
            self.order.append((f.container, f.process))
            if f.process == 0:
                self.lives.discard(f.container)
        elif f.type == "OOM":
            self.oom[f.container] = struct.unpack("<Q", f.body)[0]
        elif f.type == "LOG":
            self.logs.append(f.body.decode())
        else:
            raise AssertionError(f"the host got {f}")

    def _output(self, p, stream, f):
        assert p.status is None, f"output after EXIT: {f}"
        assert not p.ended[stream], f"output after its end: {f}"
        n = len(f.body)
        assert n <= p.credit[stream], f"{n} bytes with a credit of {p.credit[stream]}: {f}"
        p.credit[stream] -= n
        p.bytes[stream] += n
        if p.keep:
            p.out[stream] += f.body
        if n == 0:
            p.ended[stream] = True
        elif p.grant:
            self.give(stream, n, f.process, f.container)

    def give(self, stream, n, process=0, container=0):
        self.proc(process, container).credit[stream] += n
        self.send("CREDIT", struct.pack("<II", stream, n), container, process)

    def wait(self, ready, what, seconds=15):
        end = time.monotonic() + clock.limit(seconds)
        while not ready():
            if self.closed or time.monotonic() > end:
                self.stderr.flush()
                self.stderr.seek(0)
                raise AssertionError(f"no {what}: {'hung up' if self.closed else 'time-out'}; "
                                     f"log {self.logs}, agent: {self.stderr.read().decode()!r}")
            self.pump(0.2)

    def ask(self, type_, body=b"", container=0, process=0):
        """Sends a request; returns its number."""
        self.seq += 1
        self.send(type_, body, container, process, self.seq)
        return self.seq

    def reply(self, seq, seconds=15):
        self.wait(lambda: seq in self.replies, f"reply to {seq}", seconds)
        f = self.replies.pop(seq)
        if f.type == "ERROR":
            code, exit_ = struct.unpack_from("<ii", f.body)
            raise AgentError(code, exit_, f.body[8:].decode())
        return json.loads(f.body) if f.type == "JSON" else None

    def request(self, *args, **kw):
        return self.reply(self.ask(*args, **kw))

    def error(self, *args, **kw):
        """The error that a request must have."""
        try:
            got = self.request(*args, **kw)
        except AgentError as e:
            self.t.checks += 1
            return e
        raise AssertionError(f"{args[0]} should have failed, got {got!r}")

    # ---- what tests do ----
    def bind(self, index, source):
        """The host's export of .mounts[index]."""
        os.symlink(source, os.path.join(self.export, "m", str(index)))

    def create_body(self, **options):
        binds = [i for i, m in enumerate(self.config["mounts"])
                 if m.get("type") == "bind" or {"bind", "rbind"} & set(m.get("options", []))]
        o = {"id": "guest-test", "bundle": "/bundle", "exports": binds, **options}
        return json.dumps(o).encode() + b"\0" + json.dumps(self.config).encode() + b"\0"

    def create(self, container=0, **options):
        self.request("CREATE", self.create_body(**options), container)
        self.lives.add(container)
        return self.proc(0, container)

    def run(self, *argv, container=0):
        """Create and start."""
        if argv:
            self.config.args(*argv)
        p = self.create(container)
        self.request("START", container=container)
        return p

    def exec(self, number, *argv, container=0, **more):
        self.request("EXEC", json.dumps(self.json_process(*argv, **more)), container, number)
        return self.proc(number, container)

    def json_process(self, *argv, **more):
        c = self.config.process
        return {"args": list(argv), "cwd": "/", "env": c["env"], "user": {"uid": 0, "gid": 0},
                "capabilities": c["capabilities"], "noNewPrivileges": True, **more}

    def stdin(self, data, process=0, container=0, end=False):
        p = self.proc(process, container)
        at = 0
        while at < len(data) and not p.nobody_reads:
            if not p.stdin_credit:
                self.wait(lambda: p.stdin_credit or p.nobody_reads, "credit")
                continue
            n = min(MAX_DATA, p.stdin_credit, len(data) - at)
            p.stdin_credit -= n
            self.send("STDIN", data[at:at + n], container, process)
            at += n
        if end:
            self.send("STDIN", b"", container, process)

    def signal(self, number, process=0, all_=False, container=0):
        self.request("SIGNAL", struct.pack("<iI", number, all_), container, process)

    def exited(self, process=0, container=0, seconds=15):
        """The exit code, 128 + N for signal N."""
        p = self.proc(process, container)
        self.wait(lambda: p.status is not None, f"EXIT of {process}", seconds)
        return os.waitstatus_to_exitcode(p.status) if not p.status & 0x7f else \
            128 + (p.status & 0x7f)

    def until(self, text, process=0, container=0, stream=1):
        p = self.proc(process, container)
        self.wait(lambda: text.encode() in p.out[stream], repr(text))

    def shutdown(self):
        self.send("SHUTDOWN")
        while self.pump(5):
            pass
        return self.process_end()

    def process_end(self):
        return self.process.wait(clock.limit(10))

    def close(self):
        """A container that has ended, or could not be made, has taken its cgroup with it; an agent
        that has ended itself leaves that to the machine's end."""
        if not self.closed and self.sock.fileno() >= 0:
            try:
                self.shutdown()
            except (OSError, AssertionError, subprocess.TimeoutExpired):
                pass
        self.sock.close()
        if self.process.poll() != 0 or self.lives:
            leaks.remove_cgroups(self.t.mark)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stderr.close()
        said = [text for text in self.logs if "cgroup" in text]
        assert not said, f"the agent could not clean up: {said}"
