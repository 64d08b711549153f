/*
 * Talking to org.freedesktop.systemd1 (org.freedesktop.systemd1(5)).
 *
 * Starting and stopping a unit are jobs: the call returns the job's name at once, and the signal
 * JobRemoved tells how it ended. The signal is subscribed to before the call, so it cannot be
 * missed. Every wait is bounded.
 */
#include <stdio.h>

#include "base/log.h"
#include "cgroups/sdbus.h"
#include "cgroups/systemd.h"

#define DEST	   "org.freedesktop.systemd1"
#define OBJECT	   "/org/freedesktop/systemd1"
#define MANAGER	   "org.freedesktop.systemd1.Manager"
#define CALL_USEC  (25 * 1000000ull)
#define JOB_MS	   30000
#define NO_UNIT	   "org.freedesktop.systemd1.NoSuchUnit"
#define NOT_LOADED "org.freedesktop.systemd1.UnitNotLoaded"

/* ---- connecting ---- */

static int connect_failed(bool user, int code, struct err *e)
{
	if (user && code == ENOMEDIUM)
		return err_set(e, ENOENT,
		    "connect to the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor "
		    "XDG_RUNTIME_DIR is set: log in with a session of one's own (or run "
		    "`loginctl enable-linger` and set XDG_RUNTIME_DIR=/run/user/UID), or use "
		    "--cgroup-manager=cgroupfs");
	return err_errno(e, code,
	    "connect to %s's D-Bus, for the systemd cgroup manager: is systemd running? Else use "
	    "--cgroup-manager=cgroupfs",
	    user ? "the user" : "the system");
}

int systemd_connect(bool user, struct systemd **ret, struct err *e)
{
	struct sd_bus *bus;
	int r = sdbus_load(e);

	if (r < 0)
		return r;
	r = user ? sdb.sd_bus_open_user(&bus) : sdb.sd_bus_open_system(&bus);
	if (r < 0)
		return connect_failed(user, -r, e);
	*ret = xcalloc(1, sizeof(**ret));
	**ret = (struct systemd){ .bus = bus, .user = user };
	return 0;
}

void systemd_close(struct systemd *s)
{
	if (!s)
		return;
	sdb.sd_bus_flush_close_unref(s->bus);
	free(s);
}

/* ---- values ---- */

/* The value was checked to be of the type when the property was made. */
static int append_basic(sd_bus_message *m, char type, const char *text)
{
	union {
		uint8_t y;
		int b;
		int16_t n;
		uint16_t q;
		int32_t i;
		uint32_t u;
		int64_t x;
		uint64_t t;
		double d;
	} v = { 0 };
	int64_t i = 0;
	uint64_t u = 0;

	(void)parse_i64(text, &i);
	(void)parse_u64(text, &u);
	switch (type) {
	case 'y':
		v.y = (uint8_t)u;
		break;
	case 'b':
		v.b = streq(text, "true");
		break;
	case 'n':
		v.n = (int16_t)i;
		break;
	case 'q':
		v.q = (uint16_t)u;
		break;
	case 'i':
		v.i = (int32_t)i;
		break;
	case 'u':
		v.u = (uint32_t)u;
		break;
	case 'x':
		v.x = i;
		break;
	case 't':
		v.t = u;
		break;
	case 'd':
		v.d = strtod(text, NULL);
		break;
	default: /* s, o, g */
		return sdb.sd_bus_message_append_basic(m, type, text);
	}
	return sdb.sd_bus_message_append_basic(m, type, &v);
}

/* One element: a basic type, or a struct of them. */
static int append_element(sd_bus_message *m, const char *sig, const struct sd_prop *p, size_t *i)
{
	bool is_struct = *sig == '(';
	char inner[64];
	int r = 0;

	snprintf(inner, sizeof(inner), "%.*s", (int)strcspn(sig + is_struct, ")"), sig + is_struct);
	if (is_struct)
		r = sdb.sd_bus_message_open_container(m, 'r', inner);
	for (const char *t = inner; *t && r >= 0; t++)
		r = *i < p->n ? append_basic(m, *t, p->v[(*i)++]) : -EINVAL;
	if (is_struct && r >= 0)
		r = sdb.sd_bus_message_close_container(m);
	return r;
}

static int append_value(sd_bus_message *m, const struct sd_prop *p)
{
	size_t i = 0;
	int r;

	if (*p->sig != 'a')
		return append_element(m, p->sig, p, &i);
	r = sdb.sd_bus_message_open_container(m, 'a', p->sig + 1);
	while (i < p->n && r >= 0)
		r = append_element(m, p->sig + 1, p, &i);
	return r < 0 ? r : sdb.sd_bus_message_close_container(m);
}

static int append_property(sd_bus_message *m, const struct sd_prop *p)
{
	int r;

	if ((r = sdb.sd_bus_message_open_container(m, 'r', "sv")) < 0 ||
	    (r = sdb.sd_bus_message_append_basic(m, 's', p->name)) < 0 ||
	    (r = sdb.sd_bus_message_open_container(m, 'v', p->sig)) < 0 ||
	    (r = append_value(m, p)) < 0 || (r = sdb.sd_bus_message_close_container(m)) < 0)
		return r;
	return sdb.sd_bus_message_close_container(m);
}

static int append_properties(sd_bus_message *m, const struct sd_props *p)
{
	int r = sdb.sd_bus_message_open_container(m, 'a', "(sv)");

	for (size_t i = 0; i < p->n && r >= 0; i++)
		r = append_property(m, &p->v[i]);
	return r < 0 ? r : sdb.sd_bus_message_close_container(m);
}

/* ---- calls ---- */

static int new_call(struct systemd *s, const char *member, sd_bus_message **ret)
{
	return sdb.sd_bus_message_new_method_call(s->bus, ret, DEST, OBJECT, MANAGER, member);
}

static int append_str(sd_bus_message *m, const char *text)
{
	return sdb.sd_bus_message_append_basic(m, 's', text);
}

/* what: "start", for messages. built < 0: the message could not be made. The caller frees error,
 * whose name tells what kind of failure it was. */
static int call(struct systemd *s, sd_bus_message *m, int built, const char *what, const char *unit,
    sd_bus_error *error, sd_bus_message **reply, struct err *e)
{
	int r = built < 0 ? built : sdb.sd_bus_call(s->bus, m, CALL_USEC, error, reply);

	if (r >= 0)
		return 0;
	if (r == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "systemd does not answer: %s unit %s", what, unit);
	if (error->message)
		return err_set(e, -r, "systemd: %s unit %s: %s", what, unit, error->message);
	return err_errno(e, -r, "systemd: %s unit %s", what, unit);
}

/* ---- jobs ---- */

struct job {
	const char *path;
	bool over;
	char result[32];
};

static int job_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct job *j = arg;
	const char *path, *unit, *result;
	uint32_t id;

	if (sdb.sd_bus_message_read_basic(m, 'u', &id) <= 0 ||
	    sdb.sd_bus_message_read_basic(m, 'o', &path) <= 0 ||
	    sdb.sd_bus_message_read_basic(m, 's', &unit) <= 0 ||
	    sdb.sd_bus_message_read_basic(m, 's', &result) <= 0)
		return 0;
	if (j->path && streq(path, j->path)) {
		snprintf(j->result, sizeof(j->result), "%s", result);
		j->over = true;
	}
	return 0;
}

/* Signals that came in while the call was under way are still in the queue: none is handed out
 * before this. */
static int wait_job(
    struct systemd *s, struct job *j, const char *what, const char *unit, struct err *e)
{
	int64_t end = cg_now_ms() + JOB_MS;
	int r;

	while (!j->over) {
		int64_t left = end - cg_now_ms();

		r = sdb.sd_bus_process(s->bus, NULL);
		if (r == 0 && left > 0)
			r = sdb.sd_bus_wait(s->bus, (uint64_t)left * 1000);
		else if (r == 0)
			return err_set(e, ETIMEDOUT,
			    "systemd: %s unit %s: its job was not done after %d s", what, unit,
			    JOB_MS / 1000);
		if (r < 0 && r != -EINTR)
			return err_errno(
			    e, -r, "systemd: %s unit %s: wait for its job", what, unit);
	}
	if (!streq(j->result, "done"))
		return err_set(e, EIO,
		    "systemd: %s unit %s: its job ended with \"%s\"; see `systemctl%s status %s` "
		    "and the journal",
		    what, unit, j->result, s->user ? " --user" : "", unit);
	return 0;
}

/* Sends m, whose answer is a job. ret_name: the D-Bus error's name on failure, else "". */
static int run_job(struct systemd *s, sd_bus_message *m, int built, const char *what,
    const char *unit, char ret_name[64], struct err *e)
{
	_cleanup_bus_error_ sd_bus_error error = { 0 };
	_cleanup_message_ sd_bus_message *reply = NULL;
	_cleanup_slot_ sd_bus_slot *slot = NULL;
	struct job j = { 0 };
	int r;

	ret_name[0] = '\0';
	r = sdb.sd_bus_match_signal_async(
	    s->bus, &slot, DEST, OBJECT, MANAGER, "JobRemoved", job_removed, NULL, &j);
	if (r < 0)
		return err_errno(e, -r, "systemd: subscribe to JobRemoved");
	r = call(s, m, built, what, unit, &error, &reply, e);
	if (r < 0 && error.name)
		snprintf(ret_name, 64, "%s", error.name);
	if (r < 0)
		return r;
	r = sdb.sd_bus_message_read_basic(reply, 'o', &j.path);
	if (r < 0)
		return err_errno(e, -r, "systemd: %s unit %s: its answer", what, unit);
	return wait_job(s, &j, what, unit, e);
}

/* A unit that failed stays loaded under its name. */
static void reset_failed(struct systemd *s, const char *unit)
{
	_cleanup_bus_error_ sd_bus_error error = { 0 };
	_cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
	struct err ignored = ERR_INIT;
	int r = new_call(s, "ResetFailedUnit", &m);

	if (r >= 0)
		r = append_str(m, unit);
	if (call(s, m, r, "reset", unit, &error, &reply, &ignored) < 0)
		log_debug("%s", ignored.msg);
}

static int start_once(
    struct systemd *s, const char *unit, const struct sd_props *p, char name[64], struct err *e)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r = new_call(s, "StartTransientUnit", &m);

	if (r >= 0 && (r = append_str(m, unit)) >= 0 && (r = append_str(m, "replace")) >= 0 &&
	    (r = append_properties(m, p)) >= 0 &&
	    (r = sdb.sd_bus_message_open_container(m, 'a', "(sa(sv))")) >= 0)
		r = sdb.sd_bus_message_close_container(m);
	return run_job(s, m, r, "start", unit, name, e);
}

int sd_start_unit(struct systemd *s, const char *unit, const struct sd_props *p, struct err *e)
{
	char name[64];
	int r = start_once(s, unit, p, name, e);

	if (r == 0 || !streq(name, "org.freedesktop.systemd1.UnitExists"))
		return r;
	log_debug("%s", e->msg);
	err_clear(e);
	reset_failed(s, unit);
	r = start_once(s, unit, p, name, e);
	if (r == 0 || !streq(name, "org.freedesktop.systemd1.UnitExists"))
		return r;
	return err_set(e, EEXIST,
	    "systemd: unit %s exists already: stop it (systemctl%s stop %s), or choose another "
	    "linux.cgroupsPath",
	    unit, s->user ? " --user" : "", unit);
}

int sd_stop_unit(struct systemd *s, const char *unit, struct err *e)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	char name[64];
	int r = new_call(s, "StopUnit", &m);

	if (r >= 0 && (r = append_str(m, unit)) >= 0)
		r = append_str(m, "replace");
	r = run_job(s, m, r, "stop", unit, name, e);
	if (r < 0 && (streq(name, NO_UNIT) || streq(name, NOT_LOADED))) {
		err_clear(e);
		return 0;
	}
	if (r == 0)
		reset_failed(s, unit);
	return r;
}

/* ---- the rest ---- */

int sd_set_properties(struct systemd *s, const char *unit, const struct sd_props *p, struct err *e)
{
	_cleanup_bus_error_ sd_bus_error error = { 0 };
	_cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
	int runtime = true, r = new_call(s, "SetUnitProperties", &m);

	if (r >= 0 && (r = append_str(m, unit)) >= 0 &&
	    (r = sdb.sd_bus_message_append_basic(m, 'b', &runtime)) >= 0)
		r = append_properties(m, p);
	return call(s, m, r, "set properties of", unit, &error, &reply, e);
}

int sd_attach(struct systemd *s, const char *unit, const char *below, pid_t pid, struct err *e)
{
	_cleanup_bus_error_ sd_bus_error error = { 0 };
	_cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
	uint32_t id = (uint32_t)pid;
	int r = new_call(s, "AttachProcessesToUnit", &m);

	if (r >= 0 && (r = append_str(m, unit)) >= 0 && (r = append_str(m, below)) >= 0 &&
	    (r = sdb.sd_bus_message_open_container(m, 'a', "u")) >= 0 &&
	    (r = sdb.sd_bus_message_append_basic(m, 'u', &id)) >= 0)
		r = sdb.sd_bus_message_close_container(m);
	return call(s, m, r, "move a process into", unit, &error, &reply, e);
}

int sd_manager_property(struct systemd *s, const char *name, char **ret, struct err *e)
{
	_cleanup_bus_error_ sd_bus_error error = { 0 };
	int r = sdb.sd_bus_get_property_string(s->bus, DEST, OBJECT, MANAGER, name, &error, ret);

	if (r >= 0)
		return 0;
	if (error.message)
		return err_set(e, -r, "systemd: read %s of the %s manager: %s", name,
		    s->user ? "user's" : "system's", error.message);
	return err_errno(
	    e, -r, "systemd: read %s of the %s manager", name, s->user ? "user's" : "system's");
}

/* "252.38-1~deb12u1", "v249", "systemd 255" … */
int sd_version(struct systemd *s, int *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL, *number = NULL;
	const char *digits;
	int32_t version = 0;
	int r = sd_manager_property(s, "Version", &text, e);

	if (r < 0)
		return r;
	digits = text + strcspn(text, "0123456789");
	number = xstrndup(digits, strspn(digits, "0123456789"));
	if (parse_i32(number, &version) < 0)
		return err_set(e, EPROTO, "systemd: its version is \"%s\", not a number", text);
	*ret = version;
	return 0;
}
