/* Which users a machine's container may have; a directory stands for /proc. */
#include "runtime/vm_level.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/unit/test.h"

#define DIR_TEMPLATE "/tmp/bailey-test-vm-user-XXXXXX"

static void put(int proc, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(proc, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

static const struct {
	uint32_t uid, gid, group; /* group 0: none */
	const char *error;	  /* NULL: fine */
} cases[] = {
	{ 0, 0, 0, NULL },
	{ 9, 0, 0, NULL },
	{ 10, 0, 0, ".process.user.uid: 10: not mapped in the user namespace (see .linux.uidMap" },
	{ 5000, 0, 0, NULL },
	{ 5002, 0, 0, NULL },
	{ 5003, 0, 0, ".process.user.uid: 5003: not mapped" },
	{ 4294967294, 0, 0, ".process.user.uid: 4294967294: not mapped" },
	{ 0, 20, 0, ".process.user.gid: 20: not mapped in the user namespace (see .linux.gidMap" },
	{ 0, 19, 19, NULL },
	{ 0, 0, 20, ".process.user.additionalGids: 20: not mapped" },
};

static void check_cases(int proc)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t group = cases[i].group;
		const struct spec_user u = { .uid = cases[i].uid,
			.gid = cases[i].gid,
			.additional_gids = { .v = &group, .n = group != 0 } };
		struct err e = ERR_INIT;
		int r = vm_check_user(proc, 17, &u, &e);

		CHECK_INT(r, cases[i].error ? -EINVAL : 0);
		if (cases[i].error)
			CHECK_HAS(e.msg, cases[i].error);
	}
}

TEST(maps)
{
	char dir[] = DIR_TEMPLATE;
	_cleanup_close_ int proc = -EBADF;
	uint32_t group = 1;
	const struct spec_user u = { .additional_gids = { .v = &group, .n = 1 } }, root = { 0 };
	struct err e = ERR_INIT;

	CHECK(mkdtemp(dir) != NULL);
	proc = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(mkdirat(proc, "17", 0700) == 0);
	CHECK_INT(vm_check_user(proc, 17, &root, &e), -ENOENT);
	put(proc, "17/uid_map",
	    "         0     100000         10\n      5000     300000          3\n");
	put(proc, "17/gid_map", "         0          0         20\n");
	put(proc, "17/setgroups", "allow\n");
	check_cases(proc);
	(void)unlinkat(proc, "17/setgroups", 0);
	CHECK_INT(vm_check_user(proc, 17, &root, &e), 0);
	CHECK_INT(vm_check_user(proc, 17, &u, &e), -ENOENT);
	put(proc, "17/setgroups", "deny\n");
	CHECK_INT(vm_check_user(proc, 17, &root, &e), 0);
	CHECK_INT(vm_check_user(proc, 17, &u, &e), -EPERM);
	CHECK_HAS(e.msg, "setgroups is denied");
	(void)unlinkat(proc, "17/uid_map", 0);
	(void)unlinkat(proc, "17/gid_map", 0);
	(void)unlinkat(proc, "17/setgroups", 0);
	(void)unlinkat(proc, "17", AT_REMOVEDIR);
	(void)rmdir(dir);
}

TEST(own)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct spec_user u = { .uid = getuid(), .gid = getgid() };
	struct err e = ERR_INIT;

	CHECK_INT(vm_check_user(proc, 0, &u, &e), 0);
}

TEST_MAIN(T(maps), T(own))
