#include "guest/root.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/sys.h"

#define DIR_ROOT  "/run/bailey-root"
#define DIR_IMAGE DIR_ROOT "/image"
#define DIR_WRITE DIR_ROOT "/write"
#define DIR_UPPER DIR_WRITE "/upper"
#define DIR_WORK  DIR_WRITE "/work"

static char *const lowers[] = { (char *)DIR_IMAGE, NULL };
static const struct overlay root_overlay = {
	.lowers = lowers, .upper = DIR_UPPER, .work = DIR_WORK
};

/* ---- the agent's half ---- */

void root_disks_close(struct root_disks *d)
{
	closep(&d->image);
	closep(&d->scratch);
	d->image = d->scratch = -EBADF;
}

int root_disks_open(const struct agent_host *host, const struct create_options *o,
    struct root_disks *ret, struct err *e)
{
	_cleanup_root_disks_ struct root_disks d = ROOT_DISKS_NONE;
	int r;

	if ((o->root_disk && (r = host->open_disk(o->root_disk, "erofs", "ro", &d.image, e)) < 0) ||
	    /* Blocks of deleted files go back to the host's file. */
	    (o->scratch_disk &&
		(r = host->open_disk(o->scratch_disk, "ext4", "discard", &d.scratch, e)) < 0))
		return r;
	ret->image = steal_fd(&d.image);
	ret->scratch = steal_fd(&d.scratch);
	return 0;
}

int root_new_mount(const char *type, const char *source, const char *flag, int *ret)
{
	_cleanup_close_ int fsfd = sys_fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fsfd < 0 || sys_fsconfig(fsfd, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
	    (flag && sys_fsconfig(fsfd, FSCONFIG_SET_FLAG, flag, NULL, 0) < 0) ||
	    sys_fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = sys_fsmount(fsfd, FSMOUNT_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*ret = fd;
	return 0;
}

/* ---- the container's half ---- */

static int make_dir(const char *path, bool may_exist, struct err *e)
{
	if (mkdir(path, 0755) < 0 && !(may_exist && errno == EEXIST))
		return err_errno(e, errno, "make %s", path);
	return 0;
}

static int put(int mfd, const char *dir, struct err *e)
{
	if (sys_move_mount(mfd, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "attach a disk at %s", dir);
	return 0;
}

static int put_writable(const struct root_disks *d, struct err *e)
{
	if (d->scratch >= 0)
		return put(d->scratch, DIR_WRITE, e);
	if (mount("tmpfs", DIR_WRITE, "tmpfs", MS_NODEV | MS_NOSUID, "mode=0700") < 0)
		return err_errno(e, errno, "mount a tmpfs over the root's image");
	return 0;
}

/* The root directory of an overlay is upper's in all but its contents. */
static int copy_root_attributes(struct err *e)
{
	struct stat st;

	if (stat(DIR_IMAGE, &st) < 0 || chown(DIR_UPPER, st.st_uid, st.st_gid) < 0 ||
	    chmod(DIR_UPPER, st.st_mode & 07777) < 0)
		return err_errno(e, errno, "owner and mode of the root directory");
	return 0;
}

int root_disks_mount(const struct root_disks *d, const struct overlay **ret, struct err *e)
{
	int r;

	if ((r = make_dir(DIR_ROOT, true, e)) < 0 || (r = make_dir(DIR_IMAGE, true, e)) < 0 ||
	    (r = make_dir(DIR_WRITE, true, e)) < 0 || (r = put(d->image, DIR_IMAGE, e)) < 0 ||
	    (r = put_writable(d, e)) < 0 || (r = make_dir(DIR_UPPER, false, e)) < 0 ||
	    (r = make_dir(DIR_WORK, false, e)) < 0 || (r = copy_root_attributes(e)) < 0)
		return r;
	*ret = &root_overlay;
	return 0;
}
