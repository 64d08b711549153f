/* config.json's mounts as a plan: options parsed by the one table of options, contradictions
 * refused before anything is made. */
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

const char *path_below(const char *path, const char *dir)
{
	const char *rest = startswith(path, dir);

	return rest && (*rest == '\0' || *rest == '/') ? rest : NULL;
}

/* Later options win over earlier ones, bit by bit. */
static void attrs_add(struct mount_attrs *a, uint64_t set, uint64_t clr)
{
	a->set = (a->set & ~clr) | set;
	a->clr = (a->clr & ~set) | clr;
	if ((a->set | a->clr) & MOUNT_ATTR__ATIME)
		a->clr |= MOUNT_ATTR__ATIME; /* the kernel takes the field as a whole */
}

static void param_add(
    struct mount_plan *p, struct mount_entry *m, const char *key, const char *value)
{
	struct mount_param *v = arena_calloc(p->arena, m->n_params + 1, sizeof(*v));

	if (m->n_params)
		memcpy(v, m->params, m->n_params * sizeof(*v));
	v[m->n_params++] = (struct mount_param){ key, value };
	m->params = v;
}

typedef int take_fn(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e);

static int take_attr(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	attrs_add(&m->top, o->set, o->clr);
	return 0;
}

static int take_attr_rec(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	attrs_add(&m->rec, o->set, o->clr);
	return 0;
}

static int take_sb(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	param_add(p, m, o->name, NULL);
	return 0;
}

static int take_bind(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	m->bind_opt = true;
	m->rec_bind |= o->rec;
	return 0;
}

static int take_propagation(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	if (m->n_props == MOUNT_PROPAGATIONS_MAX)
		return err_set(e, EINVAL, "%s.options: more than %d propagation options",
		    m->m->path, MOUNT_PROPAGATIONS_MAX);
	m->prop[m->n_props].type = o->set;
	m->prop[m->n_props++].rec = o->rec;
	return 0;
}

static int take_idmap(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	if (o->rec)
		m->ridmap = true;
	else
		m->idmap = true;
	return 0;
}

static int take_tmpcopyup(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	m->tmpcopyup = true;
	return 0;
}

static int take_nothing(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	if (o->set)
		log_warning(
		    "%s.options: \"%s\" has no effect: the kernel's mount API cannot say it, the "
		    "filesystem decides",
		    m->m->path, o->name);
	return 0;
}

static int take_extension(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	m->ext |= (unsigned)o->set;
	return 0;
}

static int take_remount(
    struct mount_plan *p, struct mount_entry *m, const struct mount_opt *o, struct err *e)
{
	m->remount_opt = true;
	return 0;
}

static take_fn *const take[] = {
	[MOPT_ATTR] = take_attr,
	[MOPT_ATTR_REC] = take_attr_rec,
	[MOPT_SB] = take_sb,
	[MOPT_BIND] = take_bind,
	[MOPT_PROPAGATION] = take_propagation,
	[MOPT_IDMAP] = take_idmap,
	[MOPT_TMPCOPYUP] = take_tmpcopyup,
	[MOPT_REMOUNT] = take_remount,
	[MOPT_IGNORED] = take_nothing,
	[MOPT_EXTENSION] = take_extension,
};

static int take_option(
    struct mount_plan *p, struct mount_entry *m, const char *s, size_t len, struct err *e)
{
	const struct mount_opt *o = mount_opt_find(s, len);
	const char *eq = memchr(s, '=', len);
	const char *value;
	size_t vlen;

	if (o)
		return take[o->kind](p, m, o, e);
	if (len == 0)
		return 0;
	if (!eq) {
		param_add(p, m, arena_strndup(p->arena, s, len), NULL);
		return 0;
	}
	if (eq == s)
		return err_set(e, EINVAL, "%s.options: \"%.*s\": no name before \"=\"", m->m->path,
		    (int)len, s);
	value = eq + 1;
	vlen = len - (size_t)(value - s);
	if (vlen >= 2 && value[0] == '"' && value[vlen - 1] == '"') {
		value++; /* context="…,…" as mount(8) wants it written */
		vlen -= 2;
	}
	param_add(p, m, arena_strndup(p->arena, s, (size_t)(eq - s)),
	    arena_strndup(p->arena, value, vlen));
	return 0;
}

/* One string of the array may hold several options, as in fstab; a comma inside double quotes does
 * not separate. */
static int take_options(struct mount_plan *p, struct mount_entry *m, struct err *e)
{
	for (size_t i = 0; i < m->m->options.n; i++) {
		const char *s = m->m->options.v[i];
		bool more = true;

		while (more) {
			bool quoted = false;
			size_t n = 0;
			int r;

			for (; s[n] && (quoted || s[n] != ','); n++)
				quoted ^= s[n] == '"';
			r = take_option(p, m, s, n, e);
			if (r < 0)
				return r;
			more = s[n] == ',';
			s += n + more;
		}
	}
	return 0;
}

static int choose_kind(struct mount_entry *m, struct err *e)
{
	const char *type = m->m->type;

	if (m->remount_opt) {
		m->kind = MOUNT_REMOUNT;
		m->type = "remount";
		return 0;
	}
	if (m->bind_opt || (type && streq(type, "bind"))) {
		m->kind = MOUNT_BIND;
		m->type = "bind";
		return 0;
	}
	if (!type || !*type || streq(type, "none"))
		return err_set(e, EINVAL,
		    "%s.type: %s and no \"bind\" or \"rbind\" in options: nothing says what to "
		    "mount",
		    m->m->path, type && *type ? "\"none\"" : "missing");
	m->type = type;
	m->kind = streq(type, "cgroup") || streq(type, "cgroup2") ? MOUNT_CGROUP : MOUNT_NEW;
	return 0;
}

/* What lxcfs and the like put over files of procfs to show the container's own numbers. */
static const char *const proc_overlays[] = { "/cpuinfo", "/diskstats", "/meminfo", "/stat",
	"/swaps", "/uptime", "/loadavg", "/slabinfo", "/sys/kernel/ns_last_pid",
	"/sys/crypto/fips_enabled" };

/* The runtime and the container trust what /proc says about labels, sysctls and processes: only
 * procfs goes there, and into it only files that decide nothing. */
static int check_proc(const struct mount_entry *m, struct err *e)
{
	const char *rest = path_below(m->dest, "/proc");

	if (!rest || m->kind == MOUNT_REMOUNT)
		return 0;
	if (*rest == '\0') {
		if (m->kind == MOUNT_BIND || streq(m->type, "proc"))
			return 0; /* a bind's source is checked when it is open */
		return err_set(e, EINVAL, "%s: a %s must not be mounted over /proc, only procfs",
		    m->m->path, m->type);
	}
	if (m->kind == MOUNT_BIND)
		for (size_t i = 0; i < ARRAY_SIZE(proc_overlays); i++)
			if (streq(rest, proc_overlays[i]))
				return 0;
	return err_set(e, EINVAL,
	    "%s.destination: \"%s\": mounts inside /proc are refused, but for binds over cpuinfo, "
	    "meminfo, stat and the like",
	    m->m->path, m->dest);
}

static int check_idmap(const struct mount_plan *p, struct mount_entry *m, struct err *e)
{
	const struct spec_mount *s = m->m;

	if (!s->uid_mappings.n != !s->gid_mappings.n)
		return err_set(e, EINVAL,
		    "%s: uidMappings and gidMappings go together, %s is missing", s->path,
		    s->uid_mappings.n ? "gidMappings" : "uidMappings");
	if (s->uid_mappings.n && !m->idmap && !m->ridmap)
		m->idmap = true;
	if (!m->idmap && !m->ridmap)
		return 0;
	if (m->kind != MOUNT_BIND)
		return err_set(
		    e, EINVAL, "%s: only bind mounts can be id-mapped, not a %s", s->path, m->type);
	if (!s->uid_mappings.n && !p->spec->uid_mappings.n)
		return err_set(e, EINVAL,
		    "%s: \"%s\" without uidMappings and gidMappings takes those of the container's "
		    "user namespace, and there is none",
		    s->path, m->ridmap ? "ridmap" : "idmap");
	return 0;
}

static int check_bind(const struct mount_entry *m, struct err *e)
{
	if (!m->m->source || !*m->m->source)
		return err_set(e, EINVAL, "%s.source: missing: a bind mount needs one", m->m->path);
	if (m->tmpcopyup)
		return err_set(e, EINVAL, "%s: tmpcopyup is for tmpfs, not for a bind", m->m->path);
	for (size_t i = 0; i < m->n_params; i++) {
		const char *key = m->params[i].key;
		const struct mount_opt *o = mount_opt_find(key, strlen(key));

		if (!o) /* flags of the superblock mean nothing to a bind, as in mount(2) */
			return err_set(e, EINVAL,
			    "%s.options: \"%s\": unknown, and a bind mount has no options of a "
			    "filesystem",
			    m->m->path, key);
	}
	return 0;
}

static int check_new(struct mount_entry *m, struct err *e)
{
	bool tmpfs = streq(m->type, "tmpfs");

	if (m->tmpcopyup && !tmpfs)
		return err_set(
		    e, EINVAL, "%s: tmpcopyup is for tmpfs, not for %s", m->m->path, m->type);
	if (m->ext & (MOPT_EXT_COPY_SYMLINK | MOPT_EXT_SRC_NOFOLLOW))
		return err_set(e, EINVAL,
		    "%s: copy-symlink and src-nofollow are for bind mounts, not for %s", m->m->path,
		    m->type);
	attrs_add(&m->top, m->rec.set, m->rec.clr); /* nothing is below it yet */
	/* Mount points and device nodes are still to be made in these. */
	m->late_ro = m->kind == MOUNT_NEW && (m->top.set & MOUNT_ATTR_RDONLY) &&
		     (tmpfs || streq(m->dest, "/dev"));
	return 0;
}

/* Only the flags of the mount change, those that the options name; a filesystem's own options
 * belong to the host that made it. */
static int check_remount(struct mount_entry *m, struct err *e)
{
	if (m->n_params || m->tmpcopyup || m->ext || m->m->uid_mappings.n || m->idmap || m->ridmap)
		return err_set(e, EINVAL,
		    "%s.options: a remount changes flags of the mount that is there and takes no "
		    "%s",
		    m->m->path,
		    m->n_params ? m->params[0].key : "id mappings, tmpcopyup or *-nofollow");
	m->late_ro = m->top.set & MOUNT_ATTR_RDONLY;
	return 0;
}

static int check_kind(struct mount_entry *m, struct err *e)
{
	if (m->kind == MOUNT_REMOUNT)
		return check_remount(m, e);
	return m->kind == MOUNT_BIND ? check_bind(m, e) : check_new(m, e);
}

static int plan_entry(
    struct mount_plan *p, struct mount_entry *m, const struct spec_mount *s, struct err *e)
{
	_cleanup_free_ char *dest = NULL;
	int r;

	m->m = s;
	m->fd = -EBADF;
	if (!s->destination || !*s->destination)
		return err_set(e, EINVAL, "%s.destination: missing", s->path);
	dest = path_normalize(s->destination);
	if (streq(dest, "/"))
		return err_set(e, EINVAL,
		    "%s.destination: \"%s\" is the root itself, which root.path gives", s->path,
		    s->destination);
	m->dest = arena_strdup(p->arena, dest);
	r = take_options(p, m, e);
	if (r == 0)
		r = choose_kind(m, e);
	if (r == 0)
		r = check_kind(m, e);
	if (r == 0)
		r = check_proc(m, e);
	return r == 0 ? check_idmap(p, m, e) : r;
}

int mount_plan_new(const struct spec *s, struct mount_plan **ret, struct err *e)
{
	_cleanup_mount_plan_ struct mount_plan *p = NULL;
	struct arena *a;

	if (!s->ns[NS_MOUNT].has || s->ns[NS_MOUNT].path)
		return err_set(e, EINVAL,
		    "linux.namespaces: a new mount namespace is needed, %s: the container's root "
		    "would "
		    "cover that of others",
		    s->ns[NS_MOUNT].has ? "not one to join" : "and none is listed");
	a = arena_new();
	p = arena_alloc(a, sizeof(*p));
	p->arena = a;
	p->spec = s;
	p->root_fd = -EBADF;
	p->idmap.fd = -EBADF;
	p->v = arena_calloc(a, s->mounts.n, sizeof(*p->v));
	for (size_t i = 0; i < s->mounts.n; i++) {
		int r;

		p->n = i + 1;
		r = plan_entry(p, &p->v[i], &s->mounts.v[i], e);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(p);
	return 0;
}

int mount_plan_use_export(
    struct mount_plan *p, const char *dir, const uint32_t *indices, size_t n, struct err *e)
{
	bool *exported = arena_calloc(p->arena, p->n, sizeof(*exported));

	for (size_t i = 0; i < n; i++) {
		if (indices[i] >= p->n || p->v[indices[i]].kind != MOUNT_BIND)
			return err_set(
			    e, EINVAL, "exports[%zu]: .mounts[%u] is no bind mount", i, indices[i]);
		exported[indices[i]] = true;
	}
	for (size_t i = 0; i < p->n; i++) {
		struct mount_entry *m = &p->v[i];

		if (m->kind == MOUNT_BIND && !exported[i])
			return err_set(
			    e, EINVAL, "%s.source: the host does not export it", m->m->path);
		m->idmap = m->ridmap = false;
	}
	p->export = dir;
	return 0;
}

void mount_plan_free(struct mount_plan *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		closep(&p->v[i].fd);
	closep(&p->root_fd);
	closep(&p->idmap.fd);
	arena_free(p->arena);
}
