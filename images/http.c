/*
 * Requests by libcurl's multi interface: the caller's read drives the transfer. What arrives when
 * nobody wants it waits in a bounded buffer; beyond that the transfer pauses.
 *
 * HTTP/1.1 alone: each connection carries one request, so there is nothing to multiplex.
 */
#include "images/http.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"
#include "images/http_curl.h"

#define CHUNK	(128u * 1024) /* what libcurl hands over at once, at most */
#define PEND	(2 * CHUNK)
#define POLL_MS 1000

struct http {
	unsigned timeout; /* s */
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	bool active, loopback_only;

	/* The response. */
	struct strbuf head;
	bool head_done, head_too_long, done, paused;
	CURLcode result;

	char pend[PEND];
	size_t pend_at, pend_len;
	char *out; /* the reader's, while it waits */
	size_t out_size, out_len;

	/* A stretch of waiting. */
	uint64_t waited_ms, waited_bytes;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
	struct http *h = ctx;
	bool first = n >= 5 && memcmp(line, "HTTP/", 5) == 0;

	if (first && h->head.s) { /* what went before was informational */
		strbuf_free(&h->head);
		h->head_done = false;
	}
	if (h->head_done) /* trailers */
		return n;
	if (h->head.len + n > HTTP_HEAD_MAX || memchr(line, '\0', n)) {
		h->head_too_long = true;
		return 0;
	}
	if (n <= 2 && (n == 0 || line[n - 1] == '\n')) {
		long status = 0;

		http_curl.curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
		h->head_done = status >= 200;
		return n;
	}
	strbuf_addn(&h->head, line, n);
	return n;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct http *h = ctx;
	size_t room = h->out ? h->out_size - h->out_len : 0, first;

	if (n > room + PEND - h->pend_len) {
		h->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	h->waited_bytes += n;
	first = n < room ? n : room;
	if (first)
		memcpy(h->out + h->out_len, p, first);
	h->out_len += first;
	memcpy(h->pend + h->pend_len, p + first, n - first);
	h->pend_len += n - first;
	return n;
}

/* The last word on where an unverified connection goes, whatever a name resolved to. */
static bool is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa->sa_family == AF_INET)
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	return sa->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static curl_socket_t on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http *h = ctx;

	if (h->loopback_only && !is_loopback(&a->addr))
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- life ---- */

void http_free(struct http *h)
{
	if (!h)
		return;
	http_stop(h);
	if (h->easy)
		http_curl.curl_easy_cleanup(h->easy);
	if (h->multi)
		http_curl.curl_multi_cleanup(h->multi);
	free(h);
}

int http_new(unsigned timeout, struct http **ret, struct err *e)
{
	_cleanup_http_ struct http *h = NULL;
	int r = http_curl_load(e);

	if (r < 0)
		return r;
	h = xcalloc(1, sizeof(*h));
	h->timeout = timeout;
	h->multi = http_curl.curl_multi_init();
	h->easy = http_curl.curl_easy_init();
	if (!h->multi || !h->easy)
		return err_set(e, ENOSYS, "libcurl gives no handle");
	*ret = steal_ptr(h);
	return 0;
}

void http_stop(struct http *h)
{
	if (h->active)
		http_curl.curl_multi_remove_handle(h->multi, h->easy);
	http_curl.curl_slist_free_all(h->headers);
	h->headers = NULL;
	strbuf_free(&h->head);
	h->active = h->head_done = h->head_too_long = h->done = h->paused = false;
	h->pend_at = h->pend_len = h->out_len = 0;
	h->out = NULL;
	h->waited_ms = h->waited_bytes = 0;
	h->error[0] = '\0';
	h->result = CURLE_OK;
}

/* ---- a transfer ---- */

/* What waiting might cure. Everything else that libcurl reports is final. */
static bool is_transient(CURLcode c)
{
	static const CURLcode codes[] = { CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT,
		CURLE_PARTIAL_FILE, CURLE_OPERATION_TIMEDOUT, CURLE_GOT_NOTHING, CURLE_SEND_ERROR,
		CURLE_RECV_ERROR };

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i] == c)
			return true;
	return false;
}

static int transfer_failed(struct http *h, CURLcode c, struct err *e)
{
	const char *text = h->error[0] ? h->error : http_curl.curl_easy_strerror(c);
	_cleanup_arena_ struct arena *a = arena_new();

	text = json_quote(a, text); /* parts of it may be the server's */
	if (h->head_too_long)
		return err_set(e, EPROTO, "the response's headers exceed %u bytes, or have a NUL",
		    HTTP_HEAD_MAX);
	if (c == CURLE_PEER_FAILED_VERIFICATION)
		return err_set(e, EPERM, "the server's certificate is not trusted: %s", text);
	if (c == CURLE_SSL_CACERT_BADFILE)
		return err_set(e, ENOENT,
		    "no trusted authorities (Debian: package ca-certificates): %s", text);
	if (c == CURLE_COULDNT_CONNECT && h->loopback_only)
		return err_set(e, EAGAIN, "no connection to a loopback address: %s", text);
	if (c == CURLE_SSL_CONNECT_ERROR)
		return err_set(e, EPROTO, "TLS: %s", text);
	return err_set(e, is_transient(c) ? EAGAIN : EIO, "%s", text);
}

/* Lets the transfer go on once; *result and done tell of its end. */
static int perform(struct http *h, struct err *e)
{
	int running, left;
	CURLMcode m = http_curl.curl_multi_perform(h->multi, &running);

	if (m != CURLM_OK)
		return err_set(e, EIO, "libcurl: %s", http_curl.curl_multi_strerror(m));
	for (CURLMsg *msg; (msg = http_curl.curl_multi_info_read(h->multi, &left));)
		if (msg->msg == CURLMSG_DONE) {
			h->done = true;
			h->result = msg->data.result;
		}
	return 0;
}

static int wait_for_more(struct http *h, int timeout_ms, struct err *e)
{
	CURLMcode m = http_curl.curl_multi_poll(h->multi, NULL, 0, timeout_ms, NULL);

	return m == CURLM_OK ? 0 : err_set(e, EIO, "libcurl: %s", http_curl.curl_multi_strerror(m));
}

/* The caller's slowness does not count, only ours to wait. */
static int check_rate(struct http *h, uint64_t ms, struct err *e)
{
	h->waited_ms += ms;
	if (h->waited_ms < (uint64_t)h->timeout * 1000)
		return 0;
	if (h->waited_bytes < (uint64_t)h->timeout * HTTP_RATE_MIN)
		return err_set(e, EAGAIN, "%llu bytes in %u seconds: the transfer stalls",
		    (unsigned long long)h->waited_bytes, h->timeout);
	h->waited_ms = h->waited_bytes = 0;
	return 0;
}

/* ---- sending ---- */

static void add_header(struct http *h, const char *name, const char *value)
{
	_cleanup_free_ char *line = xasprintf("%s: %s", name, value);
	struct curl_slist *l = http_curl.curl_slist_append(h->headers, line);

	if (!l)
		abort(); /* out of memory */
	h->headers = l;
}

static void set_headers(struct http *h, const struct http_request *q)
{
	_cleanup_free_ char *range = NULL;

	add_header(h, "Accept", q->accept ? q->accept : "*/*");
	/* Digests are of the bytes as they are kept. */
	add_header(h, "Accept-Encoding", "identity");
	if (q->authorization)
		add_header(h, "Authorization", q->authorization);
	if (q->from) {
		range = xasprintf("bytes=%llu-", (unsigned long long)q->from);
		add_header(h, "Range", range);
	}
	if (q->form)
		add_header(h, "Content-Type", "application/x-www-form-urlencoded");
	add_header(h, "Expect", "");
}

struct option {
	CURLoption option;
	long number;
	const void *pointer; /* where the option takes one */
};

static int set_options(struct http *h, const struct option *o, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		CURLcode c =
		    o[i].option < CURLOPTTYPE_OBJECTPOINT ||
			    (o[i].option >= CURLOPTTYPE_OFF_T && o[i].option < CURLOPTTYPE_BLOB)
			? http_curl.curl_easy_setopt(h->easy, o[i].option, o[i].number)
			: http_curl.curl_easy_setopt(h->easy, o[i].option, o[i].pointer);

		if (c != CURLE_OK)
			return err_set(e, ENOSYS, "libcurl refuses option %d: %s", o[i].option,
			    http_curl.curl_easy_strerror(c));
	}
	return 0;
}

static int set_up(struct http *h, const struct http_request *q, const char *url, struct err *e)
{
	struct curl_blob ca = { .data = (void *)q->tls->ca, .flags = CURL_BLOB_COPY };
	bool loopback = q->tls->insecure || host_is_loopback(q->url->host);
	const struct option options[] = {
		{ CURLOPT_URL, .pointer = url },
		{ CURLOPT_PROTOCOLS_STR, .pointer = q->url->tls ? "https" : "http" },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		{ CURLOPT_PATH_AS_IS, 1 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_USERAGENT, .pointer = "bailey/" BAILEY_VERSION },
		{ CURLOPT_HTTPHEADER, .pointer = h->headers },
		{ CURLOPT_POSTFIELDS, .pointer = q->form },
		{ q->form ? CURLOPT_POST : CURLOPT_HTTPGET, 1 },
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_CONNECTTIMEOUT, (long)h->timeout },
		{ CURLOPT_BUFFERSIZE, CHUNK },
		{ CURLOPT_ERRORBUFFER, .pointer = h->error },
		{ CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },
		{ CURLOPT_HEADERDATA, .pointer = h },
		{ CURLOPT_WRITEDATA, .pointer = h },
		{ CURLOPT_OPENSOCKETDATA, .pointer = h },
		/* Nothing that proves to be this host goes through a proxy. */
		{ CURLOPT_NOPROXY, .pointer = loopback ? "*" : NULL },
		{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },
		{ CURLOPT_SSL_VERIFYPEER, !q->tls->insecure },
		{ CURLOPT_SSL_VERIFYHOST, q->tls->insecure ? 0 : 2 },
		{ CURLOPT_SSLCERT, .pointer = q->tls->cert },
		{ CURLOPT_SSLKEY, .pointer = q->tls->key },
		{ CURLOPT_CAINFO_BLOB, .pointer = &ca },
	};
	size_t n = ARRAY_SIZE(options);
	CURL *c = h->easy;

	ca.len = q->tls->ca ? strlen(q->tls->ca) : 0;
	h->loopback_only = q->tls->insecure;
	http_curl.curl_easy_reset(c);
	http_curl.curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	http_curl.curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	http_curl.curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	return set_options(h, options, q->tls->ca ? n : n - 1, e);
}

/* ---- receiving ---- */

static const char *trim(struct arena *a, const char *s, size_t n)
{
	while (n && strchr(" \t\r\n", s[n - 1]))
		n--;
	while (n && strchr(" \t", *s)) {
		s++;
		n--;
	}
	return arena_strndup(a, s, n);
}

/* The headers that somebody asks for; of one that stands twice, the first counts, but for
 * challenges, which add up. */
static int take_headers(struct http *h, struct arena *a, struct http_response *ret, struct err *e)
{
	const struct {
		const char *name;
		const char **to;
	} wanted[] = {
		{ "content-type", &ret->type },
		{ "location", &ret->location },
		{ "content-range", &ret->content_range },
		{ "retry-after", &ret->retry_after },
		{ "docker-content-digest", &ret->digest },
	};

	for (const char *line = h->head.s; line && *line;) {
		size_t n = strcspn(line, "\n"), name = strcspn(line, ":\n");
		const char *value;

		if (line[name] != ':') {
			line += n + (line[n] == '\n');
			continue;
		}
		value = trim(a, line + name + 1, n - name - 1);
		if (name == 16 && strncasecmp(line, "www-authenticate", name) == 0 &&
		    challenges_parse(a, value, &ret->challenges, e) < 0)
			return -e->code;
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			if (strlen(wanted[i].name) == name && !*wanted[i].to &&
			    strncasecmp(line, wanted[i].name, name) == 0)
				*wanted[i].to = value;
		line += n + (line[n] == '\n');
	}
	return 0;
}

static int take_head(struct http *h, struct arena *a, struct http_response *ret, struct err *e)
{
	struct http_response resp = { .length = -1 };
	curl_off_t length = -1;
	long status = 0;
	int r;

	http_curl.curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	http_curl.curl_easy_getinfo(h->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	resp.status = (int)status;
	resp.length = length;
	r = take_headers(h, a, &resp, e);
	if (r == 0)
		*ret = resp;
	return r;
}

static int wait_for_head(struct http *h, struct err *e)
{
	/* To connect, and for the answer to begin. */
	uint64_t until = now_ms() + 2ull * h->timeout * 1000;
	int r;

	for (;;) {
		r = perform(h, e);
		if (r < 0)
			return r;
		if (h->done && h->result != CURLE_OK)
			return transfer_failed(h, h->result, e);
		if (h->head_done)
			return 0;
		if (h->done)
			return err_set(e, EAGAIN, "the response has no headers");
		if (now_ms() >= until)
			return err_set(e, EAGAIN, "no response in %u seconds", 2 * h->timeout);
		r = wait_for_more(h, POLL_MS, e);
		if (r < 0)
			return r;
	}
}

int http_start(struct http *h, struct arena *a, const struct http_request *q,
    struct http_response *ret, struct err *e)
{
	const char *url = url_text(a, q->url);
	CURLMcode m;
	int r;

	http_stop(h);
	set_headers(h, q);
	r = set_up(h, q, url, e);
	if (r < 0)
		return r;
	log_debug("%s %s%s%s", q->form ? "POST" : "GET", url,
	    q->authorization ? " (authorized)" : "", q->from ? " (in part)" : "");
	m = http_curl.curl_multi_add_handle(h->multi, h->easy);
	if (m != CURLM_OK)
		return err_set(e, EIO, "libcurl: %s", http_curl.curl_multi_strerror(m));
	h->active = true;
	r = wait_for_head(h, e);
	if (r == 0)
		r = take_head(h, a, ret, e);
	if (r < 0)
		http_stop(h);
	return r;
}

/* What libcurl has at hand for the reader; 0 with done set: the end. */
static int wait_for_body(struct http *h, struct err *e)
{
	int r;

	while (h->out_len == 0) {
		uint64_t before;

		if (h->paused) {
			h->paused = false;
			http_curl.curl_easy_pause(h->easy, CURLPAUSE_CONT);
		}
		r = perform(h, e);
		if (r < 0)
			return r;
		if (h->out_len || h->done)
			break;
		before = now_ms();
		if ((r = wait_for_more(h, POLL_MS, e)) < 0 ||
		    (r = check_rate(h, now_ms() - before, e)) < 0)
			return r;
	}
	return 0;
}

ssize_t http_read(struct http *h, void *buf, size_t n, struct err *e)
{
	size_t have = h->pend_len - h->pend_at;
	int r;

	if (have) {
		n = n < have ? n : have;
		memcpy(buf, h->pend + h->pend_at, n);
		h->pend_at += n;
		if (h->pend_at == h->pend_len)
			h->pend_at = h->pend_len = 0;
		return (ssize_t)n;
	}
	if (!h->done && n) {
		h->out = buf;
		h->out_size = n;
		h->out_len = 0;
		r = wait_for_body(h, e);
		h->out = NULL;
		if (r < 0)
			return r;
		if (h->out_len)
			return (ssize_t)h->out_len;
	}
	return h->result == CURLE_OK ? 0 : transfer_failed(h, h->result, e);
}

int http_read_all(
    struct http *h, struct arena *a, size_t max, const char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	uint64_t until = now_ms() + 4ull * h->timeout * 1000;
	char buf[16384];
	ssize_t n;

	while ((n = http_read(h, buf, sizeof(buf), e)) > 0) {
		if (b.len + (size_t)n > max)
			return err_set(e, EFBIG, "the response is longer than %zu bytes", max);
		strbuf_addn(&b, buf, (size_t)n);
		if (now_ms() > until)
			return err_set(e, EAGAIN, "not all came within %u seconds", 4 * h->timeout);
	}
	if (n < 0)
		return (int)n;
	*ret = arena_strndup(a, b.s ? b.s : "", b.len);
	*ret_len = b.len;
	return 0;
}

const char *http_escape(struct arena *a, const char *s)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	_cleanup_strbuf_ struct strbuf b = { 0 };

	for (; *s; s++)
		if (strchr(plain, *s))
			strbuf_addn(&b, s, 1);
		else
			strbuf_addf(&b, "%%%02X", (unsigned char)*s);
	return arena_strdup(a, b.s ? b.s : "");
}
