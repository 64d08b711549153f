#include "tests/unit/vm/files.h"
#include "vm/kernels.h"

/* ---- reading an archive, as the kernel does it ---- */

struct entry {
	char *name;
	unsigned mode, size, rdev_major, rdev_minor, nlink;
	const uint8_t *data;
};
struct archive {
	uint8_t *bytes;
	size_t size;
	struct entry v[64];
	unsigned n;
};

static unsigned field(const uint8_t *h, int i)
{
	char s[9] = "";

	memcpy(s, h + 6 + 8 * i, 8);
	return (unsigned)strtoul(s, NULL, 16);
}

static void parse(struct archive *a, size_t at)
{
	while (at + 110 <= a->size && a->n < ARRAY_SIZE(a->v)) {
		const uint8_t *h = a->bytes + at;
		struct entry *x = &a->v[a->n];
		size_t name = field(h, 11), data;

		CHECK_INT(at % 4, 0);
		CHECK_INT(memcmp(h, "070701", 6), 0);
		CHECK(name > 0 && at + 110 + name <= a->size && h[110 + name - 1] == '\0');
		data = (at + 110 + name + 3) & ~(size_t)3;
		*x = (struct entry){ (char *)h + 110, field(h, 1), field(h, 6), field(h, 9),
			field(h, 10), field(h, 4), a->bytes + data };
		at = (data + x->size + 3) & ~(size_t)3;
		CHECK(at <= a->size);
		if (strcmp(x->name, "TRAILER!!!") == 0)
			return;
		a->n++;
	}
	CHECK(!"trailer");
}

static const struct entry *get(const struct archive *a, const char *name)
{
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->v[i].name, name) == 0)
			return &a->v[i];
	return NULL;
}
/* The contents of the file in the archive; "" if it is not there. The caller frees. */
static char *text(const struct archive *a, const char *name)
{
	const struct entry *x = get(a, name);

	return x ? xstrndup((const char *)x->data, x->size) : xstrdup("");
}

/* ---- a host ---- */

static struct err e;
static char *bin, *cache;

static void host(void)
{
	files_begin();
	files_text("bin/bailey-agent", "the agent");
	files_text("cache/.keep", "");
	bin = files_path("bin");
	cache = files_path("cache");
	files_bzimage("boot/vmlinuz-6.1-x", "6.1-x y");
	files_text("lib/modules/6.1-x/modules.dep",
	    "k/virtio_ring.ko:\nk/virtio.ko: k/virtio_ring.ko\n"
	    "k/virtio_mmio.ko: k/virtio.ko k/virtio_ring.ko\n"
	    "k/virtio-rng.ko: k/virtio.ko k/virtio_ring.ko\n");
	files_text("lib/modules/6.1-x/modules.builtin",
	    "k/virtio_console.ko\nk/virtiofs.ko\nk/virtio_net.ko\n");
	files_text("lib/modules/6.1-x/k/virtio_ring.ko", "ring");
	files_text("lib/modules/6.1-x/k/virtio.ko", "virtio");
	files_text("lib/modules/6.1-x/k/virtio_mmio.ko", "mmio");
	files_text("lib/modules/6.1-x/k/virtio-rng.ko", "rng");
}
static void host_end(void)
{
	free(bin);
	free(cache);
	files_end();
}

/* What a machine with the host's kernel gets; a->bytes is freed by the caller. */
static int initramfs(struct vm_places p, struct archive *a, ino_t *ino)
{
	_cleanup_vm_kernel_ struct vm_kernel k = VM_KERNEL_NONE;
	_cleanup_close_ int fd = -1;
	uint64_t size = 0;
	struct stat st;
	size_t n;
	int r;

	p.root = files_dir;
	p.program_dir = bin;
	p.cache = p.cache ? p.cache : cache;
	*a = (struct archive){ 0 };
	e = (struct err)ERR_INIT;
	r = vm_kernel_find(&p, &k, &e);
	if (r == 0)
		r = vm_initramfs(&p, &k, &fd, &size, &e);
	if (r < 0)
		return r;
	CHECK_INT(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	CHECK_INT(lseek(fd, 0, SEEK_CUR), 0);
	CHECK_INT(fd_read_all(fd, 1 << 20, (char **)&a->bytes, &n), 0);
	CHECK_INT(n, size);
	CHECK_INT(n % 4096, 0);
	a->size = n;
	if (ino)
		*ino = fstat(fd, &st) < 0 ? 0 : st.st_ino;
	return 0;
}

TEST(what_is_in_it)
{
	_cleanup_free_ char *list = NULL, *init = NULL, *ring = NULL;
	struct archive a;

	host();
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), 0);
	parse(&a, 0);
	list = text(&a, "modules/list");
	CHECK_STR(list, "virtio_ring.ko\nvirtio.ko\nvirtio_mmio.ko\nvirtio-rng.ko\n");
	init = text(&a, "init");
	CHECK_STR(init, "the agent");
	ring = text(&a, "modules/virtio_ring.ko");
	CHECK_STR(ring, "ring");
	CHECK_INT(a.n, 5 + 1 + 1 + 4 + 1);
	CHECK(get(&a, "init") && get(&a, "init")->mode == (S_IFREG | 0755));
	CHECK(get(&a, "modules") && get(&a, "modules")->mode == (S_IFDIR | 0755));
	CHECK(get(&a, "dev/console") && get(&a, "dev/console")->mode == (S_IFCHR | 0600) &&
	      get(&a, "dev/console")->rdev_major == 5 && get(&a, "dev/console")->rdev_minor == 1);
	free(a.bytes);
	host_end();
}

TEST(made_once_per_contents)
{
	ino_t first = 0, second = 0, third = 0, fourth = 0;
	_cleanup_free_ char *init = NULL, *new = NULL, *agent = NULL;
	struct archive a;

	host();
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, &first), 0);
	free(a.bytes);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, &second), 0);
	free(a.bytes);
	CHECK(first && first == second);
	/* As an upgrade replaces it. */
	new = files_path("bin/new");
	agent = files_path("bin/bailey-agent");
	files_text("bin/new", "the other");
	CHECK_INT(rename(new, agent), 0);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, &third), 0);
	CHECK(third != second);
	parse(&a, 0);
	init = text(&a, "init");
	CHECK_STR(init, "the other");
	free(a.bytes);
	files_text("lib/modules/6.1-x/modules.builtin", "k/virtio_mmio.ko\n");
	files_text("lib/modules/6.1-x/modules.dep",
	    "k/virtio_console.ko:\nk/virtiofs.ko:\nk/virtio_net.ko:\n");
	for (const char *const *m =
		 (const char *const[]){ "virtio_console", "virtiofs", "virtio_net", NULL };
	     *m; m++) {
		_cleanup_free_ char *file = xasprintf("lib/modules/6.1-x/k/%s.ko", *m);

		files_text(file, *m);
	}
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, &fourth), 0);
	CHECK(fourth != third);
	free(a.bytes);
	/* Disks make another, which needs their driver. */
	CHECK_INT(initramfs((struct vm_places){ .disks = VM_DISKS_SCRATCH }, &a, NULL), -ENOENT);
	CHECK_HAS(e.msg, "has no virtio_blk");
	host_end();
}

TEST(without_cache)
{
	struct vm_places p = { .cache = "/proc/none" };
	struct archive a, b;

	host();
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), 0);
	CHECK_INT(initramfs(p, &b, NULL), 0);
	CHECK(a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0);
	free(b.bytes);
	/* One that is not to be trusted ends the matter. */
	chmod(cache, 0777);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &b, NULL), -EPERM);
	CHECK_HAS(e.msg, "others may write");
	free(a.bytes);
	host_end();
}

TEST(missing_things)
{
	_cleanup_free_ char *agent = NULL, *module = NULL;
	struct archive a;

	host();
	agent = files_path("bin/bailey-agent");
	module = files_path("lib/modules/6.1-x/k/virtio.ko");
	unlink(module);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -ENOENT);
	CHECK_HAS(e.msg, "kernel 6.1-x: open ");
	CHECK_HAS(e.msg, "/lib/modules/6.1-x/k/virtio.ko");
	CHECK_INT(symlink("/etc/passwd", module), 0);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -ENOENT);
	unlink(module);
	mkdir(module, 0755);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -EINVAL);
	CHECK_HAS(e.msg, "no regular file");
	files_text("lib/modules/6.1-x/modules.builtin", "k/virtiofs.ko\nk/virtio_net.ko\n");
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -ENOENT);
	CHECK_HAS(e.msg, "kernel 6.1-x has no virtio_console");
	unlink(agent);
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -ENOENT);
	CHECK_HAS(e.msg, "agent");
	/* Where it is installed. */
	files_text("libexec/bailey/bailey-agent", "the agent");
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -ENOENT);
	CHECK_HAS(e.msg, "virtio_console");
	host_end();
}

TEST(compressed_modules)
{
	_cleanup_free_ char *list = NULL;
	struct archive a;

	host();
	files_text("lib/modules/6.1-x/modules.dep", "k/virtio_mmio.ko.xz:\n");
	files_text("lib/modules/6.1-x/k/virtio_mmio.ko.xz", "xz");
	/* Nothing says that it cannot. */
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), 0);
	parse(&a, 0);
	list = text(&a, "modules/list");
	CHECK_STR(list, "virtio_mmio.ko.xz\n");
	free(a.bytes);
	files_text("lib/modules/6.1-x/modules.dep", "\nk/virtio_mmio.ko.xz:\n");
	files_text("boot/config-6.1-x", "CONFIG_MODULE_COMPRESS_XZ=y\n");
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), -EOPNOTSUPP);
	CHECK_HAS(e.msg, "k/virtio_mmio.ko.xz is compressed (xz)");
	files_text(
	    "boot/config-6.1-x", "CONFIG_MODULE_COMPRESS_XZ=y\nCONFIG_MODULE_DECOMPRESS=y\n");
	CHECK_INT(initramfs((struct vm_places){ 0 }, &a, NULL), 0);
	free(a.bytes);
	host_end();
}

/* The user's archive comes first and whole, ours over it: the agent stays /init. */
TEST(with_an_initrd)
{
	_cleanup_free_ char *path = NULL;
	struct vm_places p = { 0 };
	struct archive a;

	host();
	p.initrd = path = files_path("initrd");
	files_text("initrd", "070701...");
	CHECK_INT(initramfs(p, &a, NULL), 0);
	CHECK_INT(memcmp(a.bytes,
		      "070701...\0\0\0"
		      "070701",
		      18),
	    0);
	parse(&a, 12);
	CHECK(get(&a, "init") != NULL);
	CHECK(get(&a, "modules/list") != NULL);
	free(a.bytes);
	files_text("initrd", "\x1f\x8bxx");
	CHECK_INT(initramfs(p, &a, NULL), 0);
	parse(&a, 4);
	free(a.bytes);
	files_text("initrd", "#!/bin/sh");
	CHECK_INT(initramfs(p, &a, NULL), -EINVAL);
	CHECK_HAS(e.msg, "no initramfs");
	p.initrd = files_dir;
	CHECK_INT(initramfs(p, &a, NULL), -EINVAL);
	CHECK_HAS(e.msg, "regular file");
	p.initrd = "/none";
	CHECK_INT(initramfs(p, &a, NULL), -ENOENT);
	host_end();
}

TEST_MAIN(T(what_is_in_it), T(made_once_per_contents), T(without_cache), T(missing_things),
    T(compressed_modules), T(with_an_initrd))
