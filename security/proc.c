/*
 * Files of one process below a procfs root that the runtime trusts.
 *
 * A container that can put its own files where /proc/self is expected gets to run without its
 * profile (CVE-2019-16884 and its successors). So nothing here follows a symlink, a magic link or a
 * mount, and the starting point must be procfs itself.
 */
#include <ctype.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/sys.h"
#include "security/internal.h"

/* "self" is a symlink, which may not be followed: its text is the caller's number as this procfs
 * shows it. */
static int own_number(int procfd, char buf[24])
{
	ssize_t n = readlinkat(procfd, "self", buf, 23);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)buf[i]))
			return -EPERM;
	return 0;
}

int proc_open(int procfd, pid_t pid, const char *file)
{
	struct open_how how = {
		.flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
		.resolve =
		    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -EBADF;
	char number[24];
	int r;

	if (!fd_is_procfs_root(procfd))
		return -EPERM;
	if (pid > 0)
		snprintf(number, sizeof(number), "%d", pid);
	else if ((r = own_number(procfd, number)) < 0)
		return r;
	path = xasprintf("%s/%s", number, file);
	fd = sys_openat2(procfd, path, &how);
	if (fd < 0)
		return -errno;
	if (!fd_is_procfs(fd))
		return -EPERM;
	return steal_fd(&fd);
}
