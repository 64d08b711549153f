/* The driver against a fake systemd: calls, jobs, the holder, and what is left behind. */
#include "cgroups/systemd.h"
#include "tests/unit/cgroups/fake_systemd.h"

static struct spec_kv kv = { "org.systemd.property.OnFailure", "['a.service', 'b.service']" };
static const struct spec_map annotations = { &kv, 1 };

/* A directory of the test's own cgroup, as a path of the host. */
static const char *host_dir(const char *suffix)
{
	static char path[512];

	snprintf(path, sizeof(path), "/sys/fs/cgroup%s", unit_path(suffix));
	return path;
}

/* Starts ":NAME" in a slice that is the test's own cgroup. */
struct run {
	struct systemd *s;
	struct cgroup cg;
	pid_t holder;
	char *path;
	struct err e;
};

static int start(struct run *u, const char *name, const struct spec_resources *r)
{
	static const struct spec_resources none;
	_cleanup_free_ char *cgroups_path = xasprintf("-.slice:t:%s", name);
	struct systemd_scope want = { cgroups_path, "id1", r ? r : &none, &annotations };
	int rc;

	*u = (struct run){ .cg = CGROUP_INIT };
	fake_log->text[0] = '\0';
	rc = systemd_connect(false, &u->s, &u->e);
	if (rc == 0)
		rc = systemd_choose_path(u->s, cgroups_path, "id1", &u->path, &u->e);
	if (rc == 0)
		rc = systemd_start(u->s, &want, &u->cg, &u->holder, &u->e);
	if (rc < 0)
		printf("# %s\n", u->e.msg);
	return rc;
}

static void end(struct run *u)
{
	systemd_end_holder(&u->holder);
	if (u->cg.path)
		CHECK_INT(systemd_stop(false, u->cg.path, u->cg.id, &u->e), 0);
	systemd_close(u->s);
	cgroup_close(&u->cg);
	free(u->path);
}

static bool ready(void)
{
	static bool made;

	if (!fake_systemd())
		return false;
	if (made)
		return true;
	made = true;
	(void)mkdir(host_dir(""), 0755);
	return true;
}

TEST(scope)
{
	struct spec_resources r = { .pids_limit = { true, -1 } };
	struct run u;
	char holder[64];

	if (!ready())
		return;
	CHECK_INT(start(&u, "one", &r), 0);
	CHECK_STR(u.path, unit_path("/t-one.scope"));
	CHECK_STR(u.cg.path, unit_path("/t-one.scope"));
	CHECK(u.cg.id != 0 && u.holder > 0);
	snprintf(holder, sizeof(holder), "(PIDs <[%d ] > )", u.holder);
	CHECK_HAS(fake_log->text, "StartTransientUnit t-one.scope replace [");
	CHECK_HAS(fake_log->text, holder);
	CHECK_HAS(fake_log->text, "(Description <bailey container id1 > )");
	CHECK_HAS(fake_log->text, "(Slice <-.slice > )");
	CHECK_HAS(fake_log->text, "(Delegate <true > )");
	CHECK_HAS(fake_log->text, "(DefaultDependencies <false > )");
	CHECK_HAS(fake_log->text, "(CollectMode <inactive-or-failed > )");
	CHECK_HAS(fake_log->text, "(TasksMax <18446744073709551615 > )");
	CHECK_HAS(fake_log->text, "(OnFailure <[a.service b.service ] > )");
	CHECK(!strstr(fake_log->text, "Device"));
	end(&u);
	CHECK(!cgroup_exists(unit_path("/t-one.scope")));
	CHECK_HAS(fake_log->text, "StopUnit t-one.scope replace");
}

/* The job's end may come before the answer that names the job. */
TEST(early_signal)
{
	struct run u;

	if (!ready())
		return;
	CHECK_INT(start(&u, "x-busy", NULL), 0);
	end(&u);
}

TEST(failures)
{
	struct run u;

	if (!ready())
		return;
	CHECK_INT(start(&u, "x-failing", NULL), -EIO);
	CHECK_HAS(u.e.msg, "systemd: start unit t-x-failing.scope: its job ended with \"failed\"");
	CHECK(u.holder == 0 && !u.cg.path);
	end(&u);
	CHECK_INT(waitpid(-1, NULL, WNOHANG), 0); /* the daemon and the fake, no holder */
	CHECK_INT(start(&u, "x-taken", NULL), -EEXIST);
	CHECK_HAS(u.e.msg, "unit t-x-taken.scope exists already: stop it (systemctl stop");
	CHECK_HAS(fake_log->text, "ResetFailedUnit t-x-taken.scope");
	end(&u);
	CHECK_INT(start(&u, "x-lost", NULL), -EPROTO);
	CHECK_HAS(u.e.msg, "is in the cgroup /bailey-unit-");
	end(&u);
}

/* A leftover that failed makes room. */
TEST(failed_leftover)
{
	struct run u;

	if (!ready())
		return;
	CHECK_INT(start(&u, "x-failed", NULL), 0);
	CHECK_HAS(fake_log->text, "ResetFailedUnit t-x-failed.scope");
	end(&u);
}

/* The holder does not outlive whoever made it. */
TEST(holder_dies_with_the_runtime)
{
	pid_t pid, *holder;

	if (!ready())
		return;
	holder =
	    mmap(NULL, sizeof(*holder), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (pid == 0) {
		struct run u;

		if (start(&u, "orphan", NULL) == 0)
			*holder = u.holder;
		raise(SIGKILL);
	}
	CHECK_INT(reap(pid), SIGKILL);
	CHECK(*holder > 0);
	for (int i = 0; i < 200 && *holder > 0 && kill(*holder, 0) == 0; i++)
		usleep(10000);
	CHECK(kill(*holder, 0) < 0);
	(void)rmdir(host_dir("/t-orphan.scope"));
}

TEST(update)
{
	struct spec_resources both = { .pids_limit = { true, 5 }, .cpu.shares = { true, 1024 } };
	struct spec_resources r = { .pids_limit = { true, 5 } }, idle = { .cpu.idle = { true, 1 } },
			      nothing = { 0 };
	struct run u;

	if (!ready())
		return;
	CHECK_INT(start(&u, "two", NULL), 0);
	fake_log->text[0] = '\0';
	CHECK_INT(systemd_update(false, &u.cg, &nothing, &u.e), 0);
	CHECK_STR(fake_log->text, "");
	/* Whether or not this host has the controllers for the files: systemd is told first. */
	(void)systemd_update(false, &u.cg, &r, &u.e);
	CHECK_HAS(fake_log->text, "SetUnitProperties t-two.scope true [(TasksMax <5 > ) ]");
	u.e = (struct err)ERR_INIT;
	(void)systemd_update(false, &u.cg, &both, &u.e);
	CHECK_HAS(fake_log->text, "true [(CPUWeight <100 > ) (TasksMax <5 > ) ]");
	u.e = (struct err)ERR_INIT;
	fake_log->text[0] = '\0';
	(void)systemd_update(false, &u.cg, &idle, &u.e);
	CHECK_HAS(fake_log->text, "[(CPUWeight <0 > ) ]");
	u.e = (struct err)ERR_INIT;
	end(&u);
	CHECK_INT(start(&u, "x-refused", NULL), 0);
	CHECK(systemd_update(false, &u.cg, &r, &u.e) < 0);
	CHECK_HAS(
	    u.e.msg, "systemd: set properties of unit t-x-refused.scope: Cannot set property");
	u.e = (struct err)ERR_INIT;
	end(&u);
}

/* The holder is a task too. */
TEST(one_task)
{
	struct spec_resources one = { .pids_limit = { true, 1 } },
			      two = { .pids_limit = { true, 2 } };
	struct run u;

	if (!ready())
		return;
	(void)start(&u, "five", &one); /* which fails afterwards on a host without the controller */
	CHECK_HAS(fake_log->text, "(TasksMax <2 > )");
	end(&u);
	CHECK_INT(start(&u, "five", NULL), 0);
	systemd_end_holder(&u.holder);
	CHECK_INT(systemd_settle(false, &u.cg, &one, &u.e), 0);
	CHECK_HAS(fake_log->text, "SetUnitProperties t-five.scope true [(TasksMax <1 > ) ]");
	fake_log->text[0] = '\0';
	CHECK_INT(systemd_settle(false, &u.cg, &two, &u.e), 0);
	CHECK_STR(fake_log->text, "");
	end(&u);
}

/* A scope with the name of one that is over is not touched; nor is there an error. */
TEST(stop)
{
	struct run u;
	uint64_t id;

	if (!ready())
		return;
	CHECK_INT(start(&u, "three", NULL), 0);
	id = u.cg.id;
	fake_log->text[0] = '\0';
	CHECK_INT(systemd_stop(false, u.cg.path, id + 1, &u.e), 0);
	CHECK_INT(systemd_stop(false, unit_path("/t-absent.scope"), id, &u.e), 0);
	CHECK_STR(fake_log->text, "");
	CHECK_INT(kill(u.holder, 0), 0);
	CHECK(cgroup_exists(u.cg.path));
	end(&u); /* with what is in it */
}

/* What a killed create may have left is stopped, what somebody else runs is not. */
TEST(stop_planned)
{
	struct run u;

	if (!ready())
		return;
	CHECK_INT(start(&u, "six", NULL), 0);
	fake_log->text[0] = '\0';
	CHECK_INT(systemd_stop_planned(false, u.cg.path, 50, &u.e), 0);
	CHECK_STR(fake_log->text, "");
	CHECK_INT(kill(u.holder, 0), 0);
	systemd_end_holder(&u.holder);
	CHECK_INT(systemd_stop_planned(false, u.cg.path, 50, &u.e), 0);
	CHECK_HAS(fake_log->text, "StopUnit t-six.scope replace");
	CHECK(!cgroup_exists(u.cg.path));
	fake_log->text[0] = '\0';
	CHECK_INT(systemd_stop_planned(false, u.cg.path, 50, &u.e), 0);
	CHECK_HAS(fake_log->text, "StopUnit t-six.scope replace");
	end(&u);
}

/* Attached, but systemd did not move it: that is no success. */
TEST(adopt)
{
	struct run u;
	pid_t pid;

	if (!ready())
		return;
	CHECK_INT(start(&u, "four", NULL), 0);
	pid = sleeper(&u.cg);
	CHECK_INT(systemd_adopt(false, u.cg.path, "", pid, &u.e), 0);
	CHECK_HAS(fake_log->text, "AttachProcessesToUnit t-four.scope  [");
	CHECK_INT(systemd_adopt(false, u.cg.path, "sub", pid, &u.e), -EPROTO);
	CHECK_HAS(fake_log->text, "AttachProcessesToUnit t-four.scope /sub [");
	CHECK_INT(systemd_adopt(false, u.cg.path, "", getpid(), &u.e), -EPROTO);
	u.e = (struct err)ERR_INIT;
	end(&u);
	CHECK_INT(reap(pid), SIGKILL);
}

TEST(no_bus)
{
	struct systemd *s;
	struct err e = ERR_INIT;

	if (!ready())
		return;
	setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/socket", 1);
	CHECK_INT(systemd_connect(false, &s, &e), -ENOENT);
	CHECK_HAS(e.msg, "connect to the system's D-Bus");
	unsetenv("DBUS_SESSION_BUS_ADDRESS");
	unsetenv("XDG_RUNTIME_DIR");
	CHECK(systemd_connect(true, &s, &e) < 0);
	CHECK_HAS(e.msg, "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set");
	fake_end();
	(void)rmdir(host_dir("/elsewhere.scope"));
	CHECK_INT(rmdir(host_dir("")), 0);
}

TEST_MAIN(T(scope), T(early_signal), T(failures), T(failed_leftover),
    T(holder_dies_with_the_runtime), T(update), T(one_task), T(stop), T(stop_planned), T(adopt),
    T(no_bus))
