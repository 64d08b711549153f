/*
 * The life of the container in the machine, from the monitor's side, as a machine of states driven
 * by an event loop; no KVM in it.
 *
 *      BOOT ──HELLO──▶ CREATING ──OK──▶ CREATED ──start──▶ STARTING ──OK──▶ RUNNING ──EXIT──▶ OVER
 *        │                │                                   │                │
 *        └────────────────┴──── ERROR, silence, the machine's or the agent's end ──▶ OVER, failed
 *
 * The order of what is sent: TIME, ENTROPY, NET, CREATE at HELLO; START when the runtime asks,
 * after the network as it is then. Until CREATED the guest must show signs of life (bytes on a
 * console) every `patience` seconds.
 */
#pragma once
#include "vm/channel.h"
#include "vm/clients.h"
#include "vm/pump.h"
#include "vm/vm.h"

#define LIFE_PATIENCE 60 /* seconds */

enum life_state {
	LIFE_BOOT,
	LIFE_CREATING,
	LIFE_CREATED,
	LIFE_STARTING,
	LIFE_RUNNING,
	LIFE_OVER,
};

struct life;
struct life_config {
	const struct vm_config *vm;
	struct loop *loop;
	/* See struct channel_handler. */
	size_t (*send)(void *arg, const struct gp_header *h, const void *body);
	void *send_arg;
	/* First on each of the pump's threads. */
	int (*prepare)(void *arg, struct err *e);
};
/* Makes the streams' threads; the loop is not yet running. It lives as long as the process: so do
 * they. */
int life_new(const struct life_config *c, struct life **ret, struct err *e);

/* What happens, on the loop's thread. */
void life_agent(struct life *l, const uint8_t *buf, size_t n); /* bytes of the agent */
void life_agent_open(struct life *l, bool open);
void life_agent_drained(struct life *l);
void life_sign(struct life *l); /* the guest's kernel has written to its log */
void life_machine_ended(struct life *l, const char *why);
enum life_state life_state(const struct life *l);
/* Once the loop has stopped: 0 with the wait status, or the error. */
int life_result(const struct life *l, int *ret_status, struct err *e);
