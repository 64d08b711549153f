/* The file systems that nodes are on, told apart by device number. */
#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "vm/fuse_internal.h"

/* File systems without a flush of their own (Documentation/filesystems/vfs.rst): nothing is written
 * at close(2), so it has no error to tell. An overlay hands it on to its upper layer, which is one
 * of the others. */
static bool closes_silently(int fd)
{
	static const unsigned long types[] = { BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC,
		OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC };
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((unsigned long)st.f_type == types[i])
			return true;
	return false;
}

uint16_t fuse_device_index(struct fuse_server *s, uint64_t dev, uint16_t hint, int fd)
{
	if (hint < s->n_devices && s->devices[hint] == dev)
		return hint;
	for (unsigned i = 0; i < s->n_devices; i++)
		if (s->devices[i] == dev)
			return (uint16_t)i;
	if (s->n_devices == DEVICES_MAX)
		return (uint16_t)(dev % DEVICES_MAX);
	s->devices[s->n_devices] = dev;
	s->silent[s->n_devices] = closes_silently(fd);
	return (uint16_t)s->n_devices++;
}

/* Beyond the table an index stands for several. */
bool node_tells_at_close(struct fuse_server *s, const struct fuse_node *n)
{
	return s->devices[n->device] != n->key.dev || !s->silent[n->device];
}

uint64_t node_ino(const struct fuse_node *n, uint64_t ino)
{
	return ino ^ (uint64_t)(uint16_t)(n->device - n->super) << 48;
}
