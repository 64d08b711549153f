/* What the agent asks of a real machine (agent.h). */
#include <dirent.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "guest/boot.h"
#include "guest/net.h"
#include "guest/root.h"

#define DISKS	   "/sys/block"
#define DEVICES	   "/sys/class/bdi"
#define READ_AHEAD "512" /* KiB */

/* Of the file system at dir: by default 128 KiB, and what a request costs here is its way, not its
 * size. */
static void read_ahead(const char *dir)
{
	_cleanup_close_ int devices = open(DEVICES, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *name = NULL;
	struct stat st;
	int r;

	if (stat(dir, &st) < 0)
		return;
	name = xasprintf("%u:%u/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	r = devices < 0 ? -errno : kfile_write(devices, name, READ_AHEAD);
	if (r < 0)
		log_debug(DEVICES "/%s: %s", name, strerror(-r));
}

/* No flags: what the container may do on it is said by its own mounts, and by the host's. */
static int mount_tag(const char *tag, const char *dir, struct err *e)
{
	if (mount(tag, dir, "virtiofs", 0, NULL) < 0)
		return err_errno(e, errno, "mount the virtio-fs \"%s\" on %s%s", tag, dir,
		    errno == ENODEV ? " (the kernel has no virtiofs)" : "");
	read_ahead(dir);
	return 0;
}

/* "vda", by what the host calls it; NULL: not there. Caller frees. */
static char *find_disk(const char *serial)
{
	_cleanup_closedir_ DIR *d = opendir(DISKS);
	const struct dirent *i;

	while (d && (i = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/serial", i->d_name);
		_cleanup_free_ char *got = NULL;

		if (i->d_name[0] != '.' && kfile_read(dirfd(d), path, &got) == 0 &&
		    streq(got, serial))
			return xstrdup(i->d_name);
	}
	return NULL;
}

static int open_disk(
    const char *serial, const char *type, const char *flag, int *ret_mount, struct err *e)
{
	_cleanup_free_ char *name = find_disk(serial);
	_cleanup_free_ char *path = name ? xasprintf("/dev/%s", name) : NULL;
	int r;

	if (!path)
		return err_set(e, ENXIO,
		    "no disk with the serial \"%s\" in " DISKS " (has the kernel virtio_blk?)",
		    serial);
	r = root_new_mount(type, path, flag, ret_mount);
	if (r == -ENODEV)
		return err_errno(e, -r, "mount the disk \"%s\" (has the kernel %s?)", serial, type);
	return r < 0 ? err_errno(e, -r, "mount the disk \"%s\" as %s", serial, type) : 0;
}

static int set_time(const struct gp_time *t, struct err *e)
{
	const struct timespec ts = { .tv_sec = t->sec, .tv_nsec = t->nsec };

	if (clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_errno(
		    e, errno, "set the clock to %lld.%09u", (long long)t->sec, t->nsec);
	return 0;
}

/* Credited: it is the host's own randomness, and only the host could know it anyway. Reseeding
 * makes the generator's output depend on it at once, as a machine needs that was copied. */
static int add_entropy(const uint8_t *bytes, size_t n, struct err *e)
{
	_cleanup_close_ int fd = open("/dev/random", O_WRONLY | O_CLOEXEC);
	_cleanup_free_ struct rand_pool_info *pool = xcalloc(1, sizeof(*pool) + n);

	if (fd < 0)
		return err_errno(e, errno, "open /dev/random");
	pool->entropy_count = (int)n * 8;
	pool->buf_size = (int)n;
	memcpy(pool->buf, bytes, n);
	if (ioctl(fd, RNDADDENTROPY, pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return err_errno(e, errno, "add %zu bytes to the random pool", n);
	return 0;
}

const struct agent_host machine_host = {
	.mount_tag = mount_tag,
	.open_disk = open_disk,
	.set_time = set_time,
	.add_entropy = add_entropy,
	.apply_net = net_configure,
	.cgroup = "/container-",
};
