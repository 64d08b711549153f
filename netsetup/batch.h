/*
 * Several netlink requests in one send. Each message is answered by one acknowledgement; the first
 * that failed is the batch's error, and its number says which.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "netsetup/rtnl.h"

#define BATCH_SIZE 65536

struct batch {
	int protocol; /* NETLINK_ROUTE … */
	struct mnl_socket *sock;
	uint32_t first, seq; /* of the messages since batch_begin() */
	unsigned acks;	     /* how many will be answered */
	size_t used;
	struct nlmsghdr *h; /* the last one */
	char *buf;
};
#define BATCH_INIT \
	{          \
		0  \
	}
void batch_close(struct batch *b); /* accepts an empty one */
#define _cleanup_batch_ __attribute__((cleanup(batch_close)))
/* In the calling process's network namespace, which the socket stays in. Loads libmnl. */
int batch_open(int protocol, struct batch *ret, struct err *e);
/* The same in the namespace netns; the process is there for two calls only. */
int batch_open_in(int netns, int protocol, struct batch *ret, struct err *e);
/* Forgets the messages. */
void batch_begin(struct batch *b);
/* Begins a message, after which b->h is for mnl_attr_put… ; returns its zeroed header of size
 * bytes. NLM_F_ACK among the flags asks for the answer that batch_send() waits for. */
void *batch_add(struct batch *b, uint16_t type, uint16_t flags, size_t size);
/* Sends all, waits for the answers. Returns 0 or the kernel's -errno; *ret_failed (may be NULL):
 * the number of the message that failed, from 0. */
int batch_send(struct batch *b, unsigned *ret_failed);
/* Sends one dump request and hands each answer to cb. Raw -errno. */
int batch_dump(struct batch *b, mnl_cb_t cb, void *data);
