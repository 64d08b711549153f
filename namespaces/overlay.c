/*
 * overlayfs as a root filesystem: layers of an image below, one directory to write to.
 *
 * Since Linux 6.7 each layer is an option of its own, "lowerdir+". Before, all of them are one
 * string of at most 255 bytes: the layers are then opened and named by their descriptors' numbers,
 * relative to /proc/self/fd, which makes room for some sixty.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/overlay.h"

#define FSCONFIG_STRING_MAX 255

static int fail(int fsfd, const char *what, struct err *e)
{
	char log[256] = "";
	int code = errno;
	ssize_t n = 0, m;

	while (fsfd >= 0 && (m = read(fsfd, log, sizeof(log) - 1)) > 0)
		n = m;
	log[n] = '\0';
	log[strcspn(log, "\n")] = '\0';
	return err_errno(e, code, "overlay of the image's layers: %s%s%s%s", what, *log ? ": " : "",
	    *log ? log + 2 * (n > 2 && log[1] == ' ') : "",
	    code == EINVAL && !*log
		? " (can the filesystem of upper and work be written to by overlayfs? another "
		  "overlay cannot)"
		: "");
}

static int set_string(int fsfd, const char *key, const char *value, struct err *e)
{
	if (strlen(value) > FSCONFIG_STRING_MAX)
		return err_set(e, ENAMETOOLONG,
		    "overlay of the image's layers: %s: the path is longer than the kernel's %d "
		    "bytes: %s (choose a store with a shorter path)",
		    key, FSCONFIG_STRING_MAX, value);
	if (sys_fsconfig(fsfd, FSCONFIG_SET_STRING, key, value, 0) < 0)
		return fail(fsfd, key, e);
	return 0;
}

/* The layers' descriptors, to be open until the filesystem is made. */
struct lowers {
	int *fds;
	size_t n;
};

static void lowers_close(struct lowers *l)
{
	for (size_t i = 0; i < l->n; i++)
		close(l->fds[i]);
	free(l->fds);
}

static int set_lowers_by_number(int fsfd, const struct overlay *o, struct lowers *l, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t n = strv_len(o->lowers);

	l->fds = xcalloc(n + 1, sizeof(*l->fds));
	for (size_t i = 0; i < n; i++) {
		int fd = open(o->lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			return err_errno(e, errno, "open layer %s", o->lowers[i]);
		l->fds[l->n++] = fd;
		strbuf_addf(&b, "%s%d", i ? ":" : "", fd);
	}
	if (b.len > FSCONFIG_STRING_MAX)
		return err_set(e, E2BIG,
		    "overlay of %zu layers: more than a kernel before Linux 6.7 takes (a flat "
		    "bundle has no such limit)",
		    n);
	return set_string(fsfd, "lowerdir", b.s, e);
}

static int set_lowers(int fsfd, const struct overlay *o, bool old, struct lowers *l, struct err *e)
{
	for (char *const *p = o->lowers; !old && *p; p++) {
		if (strlen(*p) > FSCONFIG_STRING_MAX)
			return set_string(fsfd, "lowerdir+", *p, e);
		if (sys_fsconfig(fsfd, FSCONFIG_SET_STRING, "lowerdir+", *p, 0) == 0)
			continue;
		if (errno != EINVAL || p != o->lowers)
			return fail(fsfd, *p, e);
		log_debug("overlayfs knows no lowerdir+: layers by descriptor");
		old = true;
	}
	return old ? set_lowers_by_number(fsfd, o, l, e) : 0;
}

static int configure(int fsfd, const struct overlay *o, bool old, struct err *e)
{
	_cleanup_(lowers_close) struct lowers l = { 0 };
	int r = set_lowers(fsfd, o, old, &l, e);

	if (r < 0 || (o->upper && (r = set_string(fsfd, "upperdir", o->upper, e)) < 0) ||
	    (o->upper && (r = set_string(fsfd, "workdir", o->work, e)) < 0))
		return r;
	if (o->userxattr && sys_fsconfig(fsfd, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0)
		return fail(fsfd, "userxattr", e);
	if (sys_fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail(fsfd, "mount", e);
	return 0;
}

/* Numbers are looked up from the working directory, in older kernels when the filesystem is made.
 */
static int configure_in_proc(int fsfd, const struct overlay *o, bool old, struct err *e)
{
	_cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (cwd < 0)
		return err_errno(e, errno, "open the working directory");
	if (chdir("/proc/self/fd") < 0)
		return err_errno(e, errno, "chdir to /proc/self/fd");
	r = configure(fsfd, o, old, e);
	if (fchdir(cwd) < 0 && r == 0)
		r = err_errno(e, errno, "return to the working directory");
	return r;
}

/* An overlayfs of before Linux 6.5 collects whatever options it is given, and refuses them as one
 * at the end: "lowerdir+" does not tell then. */
static bool takes_any_option(void)
{
	_cleanup_close_ int fsfd = sys_fsopen("overlay", FSOPEN_CLOEXEC);

	return fsfd >= 0 && sys_fsconfig(fsfd, FSCONFIG_SET_FLAG, "no-such-option", NULL, 0) == 0;
}

int overlay_open_as(const struct overlay *o, bool old, struct err *e)
{
	_cleanup_close_ int fsfd = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	int fd, r;

	if (fsfd < 0 && errno == ENODEV)
		return err_set(e, ENODEV,
		    "overlay of the image's layers: the kernel knows no overlayfs (modprobe "
		    "overlay, or use a flat bundle)");
	if (fsfd < 0)
		return fail(-EBADF, "fsopen", e);
	r = set_string(fsfd, "source", "bailey-image", e);
	if (r == 0)
		r = configure_in_proc(fsfd, o, old || takes_any_option(), e);
	if (r < 0)
		return r;
	fd = sys_fsmount(fsfd, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? fail(fsfd, "fsmount", e) : fd;
}

int overlay_open(const struct overlay *o, struct err *e)
{
	return overlay_open_as(o, false, e);
}
