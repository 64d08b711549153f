#include "spec/tables.h"

#include <linux/sched.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "base/str.h"
#include "base/sys.h"
#include "spec/spec.h"
#include "tests/unit/test.h"

TEST(capabilities)
{
	CHECK_INT(spec_cap_parse("CAP_SYS_ADMIN"), 21);
	CHECK_INT(spec_cap_parse("cap_sys_admin"), 21);
	CHECK_INT(spec_cap_parse("sys_admin"), 21);
	CHECK_INT(spec_cap_parse("CAP_CHOWN"), 0);
	CHECK_INT(spec_cap_parse("CAP_"), -EINVAL);
	CHECK_INT(spec_cap_parse(""), -EINVAL);
	CHECK_INT(spec_cap_parse("CAP_SYS_ADMINX"), -EINVAL);
	CHECK_STR(spec_cap_name(0), "CAP_CHOWN");
	CHECK_STR(spec_cap_name(40), "CAP_CHECKPOINT_RESTORE");
	CHECK(spec_cap_name(41) == NULL && spec_cap_name(-1) == NULL);
	for (int i = 0; i < 41; i++) {
		CHECK_INT(spec_cap_parse(spec_cap_name(i)), i);
		CHECK_INT(spec_caps.v[i].value, i);
	}
}

TEST(namespaces)
{
	CHECK_STR(spec_ns_name(NS_NET), "network");
	CHECK_STR(spec_ns_proc_name(NS_NET), "net");
	CHECK_STR(spec_ns_proc_name(NS_MOUNT), "mnt");
	CHECK_INT(spec_ns_clone_flag(NS_NET), CLONE_NEWNET);
	CHECK_INT(spec_ns_clone_flag(NS_TIME), CLONE_NEWTIME);
	CHECK_INT(spec_ns_clone_flag(NS_MOUNT), CLONE_NEWNS);
	for (int i = 0; i < NS_TYPES; i++) {
		CHECK(spec_ns_name((enum spec_ns_type)i) != NULL);
		CHECK(spec_ns_clone_flag((enum spec_ns_type)i) != 0);
	}
}

static const struct mount_opt *find(const char *s)
{
	return mount_opt_find(s, strlen(s));
}

TEST(mount_options)
{
	/* config.md of runtime-spec 1.3, "Linux mount options" */
	static const char *const all[] = { "async", "atime", "bind", "defaults", "dev", "diratime",
		"dirsync", "exec", "iversion", "lazytime", "loud", "mand", "noatime", "nodev",
		"nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime",
		"nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev",
		"rdiratime", "relatime", "remount", "rexec", "rnoatime", "rnodiratime", "rnoexec",
		"rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow", "ro", "rprivate",
		"rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid",
		"rsymfollow", "runbindable", "rw", "shared", "silent", "slave", "strictatime",
		"suid", "symfollow", "sync", "tmpcopyup", "unbindable", "idmap", "ridmap",
		/* crun's */ "copy-symlink", "src-nofollow", "dest-nofollow" };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!find(all[i]))
			printf("# %s\n", all[i]);
		CHECK(find(all[i]) != NULL);
	}
	CHECK(find("size=1m") == NULL && find("") == NULL && find("r") == NULL &&
	      find("roo") == NULL);
	CHECK(mount_opt_find("ro,rw", 2) == find("ro"));
}

/* Each "noX" undoes "X", each "rX" is "X" made recursive. */
TEST(mount_option_pairs)
{
	for (size_t i = 0; i < mount_opts_n; i++) {
		const struct mount_opt *o = &mount_opts[i], *plain;

		CHECK(o->kind != MOPT_ATTR || (!o->rec && (o->set || o->clr)));
		if (o->kind != MOPT_ATTR_REC)
			continue;
		CHECK(o->rec && o->name[0] == 'r');
		plain = find(o->name + 1);
		CHECK(plain && plain->kind == MOPT_ATTR && plain->set == o->set &&
		      plain->clr == o->clr);
	}
	CHECK(find("ro")->set == MOUNT_ATTR_RDONLY && find("rw")->clr == MOUNT_ATTR_RDONLY);
	CHECK(find("nosuid")->set == MOUNT_ATTR_NOSUID && find("suid")->clr == MOUNT_ATTR_NOSUID);
	CHECK(find("nodev")->set == MOUNT_ATTR_NODEV && find("dev")->clr == MOUNT_ATTR_NODEV);
	CHECK(find("noexec")->set == MOUNT_ATTR_NOEXEC && find("exec")->clr == MOUNT_ATTR_NOEXEC);
	CHECK(find("noatime")->set == MOUNT_ATTR_NOATIME &&
	      find("noatime")->clr == MOUNT_ATTR__ATIME);
	CHECK(find("nodiratime")->set == MOUNT_ATTR_NODIRATIME);
	CHECK(find("nosymfollow")->set == MOUNT_ATTR_NOSYMFOLLOW);
	CHECK(find("sync")->set == MS_SYNCHRONOUS && find("async")->clr == MS_SYNCHRONOUS);
	CHECK(find("rslave")->rec && find("rslave")->set == MS_SLAVE && !find("slave")->rec);
	CHECK(find("rbind")->rec && !find("bind")->rec);
	CHECK(find("ridmap")->rec && !find("idmap")->rec);
}

TEST(ids)
{
	static const char *const good[] = { "a", "A-Z_0.9+x", ".hidden", "...", "-" };
	static const char *const bad[] = { "", ".", "..", "a/b", "../x", "a b", "a\n", "\xc3\xa9" };
	char *big = calloc(1, 1026);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_INT(spec_check_id(good[i], &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_INT(spec_check_id(bad[i], &e), -EINVAL);
		CHECK(strchr(e.msg, '\n') == NULL);
	}
	CHECK_INT(spec_check_id("a/b", &e), -EINVAL);
	CHECK_STR(
	    e.msg, "invalid container ID \"a/b\": only letters, digits and _ + . - are allowed");
	memset(big, 'x', 1024);
	CHECK_INT(spec_check_id(big, &e), 0);
	big[1024] = 'x';
	CHECK_INT(spec_check_id(big, &e), -EINVAL);
	CHECK_STR(e.msg, "container ID is longer than 1024 characters");
	free(big);
}

TEST_MAIN(T(capabilities), T(namespaces), T(mount_options), T(mount_option_pairs), T(ids))
