#include "vm/modules.h"

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/test.h"

static const struct module_wanted some[] = {
	{ "virtio_mmio", false },
	{ "virtiofs", false },
	{ "virtio_rng", true },
	{ "ext4", true },
};
static struct err e;

/* The files, joined by blanks; NULL: refused. */
static char *closure(const char *dep, const char *builtin)
{
	_cleanup_strv_ char **v = NULL;
	_cleanup_strbuf_ struct strbuf b = { 0 };

	e = (struct err)ERR_INIT;
	if (modules_closure("6.1-x", dep, builtin, some, ARRAY_SIZE(some), &v, &e) < 0)
		return NULL;
	for (size_t i = 0; v && v[i]; i++)
		strbuf_addf(&b, "%s%s", i ? " " : "", v[i]);
	return strbuf_steal(&b);
}
#define CHECK_CLOSURE(dep, builtin, want)                          \
	do {                                                       \
		_cleanup_free_ char *got_ = closure(dep, builtin); \
		CHECK_STR(got_, want);                             \
	} while (0)
#define CHECK_REFUSED(dep, builtin, code_, text)                   \
	do {                                                       \
		_cleanup_free_ char *got_ = closure(dep, builtin); \
		CHECK(!got_);                                      \
		CHECK_INT(e.code, code_);                          \
		CHECK_HAS(e.msg, text);                            \
	} while (0)

TEST(dependencies_first_none_twice)
{
	CHECK_CLOSURE("k/a/virtio_mmio.ko: k/a/virtio.ko k/a/virtio_ring.ko\n"
		      "k/a/virtio.ko: k/a/virtio_ring.ko\n"
		      "k/a/virtio_ring.ko:\n"
		      "k/c/virtio-rng.ko: k/a/virtio.ko k/a/virtio_ring.ko\n"
		      "k/f/fuse.ko:\n"
		      "k/f/virtiofs.ko: k/a/virtio.ko k/a/virtio_ring.ko k/f/fuse.ko\n",
	    "",
	    "k/a/virtio_ring.ko k/a/virtio.ko k/a/virtio_mmio.ko k/f/fuse.ko k/f/virtiofs.ko "
	    "k/c/virtio-rng.ko");
}

TEST(built_in_and_optional_ones)
{
	CHECK_CLOSURE("k/virtiofs.ko.xz: k/fuse.ko.xz\n", "k/x/virtio_mmio.ko\n",
	    "k/fuse.ko.xz k/virtiofs.ko.xz");
	CHECK_CLOSURE("", "k/virtiofs.ko\nk/virtio_mmio.ko", "");
	CHECK_REFUSED(
	    "k/virtiofs.ko:\n", "k/virtio_rng.ko\n", ENOENT, "kernel 6.1-x has no virtio_mmio");
	CHECK_REFUSED("", "k/virtio_mmio.ko\n", ENOENT, "kernel 6.1-x has no virtiofs");
	/* Names that only begin or end alike. */
	CHECK_REFUSED("k/xvirtio_mmio.ko:\nk/virtio_mmio2.ko:\nk/virtio_mmio.kox:\n",
	    "k/virtiofs.ko\n", ENOENT, "virtio_mmio");
}

TEST(hostile_lines)
{
	_cleanup_strbuf_ struct strbuf many = { 0 };
	const char *b = "virtiofs.ko\n";

	CHECK_REFUSED("../virtio_mmio.ko:\n", b, EINVAL, "modules.dep");
	CHECK_REFUSED("/etc/virtio_mmio.ko:\n", b, EINVAL, "run depmod 6.1-x");
	CHECK_REFUSED("virtio_mmio.ko: a/../../x.ko\n", b, EINVAL, "modules.dep");
	CHECK_REFUSED("virtio_mmio.ko: /etc/shadow\n", b, EINVAL, "modules.dep");
	CHECK_REFUSED("virtio_mmio.ko: etc/shadow\n", b, EINVAL, "modules.dep");
	CHECK_REFUSED("virtio_mmio.ko: x.ko.exe\n", b, EINVAL, "modules.dep");
	CHECK_REFUSED("virtio_mmio.ko: x\ry.ko\n", b, EINVAL, "modules.dep");
	CHECK_CLOSURE("no colon\n\n:\nvirtio_mmio.ko:   \n", b, "virtio_mmio.ko");
	CHECK_CLOSURE("virtio_mmio.ko: virtio_mmio.ko virtio_mmio.ko", b, "virtio_mmio.ko");
	strbuf_add(&many, "virtio_mmio.ko:");
	for (int i = 0; i < MODULES_MAX; i++)
		strbuf_addf(&many, " m%d.ko", i);
	CHECK_REFUSED(many.s, b, EINVAL, "more than 64 modules");
}

TEST(compression)
{
	const char *fedora = "CONFIG_MODULE_COMPRESS_XZ=y\nCONFIG_MODULE_DECOMPRESS=y\n";

	CHECK_STR(module_compression("a.ko/x.ko"), "");
	CHECK_STR(module_compression("a/x.ko.xz"), "xz");
	CHECK_STR(module_compression("x.ko.zst"), "zst");
	CHECK_STR(module_compression("x.ko.gz"), "gz");
	CHECK(!module_compression("x.ko.bz2"));
	CHECK(!module_compression("a.ko/x"));
	CHECK(modules_kernel_decompresses(fedora, "xz"));
	CHECK(!modules_kernel_decompresses(fedora, "zst"));
	CHECK(!modules_kernel_decompresses("CONFIG_MODULE_COMPRESS_XZ=y\n", "xz"));
	CHECK(!modules_kernel_decompresses(
	    "CONFIG_MODULE_COMPRESS_XZ=y\n# CONFIG_MODULE_DECOMPRESS=y\n", "xz"));
}

/* What is asked for can be loaded in that order at all: erofs needs crc32c by name. */
TEST(the_wanted)
{
	size_t n, without, crc = 0, erofs = 0;
	const struct module_wanted *w = modules_wanted(VM_DISKS_SCRATCH, &n);

	for (size_t i = 0; i < n; i++) {
		CHECK(!strchr(w[i].name, '-'));
		crc = streq(w[i].name, "crc32c_generic") ? i : crc;
		erofs = streq(w[i].name, "erofs") ? i : erofs;
	}
	CHECK(crc < erofs);
	CHECK(streq(w[0].name, "virtio_mmio") && !w[0].optional);
	CHECK(modules_wanted(VM_DISKS_NONE, &without) == w);
	CHECK(without < n && streq(w[without].name, "virtio_blk"));
	CHECK(modules_wanted(VM_DISKS_IMAGE, &without) == w);
	CHECK(without < n && streq(w[without].name, "ext4") && streq(w[without - 1].name, "erofs"));
}

TEST_MAIN(T(dependencies_first_none_twice), T(built_in_and_optional_ones), T(hostile_lines),
    T(compression), T(the_wanted))
