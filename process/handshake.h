/*
 * The conversation between the runtime (parent) and a container's first process (init), over a
 * SOCK_SEQPACKET pair. Each message is one datagram: a step, an error, perhaps descriptors.
 *
 *      parent (bailey create)                      init (the child)
 *        │ clone3 ───────────────────────────────────▶│ waits
 *        │ oom_score_adj, user mappings, network      │
 *        │ devices; nothing of that: HS_GO is there   │
 *        │ before clone3                              │
 *        │── HS_GO ──────────────────────────────────▶│ namespaces, rootfs, mounts, devices
 *        │ meanwhile: state.json: pid; config.json;   │
 *        │ cgroup limits, device program,             │
 *        │ seccomp compiled                           │
 *        │◀────────────────────────────── HS_MOUNTED ─│ only where the next line has work (pauses)
 *        │ rlimits, prestart and createRuntime hooks  │
 *        │── HS_SECCOMP (program, perhaps empty) ────▶│ createContainer hooks, terminal,
 * pivot_root, │                                            │ sysctls, masks, attributes, executable
 * found │◀────────────── HS_CONSOLE (pty master fd) ─│ only with a terminal and no console socket
 *        │◀──────────────────────────────── HS_READY ─│ waits
 *        │ state.json: ready; pid file                │
 *        │── HS_KEEP ────────────────────────────────▶│ outlives the parent from here on
 *      create ends                                    │ listens on start.sock
 *
 * `run` has no start.sock: it sends HS_START here instead of HS_KEEP, which it stands for.
 *
 *      bailey start                                   │
 *        │ connect start.sock, send START ───────────▶│ startContainer hooks, identity, seccomp
 *        │◀──────────────── end of file: it executed ─│ execve(payload)
 *        │   or one datagram: why it could not        │
 *        │ poststart hooks
 *
 * At any step either side may send HS_ERROR instead, with a struct err, and the container ends.
 * Init dies with the parent until HS_KEEP, by PR_SET_PDEATHSIG and by end of file on the socket.
 */
#pragma once
#include <stddef.h>

#include "base/err.h"
#include "security/security.h"

enum hs_step {
	HS_ERROR = 1,
	HS_GO,
	HS_MOUNTED,
	HS_SECCOMP,
	HS_CONSOLE,
	HS_READY,
	HS_KEEP,
	HS_START,
};

/* sockets[0]: parent, [1]: child, both O_CLOEXEC. */
int hs_pair(int sockets[2], struct err *e);
int hs_send(int sock, enum hs_step step, int fd, struct err *e); /* fd: -EBADF for none */
/* Tells the other side why, and returns once it has hung up; ignores a peer that is gone. */
void hs_send_error(int sock, const struct err *why);
/* Waits for exactly this step. The peer's HS_ERROR comes back as its err; a peer that died as
 * -ECONNRESET "… ended without saying why". ret_fd may be NULL; -EBADF when no fd came. peer:
 * "init", "the runtime", for messages. */
int hs_expect(int sock, const char *peer, enum hs_step step, int *ret_fd, struct err *e);
/* Which step came next: one of a or b. */
int hs_expect_either(int sock, const char *peer, enum hs_step a, enum hs_step b, enum hs_step *ret,
    int *ret_fd, struct err *e);
/* HS_SECCOMP with its program (at most BPF_MAXINSNS instructions). An empty program: none. */
int hs_send_seccomp(int sock, const struct seccomp_prog *p, struct err *e);
int hs_recv_seccomp(int sock, struct seccomp_prog *ret, struct err *e);
/* After HS_START: end of file means that the payload was executed. */
int hs_wait_exec(int sock, struct err *e);
