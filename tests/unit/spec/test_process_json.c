#include "base/cleanup.h"
#include "spec/spec.h"
#include "tests/unit/test.h"

static const char full[] =
    "{\"terminal\":true,\"consoleSize\":{\"height\":25,\"width\":80},\"user\":{\"uid\":1,"
    "\"gid\":2,\"umask\":18,\"additionalGids\":[5,6]},\"args\":[\"a\",\"\",\"b c\"],\"env\":["
    "\"X=1\"],\"cwd\":\"/w\",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_SYS_ADMIN\"],"
    "\"effective\":[\"CAP_CHOWN\"],\"permitted\":[\"CAP_CHOWN\"],\"inheritable\":[],"
    "\"ambient\":[]},\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":10,\"hard\":"
    "18446744073709551615}],\"noNewPrivileges\":true,\"apparmorProfile\":\"p\","
    "\"selinuxLabel\":\"l\",\"oomScoreAdj\":-5,\"scheduler\":{\"policy\":\"SCHED_DEADLINE\","
    "\"nice\":0,\"flags\":[\"SCHED_FLAG_RECLAIM\"],\"runtime\":1,\"deadline\":2,\"period\":3},"
    "\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\",\"priority\":7},\"execCPUAffinity\":{"
    "\"initial\":\"0\",\"final\":\"0-1\"}}";
static const char small[] = "{\"args\":[\"a\"],\"cwd\":\"/\"}";

static char *there_and_back(struct arena *a, const char *text)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	struct spec_process p = { 0 };
	struct err e = ERR_INIT;

	CHECK_INT(spec_parse_process(a, "test", text, strlen(text), &p, &e), 0);
	CHECK_STR(e.msg, "");
	json_gen_map(g);
	spec_process_gen(g, &p);
	json_gen_end(g);
	return arena_strdup(a, json_gen_text(g, NULL));
}

/* All that was said is said again, in the decoder's own words. */
TEST(nothing_is_lost)
{
	_cleanup_arena_ struct arena *a = arena_new();

	CHECK_STR(there_and_back(a, full), full);
}

TEST(what_is_not_said_stays_unsaid)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *once = there_and_back(a, small);

	CHECK_STR(there_and_back(a, once), once);
	CHECK(!strstr(once, "umask") && !strstr(once, "oomScoreAdj") && !strstr(once, "scheduler"));
	CHECK(!strstr(once, "capabilities"));
}

TEST_MAIN(T(nothing_is_lost), T(what_is_not_said_stays_unsaid))
