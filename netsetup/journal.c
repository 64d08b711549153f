#include "netsetup/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

#define JOURNAL_MAX (1024 * 1024)

void journal_free(struct journal *j)
{
	strv_free(j->ports);
	j->ports = NULL;
}

int journal_write(const struct journal *j, int dirfd, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	char text[IP_TEXT];
	const char *out;
	size_t n;

	json_gen_map(g);
	json_gen_kuint(g, "kind", j->kind);
	json_gen_kuint(g, "host", j->host);
	json_gen_kstr(g, "network", j->network);
	json_gen_kstr(g, "link", j->link);
	json_gen_kbool(g, "openvswitch", j->openvswitch);
	json_gen_kstr(g, "ip4", ip_text(&j->ip4, false, text));
	json_gen_kstr(g, "ip6", ip_text(&j->ip6, false, text));
	json_gen_kstrv(g, "ports", j->ports ? j->ports : (char *[]){ NULL });
	json_gen_end(g);
	out = json_gen_text(g, &n);
	return file_replace(dirfd, JOURNAL, out, n, 0600, true, e);
}

static bool text_of(const struct json *doc, const char *key, char *ret, size_t size)
{
	const struct json *v = json_get(doc, key);

	return v && v->type == JSON_STRING && (size_t)snprintf(ret, size, "%s", v->s) < size;
}

static bool ip_of(const struct json *doc, const char *key, struct ip *ret)
{
	const struct json *v = json_get(doc, key);

	return v && v->type == JSON_STRING && (!*v->s || ip_parse(v->s, ret) == 0);
}

static bool read_fields(const struct json *doc, struct journal *j)
{
	const struct json *kind = json_get(doc, "kind"), *ports = json_get(doc, "ports");
	const struct json *host = json_get(doc, "host"), *ovs = json_get(doc, "openvswitch");

	if (!kind || kind->type != JSON_INT || kind->i < 0 || kind->i >= NET_KINDS || !host ||
	    host->type != JSON_INT || host->i < 0 ||
	    !text_of(doc, "network", j->network, sizeof(j->network)) ||
	    !text_of(doc, "link", j->link, sizeof(j->link)) || !ip_of(doc, "ip4", &j->ip4) ||
	    !ip_of(doc, "ip6", &j->ip6) || !ports || ports->type != JSON_ARRAY ||
	    (ovs && ovs->type != JSON_BOOL))
		return false;
	j->kind = (enum net_kind)kind->i;
	j->host = (uint64_t)host->i;
	j->openvswitch = ovs && ovs->b;
	json_foreach (p, ports) {
		if (p->type != JSON_STRING || strchr(p->s, '/'))
			return false;
		strv_push(&j->ports, xstrdup(p->s));
	}
	return true;
}

int journal_read(int dirfd, struct journal *ret, bool *ret_found, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *text = NULL;
	const struct json *doc;
	size_t n;
	int r;

	*ret_found = false;
	if (faccessat(dirfd, JOURNAL, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	r = file_read(dirfd, JOURNAL, JOURNAL_MAX, &text, &n, e);
	if (r == 0)
		r = json_parse(a, JOURNAL, text, n, &doc, e);
	if (r < 0)
		return r;
	*ret = (struct journal){ 0 };
	if (doc->type != JSON_OBJECT || !read_fields(doc, ret)) {
		journal_free(ret);
		return err_set(e, EINVAL, JOURNAL ": not written by this program");
	}
	*ret_found = true;
	return 0;
}
