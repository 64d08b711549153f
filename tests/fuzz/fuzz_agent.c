/*
 * The agent's port: frames cut anywhere. The first byte says which way they go and in which pieces
 * they come; what a frame holds is read by the parser of its type.
 */
#include <sys/socket.h>

#include "base/cleanup.h"
#include "guest/agent.h"
#include "guest/net.h"
#include "tests/fuzz/fuzz.h"

struct taken {
	struct gp_header last;
	size_t bytes;
	unsigned n;
	bool stop;
};

static void read_create(const uint8_t *body, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct create_options o;
	const char *one, *two;
	size_t one_n, two_n;
	struct err e = ERR_INIT;
	int r = options_split(body, n, &one, &one_n, &two, &two_n, &e);

	must_be_consistent(r, &e);
	if (r < 0)
		return;
	MUST(one == (const char *)body && one[one_n] == '\0' && two == one + one_n + 1);
	MUST(two[two_n] == '\0' && one_n + two_n + 2 == n);
	r = options_create(a, one, one_n, &o, &e);
	must_be_consistent(r, &e);
	if (r == 0)
		MUST(o.id[0] && o.bundle[0] == '/' && o.tag[0]);
	if (r == 0 && o.root_disk)
		MUST(o.root_disk[0] && strlen(o.root_disk) <= 20 && !strchr(o.root_disk, '/'));
	MUST(r < 0 || !o.scratch_disk || o.root_disk);
}

static void read_exec(const uint8_t *body, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct exec_options o;
	struct err e = ERR_INIT;

	must_be_consistent(options_exec(a, (const char *)body, n, &o, &e), &e);
}

static void read_net(const uint8_t *body, size_t n)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct net_config c;
	struct err e = ERR_INIT;
	int r = net_parse(a, (const char *)body, n, &c, &e);

	must_be_consistent(r, &e);
	for (size_t i = 0; r == 0 && i < c.n; i++) {
		const struct net_interface *v = &c.v[i];

		MUST(v->name[0] && memchr(v->name, '\0', sizeof(v->name)));
		for (size_t k = 0; k < v->n_addresses; k++)
			MUST(v->addresses[k].addr.prefix <=
			     (v->addresses[k].addr.family == AF_INET ? 32 : 128));
	}
}

static int take(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct taken *t = arg;

	t->last = *h;
	t->bytes += sizeof(*h) + h->length;
	t->n++;
	MUST(h->type < GP_TYPES && h->length <= GP_MAX_TO_GUEST);
	if (h->type == GP_CREATE)
		read_create(body, h->length);
	if (h->type == GP_EXEC)
		read_exec(body, h->length);
	if (h->type == GP_NET)
		read_net(body, h->length);
	return t->stop;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gp_reader r = { 0 };
	struct err e = ERR_INIT;
	struct taken t = { 0 };
	size_t step, at = 0;

	if (size < 1)
		return 0;
	r.way = data[0] & 1 ? GP_TO_HOST : GP_TO_GUEST;
	t.stop = data[0] & 2;
	step = data[0] >> 2 ? data[0] >> 2 : size;
	data++;
	size--;
	while (at < size) {
		size_t n = size - at < step ? size - at : step;
		ssize_t k = gp_reader_feed(&r, data + at, n, take, &t, &e);

		must_be_consistent(k < 0 ? (int)k : 0, &e);
		if (k < 0)
			break;
		MUST((size_t)k == n || t.stop);
		MUST(k > 0);
		at += (size_t)k;
		MUST(t.bytes + r.have == at);
		MUST(r.cap <= sizeof(struct gp_header) + GP_MAX_TO_GUEST);
	}
	gp_reader_free(&r);
	return 0;
}
