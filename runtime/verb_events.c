#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "runtime/container.h"
#include "runtime/values.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"

#define NS_PER_MS	INT64_C(1000000)
#define STATS_SEQ	1
#define FRAMES_AT_ONCE	64
#define GUEST_KILLS_MAX 256 /* between two looks */

struct events_opts {
	bool stats;
	const char *interval;
};

static int print_line(struct json_gen *j, struct err *e)
{
	puts(json_gen_text(j, NULL));
	if (fflush(stdout) < 0)
		return err_errno(e, errno, "write standard output");
	return 0;
}

/* Of a machine: what its own kernel counts for the container, as "guest" beside what the host
 * counts for the machine. */
static int guest_stats(const struct container *c, struct json_gen *j, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_close_ int sock = vm_connect(c, e);
	_cleanup_free_ char *text = NULL;
	const struct json *doc;
	int r = sock < 0 ? sock : vm_request(sock, GP_STATS, NULL, 0, &text, e);

	if (r == 0)
		r = json_parse(a, "the machine's statistics", text, strlen(text), &doc, e);
	if (r < 0)
		return r;
	json_gen_key(j, "guest");
	json_gen_node(j, doc);
	return 0;
}

/* {"type":…,"id":…,"data":{…}}; cg NULL: no data */
static int print_event(
    const char *type, const struct container *c, const struct cgroup *cg, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *j = json_gen_new(false);
	int r = 0;

	json_gen_map(j);
	json_gen_kstr(j, "type", type);
	json_gen_kstr(j, "id", c->id);
	if (cg) {
		json_gen_key(j, "data");
		r = cgroup_stats_json(cg, j, e);
	}
	if (r == 0 && cg && c->vm)
		r = guest_stats(c, j, e);
	json_gen_end(j);
	return r < 0 ? r : print_line(j, e);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / NS_PER_MS;
}

static bool is_stopped(struct container *c)
{
	struct err e = ERR_INIT;
	enum status st;

	return container_status(c, &st, &e) < 0 || st == ST_STOPPED;
}

/* ---- OOM kills ---- */

/* By the host's kernel, of the container's cgroup; at level vm by the machine's, too. */
struct kills {
	const struct cgroup *cg;
	int machine; /* connection that tells of them, or -EBADF */
	uint64_t host, guest;
};

/* The next frame from the machine's monitor; 1 when it is STATS' reply. */
static int hear(struct kills *k, struct err *e)
{
	_cleanup_free_ uint8_t *body = NULL;
	struct gp_header h;
	struct gp_oom oom;
	int r = vm_receive(k->machine, &h, &body, e);

	if (r < 0)
		return r;
	if (h.seq == STATS_SEQ)
		return h.type == GP_ERROR ? channel_error(body, h.length, e) : 1;
	if (h.type == GP_OOM) {
		memcpy(&oom, body, sizeof(oom));
		k->guest = oom.kills;
	}
	return 0;
}

/* Kills before the watch are not news; the machine's are counted before STATS' reply. */
static int kills_begin(const struct container *c, struct kills *k, struct err *e)
{
	int r = cgroup_wait_oom(k->cg, -1, &k->host, 0, e);

	if (r != 0 || !c->vm)
		return r;
	k->machine = vm_connect(c, e);
	r = k->machine < 0 ? k->machine : vm_send(k->machine, GP_STATS, STATS_SEQ, NULL, 0, e);
	while (r == 0)
		r = hear(k, e);
	return r > 0 ? 0 : r;
}

/* Waits for kills; 1: the container has ended, but there may be some in *k all the same. */
static int kills_wait(struct kills *k, int64_t ms, struct err *e)
{
	int r = cgroup_wait_oom(k->cg, k->machine, &k->host, ms > 0 ? (int)ms : 0, e), m = 0;
	struct pollfd p = { .fd = k->machine, .events = POLLIN };

	/* of one that lives no more than this at a time: it may never stop */
	for (int n = 0; r >= 0 && m == 0 && (r > 0 || n < FRAMES_AT_ONCE); n++)
		if (k->machine < 0 || poll(&p, 1, 0) <= 0)
			break;
		else
			m = hear(k, e);
	if (m == -ECONNRESET) { /* the machine has ended, and soon its cgroup will be empty */
		close(steal_fd(&k->machine));
		err_clear(e);
		m = 0;
	}
	return m < 0 ? m : r;
}

/* One line for each. The guest's count may be anything, and is no reason to print for ever. */
static int print_kills(
    const struct container *c, const struct kills *before, const struct kills *k, struct err *e)
{
	uint64_t host = k->host > before->host ? k->host - before->host : 0;
	uint64_t guest = k->guest > before->guest ? k->guest - before->guest : 0;
	int r = 0;

	if (guest > GUEST_KILLS_MAX)
		guest = GUEST_KILLS_MAX;
	for (uint64_t n = host + guest; r == 0 && n; n--)
		r = print_event("oom", c, NULL, e);
	return r;
}

/* Stats each interval, OOM kills at once, until the container has stopped. */
static int watch_with(struct container *c, struct kills *k, int64_t interval_ms, struct err *e)
{
	int64_t due = now_ms() + interval_ms;
	int r = kills_begin(c, k, e);

	while (r == 0) {
		const struct kills before = *k;

		r = kills_wait(k, due - now_ms(), e);
		if (r >= 0 && print_kills(c, &before, k, e) < 0)
			return -e->code;
		if (r != 0 || now_ms() < due)
			continue;
		if (is_stopped(c))
			break;
		r = print_event("stats", c, k->cg, e);
		due = now_ms() + interval_ms;
	}
	/* With the container gone its cgroup's files may vanish under the reader. */
	return r < 0 && !is_stopped(c) ? r : 0;
}

static int watch(struct container *c, const struct cgroup *cg, int64_t interval_ms, struct err *e)
{
	struct kills k = { .cg = cg, .machine = -EBADF };
	int r = watch_with(c, &k, interval_ms, e);

	if (k.machine >= 0)
		close(k.machine);
	return r;
}

static int parse_interval(const char *s, int64_t *ret_ms, struct err *e)
{
	int64_t ns;

	if (parse_duration(s, &ns) < 0)
		return err_set(e, EINVAL,
		    "invalid value \"%s\" for flag --interval: must be a duration such as 5s, "
		    "1m30s or 500ms",
		    s);
	if (ns < NS_PER_MS || ns / NS_PER_MS > INT_MAX)
		return err_set(e, EINVAL,
		    "invalid value \"%s\" for flag --interval: must be from 1ms to 596h", s);
	*ret_ms = ns / NS_PER_MS;
	return 0;
}

static int run_events(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	const struct events_opts *o = opts;
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	_cleanup_container_ struct container *c = NULL;
	int64_t interval_ms = 0;
	enum status st;
	int r;

	r = parse_interval(o->interval ? o->interval : "5s", &interval_ms, e);
	if (r == 0)
		r = container_open(g, argv[0], OPEN_UNLOCKED, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r == 0)
		r = status_check(c, EV_EVENTS, st, e);
	if (r == 0)
		r = container_cgroup(c, &cg, e);
	if (r < 0)
		return r;
	return o->stats ? print_event("stats", c, &cg, e) : watch(c, &cg, interval_ms, e);
}

#define OFF(field) offsetof(struct events_opts, field)
static const struct opt events_opts[] = {
	{ "interval", 0, OPT_STR, OFF(interval), "DURATION",
	    "time between two stats events, e.g. 500ms or 1m30s (default: 5s)" },
	{ "stats", 0, OPT_FLAG, OFF(stats), NULL, "print one stats event and exit" },
	{ 0 },
};

const struct verb verb_events = {
	.name = "events",
	.args = "CONTAINER",
	.summary = "print resource statistics and out-of-memory kills as JSON",
	.detail =
	    "One object per line: {\"type\":\"stats\",\"id\":ID,\"data\":{...}} each interval "
	    "and {\"type\":\"oom\",\"id\":ID} for each process that the kernel killed for "
	    "lack of memory. Ends when the container stops.",
	.examples = "bailey events --stats web\nbailey events --interval 1s web",
	.opts = events_opts,
	.opts_size = sizeof(struct events_opts),
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run_events,
};
