/*
 * A FUSE server over the tree below a directory: what virtio-fs carries (virtio 1.2, 5.11;
 * include/uapi/linux/fuse.h, protocol 7.31 and later). It knows neither queues nor guest memory: a
 * request is handled where its segments lie, so that tests and fuzzers drive it without a machine.
 *
 * Everything is reached by descriptor. A node (what the guest has looked up) is an inode of the
 * host, told apart by device, inode and mount id, and held by an O_PATH descriptor that the oldest
 * ones lose again; a name is always one component below a node, never "..", never followed on the
 * host. Only regular files and directories are ever opened: devices, fifos and sockets are the
 * guest's own affair. Permissions are checked by the guest's kernel (default_permissions); what the
 * host's mount forbids (read-only) stays forbidden.
 *
 * Chosen: attributes and names are believed for one second; data is kept by the guest as long as
 * an open finds the file unchanged; what is written reaches the host's page cache at once (no
 * write-back cache), and close(2) asks again only where the host's file system could refuse there;
 * locks are the guest's own; POSIX ACLs are refused (EOPNOTSUPP) and not shown; of extended
 * attributes user.* and security.capability exist.
 *
 * What a worker needs, in the user namespace that owns the exported mounts (vm/jail.c gives it):
 *
 *	CAP_DAC_OVERRIDE  serve every owner's files; the guest has checked permissions
 *	CAP_SETUID, _SETGID  make files with the requester's ids (setfsuid, setfsgid, setgroups)
 *	CAP_CHOWN, _FOWNER  chown, chmod, utimes, sticky directories of every owner
 *	CAP_FSETID  keep set-id bits where the guest says that they may stay
 *	CAP_SETFCAP  set security.capability
 *	CAP_MKNOD  make device nodes; without it that is EPERM, whiteouts need none
 *
 * CAP_DAC_READ_SEARCH is not needed: links are made through magic links, nothing is opened by
 * handle.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

/* The longest request or reply that carries data; what fits the segments of a queue. */
#define FUSE_DATA_PAGES 256
#define FUSE_DATA_MAX	(FUSE_DATA_PAGES * 4096u)

struct fuse_server;
struct fuse_worker;

struct fuse_limits {
	uint64_t nodes; /* what the guest has looked up and not forgotten */
	uint64_t fds;	/* descriptors in all */
	uint64_t idle;	/* descriptors of nodes that nothing has open: beyond, the oldest go */
};

/* From RLIMIT_NOFILE, of which a part is left to the rest of the process. */
void fuse_default_limits(struct fuse_limits *ret);
/* root and self_fd as in struct vm_fs; taken over on failure too. limits: NULL for the default. */
int fuse_server_new(int root, int self_fd, const struct fuse_limits *limits,
    struct fuse_server **ret, struct err *e);
void fuse_server_free(struct fuse_server *s); /* no worker is left; accepts NULL */
/* Forgets every node and handle, as a DESTROY does. From any thread. */
void fuse_server_reset(struct fuse_server *s);
/* What is in use now: for tests and the debug log. */
struct fuse_limits fuse_server_usage(struct fuse_server *s);

/* The calling thread becomes a worker: it gets a working directory and umask of its own
 * (unshare(CLONE_FS)); its file system ids, groups and CAP_FSETID change from request to request,
 * and no other thread's do. Whoever wants its old ones back makes a thread. */
int fuse_worker_new(struct fuse_server *s, struct fuse_worker **ret, struct err *e);
void fuse_worker_free(struct fuse_worker *w); /* accepts NULL */

/* Handles one request, on the worker's thread. Returns how many bytes of the reply were put into
 * out (0: this request has none) or -EPROTO: so malformed that it cannot be answered. Other
 * failures are replies. */
ssize_t fuse_handle(struct fuse_worker *w, const struct iovec *in, unsigned n_in,
    const struct iovec *out, unsigned n_out);
