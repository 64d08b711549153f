/*
 * Mount options, in the order of `features`: sorted by name.
 *
 * The kernel's mount API has no way to say iversion, silent or loud: filesystems turn i_version on
 * themselves, and the other two only concern the kernel's log. They are accepted without effect
 * (iversion with a warning), as are mount(8)'s words for fstab.
 */
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "spec/spec.h"

#define RDONLY	    MOUNT_ATTR_RDONLY
#define NOSUID	    MOUNT_ATTR_NOSUID
#define NODEV	    MOUNT_ATTR_NODEV
#define NOEXEC	    MOUNT_ATTR_NOEXEC
#define ATIME	    MOUNT_ATTR__ATIME
#define NODIRATIME  MOUNT_ATTR_NODIRATIME
#define NOSYMFOLLOW MOUNT_ATTR_NOSYMFOLLOW

#define ATTR(name, set, clr)                     \
	{                                        \
		name, MOPT_ATTR, set, clr, false \
	}
#define ATTR_REC(name, set, clr)                    \
	{                                           \
		name, MOPT_ATTR_REC, set, clr, true \
	}
/* A flag of the superblock: set is its MS_ number, clr tells that the option takes it away. */
#define SB(name, flag)                        \
	{                                     \
		name, MOPT_SB, flag, 0, false \
	}
#define SB_OFF(name, flag)                    \
	{                                     \
		name, MOPT_SB, 0, flag, false \
	}
#define PROP(name, flag, rec)                        \
	{                                            \
		name, MOPT_PROPAGATION, flag, 0, rec \
	}
#define IGNORED(name)                           \
	{                                       \
		name, MOPT_IGNORED, 0, 0, false \
	}
/* The same, but it would have changed something: the user is told. */
#define INEFFECTIVE(name)                       \
	{                                       \
		name, MOPT_IGNORED, 1, 0, false \
	}
#define EXTENSION(name, bit)                        \
	{                                           \
		name, MOPT_EXTENSION, bit, 0, false \
	}

const struct mount_opt mount_opts[] = {
	IGNORED("_netdev"),
	SB_OFF("async", MS_SYNCHRONOUS),
	ATTR("atime", 0, ATIME),
	IGNORED("auto"),
	{ "bind", MOPT_BIND, MS_BIND, 0, false },
	EXTENSION("copy-symlink", MOPT_EXT_COPY_SYMLINK),
	IGNORED("defaults"),
	EXTENSION("dest-nofollow", MOPT_EXT_DEST_NOFOLLOW),
	ATTR("dev", 0, NODEV),
	ATTR("diratime", 0, NODIRATIME),
	SB("dirsync", MS_DIRSYNC),
	ATTR("exec", 0, NOEXEC),
	{ "idmap", MOPT_IDMAP, 0, 0, false },
	INEFFECTIVE("iversion"),
	SB("lazytime", MS_LAZYTIME),
	IGNORED("loud"),
	SB("mand", MS_MANDLOCK),
	ATTR("noatime", MOUNT_ATTR_NOATIME, ATIME),
	IGNORED("noauto"),
	ATTR("nodev", NODEV, 0),
	ATTR("nodiratime", NODIRATIME, 0),
	ATTR("noexec", NOEXEC, 0),
	IGNORED("noiversion"),
	SB_OFF("nolazytime", MS_LAZYTIME),
	SB_OFF("nomand", MS_MANDLOCK),
	ATTR("norelatime", 0, ATIME),
	ATTR("nostrictatime", 0, ATIME),
	ATTR("nosuid", NOSUID, 0),
	ATTR("nosymfollow", NOSYMFOLLOW, 0),
	PROP("private", MS_PRIVATE, false),
	ATTR_REC("ratime", 0, ATIME),
	{ "rbind", MOPT_BIND, MS_BIND | MS_REC, 0, true },
	ATTR_REC("rdev", 0, NODEV),
	ATTR_REC("rdiratime", 0, NODIRATIME),
	ATTR("relatime", MOUNT_ATTR_RELATIME, ATIME),
	{ "remount", MOPT_REMOUNT, MS_REMOUNT, 0, false },
	ATTR_REC("rexec", 0, NOEXEC),
	{ "ridmap", MOPT_IDMAP, 0, 0, true },
	ATTR_REC("rnoatime", MOUNT_ATTR_NOATIME, ATIME),
	ATTR_REC("rnodev", NODEV, 0),
	ATTR_REC("rnodiratime", NODIRATIME, 0),
	ATTR_REC("rnoexec", NOEXEC, 0),
	ATTR_REC("rnorelatime", 0, ATIME),
	ATTR_REC("rnostrictatime", 0, ATIME),
	ATTR_REC("rnosuid", NOSUID, 0),
	ATTR_REC("rnosymfollow", NOSYMFOLLOW, 0),
	ATTR("ro", RDONLY, 0),
	PROP("rprivate", MS_PRIVATE, true),
	ATTR_REC("rrelatime", MOUNT_ATTR_RELATIME, ATIME),
	ATTR_REC("rro", RDONLY, 0),
	ATTR_REC("rrw", 0, RDONLY),
	PROP("rshared", MS_SHARED, true),
	PROP("rslave", MS_SLAVE, true),
	ATTR_REC("rstrictatime", MOUNT_ATTR_STRICTATIME, ATIME),
	ATTR_REC("rsuid", 0, NOSUID),
	ATTR_REC("rsymfollow", 0, NOSYMFOLLOW),
	PROP("runbindable", MS_UNBINDABLE, true),
	ATTR("rw", 0, RDONLY),
	PROP("shared", MS_SHARED, false),
	IGNORED("silent"),
	PROP("slave", MS_SLAVE, false),
	EXTENSION("src-nofollow", MOPT_EXT_SRC_NOFOLLOW),
	ATTR("strictatime", MOUNT_ATTR_STRICTATIME, ATIME),
	ATTR("suid", 0, NOSUID),
	ATTR("symfollow", 0, NOSYMFOLLOW),
	SB("sync", MS_SYNCHRONOUS),
	{ "tmpcopyup", MOPT_TMPCOPYUP, 0, 0, false },
	PROP("unbindable", MS_UNBINDABLE, false),
};
const size_t mount_opts_n = ARRAY_SIZE(mount_opts);

const struct mount_opt *mount_opt_find(const char *name, size_t len)
{
	for (size_t i = 0; i < mount_opts_n; i++)
		if (mount_opts[i].name[0] == *name && strncmp(mount_opts[i].name, name, len) == 0 &&
		    !mount_opts[i].name[len])
			return &mount_opts[i];
	return NULL;
}
