#include "images/spool.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static void name_of(const struct digest *d, char ret[DIGEST_TEXT_MAX])
{
	memcpy(ret, d->text, DIGEST_TEXT_MAX);
	*strchr(ret, ':') = '-';
}

int spool_open(int dirfd, const struct digest *d, uint64_t size, struct spool *ret, struct err *e)
{
	struct spool s = SPOOL_INIT;
	struct stat st;

	*ret = s;
	if (dirfd < 0 || size < SPOOL_MIN)
		return 0;
	s.dirfd = dirfd;
	name_of(d, s.name);
	s.fd = openat(dirfd, s.name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (s.fd < 0)
		return err_errno(e, errno, "open partial/%s", s.name);
	/* Somebody else's, or removed between our two steps: without a file it works too. */
	if (flock(s.fd, LOCK_EX | LOCK_NB) < 0 || fstat(s.fd, &st) < 0 || st.st_nlink == 0) {
		closep(&s.fd);
		return 0;
	}
	s.have = (uint64_t)st.st_size;
	if (!S_ISREG(st.st_mode) || s.have > size) {
		if (ftruncate(s.fd, 0) < 0) {
			err_errno(e, errno, "empty partial/%s", s.name);
			closep(&s.fd);
			return -e->code;
		}
		s.have = 0;
	}
	*ret = s;
	return 0;
}

ssize_t spool_read(struct spool *s, uint64_t at, void *buf, size_t n, struct err *e)
{
	ssize_t got;

	do
		got = pread(s->fd, buf, n, (off_t)at);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_errno(e, errno, "read partial/%s", s->name);
	if (got == 0)
		return err_set(e, EBADMSG, "partial/%s became shorter", s->name);
	return got;
}

int spool_add(struct spool *s, const void *buf, size_t n, struct err *e)
{
	const char *p = buf;

	while (n) {
		ssize_t put = pwrite(s->fd, p, n, (off_t)s->have);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return err_errno(e, put < 0 ? errno : EIO, "write partial/%s", s->name);
		p += put;
		n -= (size_t)put;
		s->have += (uint64_t)put;
	}
	return 0;
}

void spool_close(struct spool *s)
{
	/* An empty one is of no use to anybody. */
	if (s->fd >= 0 && s->have == 0)
		(void)unlinkat(s->dirfd, s->name, 0);
	closep(&s->fd);
	s->fd = -EBADF;
}

void spool_drop(int dirfd, const struct digest *d)
{
	char name[DIGEST_TEXT_MAX];

	name_of(d, name);
	if (dirfd >= 0)
		(void)unlinkat(dirfd, name, 0);
}
