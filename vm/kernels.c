#include "vm/kernels.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#define CONFIG_MAX (4u << 20)
#define REMEDY                                                                                \
	"build one with make guest-kernel, install a kernel package (linux-image-amd64), or " \
	"name one in vm.kernel.path"

void vm_kernel_free(struct vm_kernel *k)
{
	closep(&k->fd);
	closep(&k->modules);
	free(k->path);
	free(k->release);
	free(k->modules_path);
	*k = (struct vm_kernel)VM_KERNEL_NONE;
}

/* A regular file; nothing else is waited for or read from. Returns fd or -errno. */
static int open_regular(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	return steal_fd(&fd);
}

/* Sets modules where /lib/modules/RELEASE has a modules.dep. */
static void find_modules(const struct vm_places *places, struct vm_kernel *k)
{
	_cleanup_free_ char *path =
	    xasprintf("%s/lib/modules/%s", places->root ? places->root : "", k->release);
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || faccessat(fd, "modules.dep", R_OK, AT_EACCESS) < 0)
		return;
	k->modules = steal_fd(&fd);
	k->modules_path = steal_ptr(path);
}

/* ---- 1: named ---- */

static int named_kernel(const struct vm_places *places, struct vm_kernel *k, struct err *e)
{
	int r;

	k->path = xstrdup(places->kernel);
	k->fd = open_regular(k->path);
	if (k->fd < 0)
		return err_errno(e, -k->fd, "open the kernel %s", k->path);
	r = kernel_file_identify(k->fd, k->path, &k->format, &k->release, e);
	if (r < 0)
		return r;
	find_modules(places, k);
	if (k->modules < 0)
		log_debug("kernel %s: no modules of %s, all is taken to be built in", k->path,
		    k->release);
	return 0;
}

/* ---- 2: of make guest-kernel ---- */

/* tools/guest-kernel leaves the release beside the kernel: no search through an ELF file. */
static char *release_beside(const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/release", dir), *s = NULL;

	if (kfile_read(AT_FDCWD, path, &s) < 0 || !kernel_release_valid(s))
		return NULL;
	return steal_ptr(s);
}

/* 1: found, 0: none in dir. One that is there and cannot be used is an error. */
static int guest_kernel_in(const char *dir, struct vm_kernel *k, struct err *e)
{
	static const char *const names[] = { "vmlinux", "bzImage" };
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, names[i]);

		k->fd = open_regular(path);
		if (k->fd == -ENOENT || k->fd == -ENOTDIR)
			continue;
		if (k->fd < 0)
			return err_errno(e, -k->fd, "open the kernel %s", path);
		k->path = steal_ptr(path);
		k->release = release_beside(dir);
		r = kernel_file_identify(
		    k->fd, k->path, &k->format, k->release ? NULL : &k->release, e);
		return r < 0 ? r : 1;
	}
	return 0;
}

static int guest_kernel(const struct vm_places *places, struct vm_kernel *k, struct err *e)
{
	static const char *const dirs[] = { "guest", "../lib/bailey/guest" };
	int r = 0;

	for (size_t i = 0; places->program_dir && i < ARRAY_SIZE(dirs) && r == 0; i++) {
		_cleanup_free_ char *dir = xasprintf("%s/%s", places->program_dir, dirs[i]);

		r = guest_kernel_in(dir, k, e);
	}
	return r;
}

/* ---- 3: of the distribution ---- */

/* By the configuration that distributions install beside the kernel. */
static bool takes_no_modules(const char *boot, const char *release)
{
	_cleanup_free_ char *path = xasprintf("%s/config-%s", boot, release), *text = NULL;
	struct err e = ERR_INIT;

	return file_read(AT_FDCWD, path, CONFIG_MAX, &text, NULL, &e) == 0 &&
	       strstr(text, "\n# CONFIG_MODULES is not set\n");
}

/* The kernel in that file of /boot, if a machine can be booted with it. */
static int boot_kernel(const struct vm_places *places, const char *boot, const char *name,
    struct vm_kernel *k, struct err *e)
{
	int r;

	k->path = xasprintf("%s/%s", boot, name);
	k->fd = open_regular(k->path);
	if (k->fd < 0)
		return err_errno(e, -k->fd, "open %s", k->path);
	r = kernel_file_identify(k->fd, k->path, &k->format, &k->release, e);
	if (r < 0)
		return r;
	find_modules(places, k);
	if (k->modules < 0 && !takes_no_modules(boot, k->release))
		return err_set(e, ENOENT, "%s: there is no readable /lib/modules/%s/modules.dep",
		    k->path, k->release);
	return 0;
}

/* Is a to be preferred? Of two names for one kernel that is vmlinuz-RELEASE. */
static bool newer(const struct vm_kernel *a, const struct vm_kernel *b)
{
	int c = b->release ? strverscmp(a->release, b->release) : 1;

	return c > 0 || (c == 0 && endswith(a->path, a->release) && !endswith(b->path, b->release));
}

/* Fills *best; unusable counts what was passed over, the last reason of which stays in why. */
static void newest_in_boot(const struct vm_places *places, const char *boot, struct vm_kernel *best,
    unsigned *unusable, struct err *why)
{
	_cleanup_closedir_ DIR *d = opendir(boot);

	if (!d) {
		err_errno(why, errno, "read %s", boot);
		return;
	}
	for (struct dirent *de; (de = readdir(d));) {
		_cleanup_vm_kernel_ struct vm_kernel k = VM_KERNEL_NONE;
		struct err e = ERR_INIT;

		if (!startswith(de->d_name, "vmlinuz-"))
			continue;
		if (boot_kernel(places, boot, de->d_name, &k, &e) < 0) {
			log_debug("kernel passed over: %s", e.msg);
			*why = e;
			++*unusable;
		} else if (newer(&k, best)) {
			struct vm_kernel old = *best;

			*best = k;
			k = old;
		}
	}
}

static int distribution_kernel(const struct vm_places *places, struct vm_kernel *k, struct err *e)
{
	_cleanup_free_ char *boot = xasprintf("%s/boot", places->root ? places->root : "");
	struct err why = ERR_INIT;
	unsigned unusable = 0;

	newest_in_boot(places, boot, k, &unusable, &why);
	if (k->release)
		return 0;
	if (unusable)
		return err_set(e, ENOENT,
		    "no kernel for a virtual machine: %u of %s passed over, the last because %s; "
		    "%s",
		    unusable, boot, why.msg, REMEDY);
	return err_set(e, ENOENT,
	    "no kernel for a virtual machine: no guest/vmlinux, guest/bzImage of make "
	    "guest-kernel, no %s/vmlinuz-*%s%s; %s",
	    boot, why.code ? ": " : "", why.msg, REMEDY);
}

/* ---- all ---- */

int vm_kernel_find(const struct vm_places *places, struct vm_kernel *ret, struct err *e)
{
	_cleanup_vm_kernel_ struct vm_kernel k = VM_KERNEL_NONE;
	int r;

	if (places->kernel) {
		r = named_kernel(places, &k, e);
	} else {
		r = guest_kernel(places, &k, e);
		if (r == 0)
			r = distribution_kernel(places, &k, e);
	}
	if (r < 0)
		return r;
	log_debug("kernel %s: %s, Linux %s, %s", k.path,
	    k.format == VM_KERNEL_ELF ? "ELF" : "bzImage", k.release,
	    k.modules_path ? k.modules_path : "no modules");
	*ret = k;
	k = (struct vm_kernel)VM_KERNEL_NONE;
	return 0;
}
