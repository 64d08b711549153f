/* process.json from a decoded process: the way back through decode_process.c's tables. */
#include "spec/spec.h"
#include "spec/tables.h"

static const char *name_of(const struct spec_names *t, uint64_t value)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].value == value)
			return t->v[i].name;
	return NULL;
}

static void gen_user(struct json_gen *g, const struct spec_user *u)
{
	json_gen_key(g, "user");
	json_gen_map(g);
	json_gen_kuint(g, "uid", u->uid);
	json_gen_kuint(g, "gid", u->gid);
	if (u->umask.set)
		json_gen_kuint(g, "umask", u->umask.v);
	json_gen_key(g, "additionalGids");
	json_gen_array(g);
	for (size_t i = 0; i < u->additional_gids.n; i++)
		json_gen_uint(g, u->additional_gids.v[i]);
	json_gen_end(g);
	json_gen_end(g);
}

static void gen_caps(struct json_gen *g, const struct spec_caps *c)
{
	const struct {
		const char *name;
		uint64_t set;
	} sets[] = {
		{ "bounding", c->bounding },
		{ "effective", c->effective },
		{ "permitted", c->permitted },
		{ "inheritable", c->inheritable },
		{ "ambient", c->ambient },
	};

	json_gen_key(g, "capabilities");
	json_gen_map(g);
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		json_gen_key(g, sets[i].name);
		json_gen_array(g);
		for (int cap = 0; cap < 64; cap++)
			if (sets[i].set >> cap & 1 && spec_cap_name(cap))
				json_gen_str(g, spec_cap_name(cap));
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void gen_rlimits(struct json_gen *g, const struct spec_process *p)
{
	json_gen_key(g, "rlimits");
	json_gen_array(g);
	for (size_t i = 0; i < p->rlimits.n; i++) {
		json_gen_map(g);
		json_gen_kstr(g, "type", p->rlimits.v[i].name);
		json_gen_kuint(g, "soft", p->rlimits.v[i].soft);
		json_gen_kuint(g, "hard", p->rlimits.v[i].hard);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void gen_scheduler(struct json_gen *g, const struct spec_scheduler *s)
{
	json_gen_key(g, "scheduler");
	json_gen_map(g);
	json_gen_kstr(g, "policy", name_of(&spec_sched_policies, (uint64_t)s->policy));
	json_gen_kint(g, "nice", s->nice);
	if (s->priority.set)
		json_gen_kint(g, "priority", s->priority.v);
	json_gen_key(g, "flags");
	json_gen_array(g);
	for (size_t i = 0; i < spec_sched_flags.n; i++)
		if (s->flags & spec_sched_flags.v[i].value)
			json_gen_str(g, spec_sched_flags.v[i].name);
	json_gen_end(g);
	json_gen_kuint(g, "runtime", s->runtime);
	json_gen_kuint(g, "deadline", s->deadline);
	json_gen_kuint(g, "period", s->period);
	json_gen_end(g);
}

static void gen_attributes(struct json_gen *g, const struct spec_process *p)
{
	if (p->oom_score_adj.set)
		json_gen_kint(g, "oomScoreAdj", p->oom_score_adj.v);
	if (p->scheduler.has)
		gen_scheduler(g, &p->scheduler);
	if (p->ioprio.has) {
		json_gen_key(g, "ioPriority");
		json_gen_map(g);
		json_gen_kstr(
		    g, "class", name_of(&spec_ioprio_classes, (uint64_t)p->ioprio.class_));
		json_gen_kint(g, "priority", p->ioprio.priority);
		json_gen_end(g);
	}
	json_gen_key(g, "execCPUAffinity");
	json_gen_map(g);
	if (p->exec_cpu_affinity.initial)
		json_gen_kstr(g, "initial", p->exec_cpu_affinity.initial);
	if (p->exec_cpu_affinity.final)
		json_gen_kstr(g, "final", p->exec_cpu_affinity.final);
	json_gen_end(g);
}

void spec_process_gen(struct json_gen *g, const struct spec_process *p)
{
	json_gen_kbool(g, "terminal", p->terminal);
	if (p->console_size.set) {
		json_gen_key(g, "consoleSize");
		json_gen_map(g);
		json_gen_kuint(g, "height", p->console_size.height);
		json_gen_kuint(g, "width", p->console_size.width);
		json_gen_end(g);
	}
	gen_user(g, &p->user);
	json_gen_kstrv(g, "args", p->args.v);
	json_gen_kstrv(g, "env", p->env.v);
	json_gen_kstr(g, "cwd", p->cwd);
	if (p->caps.has)
		gen_caps(g, &p->caps);
	gen_rlimits(g, p);
	json_gen_kbool(g, "noNewPrivileges", p->no_new_privileges);
	if (p->apparmor_profile)
		json_gen_kstr(g, "apparmorProfile", p->apparmor_profile);
	if (p->selinux_label)
		json_gen_kstr(g, "selinuxLabel", p->selinux_label);
	gen_attributes(g, p);
}
