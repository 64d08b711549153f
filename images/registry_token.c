/*
 * Answers to challenges: Basic, and the tokens of distribution's token authentication.
 *
 * Who gets the credentials is decided here. A registry names the place that issues tokens, its
 * realm, and so could name any (CVE-2026-65388): credentials for the registry go to its own host or
 * to one of the table, by TLS; another realm gets only what auth.json has for that realm's host by
 * name. The scope asked for is ours, whatever the challenge says.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "images/registry.h"

#define TOKEN_BODY_MAX (1024u * 1024)
#define TOKEN_MAX      (32u * 1024)

/* Registries whose realm is known to be another host of the same owner. */
static const struct {
	const char *registry, *realm;
} realms[] = {
	{ "registry-1.docker.io", "auth.docker.io" },
	{ "registry.gitlab.com", "gitlab.com" },
};

bool registry_realm_is_own(const struct url *base, const struct url *realm)
{
	if (base->tls && !realm->tls)
		return false;
	if (streq(base->host, realm->host))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(realms); i++)
		if (streq(realms[i].registry, base->host) && streq(realms[i].realm, realm->host))
			return realm->tls && realm->port == 443;
	return false;
}

/* 1: found, 0: there are none. */
static int own_credentials(
    struct registry *r, struct arena *a, struct credentials *ret, struct err *e)
{
	if (r->creds) {
		int x = credentials_parse(a, r->creds, ret, e);

		return x < 0 ? x : 1;
	}
	return auth_find(a, r->authfile, r->name.domain, r->name.path, ret, e);
}

static const char *host_with_port(struct arena *a, const struct url *u)
{
	return u->port == (u->tls ? 443 : 80) ? u->host
					      : arena_printf(a, "%s:%u", u->host, u->port);
}

/* What realm may be given. *ret_held: the registry's own would have been there. */
static int realm_credentials(struct registry *r, struct arena *a, const struct url *realm,
    struct credentials *ret, bool *ret_held, struct err *e)
{
	int x = own_credentials(r, a, ret, e);

	*ret_held = false;
	if (x < 0 || registry_realm_is_own(&r->base, realm))
		return x;
	*ret_held = x > 0;
	*ret = (struct credentials){ 0 };
	return auth_find(a, r->authfile, host_with_port(a, realm), "", ret, e);
}

/* ---- tokens ---- */

static int token_from(struct arena *a, const char *text, size_t n, const char **ret, struct err *e)
{
	const struct json *doc, *token;
	int x = json_parse(a, "token", text, n, &doc, e);

	if (x < 0)
		return x;
	if (doc->type != JSON_OBJECT)
		return err_set(e, EPROTO, "the answer is not an object");
	token = json_get(doc, "token");
	if (!token || token->type != JSON_STRING || !*token->s)
		token = json_get(doc, "access_token");
	if (!token || token->type != JSON_STRING || !*token->s)
		return err_set(e, EPROTO, "the answer has neither token nor access_token");
	if (token->len > TOKEN_MAX)
		return err_set(
		    e, EPROTO, "a token of %zu bytes, more than %u", token->len, TOKEN_MAX);
	for (const char *p = token->s; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return err_set(e, EPROTO, "the token has characters that no header has");
	*ret = token->s;
	return 0;
}

/* The request's query or form: which service, which rights. */
static const char *parameters(
    struct registry *r, struct arena *a, const struct challenge *c, const struct credentials *creds)
{
	const char *service = challenge_get(c, "service");
	const char *scope = arena_printf(a, "repository:%s:pull", r->name.path);
	const char *s = arena_printf(a, "scope=%s%s%s", http_escape(a, scope),
	    service ? "&service=" : "", service ? http_escape(a, service) : "");

	if (creds->identity_token)
		s = arena_printf(a, "%s&grant_type=refresh_token&client_id=bailey&refresh_token=%s",
		    s, http_escape(a, creds->identity_token));
	return s;
}

static int ask_realm(struct registry *r, struct arena *a, const struct http_request *q,
    struct backoff *b, const char **ret, struct err *e)
{
	struct http_response resp;
	struct http *h;
	const char *text;
	size_t n;
	int x = registry_take(r, &h, e);

	if (x < 0)
		return x;
	x = http_start(h, a, q, &resp, e);
	if (x == 0 && resp.status >= 300 && resp.status < 400)
		x = err_set(e, EPERM, "a redirect where credentials are asked for: refused");
	else if (x == 0 && resp.status != 200)
		x = registry_refused(h, a, &resp, b, e);
	if (x == 0 && (x = http_read_all(h, a, TOKEN_BODY_MAX, &text, &n, e)) == 0)
		x = token_from(a, text, n, ret, e);
	registry_give_back(r, h);
	return x;
}

static int realm_url(
    struct registry *r, struct arena *a, const struct challenge *c, struct url *ret, struct err *e)
{
	const char *text = challenge_get(c, "realm");
	int x;

	if (!text)
		return err_set(e, EPROTO, "the server's challenge names no realm");
	x = url_parse(a, text, ret, e);
	if (x < 0)
		return err_wrap(e, "the server's realm");
	if (!ret->tls && !(r->insecure && host_is_loopback(ret->host)))
		return err_set(
		    e, EPERM, "the server's realm %s: not https: refused", url_text(a, ret));
	return 0;
}

static int fetch_token(
    struct registry *r, struct arena *a, const struct challenge *c, const char **ret, struct err *e)
{
	struct credentials creds = { 0 };
	struct backoff b = { 0 };
	struct http_tls tls = { 0 };
	struct url realm;
	struct http_request q = { .url = &realm, .tls = &tls, .accept = "application/json" };
	const char *params, *shown;
	bool held;
	int x;

	if ((x = realm_url(r, a, c, &realm, e)) < 0 ||
	    (x = realm_credentials(r, a, &realm, &creds, &held, e)) < 0)
		return x;
	shown = url_text(a, &realm);
	tls.insecure = r->insecure && host_is_loopback(realm.host);
	if (realm.tls &&
	    (x = registry_certs(
		 a, streq(realm.host, r->base.host) ? r->cert_dir : NULL, &realm, &tls, e)) < 0)
		return x;
	params = parameters(r, a, c, &creds);
	if (creds.identity_token)
		q.form = params;
	else
		realm.path = arena_printf(
		    a, "%s%c%s", realm.path, strchr(realm.path, '?') ? '&' : '?', params);
	if (creds.user && !creds.identity_token)
		q.authorization = credentials_basic(a, &creds);
	do
		x = ask_realm(r, a, &q, &b, ret, e);
	while (x < 0 && backoff_wait(r, &b, e) == 0);
	if (x < 0 && held && e->code == EACCES)
		err_wrap(e,
		    "the credentials for %s are not given to the realm %s, another host (an entry "
		    "of its own in auth.json would be)",
		    r->name.domain, realm.host);
	if (x < 0 && creds.from && e->code == EACCES)
		err_wrap(e, "the credentials of %s are refused", creds.from);
	return x < 0 ? err_wrap(e, "token from %s", shown) : 0;
}

/* ---- the answer ---- */

static int basic(struct registry *r, struct arena *a, const char **ret, struct err *e)
{
	struct credentials creds;
	int x = own_credentials(r, a, &creds, e);

	if (x < 0)
		return x;
	if (x == 0 || !creds.user)
		return err_set(e, EACCES,
		    "%s wants a login: give --creds, or an auth.json as \"podman login\" or "
		    "\"skopeo login\" write it",
		    r->name.domain);
	if (r->authorization && r->authorization_basic)
		return err_set(
		    e, EACCES, "%s refuses the credentials of %s", r->name.domain, creds.from);
	*ret = credentials_basic(a, &creds);
	return 0;
}

static int answer(struct registry *r, struct arena *a, const struct challenges *c, const char **ret,
    bool *ret_basic, struct err *e)
{
	const struct challenge *bearer = challenges_find(c, "bearer");
	const char *token;
	int x;

	*ret_basic = !bearer;
	if (bearer) {
		x = fetch_token(r, a, bearer, &token, e);
		if (x == 0)
			*ret = arena_printf(a, "Bearer %s", token);
		return x;
	}
	if (challenges_find(c, "basic"))
		return basic(r, a, ret, e);
	return err_set(e, EACCES, "%s wants a login by a way that is neither Bearer nor Basic",
	    r->name.domain);
}

int registry_authenticate(
    struct registry *r, const struct challenges *c, unsigned seen, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	const char *text = NULL;
	bool is_basic = false, newer;
	int x = 0;

	pthread_mutex_lock(&one_at_a_time);
	pthread_mutex_lock(&r->lock);
	newer = r->generation != seen;
	pthread_mutex_unlock(&r->lock);
	if (!newer)
		x = answer(r, a, c, &text, &is_basic, e);
	if (!newer && x == 0) {
		pthread_mutex_lock(&r->lock);
		r->authorization = arena_strdup(r->s.arena, text);
		r->authorization_basic = is_basic;
		r->generation++;
		pthread_mutex_unlock(&r->lock);
	}
	pthread_mutex_unlock(&one_at_a_time);
	return x;
}
