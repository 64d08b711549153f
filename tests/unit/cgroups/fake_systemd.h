/*
 * org.freedesktop.systemd1 on a bus of the test's own: it writes down what it is called with, makes
 * and removes scopes' cgroups, and tells how its jobs ended. What a unit is to do is in its name:
 *
 *   …-failing   its job fails
 *   …-failed    exists, until its failure is reset
 *   …-taken     exists
 *   …-busy      the job's end comes before the call's answer, and after another job's
 *   …-lost      is started in another cgroup than it should be
 */
#pragma once
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "cgroups/sdbus.h"
#include "tests/unit/cgroups/cgtest.h"

#define FAKE_FUNCTIONS(X)                 \
	X(sd_bus_request_name)            \
	X(sd_bus_add_fallback)            \
	X(sd_bus_message_get_member)      \
	X(sd_bus_message_peek_type)       \
	X(sd_bus_message_enter_container) \
	X(sd_bus_message_exit_container)  \
	X(sd_bus_message_rewind)          \
	X(sd_bus_reply_method_return)     \
	X(sd_bus_reply_method_errorf)     \
	X(sd_bus_emit_signal)

static struct {
#define X(f) __typeof__(&f) f;
	FAKE_FUNCTIONS(X)
#undef X
} fdb;

#define FAKE_SD	    "org.freedesktop.systemd1"
#define FAKE_OBJECT "/org/freedesktop/systemd1"

/* Shared with the server, which is another process. */
static struct fake_log {
	char text[16384];
	char where[128]; /* the directory that scopes are made in */
} * fake_log;
static pid_t fake_daemon, fake_server;
static char fake_dir[64];

static void fake_note(const char *text)
{
	size_t len = strlen(fake_log->text);

	snprintf(fake_log->text + len, sizeof(fake_log->text) - len, "%s", text);
}

/* A value of any type, as text. */
static void fake_dump(sd_bus_message *m)
{
	const char *inner;
	char type, text[64];

	while (fdb.sd_bus_message_peek_type(m, &type, &inner) > 0) {
		union {
			const char *s;
			int b;
			uint8_t y;
			uint32_t u;
			int32_t i;
			uint64_t t;
			double d;
		} v = { 0 };

		if (strchr("avre", type)) {
			fake_note(type == 'a' ? "[" : type == 'v' ? "<" : "(");
			fdb.sd_bus_message_enter_container(m, type, inner);
			fake_dump(m);
			fdb.sd_bus_message_exit_container(m);
			fake_note(type == 'a' ? "] " : type == 'v' ? "> " : ") ");
			continue;
		}
		sdb.sd_bus_message_read_basic(m, type, &v);
		if (strchr("sog", type))
			fake_note(v.s);
		if (type == 'b')
			snprintf(text, sizeof(text), "%s", v.b ? "true" : "false");
		if (type == 'y' || type == 'u' || type == 't' || type == 'i')
			snprintf(text, sizeof(text), "%llu",
			    type == 'y'	  ? v.y
			    : type == 'u' ? v.u
			    : type == 'i' ? (unsigned long long)v.i
					  : (unsigned long long)v.t);
		if (type == 'd')
			snprintf(text, sizeof(text), "%g", v.d);
		if (!strchr("sog", type))
			fake_note(text);
		fake_note(" ");
	}
}

/* The number in "PIDs <[N" of the last call. */
static pid_t fake_pid(void)
{
	const char *at = NULL;

	for (const char *p = fake_log->text; (p = strstr(p, "(PIDs <[")); p++)
		at = p + strlen("(PIDs <[");
	return at ? (pid_t)strtol(at, NULL, 10) : 0;
}

static void fake_path(const char *unit, char path[512])
{
	snprintf(path, 512, "/sys/fs/cgroup%s/%s", fake_log->where, unit);
}

static void fake_make(const char *unit)
{
	char path[512], procs[600], pid[16];
	int fd;

	fake_path(strstr(unit, "-lost") ? "elsewhere.scope" : unit, path);
	(void)mkdir(path, 0755);
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	snprintf(pid, sizeof(pid), "%d", fake_pid());
	fd = open(procs, O_WRONLY);
	if (fd < 0 || write(fd, pid, strlen(pid)) < 0)
		fake_note("!cgroup ");
	close(fd);
}

static sd_bus *fake_bus;

static void fake_signal(const char *job, const char *unit, const char *result)
{
	fdb.sd_bus_emit_signal(fake_bus, FAKE_OBJECT, FAKE_SD ".Manager", "JobRemoved", "uoss",
	    (uint32_t)1, job, unit, result);
}

static int fake_start(sd_bus_message *m, const char *unit)
{
	bool reset_seen = strstr(fake_log->text, "ResetFailedUnit");

	if (strstr(unit, "-taken") || (strstr(unit, "-failed") && !reset_seen))
		return fdb.sd_bus_reply_method_errorf(
		    m, FAKE_SD ".UnitExists", "Unit %s was already loaded.", unit);
	if (!strstr(unit, "-failing"))
		fake_make(unit);
	if (strstr(unit, "-busy")) {
		fake_signal(FAKE_OBJECT "/job/6", "other.scope", "failed");
		fake_signal(FAKE_OBJECT "/job/7", unit, "done");
	}
	fdb.sd_bus_reply_method_return(m, "o", FAKE_OBJECT "/job/7");
	if (!strstr(unit, "-busy"))
		fake_signal(
		    FAKE_OBJECT "/job/7", unit, strstr(unit, "-failing") ? "failed" : "done");
	return 1;
}

static int fake_stop(sd_bus_message *m, const char *unit)
{
	char path[512];

	fake_path(unit, path);
	if (access(path, F_OK) < 0)
		return fdb.sd_bus_reply_method_errorf(
		    m, FAKE_SD ".NoSuchUnit", "Unit %s not loaded.", unit);
	fdb.sd_bus_reply_method_return(m, "o", FAKE_OBJECT "/job/8");
	(void)rmdir(path);
	fake_signal(FAKE_OBJECT "/job/8", unit, "done");
	return 1;
}

static int fake_get(sd_bus_message *m)
{
	const char *interface, *name;

	sdb.sd_bus_message_read_basic(m, 's', &interface);
	sdb.sd_bus_message_read_basic(m, 's', &name);
	return fdb.sd_bus_reply_method_return(
	    m, "v", "s", streq(name, "Version") ? "252.1-fake" : fake_log->where);
}

static int fake_call(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	const char *member = fdb.sd_bus_message_get_member(m), *unit = "";

	if (streq(member, "Get"))
		return fake_get(m);
	fake_note(member);
	fake_note(" ");
	fake_dump(m);
	fake_note("\n");
	fdb.sd_bus_message_rewind(m, 1);
	sdb.sd_bus_message_read_basic(m, 's', &unit);
	if (streq(member, "StartTransientUnit"))
		return fake_start(m, unit);
	if (streq(member, "StopUnit"))
		return fake_stop(m, unit);
	if (strstr(unit, "-refused"))
		return fdb.sd_bus_reply_method_errorf(
		    m, FAKE_SD ".Refused", "Cannot set property Nonsense, or unknown property.");
	return fdb.sd_bus_reply_method_return(m, NULL);
}

static void fake_serve(int ready)
{
	sd_bus_slot *slot = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sdb.sd_bus_open_system(&fake_bus) < 0 ||
	    fdb.sd_bus_add_fallback(fake_bus, &slot, "/org/freedesktop", fake_call, NULL) < 0 ||
	    fdb.sd_bus_request_name(fake_bus, FAKE_SD, 0) < 0 || write(ready, "1", 1) != 1)
		_exit(1);
	for (;;) {
		int r = sdb.sd_bus_process(fake_bus, NULL);

		if (r == 0)
			r = sdb.sd_bus_wait(fake_bus, UINT64_MAX);
		if (r < 0 && r != -EINTR)
			_exit(1);
	}
}

static bool fake_load(void)
{
	struct err e = ERR_INIT;
	void *lib;

	if (sdbus_load(&e) < 0 || !(lib = dlopen("libsystemd.so.0", RTLD_NOW))) {
		printf("# skip: %s\n", e.msg);
		return false;
	}
#define X(f) fdb.f = (__typeof__(&f))dlsym(lib, #f);
	FAKE_FUNCTIONS(X)
#undef X
	return true;
}

/* Its address comes when it listens. */
static bool fake_run_daemon(void)
{
	char address[128], print[32], c;
	int p[2];
	bool up;

	snprintf(fake_dir, sizeof(fake_dir), "/tmp/bailey-bus-XXXXXX");
	if (!mkdtemp(fake_dir) || pipe(p) < 0)
		abort();
	snprintf(address, sizeof(address), "--address=unix:path=%s/bus", fake_dir);
	snprintf(print, sizeof(print), "--print-address=%d", p[1]);
	fake_daemon = fork();
	if (fake_daemon == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nosyslog",
		    "--nopidfile", address, print, NULL);
		_exit(127);
	}
	close(p[1]);
	up = read(p[0], &c, 1) == 1;
	close(p[0]);
	if (!up) {
		printf("# skip: dbus-daemon does not run here\n");
		return false;
	}
	setenv("DBUS_SYSTEM_BUS_ADDRESS", address + strlen("--address="), 1);
	setenv("DBUS_SESSION_BUS_ADDRESS", address + strlen("--address="), 1);
	return true;
}

static void fake_end(void)
{
	char path[96];

	if (fake_server)
		kill(fake_server, SIGKILL), waitpid(fake_server, NULL, 0);
	if (fake_daemon)
		kill(fake_daemon, SIGKILL), waitpid(fake_daemon, NULL, 0);
	if (!*fake_dir)
		return;
	snprintf(path, sizeof(path), "%s/bus", fake_dir);
	(void)unlink(path);
	(void)rmdir(fake_dir);
}

/* Ready once for the whole program. False: skip, reason printed. */
static bool fake_systemd(void)
{
	static int state = -1; /* -1: not tried, 1: there, 0: not to be had */
	int p[2];
	char c;

	if (state >= 0)
		return state > 0;
	state = 0;
	if (!real_cgroup2() || !fake_load() || !fake_run_daemon() || pipe(p) < 0) {
		fake_end();
		return false;
	}
	fake_log = mmap(
	    NULL, sizeof(*fake_log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(fake_log->where, sizeof(fake_log->where), "/bailey-unit-%d", getpid());
	fake_server = fork();
	if (fake_server == 0)
		fake_serve(p[1]);
	close(p[1]);
	state = read(p[0], &c, 1) == 1;
	CHECK(state == 1); /* the fake has started */
	close(p[0]);
	return state > 0;
}
