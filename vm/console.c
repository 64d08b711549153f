/*
 * The console device (virtio 1.2, 5.3) with two ports: the kernel's log and the agent's channel.
 *
 * Memory is constant whatever the guest does: control messages are bits that say what is due, not a
 * queue; the log is a ring; bytes from the agent stay in the guest's own buffers until the handler
 * takes them. The queue towards the agent is filled by the host alone.
 */
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "guest/proto.h"
#include "vm/devices.h"

#define BOUNCE	    (32u << 10)
#define OUT_KEPT    (256u << 10) /* of an empty output queue */
#define MESSAGE_MAX (sizeof(struct virtio_console_control) + sizeof(GP_PORT_AGENT))

/* Per callback: other devices of the loop have their turn. */
#define CHAINS_MAX 64
#define BYTES_MAX  (1u << 20)
#define CHAIN_COST 256u

/* How long the agent's port may wait to hear that what it wrote was taken. The driver asks for an
 * interrupt each time but has no use for it while its queue is not full. */
#define TAKEN_NS 5000000

enum { PORT_LOG, PORT_AGENT, PORTS };
enum { Q_LOG_RX, Q_LOG_TX, Q_CONTROL_RX, Q_CONTROL_TX, Q_AGENT_RX, Q_AGENT_TX, QUEUES };

/* Control messages that the driver is to get, in this order. */
enum { DUE_ADD, DUE_CONSOLE, DUE_NAME, DUE_OPEN, DUES };

struct outbuf {
	uint8_t *buf;
	size_t at, len, cap;
};

struct console {
	struct virtio_device d;
	struct console_handler h;
	int wake; /* for what a reset, on a vCPU's thread, leaves to be told */
	unsigned due[PORTS];
	bool open, told_open, lost; /* lost: closed by a reset since it was told */
	bool stalled, held;	    /* held: tx is a request that is not finished */
	int taken_timer;
	unsigned taken; /* requests that the driver has not been told of; if any, the timer runs */
	size_t tx_at;
	struct queue_chain tx, chain;
	struct outbuf out;
	pthread_mutex_t log_lock;
	uint64_t log_len; /* bytes ever; the last VM_CONSOLE_LOG of them are in log */
	uint8_t log[VM_CONSOLE_LOG];
	uint8_t bounce[BOUNCE];
};

static const struct virtio_console_config config = { .max_nr_ports = PORTS };

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	virtio_config_copy(&config, sizeof(config), offset, buf, len);
}

/* ---- the output queue ---- */

static void out_add(struct outbuf *o, const void *buf, size_t n)
{
	if (o->cap - o->at - o->len < n && o->at) {
		memmove(o->buf, o->buf + o->at, o->len);
		o->at = 0;
	}
	if (o->cap - o->len < n) {
		o->cap = o->len + n > 2 * o->cap ? o->len + n : 2 * o->cap;
		o->buf = xrealloc(o->buf, o->cap);
	}
	memcpy(o->buf + o->at + o->len, buf, n);
	o->len += n;
}

static void out_drop(struct outbuf *o, size_t n)
{
	o->at += n;
	o->len -= n;
	if (o->len)
		return;
	o->at = 0;
	if (o->cap > OUT_KEPT) {
		free(o->buf);
		*o = (struct outbuf){ 0 };
	}
}

/* ---- the log ---- */

static void log_bytes(struct console *c, const uint8_t *p, size_t n)
{
	pthread_mutex_lock(&c->log_lock);
	for (size_t i = 0; i < n; i++)
		c->log[c->log_len++ % VM_CONSOLE_LOG] = p[i];
	pthread_mutex_unlock(&c->log_lock);
	if (c->h.log)
		c->h.log(c->h.arg, p, n);
}

size_t vm_console_log(struct virtio_device *d, char *buf, size_t n)
{
	struct console *c = (struct console *)d;

	pthread_mutex_lock(&c->log_lock);
	if (n > VM_CONSOLE_LOG)
		n = VM_CONSOLE_LOG;
	if (n > c->log_len)
		n = c->log_len;
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)c->log[(c->log_len - n + i) % VM_CONSOLE_LOG];
	pthread_mutex_unlock(&c->log_lock);
	return n;
}

/* false: none, or broken. */
static bool pop(struct console *c, unsigned q, struct queue_chain *chain)
{
	int r = c->d.active ? queue_pop(&c->d.queues[q], chain) : 0;

	if (r < 0)
		virtio_broken(&c->d, c->d.queues[q].why);
	return r > 0;
}

static void log_chain(struct console *c)
{
	uint64_t at = 0;
	size_t n;

	while ((n = iov_read(c->chain.read, c->chain.n_read, at, c->bounce, BOUNCE)) > 0) {
		log_bytes(c, c->bounce, n);
		at += n;
		/* Nobody logs so much at once; the request itself is not bounded. */
		if (at >= VM_CONSOLE_LOG)
			break;
	}
}

/* Passes requests of q to `fn` until there are none; a few at a time. */
static void drain(struct console *c, unsigned q, void (*fn)(struct console *c))
{
	struct virtqueue *vq = &c->d.queues[q];
	unsigned n = 0;
	bool more;

	do {
		queue_disable_notify(vq);
		while (n < CHAINS_MAX && pop(c, q, &c->chain)) {
			fn(c);
			queue_push(vq, c->chain.head, 0);
			n++;
		}
		more = c->d.active && queue_enable_notify(vq);
	} while (more && n < CHAINS_MAX);
	if (more)
		virtio_kick(&c->d, q);
	if (n)
		virtio_interrupt(&c->d, vq);
}

/* ---- control messages ---- */

/* Writes the next one that is due to the driver into msg; its length, or 0. */
static size_t next_message(struct console *c, uint8_t msg[MESSAGE_MAX])
{
	static const uint16_t events[DUES] = {
		[DUE_ADD] = VIRTIO_CONSOLE_PORT_ADD,
		[DUE_CONSOLE] = VIRTIO_CONSOLE_CONSOLE_PORT,
		[DUE_NAME] = VIRTIO_CONSOLE_PORT_NAME,
		[DUE_OPEN] = VIRTIO_CONSOLE_PORT_OPEN,
	};
	struct virtio_console_control m = { .value = 1 };
	size_t n = sizeof(m);

	for (m.id = 0; m.id < PORTS && !c->due[m.id];)
		m.id++;
	if (m.id == PORTS)
		return 0;
	unsigned due = (unsigned)__builtin_ctz(c->due[m.id]);

	c->due[m.id] &= ~(1u << due);
	m.event = events[due];
	memcpy(msg, &m, sizeof(m));
	if (due == DUE_NAME) {
		memcpy(msg + n, GP_PORT_AGENT, strlen(GP_PORT_AGENT));
		n += strlen(GP_PORT_AGENT);
	}
	return n;
}

static void send_control(struct console *c)
{
	struct virtqueue *q = &c->d.queues[Q_CONTROL_RX];
	uint8_t msg[MESSAGE_MAX];
	bool any = false;
	size_t n;

	do {
		while (
		    (c->due[PORT_LOG] || c->due[PORT_AGENT]) && pop(c, Q_CONTROL_RX, &c->chain)) {
			n = next_message(c, msg);
			if (c->chain.write_bytes < n) {
				virtio_broken(&c->d, "a buffer for control messages is too small");
				return;
			}
			iov_write(c->chain.write, c->chain.n_write, 0, msg, n);
			queue_push(q, c->chain.head, (uint32_t)n);
			any = true;
		}
	} while (c->d.active && (c->due[PORT_LOG] || c->due[PORT_AGENT]) && queue_enable_notify(q));
	if (any)
		virtio_interrupt(&c->d, q);
}

static void tell_open(struct console *c)
{
	if (c->lost && c->told_open) {
		c->told_open = false;
		if (c->h.agent_open)
			c->h.agent_open(c->h.arg, false);
	}
	c->lost = false;
	if (c->told_open == c->open)
		return;
	c->told_open = c->open;
	if (c->h.agent_open)
		c->h.agent_open(c->h.arg, c->open);
}

static void port_opened(struct console *c, bool open)
{
	c->open = open;
	if (!open)
		out_drop(&c->out, c->out.len);
	tell_open(c);
}

static void control_message(struct console *c)
{
	struct virtio_console_control m;

	if (iov_read(c->chain.read, c->chain.n_read, 0, &m, sizeof(m)) < sizeof(m)) {
		virtio_broken(&c->d, "a control message is too short");
		return;
	}
	if (m.event == VIRTIO_CONSOLE_DEVICE_READY && m.value == 1) {
		c->due[PORT_LOG] |= 1u << DUE_ADD;
		c->due[PORT_AGENT] |= 1u << DUE_ADD;
	} else if (m.event == VIRTIO_CONSOLE_PORT_READY && m.value == 1) {
		if (m.id == PORT_LOG)
			c->due[PORT_LOG] |= 1u << DUE_CONSOLE | 1u << DUE_OPEN;
		else if (m.id == PORT_AGENT)
			c->due[PORT_AGENT] |= 1u << DUE_NAME | 1u << DUE_OPEN;
	} else if (m.event == VIRTIO_CONSOLE_PORT_OPEN && m.id == PORT_AGENT) {
		port_opened(c, m.value != 0);
	}
}

/* ---- the agent's port ---- */

/* Gives the held request's bytes to the handler, as many as *left allows; true: it is done. */
static bool deliver(struct console *c, size_t *left)
{
	size_t n, taken;

	while (*left > 0) {
		n = *left < BOUNCE ? *left : BOUNCE;
		n = iov_read(c->tx.read, c->tx.n_read, c->tx_at, c->bounce, n);
		if (n == 0)
			return true;
		taken = c->h.agent ? c->h.agent(c->h.arg, c->bounce, n) : n;
		c->tx_at += taken < n ? taken : n;
		*left -= n;
		if (taken < n) {
			c->stalled = true;
			return false;
		}
	}
	return false;
}

static void tell_taken(struct console *c)
{
	c->taken = 0;
	if (c->d.active)
		virtio_interrupt(&c->d, &c->d.queues[Q_AGENT_TX]);
}

static void on_taken_timer(void *arg, uint32_t events)
{
	struct console *c = arg;
	uint64_t ticks;

	if (read(c->taken_timer, &ticks, sizeof(ticks)) < 0)
		return;
	virtio_enter(&c->d);
	tell_taken(c);
	virtio_leave(&c->d);
}

static void add_taken(struct console *c, unsigned n)
{
	static const struct itimerspec soon = { .it_value.tv_nsec = TAKEN_NS };
	bool runs = c->taken;

	c->taken += n;
	if (c->taken >= c->d.queues[Q_AGENT_TX].size / 2u ||
	    (n && !runs && timerfd_settime(c->taken_timer, 0, &soon, NULL) < 0))
		tell_taken(c);
}

static void receive_agent(struct console *c)
{
	struct virtqueue *q = &c->d.queues[Q_AGENT_TX];
	size_t left = BYTES_MAX;
	unsigned n = 0;
	bool more;

	do {
		queue_disable_notify(q);
		while (!c->stalled && left) {
			if (!c->held && !pop(c, Q_AGENT_TX, &c->tx))
				break;
			if (!c->held)
				c->tx_at = 0;
			c->held = !deliver(c, &left);
			if (c->held)
				break;
			/* A request without bytes costs something too. */
			left -= left < CHAIN_COST ? left : CHAIN_COST;
			queue_push(q, c->tx.head, 0);
			n++;
		}
		more = c->d.active && !c->stalled && (c->held || queue_enable_notify(q));
	} while (more && left);
	if (more)
		virtio_kick(&c->d, Q_AGENT_TX);
	if (n)
		add_taken(c, n);
}

static void flush(struct console *c)
{
	struct virtqueue *q = &c->d.queues[Q_AGENT_RX];
	bool any = false;

	if (!c->d.active || !c->open)
		return;
	queue_disable_notify(q);
	do {
		while (c->out.len && pop(c, Q_AGENT_RX, &c->chain)) {
			size_t n = iov_write(c->chain.write, c->chain.n_write, 0,
			    c->out.buf + c->out.at, c->out.len);

			if (n == 0) {
				virtio_broken(
				    &c->d, "a buffer of the agent's port is not writable");
				return;
			}
			out_drop(&c->out, n);
			queue_push(q, c->chain.head, (uint32_t)n);
			any = true;
		}
		/* Without anything to send buffers that come are of no interest. */
	} while (c->d.active && c->out.len && queue_enable_notify(q));
	if (any)
		virtio_interrupt(&c->d, q);
}

void vm_console_queue(struct virtio_device *d, const void *buf, size_t n)
{
	virtio_enter(d);
	out_add(&((struct console *)d)->out, buf, n);
	virtio_leave(d);
}

size_t vm_console_send(struct virtio_device *d, const void *buf, size_t n)
{
	struct console *c = (struct console *)d;
	size_t queued;

	virtio_enter(d);
	if (n)
		out_add(&c->out, buf, n);
	flush(c);
	queued = c->out.len;
	virtio_leave(d);
	return queued;
}

void vm_console_resume(struct virtio_device *d)
{
	struct console *c = (struct console *)d;

	virtio_enter(d);
	c->stalled = false;
	virtio_leave(d);
	virtio_kick(d, Q_AGENT_TX);
}

/* ---- the device ---- */

static void notify(struct virtio_device *d, unsigned q)
{
	struct console *c = (struct console *)d;
	bool filled = c->out.len;

	switch (q) {
	case Q_LOG_TX:
		drain(c, q, log_chain);
		break;
	case Q_CONTROL_TX:
		drain(c, q, control_message);
		send_control(c);
		flush(c);
		break;
	case Q_CONTROL_RX:
		send_control(c);
		break;
	case Q_AGENT_RX:
		flush(c);
		break;
	case Q_AGENT_TX:
		receive_agent(c);
		break;
	}
	if (filled && !c->out.len && c->open && c->h.agent_drained)
		c->h.agent_drained(c->h.arg);
}

static void reset(struct virtio_device *d)
{
	struct console *c = (struct console *)d;
	uint64_t one = 1;

	memset(c->due, 0, sizeof(c->due));
	c->open = c->held = c->stalled = false;
	c->taken = 0;
	c->lost = true;
	out_drop(&c->out, c->out.len);
	if (write(c->wake, &one, sizeof(one)) < 0)
		return;
}

static void on_wake(void *arg, uint32_t events)
{
	struct console *c = arg;
	uint64_t count;

	if (read(c->wake, &count, sizeof(count)) < 0)
		return;
	virtio_enter(&c->d);
	tell_open(c);
	virtio_leave(&c->d);
}

static void console_free(struct virtio_device *d)
{
	struct console *c = (struct console *)d;

	loop_remove(d->loop, c->wake);
	loop_remove(d->loop, c->taken_timer);
	virtio_detach(d);
	closep(&c->wake);
	closep(&c->taken_timer);
	pthread_mutex_destroy(&c->log_lock);
	free(c->out.buf);
	free(c);
}

static const struct virtio_ops ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE_,
	.features = 1ull << VIRTIO_CONSOLE_F_MULTIPORT,
	.n_queues = QUEUES,
	.config_size = sizeof(struct virtio_console_config),
	.config_read = config_read,
	.notify = notify,
	.reset = reset,
	.free = console_free,
};

int vm_console_new(
    struct loop *l, const struct console_handler *h, struct virtio_device **ret, struct err *e)
{
	_cleanup_close_ int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	_cleanup_close_ int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct console *c;
	int r;

	if (wake < 0 || timer < 0)
		return err_errno(e, errno, "make an eventfd and a timer for device console");
	c = xcalloc(1, sizeof(*c));
	r = loop_add(l, wake, EPOLLIN, on_wake, c, e);
	if (r == 0 && (r = loop_add(l, timer, EPOLLIN, on_taken_timer, c, e)) < 0)
		loop_remove(l, wake);
	if (r < 0) {
		free(c);
		return r;
	}
	c->d.ops = &ops;
	c->d.loop = l;
	c->h = *h;
	c->wake = steal_fd(&wake);
	c->taken_timer = steal_fd(&timer);
	pthread_mutex_init(&c->log_lock, NULL);
	*ret = &c->d;
	return 0;
}
