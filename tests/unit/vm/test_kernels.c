#include "vm/kernels.h"

#include "tests/unit/vm/files.h"
#include "vm/kernel_file.h"

static int identify(const char *name, enum vm_kernel_format *f, char **release, struct err *e)
{
	_cleanup_free_ char *path = files_path(name);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	*e = (struct err)ERR_INIT;
	return kernel_file_identify(fd, name, f, release, e);
}

TEST(formats_by_content)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL;
	enum vm_kernel_format f;
	struct err e;

	files_begin();
	files_bzimage("bz", "6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP");
	CHECK_INT(identify("bz", &f, &a, &e), 0);
	CHECK_INT(f, VM_KERNEL_BZIMAGE);
	CHECK_STR(a, "6.1.0-56-amd64");

	/* Across the border of two chunks of the search, and behind text that only looks like it.
	 */
	files_elf("elf", "Linux version %s (%s)Linux version 6.1.158-bailey (x@y) #1", 262144 - 30);
	CHECK_INT(identify("elf", &f, &b, &e), 0);
	CHECK_INT(f, VM_KERNEL_ELF);
	CHECK_STR(b, "6.1.158-bailey");
	CHECK_INT(identify("elf", &f, NULL, &e), 0);
	for (size_t at = 262144 - 100; at < 262144 + 3; at++) {
		files_elf("elf", "Linux version 6.1.158-bailey (x@y) #1", at);
		free(steal_ptr(c));
		CHECK_INT(identify("elf", &f, &c, &e), 0);
		CHECK_STR(c, "6.1.158-bailey");
	}
	files_end();
}

TEST(no_kernels)
{
	char *none = NULL;
	enum vm_kernel_format f;
	struct err e;
	uint8_t head[0x240] = { [0x1fe] = 0x55, 0xaa };

	files_begin();
	files_text("empty", "");
	CHECK_INT(identify("empty", &f, &none, &e), -ENOEXEC);
	files_text("text", "#!/bin/sh\n");
	CHECK_INT(identify("text", &f, &none, &e), -ENOEXEC);
	CHECK_HAS(e.msg, "text: neither a bzImage nor an ELF vmlinux");
	files_elf("program", "Linux versio", 5000);
	CHECK_INT(identify("program", &f, &none, &e), -ENOEXEC);
	CHECK_HAS(e.msg, "is it a vmlinux?");
	files_put("arm",
	    "\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\xb7\0Linux version 6.1 ................"
	    "..............................",
	    80);
	CHECK_INT(identify("arm", &f, &none, &e), -ENOEXEC);
	CHECK_HAS(e.msg, "not for x86-64");
	/* Of 2.6 times: no 64-bit entry. */
	memcpy(head + 0x202, "HdrS\x09\x02", 6);
	files_put("old", head, sizeof(head));
	CHECK_INT(identify("old", &f, &none, &e), -ENOEXEC);
	CHECK_HAS(e.msg, "boot protocol 2.09");
	/* Cut before the version that the header points to. */
	memcpy(head + 0x202, "HdrS\x0f\x02", 6);
	head[0x236] = 1;
	head[0x20e] = head[0x20f] = 0xff;
	files_put("cut", head, sizeof(head));
	CHECK_INT(identify("cut", &f, &none, &e), -ENOEXEC);
	CHECK_HAS(e.msg, "truncated?");
	/* The release becomes a directory's name. */
	files_bzimage("dots", "../../etc x");
	CHECK_INT(identify("dots", &f, &none, &e), -ENOEXEC);
	files_bzimage("slash", "6.1/x x");
	CHECK_INT(identify("slash", &f, &none, &e), -ENOEXEC);
	files_bzimage(
	    "long", "6.1.0-12345678901234567890123456789012345678901234567890123456789 x");
	CHECK_INT(identify("long", &f, &none, &e), -ENOEXEC);
	CHECK(!none);
	files_end();
}

struct found {
	struct vm_kernel k;
	struct err e;
	int r;
};
static struct found find(const char *kernel, const char *program_dir)
{
	_cleanup_free_ char *dir = program_dir ? files_path(program_dir) : NULL;
	const struct vm_places places = { .kernel = kernel, .program_dir = dir, .root = files_dir };
	struct found f = { .k = VM_KERNEL_NONE, .e = ERR_INIT };

	f.r = vm_kernel_find(&places, &f.k, &f.e);
	return f;
}
static void check_found(struct found f, const char *suffix, const char *release, bool modules)
{
	CHECK_INT(f.r, 0);
	CHECK_STR(f.e.msg, "");
	CHECK(f.r == 0 && endswith(f.k.path, suffix));
	CHECK_STR(f.k.release, release);
	CHECK_INT(f.k.modules >= 0, modules);
	CHECK_INT(f.k.modules_path != NULL, modules);
	CHECK_INT(f.k.fd >= 0 ? lseek(f.k.fd, 0, SEEK_CUR) : -1, 0);
	vm_kernel_free(&f.k);
	CHECK(f.k.fd < 0 && !f.k.path);
}

TEST(newest_of_boot_that_has_its_modules)
{
	struct found f;

	files_begin();
	f = find(NULL, NULL);
	CHECK_INT(f.r, -ENOENT);
	CHECK_HAS(f.e.msg, "no kernel for a virtual machine");
	CHECK_HAS(f.e.msg, "make guest-kernel");

	files_bzimage("boot/vmlinuz-6.1.0-9-amd64", "6.1.0-9-amd64 x");
	f = find(NULL, NULL);
	CHECK_INT(f.r, -ENOENT);
	CHECK_HAS(f.e.msg, "1 of");
	CHECK_HAS(f.e.msg, "/lib/modules/6.1.0-9-amd64/modules.dep");

	files_text("lib/modules/6.1.0-9-amd64/modules.dep", "");
	check_found(find(NULL, NULL), "/boot/vmlinuz-6.1.0-9-amd64", "6.1.0-9-amd64", true);
	/* 10 is more than 9; the name is not what says the version. */
	files_bzimage("boot/vmlinuz-linux", "6.1.0-10-amd64 x");
	files_text("lib/modules/6.1.0-10-amd64/modules.dep", "");
	check_found(find(NULL, NULL), "/boot/vmlinuz-linux", "6.1.0-10-amd64", true);
	/* Of two names for one kernel the one that says so. */
	files_bzimage("boot/vmlinuz-6.1.0-10-amd64", "6.1.0-10-amd64 x");
	files_bzimage("boot/vmlinuz-0-rescue", "6.1.0-10-amd64 x");
	check_found(find(NULL, NULL), "/boot/vmlinuz-6.1.0-10-amd64", "6.1.0-10-amd64", true);
	/* Newer ones that cannot be used: no modules, no kernel, a directory. */
	files_bzimage("boot/vmlinuz-6.2", "6.2 x");
	files_text("boot/config-6.2", "CONFIG_X=y\nCONFIG_MODULES=y\n");
	files_text("boot/vmlinuz-6.3", "");
	files_text("boot/vmlinuz-6.4/x", "");
	check_found(find(NULL, NULL), "/boot/vmlinuz-6.1.0-10-amd64", "6.1.0-10-amd64", true);
	files_text("boot/config-6.2", "CONFIG_X=y\n# CONFIG_MODULES is not set\n");
	check_found(find(NULL, NULL), "/boot/vmlinuz-6.2", "6.2", false);
	files_end();
}

TEST(guest_kernel_first_then_boot)
{
	struct found f;

	files_begin();
	files_bzimage("boot/vmlinuz-9.9", "9.9 x");
	files_text("lib/modules/9.9/modules.dep", "");
	files_text("bin/bailey", "");
	check_found(find(NULL, "bin"), "/vmlinuz-9.9", "9.9", true);
	files_bzimage("lib/bailey/guest/bzImage", "6.1.1-bailey x");
	check_found(find(NULL, "bin"), "/bin/../lib/bailey/guest/bzImage", "6.1.1-bailey", false);
	files_elf("lib/bailey/guest/vmlinux", "Linux version 6.1.2-bailey (x)", 4000);
	check_found(find(NULL, "bin"), "/bin/../lib/bailey/guest/vmlinux", "6.1.2-bailey", false);
	/* Of the build tree. The release is what the file beside it says, if that is one. */
	files_elf("bin/guest/vmlinux", "Linux version 6.1.3-bailey (x)", 4000);
	check_found(find(NULL, "bin"), "/bin/guest/vmlinux", "6.1.3-bailey", false);
	files_text("bin/guest/release", "6.1.4-bailey\n");
	check_found(find(NULL, "bin"), "/bin/guest/vmlinux", "6.1.4-bailey", false);
	files_text("bin/guest/release", "../x\n");
	check_found(find(NULL, "bin"), "/bin/guest/vmlinux", "6.1.3-bailey", false);
	/* There, but useless: not passed over. */
	files_text("bin/guest/vmlinux", "x");
	f = find(NULL, "bin");
	CHECK_INT(f.r, -ENOEXEC);
	CHECK_HAS(f.e.msg, "bin/guest/vmlinux: neither");
	files_end();
}

TEST(named_kernel_only)
{
	_cleanup_free_ char *path = NULL, *dir = NULL;
	struct found f;

	files_begin();
	path = files_path("my");
	dir = files_path("lib");
	files_bzimage("boot/vmlinuz-9.9", "9.9 x");
	files_text("lib/modules/9.9/modules.dep", "");
	f = find(path, NULL);
	CHECK_INT(f.r, -ENOENT);
	CHECK_HAS(f.e.msg, path);
	CHECK_INT(find(dir, NULL).r, -EISDIR);
	CHECK_INT(find("/dev/zero", NULL).r, -EINVAL);
	files_bzimage("my", "6.1-mine x");
	check_found(find(path, NULL), "/my", "6.1-mine", false);
	files_text("lib/modules/6.1-mine/modules.dep", "");
	check_found(find(path, NULL), "/my", "6.1-mine", true);
	files_end();
}

TEST_MAIN(T(formats_by_content), T(no_kernels), T(newest_of_boot_that_has_its_modules),
    T(guest_kernel_first_then_boot), T(named_kernel_only))
