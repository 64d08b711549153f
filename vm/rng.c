/* The entropy device (virtio 1.2, 5.4): bytes of the host's random pool. */
#include <stdlib.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "vm/devices.h"

#define BYTES_MAX 256u /* of one request */

struct rng {
	struct virtio_device d;
	struct queue_chain chain;
};

static uint32_t fill(struct virtio_device *d, unsigned i, const struct queue_chain *c)
{
	uint8_t buf[BYTES_MAX];
	size_t n = c->write_bytes < BYTES_MAX ? c->write_bytes : BYTES_MAX;

	/* Never short nor interrupted up to 256 bytes; a container does not start before the host's
	 * pool is ready. */
	if (n == 0 || getrandom(buf, n, 0) != (ssize_t)n)
		return 0;
	return (uint32_t)iov_write(c->write, c->n_write, 0, buf, n);
}

static void notify(struct virtio_device *d, unsigned i)
{
	virtio_serve(d, i, &((struct rng *)d)->chain, fill);
}

static void rng_free(struct virtio_device *d)
{
	virtio_detach(d);
	free(d);
}

static const struct virtio_ops ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG_,
	.n_queues = 1,
	.notify = notify,
	.free = rng_free,
};

int vm_rng_new(struct loop *l, struct virtio_device **ret, struct err *e)
{
	struct rng *g = xcalloc(1, sizeof(*g));

	g->d.ops = &ops;
	g->d.loop = l;
	*ret = &g->d;
	return 0;
}
