/*
 * Messages of a hostile guest to the file server, over a small tree with a symlink that leads out
 * of it. An input is a list of requests:
 *
 *	operation, node, handle, flags: a byte each; length: two bytes, little-endian; body
 *
 * Node and handle choose among those that earlier replies have told (node 0 is the root). flags:
 * 1, 2: the handle goes to offset 0, 8 of the body; 4: the node does; 8: the header lies about the
 * length; 16: hardly any room for the reply; 32: the requester is user 1000; 64: the message comes
 * in two segments.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vm/fuse.h"

#define LEARNED 8
#define ROOM	16384

static char top[64];
static struct fuse_server *server;
static uint64_t nodes[LEARNED], handles[LEARNED];
static unsigned n_nodes, n_handles;

/* ---- the tree ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	return remove(path);
}

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static int tree_new(void)
{
	int dir, root;

	/* In memory: syncs cost nothing there. */
	snprintf(top, sizeof(top), "%s/fuzz-fuse-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	MUST(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(dir >= 0 && mkdirat(dir, "root", 0755) == 0 && mkdirat(dir, "outside", 0755) == 0);
	put(dir, "outside/canary", "canary");
	root = openat(dir, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	MUST(root >= 0 && mkdirat(root, "d", 0755) == 0);
	put(root, "f", "some text");
	put(root, "d/g", "");
	MUST(symlinkat("../outside", root, "l") == 0);
	MUST(mkfifoat(root, "p", 0600) == 0);
	close(dir);
	return root;
}

/* Nothing outside has changed. */
static void tree_check_and_free(void)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "%s/outside", top);
	MUST(stat(path, &st) == 0 && st.st_nlink == 2 && (st.st_mode & 07777) == 0755 &&
	     st.st_uid == 0);
	snprintf(path, sizeof(path), "%s/outside/canary", top);
	MUST(stat(path, &st) == 0 && st.st_nlink == 1 && st.st_size == 6 &&
	     (st.st_mode & 07777) == 0644 && st.st_uid == 0);
	nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- requests ---- */

static void learn(uint64_t *list, unsigned *n, uint64_t v)
{
	list[(*n)++ % LEARNED] = v;
}

static uint64_t known(const uint64_t *list, unsigned n, uint8_t which)
{
	return n ? list[which % (n < LEARNED ? n : LEARNED)] : which;
}

static void learn_from(uint32_t op, const uint8_t *body, size_t n)
{
	struct fuse_entry_out entry;
	struct fuse_open_out open;
	size_t at = 0;

	if (op == FUSE_LOOKUP || op == FUSE_MKDIR || op == FUSE_MKNOD || op == FUSE_SYMLINK ||
	    op == FUSE_LINK || op == FUSE_CREATE || op == FUSE_TMPFILE) {
		MUST(n >= sizeof(entry));
		memcpy(&entry, body, sizeof(entry));
		learn(nodes, &n_nodes, entry.nodeid);
		at = sizeof(entry);
	}
	if (op == FUSE_CREATE || op == FUSE_TMPFILE || op == FUSE_OPEN || op == FUSE_OPENDIR) {
		MUST(n == at + sizeof(open));
		memcpy(&open, body + at, sizeof(open));
		learn(handles, &n_handles, open.fh);
	}
}

static void patch(uint8_t *body, size_t n, size_t at, uint64_t v)
{
	if (at + sizeof(v) <= n)
		memcpy(body + at, &v, sizeof(v));
}

static void request(struct fuse_worker *w, const uint8_t *rec, const uint8_t *body, size_t n)
{
	uint8_t flags = rec[3];
	size_t room = flags & 16 ? rec[2] : ROOM, len = sizeof(struct fuse_in_header) + n;
	uint8_t *in = malloc(len), *out = malloc(room ? room : 1);
	struct fuse_in_header h = {
		.len = (uint32_t)len,
		.opcode = rec[0],
		.unique = 77,
		.nodeid = rec[1] ? known(nodes, n_nodes, rec[1]) : FUSE_ROOT_ID,
		.uid = flags & 32 ? 1000 : 0,
		.gid = flags & 32 ? 1000 : 0,
		.total_extlen = flags & 128 ? rec[2] % 8 : 0,
	};
	struct fuse_out_header o;

	MUST(in && out);
	if (flags & 8)
		h.len += (uint32_t)(int8_t)rec[2];
	memcpy(in, &h, sizeof(h));
	if (n)
		memcpy(in + sizeof(h), body, n);
	if (flags & 1)
		patch(in + sizeof(h), n, 0, known(handles, n_handles, rec[2]));
	if (flags & 2)
		patch(in + sizeof(h), n, 8, known(handles, n_handles, rec[2]));
	if (flags & 4)
		patch(in + sizeof(h), n, 0, known(nodes, n_nodes, rec[2]));
	size_t cut = flags & 64 ? rec[2] % len : len;
	const struct iovec iv[] = { { in, cut }, { in + cut, len - cut } };
	const struct iovec ov[] = { { out, room } };
	ssize_t got = fuse_handle(w, iv, 2, ov, 1);

	MUST(got == -EPROTO || got == 0 || (got >= (ssize_t)sizeof(o) && (size_t)got <= room));
	if (got > 0) {
		memcpy(&o, out, sizeof(o));
		MUST(o.len == (size_t)got && o.unique == 77 && o.error <= 0 && o.error > -512);
		MUST(o.error == 0 || got == sizeof(o));
		if (o.error == 0)
			learn_from(rec[0], out + sizeof(o), (size_t)got - sizeof(o));
	}
	free(in);
	free(out);
}

static void session(struct fuse_worker *w, const uint8_t *data, size_t size)
{
	static const struct fuse_init_in init = {
		.major = 7, .minor = 38, .flags = UINT32_MAX, .flags2 = UINT32_MAX
	};
	static const uint8_t rec[4] = { FUSE_INIT };

	n_nodes = n_handles = 0;
	request(w, rec, (const uint8_t *)&init, sizeof(init));
	while (size >= 6) {
		size_t n = data[4] | (size_t)data[5] << 8;

		n = n < size - 6 ? n : size - 6;
		request(w, data, data + 6, n);
		data += 6 + n;
		size -= 6 + n;
	}
	fuse_server_reset(server);
	struct fuse_limits now = fuse_server_usage(server);
	MUST(now.nodes == 1 && now.fds == 1 && now.idle == 0);
}

/* On a thread of its own: a worker changes its directory and ids. */
struct input {
	const uint8_t *data;
	size_t size;
};
static void *worker_main(void *arg)
{
	const struct input *in = arg;
	struct fuse_worker *w;
	struct err e = ERR_INIT;

	MUST(fuse_worker_new(server, &w, &e) == 0);
	session(w, in->data, in->size);
	fuse_worker_free(w);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct fuse_limits limits = { .nodes = 40, .fds = 48, .idle = 4 };
	const struct rlimit small = { 1 << 20, RLIM_INFINITY };
	struct input in = { data, n };
	struct err e = ERR_INIT;
	struct rlimit before;
	pthread_t t;

	/* No message makes a file that fills the disk. */
	MUST(getrlimit(RLIMIT_FSIZE, &before) == 0 && setrlimit(RLIMIT_FSIZE, &small) == 0);
	signal(SIGXFSZ, SIG_IGN);
	MUST(fuse_server_new(tree_new(), open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC),
		 &limits, &server, &e) == 0);
	MUST(pthread_create(&t, NULL, worker_main, &in) == 0);
	pthread_join(t, NULL);
	fuse_server_free(server);
	tree_check_and_free();
	setrlimit(RLIMIT_FSIZE, &before);
	return 0;
}
