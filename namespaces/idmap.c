/* User namespaces that hold nothing but id mappings. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "namespaces/namespaces.h"

/* The child only has to exist until its namespace is open. SIGKILL is not subject to its mask. */
static void end_child(pid_t pid)
{
	int saved = errno;

	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	errno = saved;
}

int userns_new(const struct spec_id_maps *uids, const struct spec_id_maps *gids, struct err *e)
{
	struct clone_args ca = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	char path[48];
	pid_t pid, parent = getpid();
	int fd, r;

	pid = sys_clone3(&ca);
	if (pid < 0)
		return err_errno(e, errno, "make a user namespace for an id-mapped mount");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent && getppid() != 0)
			_exit(0);
		for (;;)
			pause();
	}
	r = userns_write_maps(pid, uids, gids, e);
	if (r < 0) {
		end_child(pid);
		return r;
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = err_errno(e, errno, "open %s", path);
	end_child(pid);
	return fd;
}
