#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/namespaces.h"

static void add_offset(struct strbuf *b, const char *clock, const struct spec_time_offset *o)
{
	if (o->secs.set || o->nanosecs)
		strbuf_addf(b, "%s %" PRId64 " %" PRIu32 "\n", clock, o->secs.set ? o->secs.v : 0,
		    o->nanosecs);
}

int timens_enter(const struct spec *s, int procfd, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (unshare(CLONE_NEWTIME) < 0)
		return err_errno(e, errno, "make a time namespace");
	add_offset(&b, "monotonic", &s->monotonic);
	add_offset(&b, "boottime", &s->boottime);
	/* The offsets are frozen once the first process is in. */
	if (b.len) {
		r = kfile_write(procfd, "self/timens_offsets", b.s);
		if (r == -ERANGE)
			return err_set(e, ERANGE,
			    "config.json: .linux.timeOffsets: a clock would run below zero or "
			    "beyond what the kernel counts");
		if (r < 0)
			return err_errno(e, -r,
			    "config.json: .linux.timeOffsets: write /proc/self/timens_offsets");
	}
	/* unshare(2) moves only children; setns(2) moves the caller, as long as it has one
	 * thread. */
	fd = openat(procfd, "self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open /proc/self/ns/time_for_children");
	if (setns(fd, CLONE_NEWTIME) < 0)
		return err_errno(e, errno, "enter the new time namespace");
	return 0;
}
