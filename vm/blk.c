/*
 * The block device (virtio 1.2, 5.2) over a raw file or a block device. No image formats: what the
 * guest writes is never interpreted. Requests are handled one after the other by a thread of the
 * device's own; a reset waits for the one in progress.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vm/devices.h"
#include "vm/worker.h"

#define SECTOR	   512u
#define RANGES_MAX 16u /* of one discard or write-zeroes request */
#define CHAINS_MAX 64

#define FEATURES       (1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_FLUSH)
#define WRITE_FEATURES (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)

struct blk {
	struct virtio_device d;
	struct virtio_ops ops; /* the features are each disk's own */
	struct worker *worker;
	int fd;
	bool readonly;
	uint64_t sectors;
	struct virtio_blk_config config;
	char serial[VIRTIO_BLK_ID_BYTES];
	struct queue_chain chain;
	struct iovec part[QUEUE_SIZE_MAX];
};

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	struct blk *b = (struct blk *)d;

	virtio_config_copy(&b->config, sizeof(b->config), offset, buf, len);
}

/* Is [sector, sector + n) on the disk? */
static bool on_disk(const struct blk *b, uint64_t sector, uint64_t n)
{
	return sector <= b->sectors && n <= b->sectors - sector;
}

/* Reads or writes len bytes from segments' offset on, all of them. */
static uint8_t transfer(struct blk *b, const struct virtio_blk_outhdr *h, const struct iovec *v,
    unsigned n, uint64_t offset, uint64_t len)
{
	uint64_t done = 0;

	if (len % SECTOR || !on_disk(b, h->sector, len / SECTOR))
		return VIRTIO_BLK_S_IOERR;
	while (done < len) {
		int parts = (int)iov_slice(v, n, offset + done, len - done, b->part);
		off_t at = (off_t)(h->sector * SECTOR + done);
		ssize_t r = h->type == VIRTIO_BLK_T_IN ? preadv(b->fd, b->part, parts, at)
						       : pwritev(b->fd, b->part, parts, at);

		if (r < 0 && errno == EINTR)
			continue;
		/* 0: the file has shrunk. */
		if (r <= 0)
			return VIRTIO_BLK_S_IOERR;
		done += (uint64_t)r;
	}
	return VIRTIO_BLK_S_OK;
}

static int zero(const struct blk *b, off_t at, off_t len, bool unmap)
{
	/* Both leave zeroes; a hole frees the space too, but not every file system can do both. */
	if (!unmap && fallocate(b->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, len) == 0)
		return 0;
	if (!unmap && errno != EOPNOTSUPP)
		return -errno;
	return fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len) < 0 ? -errno
											 : 0;
}

/* Discard and write zeroes: ranges follow the header. Discarded sectors read as zeroes. */
static uint8_t clear_ranges(struct blk *b, const struct virtio_blk_outhdr *h)
{
	bool discard = h->type == VIRTIO_BLK_T_DISCARD;
	struct virtio_blk_discard_write_zeroes v[RANGES_MAX];
	uint64_t bytes = b->chain.read_bytes - sizeof(*h);

	if (bytes == 0 || bytes % sizeof(*v) || bytes > sizeof(v))
		return VIRTIO_BLK_S_UNSUPP;
	iov_read(b->chain.read, b->chain.n_read, sizeof(*h), v, bytes);
	for (size_t i = 0; i < bytes / sizeof(*v); i++) {
		uint32_t known = discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
		int r;

		if (v[i].flags & ~known)
			return VIRTIO_BLK_S_UNSUPP;
		if (!on_disk(b, v[i].sector, v[i].num_sectors))
			return VIRTIO_BLK_S_IOERR;
		if (v[i].num_sectors == 0)
			continue;
		r = zero(b, (off_t)(v[i].sector * SECTOR), (off_t)v[i].num_sectors * SECTOR,
		    discard || v[i].flags);
		if (r < 0)
			return r == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

/* Executes a request whose last writable byte is the status. *written: data before that. */
static uint8_t execute(struct blk *b, const struct virtio_blk_outhdr *h, uint64_t *written)
{
	const struct queue_chain *c = &b->chain;
	uint8_t status;

	switch (h->type) {
	case VIRTIO_BLK_T_IN:
		status = transfer(b, h, c->write, c->n_write, 0, c->write_bytes - 1);
		if (status == VIRTIO_BLK_S_OK)
			*written = c->write_bytes - 1;
		return status;
	case VIRTIO_BLK_T_FLUSH:
		return fdatasync(b->fd) < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		*written =
		    sizeof(b->serial) < c->write_bytes - 1 ? sizeof(b->serial) : c->write_bytes - 1;
		iov_write(c->write, c->n_write, 0, b->serial, *written);
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_OUT:
		return b->readonly ? VIRTIO_BLK_S_IOERR
				   : transfer(b, h, c->read, c->n_read, sizeof(*h),
					 c->read_bytes - sizeof(*h));
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return b->readonly ? VIRTIO_BLK_S_IOERR : clear_ranges(b, h);
	}
	return VIRTIO_BLK_S_UNSUPP;
}

static int handle(struct blk *b, struct virtqueue *q)
{
	const struct queue_chain *c = &b->chain;
	struct virtio_blk_outhdr h;
	uint64_t written = 0;
	uint8_t status;

	if (c->write_bytes == 0 || iov_read(c->read, c->n_read, 0, &h, sizeof(h)) < sizeof(h)) {
		virtio_broken(&b->d, "a request lacks its header or its status");
		return -EPROTO;
	}
	status = execute(b, &h, &written);
	iov_write(c->write, c->n_write, c->write_bytes - 1, &status, 1);
	written = status == VIRTIO_BLK_S_OK ? written + 1 : 1;
	queue_push(q, c->head, written > UINT32_MAX ? UINT32_MAX : (uint32_t)written);
	return 0;
}

static void notify(struct virtio_device *d, unsigned i)
{
	struct blk *b = (struct blk *)d;
	struct virtqueue *q = &d->queues[i];
	unsigned n = 0;
	int r = 0;

	do {
		queue_disable_notify(q);
		while (n < CHAINS_MAX && (r = queue_pop(q, &b->chain)) > 0) {
			if (handle(b, q) < 0)
				return;
			n++;
			virtio_interrupt(d, q);
		}
	} while (r == 0 && queue_enable_notify(q));
	if (r < 0)
		virtio_broken(d, q->why);
	else if (r > 0)
		/* A reset gets its turn at the lock. */
		virtio_kick(d, i);
}

static int start(
    struct virtio_device *d, int (*prepare)(void *arg, struct err *e), void *arg, struct err *e)
{
	return worker_start(((struct blk *)d)->worker, "vm-blk", prepare, arg, e);
}

static void blk_free(struct virtio_device *d)
{
	struct blk *b = (struct blk *)d;

	worker_stop(b->worker);
	virtio_detach(d);
	worker_free(b->worker);
	closep(&b->fd);
	free(b);
}

static const struct virtio_ops template = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK_,
	.features = FEATURES,
	.n_queues = 1,
	.config_size = sizeof(struct virtio_blk_config),
	.config_read = config_read,
	.start = start,
	.notify = notify,
	.free = blk_free,
};

static int disk_size(int fd, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "stat a disk of the virtual machine");
	if (S_ISREG(st.st_mode)) {
		*ret = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_set(e, ENOTBLK,
		    "a disk of the virtual machine is neither a regular file nor a block device");
	if (ioctl(fd, BLKGETSIZE64, ret) < 0)
		return err_errno(e, errno, "size of a disk of the virtual machine");
	return 0;
}

static int check_mode(const struct vm_disk *disk, struct err *e)
{
	int flags = fcntl(disk->fd, F_GETFL);

	if (flags < 0)
		return err_errno(e, errno, "a disk of the virtual machine");
	if (flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY ||
	    (!disk->readonly && (flags & O_ACCMODE) != O_RDWR))
		return err_set(e, EACCES, "a disk of the virtual machine is not open for %s",
		    disk->readonly ? "reading" : "reading and writing");
	return 0;
}

int vm_blk_new(const struct vm_disk *disk, struct virtio_device **ret, struct err *e)
{
	_cleanup_close_ int fd = disk->fd;
	struct worker *worker;
	uint64_t size;
	struct blk *b;
	int r = check_mode(disk, e);

	if (r == 0)
		r = disk_size(fd, &size, e);
	if (r == 0)
		r = worker_new(&worker, e);
	if (r < 0)
		return r;
	b = xcalloc(1, sizeof(*b));
	b->ops = template;
	b->ops.features |= disk->readonly ? 1ull << VIRTIO_BLK_F_RO : WRITE_FEATURES;
	b->d.ops = &b->ops;
	b->d.loop = worker_loop(worker);
	b->worker = worker;
	b->fd = steal_fd(&fd);
	b->readonly = disk->readonly;
	b->sectors = size / SECTOR;
	memcpy(b->serial, disk->serial, sizeof(b->serial));
	b->config = (struct virtio_blk_config){
		.capacity = b->sectors,
		.seg_max = QUEUE_SIZE - 2,
		.max_discard_sectors = INT_MAX / SECTOR,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = 8,
		.max_write_zeroes_sectors = INT_MAX / SECTOR,
		.max_write_zeroes_seg = RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};
	*ret = &b->d;
	return 0;
}
