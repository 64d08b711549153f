/*
 * The network device (virtio 1.2, 5.1) over a tap. Offloads are the tap's: with IFF_VNET_HDR each
 * packet carries the header that the guest's driver makes and reads, so that unchecksummed and
 * segmentable packets pass through as they are.
 *
 * Packets are read from the tap straight into the guest's buffers; what does not fit the first
 * buffer lands behind it and is copied into the next ones (VIRTIO_NET_F_MRG_RXBUF). Without buffers
 * the tap is not read: its queue, and then the sender, holds back.
 */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/devices.h"

#define HEADER	    sizeof(struct virtio_net_hdr_v1)
#define PACKET_MAX  (65535u + 14 + 4) /* of a segmentable packet, with a VLAN tag */
#define PACKETS_MAX 128u	      /* per callback */

enum { Q_RX, Q_TX, QUEUES };

#define FEATURES                                                                                  \
	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_MTU | \
	    1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_GUEST_TSO4 |                          \
	    1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_HOST_TSO4 |                    \
	    1ull << VIRTIO_NET_F_HOST_TSO6 | 1ull << VIRTIO_NET_F_MRG_RXBUF |                     \
	    1ull << VIRTIO_NET_F_STATUS)

struct net {
	struct virtio_device d;
	int tap;
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t status;    /* atomic */
	bool watched, gone; /* the tap: by the loop; deleted under us */
	bool configured;    /* offloads are set for the driver's features */
	size_t waiting;	    /* bytes of a packet in `packet` that waits for buffers, */
	uint16_t seen;	    /* for more than those up to this index */
	struct queue_chain rx, tx;
	struct iovec part[QUEUE_SIZE_MAX + 1];
	uint8_t packet[HEADER + PACKET_MAX];
};

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	struct net *n = (struct net *)d;
	struct virtio_net_config c = {
		.status = __atomic_load_n(&n->status, __ATOMIC_SEQ_CST),
		.max_virtqueue_pairs = 1,
		.mtu = n->mtu,
	};

	memcpy(c.mac, n->mac, sizeof(c.mac));
	virtio_config_copy(&c, sizeof(c), offset, buf, len);
}

/* ---- the tap ---- */

static void on_tap(void *arg, uint32_t events);

static void watch(struct net *n, bool on)
{
	struct err e = ERR_INIT;

	if (n->watched == on || n->gone)
		return;
	if (on && loop_add(n->d.loop, n->tap, EPOLLIN, on_tap, n, &e) < 0) {
		log_debug("net: %s", e.msg);
		return;
	}
	/* Removed, not only quiet: an error of the tap's is reported unasked. */
	if (!on)
		loop_remove(n->d.loop, n->tap);
	n->watched = on;
}

/* Somebody has deleted it. */
static void lose_tap(struct net *n, int code)
{
	log_debug("net: the tap is gone: %s", strerror(code));
	watch(n, false);
	n->gone = true;
	vm_net_set_link(&n->d, false);
}

/* What the host may leave to the guest. Refused, packets come plain: nothing is lost. */
static void configure(struct net *n)
{
	unsigned offload = 0;

	if (n->configured)
		return;
	n->configured = true;
	if (virtio_has(&n->d, VIRTIO_NET_F_GUEST_CSUM)) {
		offload = TUN_F_CSUM;
		if (virtio_has(&n->d, VIRTIO_NET_F_GUEST_TSO4))
			offload |= TUN_F_TSO4;
		if (virtio_has(&n->d, VIRTIO_NET_F_GUEST_TSO6))
			offload |= TUN_F_TSO6;
	}
	if (ioctl(n->tap, TUNSETOFFLOAD, offload) < 0)
		log_debug("net: offloads %#x: %s", offload, strerror(errno));
}

/* ---- from the tap to the guest ---- */

/* Reads one packet: into the segments of n->rx as far as they reach, what is beyond at its place in
 * n->packet. Returns its length with header, 0: none, or -errno. */
static ssize_t read_packet(struct net *n)
{
	unsigned parts = n->rx.n_write;
	ssize_t r;

	memcpy(n->part, n->rx.write, parts * sizeof(*n->part));
	if (n->rx.write_bytes < sizeof(n->packet))
		n->part[parts++] = (struct iovec){ n->packet + n->rx.write_bytes,
			sizeof(n->packet) - n->rx.write_bytes };
	do
		r = readv(n->tap, n->part, (int)parts);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? 0 : -errno;
	return r;
}

/* The next buffer of the guest's, whose first segment holds a header: 1, 0 or -EPROTO. */
static int next_buffer(struct net *n)
{
	struct virtqueue *q = &n->d.queues[Q_RX];
	int r = queue_pop(q, &n->rx);

	if (r > 0 && (n->rx.n_write == 0 || n->rx.write[0].iov_len < HEADER)) {
		q->why = "a buffer for packets has no room for the header";
		return -EPROTO;
	}
	return r;
}

static uint8_t *num_buffers(const struct net *n)
{
	return (uint8_t *)n->rx.write[0].iov_base + offsetof(struct virtio_net_hdr_v1, num_buffers);
}

/* Spreads the waiting packet over as many buffers as it takes, which the driver sees at once: 1, or
 * 0 while there are too few of them, or -EPROTO. */
static int spread(struct net *n)
{
	struct virtqueue *q = &n->d.queues[Q_RX];
	uint16_t buffers = 0;
	uint8_t *count = NULL;
	size_t done = 0;

	while (done < n->waiting) {
		int r = buffers < q->size ? next_buffer(n) : 0;

		if (r < 0)
			return r;
		if (r == 0) {
			n->seen = q->next_avail;
			while (buffers--)
				queue_unpop(q);
			return 0;
		}
		if (!count)
			count = num_buffers(n);
		size_t len =
		    iov_write(n->rx.write, n->rx.n_write, 0, n->packet + done, n->waiting - done);

		queue_fill(q, buffers++, n->rx.head, (uint32_t)len);
		done += len;
	}
	memcpy(count, &buffers, sizeof(buffers));
	queue_publish(q, buffers);
	n->waiting = 0;
	return 1;
}

/* One packet: 1; tap empty or gone: 0 with *dry; too few buffers: 0; or -EPROTO. */
static int receive_one(struct net *n, bool *dry)
{
	static const uint16_t one = 1;
	struct virtqueue *q = &n->d.queues[Q_RX];
	ssize_t len;
	int r;

	if (n->waiting)
		return spread(n);
	r = next_buffer(n);
	if (r <= 0)
		return r;
	len = read_packet(n);
	if (len <= 0)
		*dry = true;
	if (len < 0)
		lose_tap(n, (int)-len);
	if (len > 0 && (uint64_t)len <= n->rx.write_bytes) {
		memcpy(num_buffers(n), &one, sizeof(one));
		queue_push(q, n->rx.head, (uint32_t)len);
		return 1;
	}
	queue_unpop(q);
	if (len <= 0)
		return 0;
	/* Without merging a packet has one buffer: it is too big for this driver. */
	if (!virtio_has(&n->d, VIRTIO_NET_F_MRG_RXBUF))
		return 1;
	iov_read(n->rx.write, n->rx.n_write, 0, n->packet, n->rx.write_bytes);
	n->waiting = (size_t)len;
	return spread(n);
}

static void receive(struct net *n)
{
	struct virtqueue *q = &n->d.queues[Q_RX];
	unsigned packets = 0;
	bool dry = n->gone;
	int r = 0;

	configure(n);
	queue_disable_notify(q);
	do {
		while (!dry && packets < PACKETS_MAX && (r = receive_one(n, &dry)) > 0)
			packets++;
	} while (
	    r == 0 && !dry && (n->waiting ? queue_await_more(q, n->seen) : queue_enable_notify(q)));
	if (packets)
		virtio_interrupt(&n->d, q);
	if (r < 0)
		virtio_broken(&n->d, q->why);
	/* Out of buffers (r == 0 and not dry): the driver tells when there are more. */
	watch(n, r >= 0 && (dry || packets >= PACKETS_MAX));
}

static void on_tap(void *arg, uint32_t events)
{
	struct net *n = arg;

	if (virtio_enter(&n->d) && n->d.queues[Q_RX].ready)
		receive(n);
	else
		watch(n, false);
	virtio_leave(&n->d);
}

/* ---- from the guest to the tap ---- */

/* The driver may ask for what was negotiated; the rest of the header is the kernel's to check. */
static bool header_allowed(const struct net *n, const struct virtio_net_hdr_v1 *h)
{
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && !virtio_has(&n->d, VIRTIO_NET_F_CSUM))
		return false;
	switch (h->gso_type) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_has(&n->d, VIRTIO_NET_F_HOST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_has(&n->d, VIRTIO_NET_F_HOST_TSO6);
	}
	return false;
}

/* A packet that the tap does not take is lost, as on a wire. */
static void send_packet(struct net *n)
{
	struct virtio_net_hdr_v1 h;
	unsigned parts;
	ssize_t r;

	if (n->tx.read_bytes > sizeof(n->packet) ||
	    iov_read(n->tx.read, n->tx.n_read, 0, &h, sizeof(h)) < sizeof(h) ||
	    !header_allowed(n, &h))
		return;
	h.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h.num_buffers = 0;
	n->part[0] = (struct iovec){ &h, sizeof(h) };
	parts = 1 + iov_slice(n->tx.read, n->tx.n_read, sizeof(h), sizeof(n->packet), n->part + 1);
	do
		r = writev(n->tap, n->part, (int)parts);
	while (r < 0 && errno == EINTR);
}

static void transmit(struct net *n)
{
	struct virtqueue *q = &n->d.queues[Q_TX];
	unsigned packets = 0;
	int r = 0;

	do {
		queue_disable_notify(q);
		while (packets < PACKETS_MAX && (r = queue_pop(q, &n->tx)) > 0) {
			send_packet(n);
			queue_push(q, n->tx.head, 0);
			packets++;
		}
	} while (r == 0 && queue_enable_notify(q));
	if (packets)
		virtio_interrupt(&n->d, q);
	if (r < 0)
		virtio_broken(&n->d, q->why);
	else if (r > 0)
		virtio_kick(&n->d, Q_TX);
}

/* ---- the device ---- */

static void notify(struct virtio_device *d, unsigned q)
{
	struct net *n = (struct net *)d;

	if (q == Q_TX)
		transmit(n);
	else
		receive(n);
}

static void reset(struct virtio_device *d)
{
	struct net *n = (struct net *)d;

	/* The loop's thread stops watching the tap when it next has something to read. */
	n->configured = false;
	n->waiting = 0;
}

static void net_free(struct virtio_device *d)
{
	struct net *n = (struct net *)d;

	watch(n, false);
	virtio_detach(d);
	closep(&n->tap);
	free(n);
}

static const struct virtio_ops ops = {
	.name = "net",
	.id = VIRTIO_ID_NET_,
	.features = FEATURES,
	.n_queues = QUEUES,
	.config_size = sizeof(struct virtio_net_config),
	.config_read = config_read,
	.notify = notify,
	.reset = reset,
	.free = net_free,
};

void vm_net_set_link(struct virtio_device *d, bool up)
{
	struct net *n = (struct net *)d;

	__atomic_store_n(&n->status, up ? VIRTIO_NET_S_LINK_UP : 0, __ATOMIC_SEQ_CST);
	virtio_config_changed(d);
}

int vm_net_new(struct loop *l, const struct vm_nic *nic, struct virtio_device **ret, struct err *e)
{
	_cleanup_close_ int tap = nic->tap;
	int header = HEADER, flags = fcntl(tap, F_GETFL);
	struct net *n;

	if (flags < 0 || fcntl(tap, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_errno(e, errno, "make a tap non-blocking");
	if (ioctl(tap, TUNSETVNETHDRSZ, &header) < 0)
		return err_errno(e, errno, "a tap does not take virtio headers (IFF_VNET_HDR)");
	if (nic->mtu < 68)
		return err_set(e, EINVAL, "a tap's MTU %u is below 68", nic->mtu);
	n = xcalloc(1, sizeof(*n));
	n->d.ops = &ops;
	n->d.loop = l;
	n->tap = steal_fd(&tap);
	n->mtu = nic->mtu;
	n->status = VIRTIO_NET_S_LINK_UP;
	memcpy(n->mac, nic->mac, sizeof(n->mac));
	*ret = &n->d;
	return 0;
}
