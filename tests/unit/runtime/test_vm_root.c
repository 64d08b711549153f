#include "runtime/vm_level.h"
#include "tests/unit/test.h"

static struct vm_root parsed(const char *text, int want)
{
	struct vm_root v = VM_ROOT_NONE;

	CHECK_INT(vm_root_parse(text, &v), want);
	CHECK(v.wanted == (want == 0));
	CHECK_INT(v.image_fd, -EBADF);
	CHECK_INT(v.scratch_fd, -EBADF);
	return v;
}

TEST(words)
{
	CHECK(parsed("memory", 0).scratch == 0);
	CHECK(parsed("scratch", 0).scratch == 10 * UINT64_C(1073741824));
	CHECK(parsed("scratch:16m", 0).scratch == 16u << 20);
	CHECK(parsed("scratch:16777217", 0).scratch == 16u << 20);
	CHECK(parsed("scratch:16t", 0).scratch == UINT64_C(1) << 44);
}

TEST(no_words)
{
	static const char *const bad[] = { "", "Memory", "memory:1g", "scratch:", "scratch:x",
		"scratch:-1", "scratch10g", "scratch: 1g", "scratch:1g ", "scratch:1g:ext4" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		parsed(bad[i], -EINVAL);
	parsed("scratch:16777215", -ERANGE);
	parsed("scratch:0", -ERANGE);
	parsed("scratch:17t", -ERANGE);
}

static int choose(
    const char *flag, const char *note, enum isolation level, struct vm_root *ret, struct err *e)
{
	struct spec_kv kv = { .key = VM_ROOT_ANNOTATION, .value = note };
	struct spec s = { .annotations = { .v = &kv, .n = note ? 1 : 0 } };

	*e = (struct err)ERR_INIT;
	return vm_root_choose(flag, &s, level, ret, e);
}

TEST(choice)
{
	struct vm_root v;
	struct err e;

	CHECK_INT(choose(NULL, NULL, ISOLATION_NAMESPACE, &v, &e), 0);
	CHECK(!v.wanted && v.image_fd == -EBADF);
	CHECK_INT(choose(NULL, "scratch:1g", ISOLATION_VM, &v, &e), 0);
	CHECK(v.wanted && v.scratch == 1u << 30);
	/* The option is the stronger word. */
	CHECK_INT(choose("memory", "scratch", ISOLATION_VM, &v, &e), 0);
	CHECK(v.wanted && !v.scratch);
	CHECK_INT(choose("memory", NULL, ISOLATION_NAMESPACE, &v, &e), -EINVAL);
	CHECK_STR(e.msg, "--rootfs-image: needs isolation level vm (--isolation=vm)");
	CHECK_INT(choose(NULL, "memory", ISOLATION_NAMESPACE, &v, &e), -EINVAL);
	CHECK_HAS(e.msg, "config.json: .annotations[\"org.bailey.rootfs-image\"]: needs");
	CHECK_INT(choose(NULL, "disk", ISOLATION_VM, &v, &e), -EINVAL);
	CHECK_HAS(e.msg, "\"disk\": must be memory, scratch or scratch:SIZE");
	CHECK_INT(choose("scratch:1", NULL, ISOLATION_VM, &v, &e), -ERANGE);
	CHECK_HAS(e.msg, "16 MiB to 16 TiB");
}

TEST(disks)
{
	struct vm_root v = VM_ROOT_NONE;
	struct vm_disk d[VM_ROOT_DISKS];

	CHECK_INT(vm_root_disks(&v, d), 0);
	v.image_fd = 7;
	CHECK_INT(vm_root_disks(&v, d), 1);
	CHECK(d[0].fd == 7 && d[0].readonly);
	CHECK_STR(d[0].serial, "bailey-root");
	v.scratch_fd = 8;
	CHECK_INT(vm_root_disks(&v, d), 2);
	CHECK(d[1].fd == 8 && !d[1].readonly);
	CHECK_STR(d[1].serial, "bailey-scratch");
}

TEST_MAIN(T(words), T(no_words), T(choice), T(disks))
