/* The virtio devices of a machine: each constructor makes one, virtio.h's free op ends it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/loop.h"
#include "vm/virtio.h"

/* ---- console (virtio 5.3, multiport): port 0 the kernel's log (hvc0), port 1 the agent ----
 *
 * All of it on the loop's thread, after virtio_attach(), but for what says otherwise. The handler's
 * functions may call vm_console_send() and vm_console_resume(). */

struct console_handler {
	void *arg;
	/* Bytes the guest has written (a copy). Returns how many are taken: fewer stalls the port,
	 * and so the agent, until vm_console_resume(). */
	size_t (*agent)(void *arg, const uint8_t *buf, size_t n);
	/* The guest has opened the port, or closed it (its reset too): what was queued is dropped
	 * then. */
	void (*agent_open)(void *arg, bool open);
	/* All of agent's output queue, which vm_console_send() had left filled, was passed on to
	 * the guest: there is room again. */
	void (*agent_drained)(void *arg);
	/* Bytes of the kernel's log, beside being kept for vm_console_log(). */
	void (*log)(
	    void *arg, const uint8_t *buf, size_t n); /* the four: NULL where nobody cares */
};
int vm_console_new(
    struct loop *l, const struct console_handler *h, struct virtio_device **ret, struct err *e);
/* Queues bytes for the agent (copied) and passes on what the guest has room for. Returns how many
 * are queued by then: the caller, who alone can hold back its sources, stops above a bound of its
 * own until agent_drained. */
size_t vm_console_send(struct virtio_device *d, const void *buf, size_t n);
/* Queues bytes that go with the next ones sent: the guest is not woken for them alone. */
void vm_console_queue(struct virtio_device *d, const void *buf, size_t n);
void vm_console_resume(struct virtio_device *d);
/* The last bytes of the kernel's log, at most n (and VM_CONSOLE_LOG); from any thread. Returns how
 * many. */
#define VM_CONSOLE_LOG (64u << 10)
size_t vm_console_log(struct virtio_device *d, char *buf, size_t n);

/* ---- rng (5.4), balloon (5.5) with free page reporting: pages go back by MADV_DONTNEED ---- */

int vm_rng_new(struct loop *l, struct virtio_device **ret, struct err *e);
int vm_balloon_new(struct loop *l, struct virtio_device **ret, struct err *e);
/* Target in bytes that the guest shall give up. */
void vm_balloon_set(struct virtio_device *d, uint64_t bytes);
/* What it says it has given up. Both from any thread. */
uint64_t vm_balloon_actual(struct virtio_device *d);

/* ---- block (5.2): raw files and block devices; virtio_start() makes each its worker thread ----
 */

struct vm_disk {
	int fd; /* the device takes it over, on failure too */
	bool readonly;
	char serial[20];
};
/* fd must be open for reading, and for writing unless readonly. The size is read here. */
int vm_blk_new(const struct vm_disk *disk, struct virtio_device **ret, struct err *e);

/* ---- net (5.1) over a tap opened with IFF_VNET_HDR | IFF_NO_PI ---- */

struct vm_nic {
	int tap; /* the device takes it over, on failure too */
	uint8_t mac[6];
	uint16_t mtu; /* at least 68 */
};
int vm_net_new(struct loop *l, const struct vm_nic *nic, struct virtio_device **ret, struct err *e);
/* The carrier that the guest sees; at first it is there. From any thread. */
void vm_net_set_link(struct virtio_device *d, bool up);

/* ---- fs (5.11): a FUSE server in the monitor over the tree below root (vm/fuse.h) ---- */

struct vm_fs {
	const char *tag; /* 1 to 36 bytes */
	int root;	 /* O_PATH directory, the device takes it over */
	/* The descriptor directory of this very process ("self/fd" of a procfs mounted for its pid
	 * namespace, without nosymfollow; subset=pid will do), O_PATH, the device takes it over. It
	 * is what O_PATH descriptors are reopened through; nothing else of procfs is touched. */
	int self_fd;
	unsigned threads; /* workers, and request queues: 1 to VIRTIO_QUEUES_MAX - 1 */
};
/* Takes over the descriptors on failure too. The workers begin in ops->start, with the capabilities
 * that its caller has then; the limit of open files is read here. */
int vm_fs_new(const struct vm_fs *c, struct virtio_device **ret, struct err *e);
