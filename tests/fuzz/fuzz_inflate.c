/*
 * Sniffing and decompression. The first byte says in how large pieces input comes and output goes:
 * what comes out must not depend on it. What libisal takes, zlib takes too, with the same result,
 * but for header flags that zlib checks more strictly.
 */
#include "images/inflate_backend.h"
#include "tests/fuzz/fuzz.h"

#define OUT_MAX (1u << 20)

struct result {
	uint64_t hash, len;
	int r;
	struct err e;
	enum compression c;
};

static void take(struct result *res, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		res->hash = (res->hash ^ p[i]) * 0x100000001b3;
	res->len += n;
}

static struct result inflate_all(struct inflate *z, const uint8_t *data, size_t size, size_t piece)
{
	struct result res = { .hash = 0xcbf29ce484222325 };
	uint8_t *out = malloc(piece);
	unsigned idle = 0;

	while (res.r == 0 && res.len < OUT_MAX) {
		size_t n_in = size < piece ? size : piece, n = n_in, n_out = piece;
		const void *in = data;

		res.r = size ? inflate_run(z, &in, &n, out, &n_out, &res.e)
			     : inflate_finish(z, out, &n_out, &res.e);
		MUST(n <= n_in && (const uint8_t *)in == data + (n_in - n) && n_out <= piece);
		take(&res, out, n_out);
		/* Without input, output or the end it must not go on. */
		idle = n == n_in && n_out == 0 && size ? idle + 1 : 0;
		MUST(idle < 3 || res.r < 0);
		if (!size && n_out == 0)
			break;
		data += n_in - n;
		size -= n_in - n;
	}
	must_be_consistent(res.r, &res.e);
	res.c = inflate_compression(z);
	inflate_free(z);
	free(out);
	return res;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result a, b;
	size_t piece;

	if (size == 0)
		return 0;
	piece = 1u + data[0] * 5u;
	data++;
	size--;
	a = inflate_all(inflate_new(), data, size, 65536);
	b = inflate_all(inflate_new(), data, size, piece);
	if (a.len < OUT_MAX && b.len < OUT_MAX) {
		MUST(a.r == b.r && a.c == b.c);
		MUST(a.r < 0 || (a.hash == b.hash && a.len == b.len));
	}
	if (a.c != COMPRESSION_GZIP)
		return 0;
	a = inflate_all(
	    inflate_new_backend(COMPRESSION_GZIP, &inflate_gzip_isal), data, size, 65536);
	b = inflate_all(
	    inflate_new_backend(COMPRESSION_GZIP, &inflate_gzip_zlib), data, size, 65536);
	if (a.len < OUT_MAX && b.len < OUT_MAX && a.r == 0 && b.r == 0)
		MUST(a.hash == b.hash && a.len == b.len);
	if (b.r == 0)
		MUST(a.r == 0);
	return 0;
}
