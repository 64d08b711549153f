#include "base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/sys.h"

#ifndef SELINUX_MAGIC
#define SELINUX_MAGIC 0xf97cff8c
#endif

/* Each probe makes the call in a way that cannot succeed, so that nothing is left behind. */
static int probe_openat2(void)
{
	struct open_how how = { .flags = ~0ULL };

	return sys_openat2(-EBADF, "", &how);
}

static int probe_clone3(void)
{
	/* A cgroup descriptor beyond INT_MAX is refused (EINVAL) by kernels that know the field;
	 * older ones see a longer struct than theirs (E2BIG), which is no CLONE_INTO_CGROUP. */
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .cgroup = UINT64_MAX };
	pid_t r = sys_clone3(&args);

	if (r < 0 && errno == E2BIG)
		errno = ENOSYS;
	return r < 0 ? -1 : 0;
}

static int probe_open_tree(void)
{
	return sys_open_tree(-EBADF, "", ~0U);
}

static int probe_move_mount(void)
{
	return sys_move_mount(-EBADF, "", -EBADF, "", ~0U);
}

static int probe_fsopen(void)
{
	return sys_fsopen(NULL, ~0U);
}

static int probe_fsconfig(void)
{
	return sys_fsconfig(-EBADF, ~0U, NULL, NULL, 0);
}

static int probe_fsmount(void)
{
	return sys_fsmount(-EBADF, ~0U, 0);
}

static int probe_mount_setattr(void)
{
	return sys_mount_setattr(-EBADF, "", ~0U, NULL);
}

static int probe_pidfd_open(void)
{
	return sys_pidfd_open(-1, 0);
}

static int probe_pidfd_send_signal(void)
{
	return sys_pidfd_send_signal(-EBADF, 0);
}

static int probe_close_range(void)
{
	return (int)syscall(SYS_close_range, 1U, 0U, 0U);
}

static const struct {
	const char *name;
	int (*probe)(void);
} required[] = {
	{ "openat2", probe_openat2 },
	{ "clone3", probe_clone3 },
	{ "open_tree", probe_open_tree },
	{ "move_mount", probe_move_mount },
	{ "fsopen", probe_fsopen },
	{ "fsconfig", probe_fsconfig },
	{ "fsmount", probe_fsmount },
	{ "mount_setattr", probe_mount_setattr },
	{ "pidfd_open", probe_pidfd_open },
	{ "pidfd_send_signal", probe_pidfd_send_signal },
	{ "close_range", probe_close_range },
};

/* Does the test that runs us play an older kernel without this call? */
static bool simulated_missing(const char *name)
{
#ifdef BAILEY_TESTING
	const char *list = getenv("BAILEY_TEST_NO_SYSCALL");
	_cleanup_strv_ char **v = list ? strv_split(list, ',') : NULL;

	return v && strv_contains(v, name);
#else
	return false;
#endif
}

int kernel_require(struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		if (!simulated_missing(required[i].name)) {
			if (required[i].probe() == 0 || errno != ENOSYS)
				continue;
		}
		return err_set(e, ENOSYS,
		    "the kernel lacks %s(2), or a seccomp filter of the caller's hides it: bailey "
		    "needs Linux 5.12 or later",
		    required[i].name);
	}
	return 0;
}

bool kernel_has_apparmor(void)
{
	static int known = -1;
	char c = 0;

	if (known < 0) {
		_cleanup_close_ int fd =
		    open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC);
		known = fd >= 0 && read(fd, &c, 1) == 1 && c == 'Y';
	}
	return known;
}

bool kernel_has_selinux(void)
{
	static int known = -1;
	struct statfs st;

	if (known < 0)
		known = statfs("/sys/fs/selinux", &st) == 0 &&
			(unsigned long)st.f_type == SELINUX_MAGIC;
	return known;
}

/* Whole words: there is vmx_flags beside flags, and svm_lock beside svm. */
static bool has_word(const char *at, const char *end, const char *word)
{
	size_t n = strlen(word);

	while (at < end) {
		const char *stop = at;

		while (stop < end && *stop != ' ' && *stop != '\t')
			stop++;
		if ((size_t)(stop - at) == n && memcmp(at, word, n) == 0)
			return true;
		at = stop + 1;
	}
	return false;
}

bool kernel_cpuinfo_has_virtualization(const char *text)
{
	static const char key[] = "flags";
	bool seen = false;

	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *colon = memchr(line, ':', (size_t)(end - line));

		if (colon && startswith(line, key) && strchr(" \t:", line[sizeof(key) - 1])) {
			if (has_word(colon + 1, end, "vmx") || has_word(colon + 1, end, "svm"))
				return true;
			seen = true;
		}
		line = *end ? end + 1 : end;
	}
	return !seen;
}
