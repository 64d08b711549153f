/*
 * Inside the file server. fuse.c takes requests apart; fuse_node.c and fuse_open.c own what the
 * guest holds; fuse_worker.c is the identity of a thread; the others are the operations.
 *
 * One lock guards the tables. A request holds references to the nodes and handles it works with, so
 * the system calls are made without the lock.
 */
#pragma once
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "vm/fuse.h"
#include "vm/queue.h"

/* Newer than Debian 12's linux/fuse.h. */
#define OP_STATX	  52
#define CREATE_SUPP_GROUP (1ull << 34) /* INIT flag */
#define EXT_SUPP_GROUPS	  32	       /* fuse_ext_header.type */
#define KEEP_TIME	  1	       /* s: for names and attributes */

/* FUSE_STATX's messages (7.39), where the header has none. */
#if FUSE_KERNEL_MINOR_VERSION < 39
struct fuse_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};
struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};
struct fuse_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0[1];
	uint64_t ino, size, blocks, attributes_mask;
	struct fuse_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};
struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};
#endif
_Static_assert(sizeof(struct fuse_statx_out) == 32 + 256, "as the guest's kernel has it");

#define FUSE_NAME_LIMIT 255
#define FUSE_NO_ID	UINT32_MAX

/* What every node is asked for. */
#define NODE_STATX (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

/* ---- nodes ---- */

struct fuse_key {
	uint64_t dev, ino, mnt;
	uint64_t born; /* birth time in ns, 0 where the file system knows none */
};

struct fuse_node {
	struct fuse_key key;
	uint64_t lookups;	 /* as the guest counts them */
	uint64_t version;	 /* of the data the guest may have kept; 0: none */
	struct fuse_node *chain; /* of the hash bucket */
	struct fuse_node *parent;
	char *name; /* in parent, when it was last seen; NULL: none, it cannot be found again */
	TAILQ_ENTRY(fuse_node) idle;
	uint32_t index, generation, next_free;
	uint32_t users, handles, children;
	int fd;		 /* O_PATH, or -EBADF */
	uint16_t type;	 /* S_IFMT bits */
	uint16_t device; /* index of key.dev */
	uint16_t super;	 /* the device whose inode numbers are shown as they are */
	bool used, hashed, is_idle;
	bool mount; /* a mount's root: stays until reset */
};

struct fuse_handle {
	struct fuse_node *node;
	uint32_t index, generation, next_free;
	uint32_t users;
	int fd;
	bool used, closed, dir, writable;
	pthread_mutex_t dir_lock;
	off_t dir_pos; /* where fd stands, under dir_lock */
};

#define CHUNK	      1024u
#define NODE_CHUNKS   1024u
#define HANDLE_CHUNKS 1024u
#define DEVICES_MAX   4096u

TAILQ_HEAD(fuse_idle, fuse_node);

struct fuse_server {
	pthread_mutex_t lock;
	struct fuse_limits max, now;
	struct fuse_idle idle; /* the oldest last */
	struct fuse_node *nodes[NODE_CHUNKS];
	struct fuse_handle *handles[HANDLE_CHUNKS];
	uint32_t n_nodes, n_handles;	 /* slots ever used */
	uint32_t free_node, free_handle; /* lists by index, 0: empty */
	struct fuse_node **buckets;
	uint32_t n_buckets;
	uint64_t devices[DEVICES_MAX];
	bool silent[DEVICES_MAX]; /* the device's close(2) has nothing to tell */
	unsigned n_devices;
	int self_fd;
	/* Negotiated; written under lock, one INIT between resets. */
	bool ready, submounts, setxattr_ext, supp_groups;
};

#define FUSE_ROOT_INDEX 1u

/* ---- a worker ---- */

#define ARGS_MAX  (4096u + 65536u) /* the longest: SETXATTR */
#define REPLY_MAX 65536u	   /* what is put together before it is copied out */

struct fuse_worker {
	struct fuse_server *s;
	uint64_t caps;		 /* permitted */
	uint32_t uid, gid, supp; /* of the thread now; FUSE_NO_ID: unknown resp. none */
	bool fsetid;
	struct iovec iov[QUEUE_SIZE_MAX];
	_Alignas(8) uint8_t args[ARGS_MAX];
	_Alignas(8) uint8_t reply[REPLY_MAX];
	_Alignas(8) uint8_t scratch[REPLY_MAX];
};

/* Ids for what the request makes, and its supplementary group if it has sent one. -EOVERFLOW for
 * ids that do not exist here. */
struct fuse_request;
int worker_become(struct fuse_request *r);
/* Whether writing, truncating and changing modes keeps set-id bits. */
void worker_fsetid(struct fuse_worker *w, bool on);

/* ---- a request ---- */

struct fuse_request {
	struct fuse_worker *w;
	struct fuse_server *s;
	struct fuse_in_header h;
	struct fuse_node *node; /* of h.nodeid; NULL for operations on none */
	const void *arg;	/* the operation's struct; zeroed where an older guest sends less */
	const char *rest;	/* what follows: names, a value; ended by a NUL beyond rest_len */
	size_t rest_len;
	uint32_t supp; /* FUSE_NO_ID: none */
	/* READ and WRITE work on the segments. */
	const struct iovec *in, *out;
	unsigned n_in, n_out;
	uint64_t in_bytes, out_bytes;
	size_t reply_len; /* bytes in w->reply, or already in out behind the header */
	bool in_place;
};

/* The next name in rest: not empty, one component. NULL: the request is malformed, or the name has
 * no business here; *ret_error then says which. */
const char *request_name(struct fuse_request *r, int *ret_error);
/* Adds to the reply. */
void *reply_add(struct fuse_request *r, size_t n);

/* ---- fuse_node.c ---- */

/* The node with this id, if the guest holds it, with a reference. */
struct fuse_node *node_get(struct fuse_server *s, uint64_t id);
void node_put(struct fuse_server *s, struct fuse_node *n);
/* Its descriptor, opened again if it was given up; good while the reference is held. -ESTALE when
 * the inode is no longer where it was. */
int node_fd(struct fuse_server *s, struct fuse_node *n);
uint64_t node_id(const struct fuse_node *n);
/* Looks name up in parent, whose reference is held: counts a lookup, fills in *st and returns the
 * node with a reference. */
int node_lookup(struct fuse_server *s, struct fuse_node *parent, const char *name, struct statx *st,
    struct fuse_node **ret);
/* The same for an O_PATH descriptor, which it takes over; name NULL: it has none. */
int node_enter(struct fuse_server *s, struct fuse_node *parent, const char *name, int fd,
    struct statx *st, struct fuse_node **ret);
/* Counts one more lookup of a node with a reference. */
void node_again(struct fuse_server *s, struct fuse_node *n);
void node_forget(struct fuse_server *s, uint64_t id, uint64_t n);
/* What is at parent/name now has moved there: nodes find their way again. */
void node_moved(struct fuse_server *s, struct fuse_node *parent, const char *name);
/* Before and after parent/name is removed or replaced: the node there (NULL: none is known) is open
 * in between with a reference, and stays open if its name is gone. */
struct fuse_node *node_leaving(struct fuse_server *s, struct fuse_node *parent, const char *name);
void node_left(struct fuse_server *s, struct fuse_node *n, struct fuse_node *parent,
    const char *name, bool gone);

/* Whether there is room for one more: asked before something is made. -ENFILE. */
int node_room(struct fuse_server *s);
int nodes_init(struct fuse_server *s, int root, struct err *e);
void nodes_reset(struct fuse_server *s); /* with the lock */
void nodes_free(struct fuse_server *s);
/* Room for one more descriptor, with the lock: gives up an idle node's where that helps. -ENFILE.
 */
int fds_take(struct fuse_server *s);
void fds_give(struct fuse_server *s);
void node_put_locked(struct fuse_server *s, struct fuse_node *n);

/* ---- fuse_device.c ---- */

/* Of the device dev, which fd is on; hint: what it may be. With the lock. */
uint16_t fuse_device_index(struct fuse_server *s, uint64_t dev, uint16_t hint, int fd);
/* May close(2) fail on the node's file system? */
bool node_tells_at_close(struct fuse_server *s, const struct fuse_node *n);
/* Inode number as the guest sees it: one number space for all devices. */
uint64_t node_ino(const struct fuse_node *n, uint64_t ino);

/* ---- fuse_open.c: handles ---- */

/* Opens the node's inode anew. Returns the descriptor, counted by fds_take(), or -errno. */
int node_reopen(struct fuse_request *r, struct fuse_node *n, int flags);
/* Makes a handle of fd, which it takes over (and counts). */
int handle_new(struct fuse_server *s, struct fuse_node *n, int fd, bool writable, uint64_t *ret);
/* The handle fh of node n (NULL: of any) with a reference; NULL: no such one, or of the other
 * kind. */
struct fuse_handle *handle_get(
    struct fuse_server *s, const struct fuse_node *n, uint64_t fh, bool dir);
void handle_put(struct fuse_server *s, struct fuse_handle *h);
void handle_close(struct fuse_server *s, struct fuse_handle *h); /* drops the reference too */
void handles_reset(struct fuse_server *s);			 /* with the lock */
void handles_free(struct fuse_server *s);

/* ---- fuse_attr.c ---- */

void attr_fill(struct fuse_server *s, const struct fuse_node *n, const struct statx *st,
    struct fuse_attr *ret);
/* struct fuse_entry_out for a node that node_lookup() has counted. */
void entry_fill(struct fuse_server *s, const struct fuse_node *n, const struct statx *st,
    struct fuse_entry_out *ret);
/* statx of an open descriptor. -errno */
int fd_statx(int fd, struct statx *ret);
/* The descriptor's name in a worker's working directory: a magic link to its very inode. */
#define FD_NAME_MAX 12
const char *fd_name(int fd, char buf[FD_NAME_MAX]);

/* ---- operations: 0 or -errno ---- */

int op_getattr(struct fuse_request *r);
int op_statx(struct fuse_request *r);
int op_setattr(struct fuse_request *r);
int op_statfs(struct fuse_request *r);
int op_lookup(struct fuse_request *r);
int op_forget(struct fuse_request *r);
int op_batch_forget(struct fuse_request *r);
int op_readlink(struct fuse_request *r);
int op_symlink(struct fuse_request *r);
int op_mknod(struct fuse_request *r);
int op_mkdir(struct fuse_request *r);
int op_unlink(struct fuse_request *r);
int op_rmdir(struct fuse_request *r);
int op_rename(struct fuse_request *r);
int op_rename2(struct fuse_request *r);
int op_link(struct fuse_request *r);
int op_open(struct fuse_request *r);
int op_create(struct fuse_request *r);
int op_tmpfile(struct fuse_request *r);
int op_release(struct fuse_request *r);
int op_flush(struct fuse_request *r);
int op_fsync(struct fuse_request *r);
int op_syncfs(struct fuse_request *r);
int op_read(struct fuse_request *r);
int op_write(struct fuse_request *r);
int op_fallocate(struct fuse_request *r);
int op_lseek(struct fuse_request *r);
int op_copy_file_range(struct fuse_request *r);
int op_opendir(struct fuse_request *r);
int op_releasedir(struct fuse_request *r);
int op_fsyncdir(struct fuse_request *r);
int op_readdir(struct fuse_request *r);
int op_readdirplus(struct fuse_request *r);
int op_setxattr(struct fuse_request *r);
int op_getxattr(struct fuse_request *r);
int op_listxattr(struct fuse_request *r);
int op_removexattr(struct fuse_request *r);
