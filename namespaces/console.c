/*
 * The container's terminal: a pty of its own devpts.
 *
 * The container's image owns every name below /dev, so nothing is opened by name alone: the
 * directory must be devpts, its ptmx is opened in it, and the slave comes from the master
 * (TIOCGPTPEER), never from /dev/pts/N.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "namespaces/inroot.h"
#include "namespaces/namespaces.h"

#define DEVPTS_ROOT_INO 1
#define PTMX_MAJOR	5
#define PTMX_MINOR	2
/* UNIX98_PTY_SLAVE_MAJOR and the seven majors after it */
#define PTS_MAJOR  136
#define PTS_MAJORS 8

static bool on_devpts(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && s.f_type == DEVPTS_SUPER_MAGIC;
}

static int open_master(int rootfd, int *ret, struct err *e)
{
	_cleanup_close_ int pts = dir_open_nosym(rootfd, "/dev/pts", false);
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int unlock = 0;

	if (pts == -ENOENT)
		return err_set(e, ENOENT,
		    "a terminal needs devpts: the container has no /dev/pts (add a mount of type "
		    "devpts to .mounts)");
	if (pts < 0)
		return err_errno(e, -pts, "the container's /dev/pts");
	if (!on_devpts(pts) || fstat(pts, &st) < 0 || st.st_ino != DEVPTS_ROOT_INO)
		return err_set(e, EINVAL,
		    "a terminal needs devpts: the container's /dev/pts is something else (add a "
		    "mount of type devpts to .mounts)");
	fd = openat(pts, "ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno,
		    "open the container's /dev/pts/ptmx (is devpts mounted with ptmxmode=0666?)");
	if (!on_devpts(fd) || !fd_is_chardev(fd, PTMX_MAJOR, PTMX_MINOR))
		return err_set(e, EINVAL, "the container's /dev/pts/ptmx is not a pty multiplexer");
	if (ioctl(fd, TIOCSPTLCK, &unlock) < 0)
		return err_errno(e, errno, "unlock the container's pty");
	*ret = steal_fd(&fd);
	return 0;
}

static int open_slave(int master, int *ret, struct err *e)
{
	_cleanup_close_ int fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct stat m, st;

	if (fd < 0)
		return err_errno(e, errno, "open the slave of the container's pty");
	if (fstat(fd, &st) < 0 || fstat(master, &m) < 0)
		return err_errno(e, errno, "stat the container's pty");
	if (!on_devpts(fd) || !S_ISCHR(st.st_mode) || st.st_dev != m.st_dev ||
	    major(st.st_rdev) < PTS_MAJOR || major(st.st_rdev) >= PTS_MAJOR + PTS_MAJORS)
		return err_set(e, EINVAL, "the slave of the container's pty is not one");
	*ret = steal_fd(&fd);
	return 0;
}

static int configure(const struct spec_process *p, int slave, struct err *e)
{
	struct termios t;
	struct stat st;

	if (p->console_size.set) {
		struct winsize w = { .ws_row = p->console_size.height,
			.ws_col = p->console_size.width };

		if (ioctl(slave, TIOCSWINSZ, &w) < 0)
			return err_errno(e, errno, "config.json: .process.consoleSize: set %ux%u",
			    w.ws_col, w.ws_row);
	}
	/* The terminal at the user's end translates newlines already. */
	if (tcgetattr(slave, &t) < 0)
		return err_errno(e, errno, "read the terminal's settings");
	t.c_oflag &= (tcflag_t)~ONLCR;
	if (tcsetattr(slave, TCSANOW, &t) < 0)
		return err_errno(e, errno, "set the terminal's settings");
	if (fstat(slave, &st) < 0)
		return err_errno(e, errno, "stat the terminal");
	if (st.st_uid != p->user.uid && fchown(slave, p->user.uid, (gid_t)-1) < 0)
		return err_errno(
		    e, errno, "give the terminal to .process.user.uid %u", p->user.uid);
	return 0;
}

/* The file to mount the terminal on. Made O_EXCL: a name that exists already is only accepted for a
 * plain file or a character device, and never followed. */
static int open_console_target(int dev, int *ret, struct err *e)
{
	_cleanup_close_ int fd =
	    openat(dev, "console", O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0 && errno == EEXIST)
		fd = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "make the container's /dev/console");
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "stat the container's /dev/console");
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return err_set(e, S_ISLNK(st.st_mode) ? ELOOP : EINVAL,
		    "the container's /dev/console is a %s: refusing to mount the terminal on it",
		    S_ISLNK(st.st_mode) ? "symbolic link" : "neither file nor device");
	*ret = steal_fd(&fd);
	return 0;
}

static int bind_on_console(int rootfd, int slave, struct err *e)
{
	_cleanup_close_ int dev = dir_open_nosym(rootfd, "/dev", false);
	_cleanup_close_ int target = -EBADF, tree = -EBADF, again = -EBADF;
	struct stat want, got;
	int r;

	if (dev == -ENOENT) {
		log_debug("the container has no /dev, so no /dev/console");
		return 0;
	}
	if (dev < 0)
		return err_errno(e, -dev, "the container's /dev");
	r = open_console_target(dev, &target, e);
	if (r < 0)
		return r;
	tree = mount_clone(slave);
	if (tree < 0)
		return err_errno(e, -tree, "clone the terminal for /dev/console");
	r = mount_onto(tree, target);
	if (r < 0)
		return err_errno(e, -r, "mount the terminal on the container's /dev/console");
	again = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (again < 0 || fstat(again, &got) < 0 || fstat(slave, &want) < 0)
		return err_errno(e, errno, "look at the container's /dev/console");
	if (!same_inode(&want, &got))
		return err_set(e, ESTALE,
		    "the container's /dev/console was replaced while it was mounted over");
	return 0;
}

int console_open(const struct spec_process *p, int rootfd, bool bind_console, int *ret_master,
    int *ret_slave, struct err *e)
{
	_cleanup_close_ int master = -EBADF, slave = -EBADF;
	int r = open_master(rootfd, &master, e);

	if (r < 0)
		return r;
	r = open_slave(master, &slave, e);
	if (r < 0)
		return r;
	r = configure(p, slave, e);
	if (r < 0)
		return r;
	if (bind_console) {
		r = bind_on_console(rootfd, slave, e);
		if (r < 0)
			return r;
	}
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

int console_attach(int slave, struct err *e)
{
	/* EPERM: already leader, of a session or of a process group; TIOCSCTTY tells which. */
	if (setsid() < 0 && errno != EPERM)
		return err_errno(e, errno, "make a session for the terminal");
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_errno(e, errno, "make the terminal the session's own");
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(slave, fd) < 0)
			return err_errno(e, errno, "put the terminal on descriptor %d", fd);
	/* dup2 onto itself keeps FD_CLOEXEC. */
	if (slave <= 2 && fcntl(slave, F_SETFD, 0) < 0)
		return err_errno(e, errno, "keep the terminal open over exec");
	return 0;
}
