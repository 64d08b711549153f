/*
 * One request with all that it may take.
 *
 * Redirects are followed here and not by the library, so that each step is judged: never from
 * https to http, and with the Authorization only as long as scheme, host and port stay what they
 * were (CVE-2020-15157).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "images/registry.h"

#define ERROR_BODY_MAX 65536
#define PAUSE_MS       200
#define PAUSE_MAX_MS   10000

/* ---- connections ---- */

int registry_take(struct registry *r, struct http **ret, struct err *e)
{
	struct http *h = NULL;

	pthread_mutex_lock(&r->lock);
	if (r->n_idle)
		h = r->idle[--r->n_idle];
	pthread_mutex_unlock(&r->lock);
	if (!h)
		return http_new(r->timeout, ret, e);
	*ret = h;
	return 0;
}

void registry_give_back(struct registry *r, struct http *h)
{
	if (!h)
		return;
	http_stop(h);
	pthread_mutex_lock(&r->lock);
	if (r->n_idle < REGISTRY_IDLE_MAX) {
		r->idle[r->n_idle++] = h;
		h = NULL;
	}
	pthread_mutex_unlock(&r->lock);
	http_free(h);
}

/* ---- attempts ---- */

static void pause_ms(uint64_t ms)
{
	struct timespec t = { .tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

int backoff_wait(const struct registry *r, struct backoff *b, struct err *e)
{
	uint64_t ms = PAUSE_MS;
	unsigned char random = 0;

	if (e->code != EAGAIN)
		return -e->code;
	if (b->tries >= r->retries || b->wait > REGISTRY_WAIT_MAX) {
		if (r->retries && b->tries >= r->retries)
			err_wrap(e, "given up after %u attempts", b->tries + 1);
		e->code = EIO;
		return -EIO;
	}
	for (unsigned i = 0; i < b->tries && ms < PAUSE_MAX_MS; i++)
		ms *= 2;
	if (getrandom(&random, 1, GRND_NONBLOCK) != 1) /* so that many do not come back at once */
		random = 0;
	ms += ms * random / 512;
	if (ms < b->wait * 1000)
		ms = b->wait * 1000;
	log_debug("%s; again in %llu ms", e->msg, (unsigned long long)ms);
	pause_ms(ms);
	b->tries++;
	b->wait = 0;
	err_clear(e);
	return 0;
}

/* {"errors":[{"code":…,"message":…}]} (distribution-spec, error codes); NULL: it is no such. */
static const char *server_message(struct http *h, struct arena *a)
{
	const struct json *doc, *errors, *code, *message;
	struct err ignored = ERR_INIT;
	const char *text;
	size_t n;

	if (http_read_all(h, a, ERROR_BODY_MAX, &text, &n, &ignored) < 0 || n == 0 ||
	    json_parse(a, "error", text, n, &doc, &ignored) < 0 || doc->type != JSON_OBJECT)
		return NULL;
	errors = json_get(doc, "errors");
	if (!errors || errors->type != JSON_ARRAY || !errors->child ||
	    errors->child->type != JSON_OBJECT)
		return NULL;
	code = json_get(errors->child, "code");
	message = json_get(errors->child, "message");
	if (message && message->type == JSON_STRING && *message->s)
		return json_quote(a, message->s);
	return code && code->type == JSON_STRING ? json_quote(a, code->s) : NULL;
}

int registry_refused(struct http *h, struct arena *a, const struct http_response *resp,
    struct backoff *b, struct err *e)
{
	bool later = resp->status == 408 || resp->status == 429 || resp->status >= 500;
	const char *text = server_message(h, a);
	int code = later		 ? EAGAIN
		   : resp->status == 401 ? EACCES
		   : resp->status == 403 ? EACCES
		   : resp->status == 404 ? ENOENT
					 : EIO;

	if (later && resp->retry_after &&
	    retry_after_parse(resp->retry_after, time(NULL), &b->wait) < 0)
		b->wait = 0;
	if (b->wait > REGISTRY_WAIT_MAX)
		return err_set(e, code,
		    "the server answers %d and asks to wait %llu seconds: try again then",
		    resp->status, (unsigned long long)b->wait);
	return err_set(
	    e, code, "the server answers %d%s%s", resp->status, text ? ": " : "", text ? text : "");
}

/* ---- redirects ---- */

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static int next_hop(struct registry *r, struct arena *a, const struct http_response *resp,
    struct url *u, struct err *e)
{
	struct url to;
	int x;

	if (!resp->location)
		return err_set(e, EPROTO, "the server answers %d without a Location", resp->status);
	x = url_resolve(a, u, resp->location, &to, e);
	if (x < 0)
		return err_wrap(e, "redirect");
	if (u->tls && !to.tls)
		return err_set(e, EPERM, "redirect from https to %s: refused", url_text(a, &to));
	if (!to.tls && !host_is_loopback(to.host))
		return err_set(e, EPERM, "redirect to %s: not https: refused", url_text(a, &to));
	*u = to;
	return 0;
}

static int tls_of(
    struct registry *r, struct arena *a, const struct url *u, struct http_tls *ret, struct err *e)
{
	bool own = streq(u->host, r->base.host);

	*ret = (struct http_tls){ .insecure = r->insecure && host_is_loopback(u->host) };
	return u->tls ? registry_certs(a, own ? r->cert_dir : NULL, u, ret, e) : 0;
}

struct hops {
	struct url url;
	unsigned generation; /* of the authorization that was sent to the registry */
	bool at_home;	     /* url is of the registry itself */
};

static int follow(struct registry *r, struct arena *a, const struct registry_ask *q, struct http *h,
    struct hops *hops, struct http_response *ret, struct err *e)
{
	const char *authorization;
	int x;

	pthread_mutex_lock(&r->lock);
	hops->url = r->base;
	authorization = r->authorization;
	hops->generation = r->generation;
	pthread_mutex_unlock(&r->lock);
	hops->url.path = q->path;
	for (int i = 0; i <= REGISTRY_HOPS_MAX; i++) {
		struct http_tls tls;
		struct http_request req = {
			.url = &hops->url, .tls = &tls, .accept = q->accept, .from = q->from
		};

		hops->at_home = url_same_origin(&hops->url, &r->base);
		req.authorization = hops->at_home ? authorization : NULL;
		if ((x = tls_of(r, a, &hops->url, &tls, e)) < 0 ||
		    (x = http_start(h, a, &req, ret, e)) < 0)
			return err_wrap(e, "%s", url_text(a, &hops->url));
		if (!is_redirect(ret->status))
			return 0;
		/* Once elsewhere, a way back home is a stranger's request. */
		if (!hops->at_home)
			authorization = NULL;
		x = next_hop(r, a, ret, &hops->url, e);
		if (x < 0)
			return x;
		if (!url_same_origin(&hops->url, &r->base))
			authorization = NULL;
	}
	return err_set(e, ELOOP, "more than %d redirects", REGISTRY_HOPS_MAX);
}

/* ---- http or https ---- */

/* An unverified loopback registry may be without TLS: whoever listens there has been trusted. The
 * first connection decides, for as long as the source is open. */
static bool try_without_tls(struct registry *r, const struct err *e)
{
	bool yes;

	pthread_mutex_lock(&r->lock);
	yes = r->insecure && !r->scheme_known && e->code == EPROTO;
	if (yes) {
		r->base.tls = false;
		r->base.port = r->base.port == 443 ? 80 : r->base.port;
		r->scheme_known = true;
	}
	pthread_mutex_unlock(&r->lock);
	if (yes)
		log_debug("%s: no TLS there", r->base.host);
	return yes;
}

/* ---- all together ---- */

static int ask_once(struct registry *r, struct arena *a, const struct registry_ask *q,
    struct http *h, struct http_response *ret, struct backoff *b, struct err *e)
{
	struct hops hops;
	int x;

	/* At most one authorization that is outdated, and one that is new. */
	for (int i = 0;; i++) {
		x = follow(r, a, q, h, &hops, ret, e);
		if (x < 0 && try_without_tls(r, e)) {
			err_clear(e);
			x = follow(r, a, q, h, &hops, ret, e);
		}
		if (x < 0)
			return x;
		pthread_mutex_lock(&r->lock);
		r->scheme_known = true;
		pthread_mutex_unlock(&r->lock);
		if (ret->status == 200 || (ret->status == 206 && q->from))
			return 0;
		if (ret->status != 401 || !hops.at_home || i == 2) {
			(void)registry_refused(h, a, ret, b, e);
			return err_wrap(e, "%s", url_text(a, &hops.url));
		}
		x = registry_authenticate(r, &ret->challenges, hops.generation, e);
		if (x < 0)
			return x;
	}
}

int registry_ask(struct registry *r, struct arena *a, const struct registry_ask *q,
    struct http **ret_conn, struct http_response *ret, struct err *e)
{
	struct backoff b = { 0 };
	struct http *h;
	int x = registry_take(r, &h, e);

	if (x < 0)
		return x;
	do
		x = ask_once(r, a, q, h, ret, &b, e);
	while (x < 0 && backoff_wait(r, &b, e) == 0);
	if (x < 0) {
		registry_give_back(r, h);
		return err_wrap(e, "%s", q->what);
	}
	*ret_conn = h;
	return 0;
}

int registry_ask_all(struct registry *r, struct arena *a, const struct registry_ask *q, size_t max,
    struct http_response *ret, const char **ret_text, size_t *ret_len, struct err *e)
{
	struct backoff b = { 0 };
	struct http *h;
	int x;

	do {
		x = registry_ask(r, a, q, &h, ret, e);
		if (x < 0)
			return x;
		x = http_read_all(h, a, max, ret_text, ret_len, e);
		registry_give_back(r, h);
	} while (x < 0 && backoff_wait(r, &b, e) == 0);
	return x < 0 ? err_wrap(e, "%s", q->what) : 0;
}
