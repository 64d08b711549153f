#include "runtime/seal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SEALS	   (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SEAL_TRIES 20
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

static bool runs_sealed(int exe)
{
	int seals = fcntl(exe, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS;
}

/* MFD_EXEC is new in 6.3, and demanded by kernels whose vm.memfd_noexec is set. */
static int make_memfd(void)
{
	int fd = memfd_create("bailey", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("bailey", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

static int copy_all(int to, int from, off_t size)
{
	while (size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		size -= n;
	}
	return 0;
}

/* -EBUSY: somebody holds a page of it, reclaim or migration for example. The kernel waits 150 ms
 * for that, and on a busy machine it takes longer. */
static int seal(int copy)
{
	int r = -EBUSY;

	for (int i = 0; i < SEAL_TRIES && r == -EBUSY; i++)
		r = fcntl(copy, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
	return r;
}

/* An unreadable or foreign file is an error of its own: executed, it would be another program. */
static int make_copy(int exe, int *ret, struct err *e)
{
	_cleanup_close_ int copy = make_memfd();
	struct stat st;
	int r;

	if (copy < 0)
		return err_errno(e, errno, "memfd_create for the sealed copy");
	if (fstat(exe, &st) < 0)
		return err_errno(e, errno, "stat /proc/self/exe");
	r = copy_all(copy, exe, st.st_size);
	if (r < 0)
		return err_errno(e, -r, "copy /proc/self/exe");
	r = seal(copy);
	if (r < 0)
		return err_errno(e, -r, "seal the copy of /proc/self/exe");
	if (!seal_is_this_program(copy))
		return err_set(e, ENOEXEC,
		    "/proc/self/exe is not this program: execute it by its name, not as a dynamic "
		    "linker's argument");
	*ret = steal_fd(&copy);
	return 0;
}

int seal_self(char **argv, struct err *e)
{
	_cleanup_close_ int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int copy = -EBADF;
	int r;

	if (exe < 0)
		return err_errno(e, errno, "open /proc/self/exe");
	if (runs_sealed(exe))
		return 0;
	r = make_copy(exe, &copy, e);
	if (r < 0)
		return r;
	r = seal_in_place(copy);
	if (r == 0)
		return 0;
	log_debug("sealed copy: not in place (%s), executed instead", strerror(-r));
	/* What memfd_create opened does not count as open for writing (ETXTBSY). */
	fexecve(copy, argv, environ);
	return err_errno(e, errno, "execute the sealed copy");
}
