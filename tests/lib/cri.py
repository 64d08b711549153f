"""The Container Runtime Interface, as far as tests call it: gRPC over HTTP/2 on a unix socket, one
connection a call, with messages as tuples of (field number, value). Field numbers are those of
k8s.io/cri-api's runtime/v1/api.proto."""
import socket
import struct

from . import clock

DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def _varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def encode(message):
    """(number, int | str | bytes | tuple), …; a repeated field is several."""
    out = b""
    for number, value in message:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
            continue
        data = encode(value) if isinstance(value, tuple) else value
        data = data.encode() if isinstance(data, str) else data
        out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def decode(data):
    """{number: [int or bytes, …]}."""
    fields, at = {}, 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n
    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        elif key & 7 == 2:
            size = varint()
            value = data[at:at + size]
            at += size
        else:  # 64 and 32 bits
            size = 8 if key & 7 == 1 else 4
            value = data[at:at + size]
            at += size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _headers(pairs):
    """Literals that no table learns of; all of them are short."""
    return b"".join(b"\0" + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode()
                    for k, v in pairs)


class CallFailed(AssertionError):
    pass


class Cri:
    def __init__(self, path, last_words):
        """last_words(): what the server says of a failure; its own status is compressed."""
        self.path, self.last_words = path, last_words

    def call(self, method, *message, timeout=60):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(clock.limit(timeout))
            s.connect(self.path)
            body = encode(message)
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0) +
                      _frame(HEADERS, END_HEADERS, 1, _headers([
                          (":method", "POST"), (":scheme", "http"),
                          (":path", "/runtime.v1.RuntimeService/" + method),
                          (":authority", "localhost"), ("content-type", "application/grpc"),
                          ("te", "trailers")])) +
                      _frame(DATA, END_STREAM, 1, struct.pack(">BI", 0, len(body)) + body))
            answer = self._answer(s)
        if len(answer) < 5:
            raise CallFailed(f"{method} failed: {self.last_words()}")
        return decode(answer[5:])

    @staticmethod
    def _answer(s):
        with s.makefile("rb") as f:
            answer = b""
            while True:
                head = f.read(9)
                if len(head) < 9:
                    return answer
                kind, flags = head[3], head[4]
                payload = f.read(int.from_bytes(head[:3], "big"))
                if kind == SETTINGS and not flags & ACK:
                    s.sendall(_frame(SETTINGS, ACK, 0))
                elif kind == PING and not flags & ACK:
                    s.sendall(_frame(PING, ACK, 0, payload))
                elif kind == DATA:
                    answer += payload
                if kind == GOAWAY or kind in (DATA, HEADERS) and flags & END_STREAM:
                    return answer
