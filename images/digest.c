#include "images/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "images/loadlib.h"

/* evp.h has types and prototypes only; the functions are reached through this table. */
#define CRYPTO_FUNCTIONS(X)  \
	X(EVP_MD_CTX_new)    \
	X(EVP_MD_CTX_free)   \
	X(EVP_sha256)        \
	X(EVP_sha512)        \
	X(EVP_DigestInit_ex) \
	X(EVP_DigestUpdate)  \
	X(EVP_DigestFinal_ex)

static struct {
#define X(f) __typeof__(&f) f;
	CRYPTO_FUNCTIONS(X)
#undef X
} crypto;

static const struct loadlib_symbol crypto_symbols[] = {
#define X(f) { #f, (void **)&crypto.f },
	CRYPTO_FUNCTIONS(X)
#undef X
};
static struct loadlib crypto_lib =
    LOADLIB_INIT("libcrypto.so.3", "Debian: libssl3, for digests of images", crypto_symbols);

static const struct {
	const char *name;
	size_t hex;
	__typeof__(&EVP_sha256) *md;
} algs[DIGEST_ALG_N] = {
	[DIGEST_SHA256] = { "sha256", 64, &crypto.EVP_sha256 },
	[DIGEST_SHA512] = { "sha512", 128, &crypto.EVP_sha512 },
};

struct hasher {
	EVP_MD_CTX *ctx;
	enum digest_alg alg;
};

const char *digest_alg_name(enum digest_alg alg)
{
	return algs[alg].name;
}

const char *digest_hex(const struct digest *d)
{
	return strchr(d->text, ':') + 1;
}

static int refuse(const char *s, const char *why, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return err_set(e, EINVAL, "digest %s: %s", json_quote(a, s), why);
}

int digest_parse(const char *s, struct digest *ret, struct err *e)
{
	const char *colon = strchr(s, ':');
	size_t name = colon ? (size_t)(colon - s) : 0;

	if (!colon)
		return refuse(s, "no \"ALGORITHM:\" in front", e);
	for (size_t i = 0; i < DIGEST_ALG_N; i++) {
		if (strlen(algs[i].name) != name || strncmp(s, algs[i].name, name) != 0)
			continue;
		if (strspn(colon + 1, "0123456789abcdef") != algs[i].hex ||
		    colon[1 + algs[i].hex] != '\0')
			return refuse(s,
			    algs[i].hex == 64 ? "not 64 lower-case hexadecimal digits"
					      : "not 128 lower-case hexadecimal digits",
			    e);
		memset(ret, 0, sizeof(*ret));
		ret->alg = (enum digest_alg)i;
		memcpy(ret->text, s, name + 1 + algs[i].hex + 1);
		return 0;
	}
	return refuse(s, "unknown algorithm (one of sha256, sha512)", e);
}

int hasher_new(enum digest_alg alg, struct hasher **ret, struct err *e)
{
	_cleanup_hasher_ struct hasher *h = NULL;
	int r = loadlib(&crypto_lib, e);

	if (r < 0)
		return r;
	h = xcalloc(1, sizeof(*h));
	h->alg = alg;
	h->ctx = crypto.EVP_MD_CTX_new();
	if (!h->ctx || crypto.EVP_DigestInit_ex(h->ctx, (*algs[alg].md)(), NULL) != 1)
		return err_set(e, ENOSYS, "libcrypto does not compute %s here", algs[alg].name);
	*ret = steal_ptr(h);
	return 0;
}

void hasher_add(struct hasher *h, const void *buf, size_t n)
{
	/* Fails on misuse alone; a digest of less than was given must not come to life. */
	if (crypto.EVP_DigestUpdate(h->ctx, buf, n) != 1)
		abort();
}

void hasher_end(struct hasher *h, struct digest *ret)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	char *p;

	if (crypto.EVP_DigestFinal_ex(h->ctx, raw, &n) != 1 || n * 2 != algs[h->alg].hex)
		abort();
	memset(ret, 0, sizeof(*ret));
	ret->alg = h->alg;
	p = ret->text;
	memcpy(p, algs[h->alg].name, strlen(algs[h->alg].name));
	p += strlen(p);
	*p++ = ':';
	for (unsigned i = 0; i < n; i++) {
		*p++ = hex[raw[i] >> 4];
		*p++ = hex[raw[i] & 15];
	}
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	if (h->ctx)
		crypto.EVP_MD_CTX_free(h->ctx);
	free(h);
}

int digest_of(enum digest_alg alg, const void *buf, size_t n, struct digest *ret, struct err *e)
{
	_cleanup_hasher_ struct hasher *h = NULL;
	int r = hasher_new(alg, &h, e);

	if (r < 0)
		return r;
	hasher_add(h, buf, n);
	hasher_end(h, ret);
	return 0;
}
