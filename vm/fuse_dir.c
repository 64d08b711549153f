/*
 * Reading directories. Offsets are the host's cookies (d_off), so they stay good as long as they do
 * on the host; a reply never reads more of the directory than it delivers, because an entry grows
 * by a known factor at most.
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vm/fuse_internal.h"

/* As getdents64(2) fills it in. */
struct host_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};
#define HOST_DIRENT_MAX 280 /* a name of 255 bytes */

/* Names of up to 4 bytes grow most: from 24 bytes to 32 resp. 160. */
#define SHARE_PLAIN(room) ((room)*3 / 4)
#define SHARE_PLUS(room)  ((room)*3 / 20)

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static void dirent_fill(
    struct fuse_request *r, const struct host_dirent *h, size_t n, struct fuse_dirent *ret)
{
	ret->ino = node_ino(r->node, h->ino);
	ret->off = (uint64_t)h->off;
	ret->namelen = (uint32_t)n;
	ret->type = h->type;
	memcpy(ret->name, h->name, n);
}

static void add_plain(struct fuse_request *r, const struct host_dirent *h, size_t n)
{
	dirent_fill(r, h, n, reply_add(r, FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + n)));
}

/* With what a lookup of the name would tell. An entry that cannot be looked up (gone by now, or too
 * many are held) comes without; so do "." and "..". */
static void add_plus(struct fuse_request *r, const struct host_dirent *h, size_t n)
{
	struct fuse_direntplus *p =
	    reply_add(r, FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + n));
	struct fuse_node *node;
	struct statx st;

	dirent_fill(r, h, n, &p->dirent);
	if (is_dots(h->name) || node_lookup(r->s, r->node, h->name, &st, &node) < 0)
		return;
	entry_fill(r->s, node, &st, &p->entry_out);
	node_put(r->s, node);
}

/* Hands as many of the host's entries on as fit. Returns the cookie of the last one, which is where
 * the descriptor stands, or -1 when it stands further. */
static off_t hand_on(struct fuse_request *r, size_t n, size_t room, bool plus)
{
	const uint8_t *buf = r->w->scratch;
	off_t pos = -1;

	for (size_t at = 0; at + sizeof(struct host_dirent) <= n;) {
		const struct host_dirent *h = (const void *)(buf + at);
		size_t len = strnlen(h->name, h->len - offsetof(struct host_dirent, name));
		size_t need = FUSE_DIRENT_ALIGN(
		    (plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET) + len);

		if (r->reply_len + need > room)
			return -1;
		(plus ? add_plus : add_plain)(r, h, len);
		pos = h->off;
		at += h->len;
	}
	return pos;
}

static int read_entries(struct fuse_request *r, struct fuse_handle *h, bool plus)
{
	const struct fuse_read_in *in = r->arg;
	uint64_t room = r->out_bytes - sizeof(struct fuse_out_header);
	off_t pos = (off_t)in->offset;
	size_t ask;
	long n;

	room = in->size < room ? in->size : room;
	room = room < sizeof(r->w->reply) ? room : sizeof(r->w->reply);
	ask = plus ? SHARE_PLUS(room) : SHARE_PLAIN(room);
	ask = ask < HOST_DIRENT_MAX ? HOST_DIRENT_MAX : ask;
	if (h->dir_pos != pos && lseek(h->fd, pos, SEEK_SET) < 0)
		return -errno;
	h->dir_pos = -1;
	n = syscall(SYS_getdents64, h->fd, r->w->scratch, ask);
	if (n < 0)
		return -errno;
	h->dir_pos = hand_on(r, (size_t)n, room, plus);
	return n > 0 && r->reply_len == 0 ? -EINVAL : 0; /* no room for a single one */
}

static int read_dir(struct fuse_request *r, bool plus)
{
	const struct fuse_read_in *in = r->arg;
	struct fuse_handle *h = handle_get(r->s, r->node, in->fh, true);
	int e;

	if (!h)
		return -EBADF;
	pthread_mutex_lock(&h->dir_lock);
	e = read_entries(r, h, plus);
	pthread_mutex_unlock(&h->dir_lock);
	handle_put(r->s, h);
	return e;
}

int op_readdir(struct fuse_request *r)
{
	return read_dir(r, false);
}

int op_readdirplus(struct fuse_request *r)
{
	return read_dir(r, true);
}
