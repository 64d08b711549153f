#include "vm/modules.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

/*
 * In load order where modules.dep does not tell it: crc32c is asked for by name (libcrc32c, which
 * erofs needs, fails without it). The last ones are for disks; ext4 alone takes as long to load as
 * all the others.
 */
static const struct module_wanted wanted_modules[] = {
	{ "virtio_mmio", false },
	{ "virtio_console", false },
	{ "virtiofs", false },
	{ "virtio_net", false },
	{ "virtio_rng", true },
	{ "virtio_balloon", true },
	{ "overlay", true },
	{ "tun", true },
	{ "virtio_blk", false },
	{ "crc32c_generic", true },
	{ "erofs", false },
	{ "ext4", false },
};

/* How many of the last are not needed. */
static const size_t not_for[] = {
	[VM_DISKS_NONE] = 4,
	[VM_DISKS_IMAGE] = 1,
	[VM_DISKS_SCRATCH] = 0,
};

const struct module_wanted *modules_wanted(enum vm_disks disks, size_t *ret_n)
{
	*ret_n = ARRAY_SIZE(wanted_modules) - not_for[disks];
	return wanted_modules;
}

/* A field of a line: not NUL-terminated. */
struct word {
	const char *s;
	size_t n;
};

static const char *line_end(const char *s)
{
	const char *nl = strchr(s, '\n');

	return nl ? nl : s + strlen(s);
}

static struct word base_name(struct word path)
{
	const char *slash = memrchr(path.s, '/', path.n);

	if (slash) {
		path.n -= (size_t)(slash + 1 - path.s);
		path.s = slash + 1;
	}
	return path;
}

/* Is path the file of the module name, whatever its compression? "-" and "_" are the same. */
static bool is_module(struct word path, const char *name)
{
	struct word base = base_name(path);
	size_t n = strlen(name);

	if (base.n < n + 3 || memcmp(base.s + n, ".ko", 3) != 0)
		return false;
	if (base.n > n + 3 && base.s[n + 3] != '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if ((base.s[i] == '-' ? '_' : base.s[i]) != name[i])
			return false;
	return true;
}

const char *module_compression(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *ko = strstr(slash ? slash : path, ".ko");

	if (!ko)
		return NULL;
	if (!ko[3])
		return "";
	if (streq(ko + 3, ".gz") || streq(ko + 3, ".xz") || streq(ko + 3, ".zst"))
		return ko + 4;
	return NULL;
}

/* One line of modules.builtin names each. */
static bool is_builtin(const char *builtin, const char *name)
{
	for (const char *s = builtin, *end; *s; s = *end ? end + 1 : end) {
		end = line_end(s);
		if (is_module((struct word){ s, (size_t)(end - s) }, name))
			return true;
	}
	return false;
}

/* "PATH: DEPENDENCY…" of the module; false: no such line. */
static bool find_line(const char *dep, const char *name, struct word *path, struct word *deps)
{
	for (const char *s = dep, *end; *s; s = *end ? end + 1 : end) {
		const char *colon;

		end = line_end(s);
		colon = memchr(s, ':', (size_t)(end - s));
		if (!colon)
			continue;
		*path = (struct word){ s, (size_t)(colon - s) };
		*deps = (struct word){ colon + 1, (size_t)(end - colon - 1) };
		if (is_module(*path, name))
			return true;
	}
	return false;
}

/* A path that stays below the modules' directory and names a module. */
static bool valid_path(const char *path)
{
	_cleanup_strv_ char **parts = strv_split(path, '/');

	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return *path && *path != '/' && strlen(path) < 1024 && !strv_contains(parts, "..") &&
	       module_compression(path);
}

static int add(const char *release, struct word path, char ***list, struct err *e)
{
	_cleanup_free_ char *s = xstrndup(path.s, path.n);

	if (strv_contains(*list, s))
		return 0;
	if (!valid_path(s))
		return err_set(e, EINVAL,
		    "kernel %s: modules.dep names no module of its directory: run depmod %s",
		    release, release);
	if (strv_len(*list) == MODULES_MAX)
		return err_set(e, EINVAL,
		    "kernel %s: modules.dep wants more than %d modules: run depmod %s", release,
		    MODULES_MAX, release);
	strv_push(list, steal_ptr(s));
	return 0;
}

/* depmod lists all that a module needs, directly or not, what is to be loaded first at the end. */
static int add_with_deps(
    const char *release, struct word path, struct word deps, char ***list, struct err *e)
{
	int r;

	while (deps.n > 0) {
		const char *blank = memrchr(deps.s, ' ', deps.n);
		const char *last = blank ? blank + 1 : deps.s;
		struct word one = { last, deps.n - (size_t)(last - deps.s) };

		deps.n = blank ? (size_t)(blank - deps.s) : 0;
		if (one.n == 0)
			continue;
		r = add(release, one, list, e);
		if (r < 0)
			return r;
	}
	return add(release, path, list, e);
}

int modules_closure(const char *release, const char *dep, const char *builtin,
    const struct module_wanted *wanted, size_t n, char ***ret, struct err *e)
{
	_cleanup_strv_ char **list = NULL;

	for (size_t i = 0; i < n; i++) {
		struct word path, deps;
		int r;

		if (find_line(dep, wanted[i].name, &path, &deps)) {
			r = add_with_deps(release, path, deps, &list, e);
			if (r < 0)
				return r;
		} else if (!wanted[i].optional && !is_builtin(builtin, wanted[i].name)) {
			return err_set(e, ENOENT,
			    "kernel %s has no %s: it is neither in modules.dep nor in "
			    "modules.builtin; a guest needs it (make guest-kernel builds a kernel "
			    "that has all)",
			    release, wanted[i].name);
		}
	}
	*ret = steal_ptr(list);
	return 0;
}

static bool config_has(const char *config, const char *option)
{
	for (const char *s = config, *end; *s; s = *end ? end + 1 : end) {
		end = line_end(s);
		if ((size_t)(end - s) == strlen(option) && startswith(s, option))
			return true;
	}
	return false;
}

bool modules_kernel_decompresses(const char *config, const char *compression)
{
	static const struct {
		const char *compression, *option;
	} table[] = {
		{ "gz", "CONFIG_MODULE_COMPRESS_GZIP=y" },
		{ "xz", "CONFIG_MODULE_COMPRESS_XZ=y" },
		{ "zst", "CONFIG_MODULE_COMPRESS_ZSTD=y" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (streq(compression, table[i].compression))
			return config_has(config, "CONFIG_MODULE_DECOMPRESS=y") &&
			       config_has(config, table[i].option);
	return false;
}
