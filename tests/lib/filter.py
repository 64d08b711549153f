"""A seccomp filter for a child of the test: one system call answers with an errno, as an old kernel
(ENOSYS) or a tight sandbox (EPERM) would."""
import ctypes
import struct

from . import kernel

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
BPF_LD_W_ABS, BPF_JEQ_K, BPF_RET_K = 0x20, 0x15, 0x06
RET_ERRNO, RET_ALLOW = 0x00050000, 0x7FFF0000


class _Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("insns", ctypes.c_void_p)]


def deny(nr, errno):
    """For preexec_fn: a function that makes system call nr (x86-64) fail with errno."""
    code = b"".join(struct.pack("HBBI", *i) for i in (
        (BPF_LD_W_ABS, 0, 0, 0), (BPF_JEQ_K, 0, 1, nr), (BPF_RET_K, 0, 0, RET_ERRNO | errno),
        (BPF_RET_K, 0, 0, RET_ALLOW)))
    buf = ctypes.create_string_buffer(code, len(code))
    prog = _Prog(4, ctypes.cast(buf, ctypes.c_void_p))

    def load():
        libc = kernel.libc
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(prog), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")
    load.keep = buf
    return load
