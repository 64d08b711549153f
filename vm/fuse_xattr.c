/*
 * Extended attributes: user.* and security.capability. Others are refused as by a file system that
 * has none, and not shown: POSIX ACLs, which the guest's kernel would have to enforce; labels of
 * the host's security modules; trusted.*, which takes privileges on the host.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/str.h"
#include "vm/fuse_internal.h"

#define VALUE_MAX 65536u /* XATTR_SIZE_MAX and XATTR_LIST_MAX of the kernel */

static bool shown(const char *name)
{
	return startswith(name, "user.") || streq(name, "security.capability");
}

/* The attribute's name, at most 255 bytes; the value follows it in rest. */
static const char *xattr_name(struct fuse_request *r, int *e)
{
	const char *name = r->rest;
	size_t n = strnlen(name, r->rest_len);

	if (n == r->rest_len || n == 0 || n > FUSE_NAME_LIMIT) {
		*e = n > FUSE_NAME_LIMIT ? -ERANGE : -EINVAL;
		return NULL;
	}
	r->rest += n + 1;
	r->rest_len -= n + 1;
	if (!shown(name)) {
		*e = -EOPNOTSUPP;
		return NULL;
	}
	return name;
}

/* The inode by its magic link, which xattr calls follow: to a symlink itself, if it is one. */
static int node_path(struct fuse_request *r, char path[FD_NAME_MAX])
{
	int fd = node_fd(r->s, r->node);

	if (fd < 0)
		return fd;
	fd_name(fd, path);
	return 0;
}

int op_setxattr(struct fuse_request *r)
{
	const struct fuse_setxattr_in *in = r->arg;
	char path[FD_NAME_MAX];
	uint32_t size = in->size, flags = in->flags;
	int e;
	const char *name = xattr_name(r, &e);

	if (!name)
		return e;
	if (size != r->rest_len)
		return -EINVAL;
	e = node_path(r, path);
	if (e < 0)
		return e;
	return setxattr(path, name, r->rest, size, (int)flags) < 0 ? -errno : 0;
}

/* What was found is n bytes in buf: told by size alone if the guest asks for that. */
static int value_reply(struct fuse_request *r, size_t n)
{
	const struct fuse_getxattr_in *in = r->arg;

	if (in->size == 0) {
		r->reply_len = 0;
		((struct fuse_getxattr_out *)reply_add(r, sizeof(struct fuse_getxattr_out)))->size =
		    (uint32_t)n;
		return 0;
	}
	if (n > in->size || sizeof(struct fuse_out_header) + n > r->out_bytes)
		return -ERANGE;
	r->reply_len = n;
	return 0;
}

int op_getxattr(struct fuse_request *r)
{
	char path[FD_NAME_MAX];
	ssize_t n;
	int e;
	const char *name = xattr_name(r, &e);

	if (!name)
		return e;
	e = node_path(r, path);
	if (e < 0)
		return e;
	n = getxattr(path, name, r->w->reply, VALUE_MAX);
	return n < 0 ? -errno : value_reply(r, (size_t)n);
}

int op_listxattr(struct fuse_request *r)
{
	char path[FD_NAME_MAX];
	const char *list = (const char *)r->w->scratch;
	size_t len = 0;
	ssize_t n;
	int e = node_path(r, path);

	if (e < 0)
		return e;
	n = listxattr(path, (char *)r->w->scratch, VALUE_MAX);
	if (n < 0)
		return -errno;
	for (size_t at = 0; at < (size_t)n;) {
		size_t one = strnlen(list + at, (size_t)n - at) + 1;

		if (shown(list + at)) {
			memcpy(r->w->reply + len, list + at, one);
			len += one;
		}
		at += one;
	}
	return value_reply(r, len);
}

int op_removexattr(struct fuse_request *r)
{
	char path[FD_NAME_MAX];
	int e;
	const char *name = xattr_name(r, &e);

	if (!name)
		return e;
	e = node_path(r, path);
	if (e < 0)
		return e;
	return removexattr(path, name) < 0 ? -errno : 0;
}
