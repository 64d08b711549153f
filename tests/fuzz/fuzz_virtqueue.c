/*
 * A virtqueue over a guest memory that is the input itself: descriptors, rings and indirect tables
 * are whatever it says. Every segment of every request must lie in that memory, and a queue that
 * has broken stays so.
 *
 * Input: size's log2, event_idx, then three ring addresses of 16 bits, then memory from 0 on.
 */
#include <sys/uio.h>

#include "tests/fuzz/fuzz.h"
#include "vm/queue.h"

#define MEMORY 65536u

static uint8_t *memory(void)
{
	static uint8_t *m;

	/* Of its own, so that ASan sees an access beyond it. */
	if (!m && !(m = aligned_alloc(VM_PAGE, MEMORY)))
		abort();
	return m;
}

static void must_be_inside(const struct iovec *v, unsigned n, uint64_t bytes)
{
	const uint8_t *m = memory();
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *p = v[i].iov_base;

		MUST(v[i].iov_len > 0 && p >= m && p < m + MEMORY);
		MUST(v[i].iov_len <= (size_t)(m + MEMORY - p));
		sum += v[i].iov_len;
	}
	MUST(sum == bytes);
}

/* Slices and copies keep to the segments whatever offset and length. */
static void segments(const struct queue_chain *c)
{
	struct iovec part[QUEUE_SIZE_MAX];
	uint8_t buf[64];
	static const uint64_t offsets[] = { 0, 1, 15, 4096, UINT64_MAX };

	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		uint64_t at = offsets[i], left = at < c->read_bytes ? c->read_bytes - at : 0;
		unsigned n = iov_slice(c->read, c->n_read, at, UINT64_MAX, part);

		MUST(n <= c->n_read);
		must_be_inside(part, n, left);
		MUST(iov_read(c->read, c->n_read, at, buf, sizeof(buf)) ==
		     (left < sizeof(buf) ? left : sizeof(buf)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct guest_memory m = { .regions = { { 0, MEMORY, memory() } }, .n = 1, .size = MEMORY };
	static struct queue_chain c;
	struct virtqueue q;
	uint16_t addr[3];
	int r = 0;

	if (n < 8)
		return 0;
	memset(memory(), 0, MEMORY);
	memcpy(addr, data + 2, sizeof(addr));
	memcpy(memory(), data + 8, n - 8 < MEMORY ? n - 8 : MEMORY);
	r = queue_start(
	    &q, &m, (uint16_t)(1u << (data[0] % 12)), addr[0], addr[1], addr[2], data[1] & 1);
	MUST(r == 0 ? q.ready : q.why != NULL);
	for (int i = 0; i < 300 && (r = queue_pop(&q, &c)) > 0; i++) {
		MUST(c.n_read + c.n_write <= QUEUE_SIZE_MAX && c.n_read + c.n_write > 0);
		MUST(c.head < q.size);
		must_be_inside(c.read, c.n_read, c.read_bytes);
		must_be_inside(c.write, c.n_write, c.write_bytes);
		segments(&c);
		if (i % 3 == 0 && data[1] & 2)
			queue_unpop(&q), queue_pop(&q, &c);
		queue_push(&q, c.head, 1);
		queue_wants_interrupt(&q);
	}
	if (r < 0) {
		MUST(r == -EPROTO && q.broken && q.why);
		MUST(queue_pop(&q, &c) == -EPROTO && !queue_enable_notify(&q));
	}
	queue_enable_notify(&q);
	queue_disable_notify(&q);
	queue_wants_interrupt(&q);
	queue_reset(&q);
	MUST(queue_pop(&q, &c) == 0);
	return 0;
}
