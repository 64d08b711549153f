#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "vm/cache.h"
#include "vm/cpio.h"
#include "vm/kernels.h"
#include "vm/modules.h"

#define AGENT	   "bailey-agent"
#define LAYOUT	   "1" /* counts up when make_archive() makes something else of the same files */
#define DEP_MAX	   (16u << 20)
#define CONFIG_MAX (4u << 20)
#define INITRD_MAX (512u << 20)
#define PAGE	   4096u /* the monitor maps whole pages of the file */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* What the archive is made of. */
struct sources {
	const struct vm_kernel *kernel;
	enum vm_disks disks;
	int agent;
	char *agent_path;
};

static void sources_free(struct sources *s)
{
	closep(&s->agent);
	free(s->agent_path);
}

static int find_agent(const char *program_dir, struct sources *s, struct err *e)
{
	static const char *const places[] = { AGENT, "../libexec/bailey/" AGENT };

	for (size_t i = 0; program_dir && i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", program_dir, places[i]);

		s->agent = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (s->agent < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue;
		if (s->agent < 0)
			return err_errno(e, errno, "open the guest's agent %s", path);
		s->agent_path = steal_ptr(path);
		return 0;
	}
	return err_set(e, ENOENT,
	    "the guest's agent, " AGENT ", is neither in %s nor in %s/../libexec/bailey: is bailey "
	    "installed as a whole (make install)?",
	    program_dir ? program_dir : ".", program_dir ? program_dir : ".");
}

/* ---- modules ---- */

/* The text of the kernel's configuration; NULL: not found. */
static char *kernel_config(const struct vm_kernel *k)
{
	const char *slash = strrchr(k->path, '/');
	_cleanup_free_ char *beside = xasprintf("%.*s/config-%s",
	    slash ? (int)(slash - k->path) : 1, slash ? k->path : ".", k->release);
	char *text = NULL;
	struct err e = ERR_INIT;

	if (file_read(k->modules, "config", CONFIG_MAX, &text, NULL, &e) == 0 ||
	    file_read(AT_FDCWD, beside, CONFIG_MAX, &text, NULL, &e) == 0)
		return text;
	return NULL;
}

/* A compressed module that the kernel would refuse. Where nothing tells, the guest finds out. */
static int check_compression(const struct vm_kernel *k, char *const *files, struct err *e)
{
	_cleanup_free_ char *config = NULL;

	for (size_t i = 0; files && files[i]; i++) {
		const char *how = module_compression(files[i]);

		if (!*how)
			continue;
		if (!config)
			config = kernel_config(k);
		if (config && !modules_kernel_decompresses(config, how))
			return err_set(e, EOPNOTSUPP,
			    "kernel %s: %s/%s is compressed (%s), which this kernel cannot load by "
			    "itself (CONFIG_MODULE_DECOMPRESS); use another kernel, or make "
			    "guest-kernel",
			    k->release, k->modules_path, files[i], how);
	}
	return 0;
}

static int find_modules(const struct sources *s, char ***ret, struct err *e)
{
	_cleanup_free_ char *dep = NULL, *builtin = NULL;
	_cleanup_strv_ char **files = NULL;
	const struct vm_kernel *k = s->kernel;
	const struct module_wanted *wanted;
	size_t n;
	int r;

	wanted = modules_wanted(s->disks, &n);
	r = file_read(k->modules, "modules.dep", DEP_MAX, &dep, NULL, e);
	if (r == 0)
		r = file_read(k->modules, "modules.builtin", DEP_MAX, &builtin, NULL, e);
	if (r < 0)
		return err_wrap(e, "%s", k->modules_path);
	r = modules_closure(k->release, dep, builtin, wanted, n, &files, e);
	if (r == 0)
		r = check_compression(k, files, e);
	if (r == 0)
		*ret = steal_ptr(files);
	return r;
}

/* /modules/NAME, and a line in the list. */
static int add_module(
    struct cpio *c, const struct vm_kernel *k, const char *file, struct strbuf *list, struct err *e)
{
	_cleanup_free_ char *name = NULL, *what = path_join(k->modules_path, file);
	_cleanup_close_ int fd = root_open(k->modules, file, O_RDONLY | O_NONBLOCK, 0);
	const char *slash = strrchr(file, '/');

	if (fd < 0)
		return err_errno(e, -fd, "kernel %s: open %s", k->release, what);
	slash = slash ? slash + 1 : file;
	strbuf_addf(list, "%s\n", slash);
	name = xasprintf("modules/%s", slash);
	return cpio_file(c, name, 0600, fd, what, e);
}

static int add_modules(struct cpio *c, const struct sources *s, struct err *e)
{
	_cleanup_strv_ char **files = NULL;
	_cleanup_strbuf_ struct strbuf list = { 0 };
	int r = find_modules(s, &files, e);

	for (size_t i = 0; r == 0 && files && files[i]; i++)
		r = add_module(c, s->kernel, files[i], &list, e);
	/* Even if empty: what a user's initrd brings is not for a kernel whose modules are known.
	 */
	if (r == 0)
		r = cpio_text(c, "modules/list", 0600, list.s ? list.s : "", e);
	return r;
}

/* ---- archive ---- */

static int make_archive(int fd, const char *path, void *arg, struct err *e)
{
	static const char *const directories[] = { "dev", "proc", "sys", "run", "modules" };
	const struct sources *s = arg;
	struct cpio c = { .fd = fd, .path = path };
	off_t at = lseek(fd, 0, SEEK_END);
	int r = 0;

	if (at < 0)
		return err_errno(e, errno, "seek in %s", path);
	c.size = (uint64_t)at;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++)
		r = cpio_directory(&c, directories[i], 0755, e);
	/* The kernel opens it for /init before anything is mounted. */
	if (r == 0)
		r = cpio_chardev(&c, "dev/console", 0600, 5, 1, e);
	if (r == 0)
		r = cpio_file(&c, "init", 0755, s->agent, s->agent_path, e);
	if (r == 0 && s->kernel->modules >= 0)
		r = add_modules(&c, s, e);
	return r < 0 ? r : cpio_end(&c, PAGE, e);
}

/* Device, inode, size and time of the last change: whoever replaces or writes a file alters one. */
static int add_identity(int dirfd, const char *name, struct strbuf *key, struct err *e)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_EMPTY_PATH) < 0)
		return err_errno(e, errno, "stat %s", *name ? name : AGENT);
	strbuf_addf(key, "-%jx.%jx.%jx.%jx.%lx", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
	    (uintmax_t)st.st_size, (uintmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	return 0;
}

static int cache_name(const struct sources *s, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf key = { 0 };
	static const char *const suffixes[] = { "", "-image", "-scratch" };
	bool modules = s->kernel->modules >= 0;
	int r;

	strbuf_addf(&key, "initramfs-" LAYOUT "-%s%s", modules ? s->kernel->release : "none",
	    modules ? suffixes[s->disks] : "");
	r = add_identity(s->agent, "", &key, e);
	if (r == 0 && modules)
		r = add_identity(s->kernel->modules, "modules.dep", &key, e);
	if (r == 0)
		*ret = strbuf_steal(&key);
	return r;
}

/* 1: *ret_fd; 0: there is no cache to be used. */
static int from_cache(const struct vm_places *places, struct sources *s, int *ret_fd, struct err *e)
{
	_cleanup_cache_ struct cache cache = CACHE_NONE;
	_cleanup_free_ char *name = NULL;
	struct err why = ERR_INIT;
	int r = cache_open(places->cache, places->rootless, &cache, e);

	if (r < 0 || cache.fd < 0)
		return r;
	r = cache_name(s, &name, e);
	if (r < 0)
		return r;
	/* Sources that cannot be read fail once more, and finally, in memory. */
	if (cache_make(&cache, name, make_archive, s, ret_fd, &why) == 0)
		return 1;
	log_debug("initramfs: not cached: %s", why.msg);
	return 0;
}

/* ---- with a user's initrd ---- */

/* What the kernel's unpacker begins with: cpio, or what it can decompress. */
static bool is_initramfs(const uint8_t *s, size_t n)
{
	static const struct {
		const char *s;
		size_t n;
	} magics[] = {
		{ "070701", 6 },
		{ "070702", 6 },
		{ "\x1f\x8b", 2 },
		{ "\x28\xb5\x2f\xfd", 4 },
		{ "\xfd\x37zXZ", 6 },
		{ "\x5d\0\0", 3 },
		{ "BZh", 3 },
		{ "\x89LZO", 4 },
		{ "\x02\x21\x4c\x18", 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (n >= magics[i].n && memcmp(s, magics[i].s, magics[i].n) == 0)
			return true;
	return false;
}

/* Puts the file at path in front, padded as the kernel's unpacker demands. */
static int put_initrd(int to, const char *path, struct err *e)
{
	struct cpio c = { .fd = to, .path = "initramfs" };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	uint8_t magic[8];
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, errno, "open the initrd %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size > INITRD_MAX)
		return err_set(e, EINVAL, "initrd %s: must be a regular file of at most %u MiB",
		    path, INITRD_MAX >> 20);
	n = pread(fd, magic, sizeof(magic), 0);
	if (n < 0)
		return err_errno(e, errno, "read the initrd %s", path);
	if (!is_initramfs(magic, (size_t)n))
		return err_set(e, EINVAL,
		    "initrd %s: no initramfs: neither a cpio archive nor compressed by gzip, xz, "
		    "zstd, lz4, lzo, lzma or bzip2",
		    path);
	r = cpio_copy(&c, fd, (uint64_t)st.st_size, path, e);
	return r < 0 ? r : cpio_pad(&c, 4, e);
}

static int in_memory(const struct vm_places *places, struct sources *s, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("bailey-initramfs", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	char path[FD_PATH_MAX];
	int r = 0;

	/* Linux before 6.3 does not know the flag. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("bailey-initramfs", MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "memfd_create for the initramfs");
	if (places->initrd)
		r = put_initrd(fd, places->initrd, e);
	if (r == 0)
		r = make_archive(fd, "initramfs", s, e);
	if (r < 0)
		return r;
	*ret_fd = open(fd_path(fd, path), O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_errno(e, errno, "open %s", path) : 0;
}

int vm_initramfs(const struct vm_places *places, const struct vm_kernel *k, int *ret_fd,
    uint64_t *ret_size, struct err *e)
{
	_cleanup_(sources_free) struct sources s = {
		.kernel = k, .disks = places->disks, .agent = -EBADF
	};
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r = find_agent(places->program_dir, &s, e);

	if (r == 0 && !places->initrd)
		r = from_cache(places, &s, &fd, e);
	if (r == 0)
		r = in_memory(places, &s, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "stat the initramfs");
	*ret_fd = steal_fd(&fd);
	*ret_size = (uint64_t)st.st_size;
	return 0;
}
