#include "vm/jail.h"

#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "security/security.h"

/*
 * All of them count in the container's user namespace and for what the export tree shows: they are
 * what a process of the container's root could do to its own files without the machine. The guest's
 * kernel has checked permissions before a request comes; the host must not do it again with other
 * ids.
 */
const struct vm_jail_cap vm_jail_caps[] = {
	{ CAP_CHOWN, "chown in the guest, and giving what is made to who asked for it" },
	{ CAP_DAC_OVERRIDE, "files of every owner are served; the guest has checked the mode" },
	{ CAP_FOWNER, "chmod, utimes and sticky directories of every owner" },
	{ CAP_FSETID, "set-group-id bits stay as the guest's kernel decides" },
	{ CAP_SETFCAP, "file capabilities, as package managers write them" },
	{ CAP_SETUID, "a file is made with the id of who asked for it" },
	{ CAP_SETGID, "the same for its group" },
	{ CAP_MKNOD, "nodes and whiteouts of image builds; the cgroup's device rules hold" },
	{ 0, NULL },
};

static bool jailed;

static uint64_t kept_caps(void)
{
	uint64_t set = 0;

	for (const struct vm_jail_cap *c = vm_jail_caps; c->why; c++)
		set |= UINT64_C(1) << c->cap;
	return set;
}

static bool has_none(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &head, data) == 0 && !(data[0].permitted | data[1].permitted);
}

/* The bounding set is about what execve may give: to an ordinary user's process, which cannot
 * reduce it, no_new_privs lets it give nothing. */
static int drop_caps(uint64_t keep, struct err *e)
{
	const struct spec_caps caps = {
		.has = true, .bounding = keep, .permitted = keep, .effective = keep
	};
	int r = keep == 0 && has_none() ? 0 : caps_drop_bounding(&caps, e);

	return r < 0 ? r : caps_apply(&caps, e);
}

int vm_jail_process(bool keep_caps, struct err *e)
{
	const struct rlimit no_core = { 0, 0 };
	struct rlimit files;
	int r = jail_compile(e);

	if (r < 0)
		return r;
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return err_errno(e, errno, "jail: turn core dumps off");
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(e, errno, "jail: limit of open files");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(e, errno, "jail: raise the limit of open files");
	r = drop_caps(keep_caps ? kept_caps() : 0, e);
	if (r < 0)
		return err_wrap(e, "jail");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "jail: set no_new_privs");
	jailed = true;
	return 0;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int vm_jail_close_others(const int *keep, size_t n, struct err *e)
{
	_cleanup_free_ int *sorted = xcalloc(n + 1, sizeof(int));
	unsigned next = 3;

	if (n)
		memcpy(sorted, keep, n * sizeof(int));
	qsort(sorted, n, sizeof(int), compare_fds);
	for (size_t i = 0; i < n; i++) {
		unsigned fd = (unsigned)sorted[i];

		if (sorted[i] < 0 || fd < next)
			continue; /* none, a standard stream, or named twice */
		if (fd > next && close_range(next, fd - 1, 0) < 0)
			return err_errno(e, errno, "jail: close_range");
		next = fd + 1;
	}
	if (close_range(next, ~0u, 0) < 0)
		return err_errno(e, errno, "jail: close_range");
	return 0;
}

int vm_jail_thread(enum vm_thread kind, struct err *e)
{
	int r;

	if (!jailed)
		return 0;
	/* Capabilities are a thread's own: only who serves files needs some. */
	if (kind != VM_THREAD_FS) {
		static const struct spec_caps none = { .has = true };

		r = caps_apply(&none, e);
		if (r < 0)
			return err_wrap(e, "jail");
	}
	return jail_install(kind, e);
}
