/* A rtnetlink(7) socket that stays in the network namespace it was opened in, over libmnl, which is
 * loaded when the first one is opened: only containers with netDevices, and those in virtual
 * machines, pay for it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* libmnl.h has types and prototypes only; the functions are reached through this table. */
#include <libmnl/libmnl.h>

#define MNL_FUNCTIONS(X)              \
	X(mnl_socket_open2)           \
	X(mnl_socket_bind)            \
	X(mnl_socket_close)           \
	X(mnl_socket_get_portid)      \
	X(mnl_socket_get_fd)          \
	X(mnl_socket_sendto)          \
	X(mnl_socket_recvfrom)        \
	X(mnl_nlmsg_put_header)       \
	X(mnl_nlmsg_put_extra_header) \
	X(mnl_nlmsg_get_payload)      \
	X(mnl_attr_put)               \
	X(mnl_attr_put_u32)           \
	X(mnl_attr_put_strz)          \
	X(mnl_attr_nest_start)        \
	X(mnl_attr_nest_end)          \
	X(mnl_attr_parse)             \
	X(mnl_attr_parse_nested)      \
	X(mnl_attr_get_type)          \
	X(mnl_attr_get_payload)       \
	X(mnl_attr_get_payload_len)   \
	X(mnl_cb_run)

struct mnl_api {
#define X(f) __typeof__(&f) f;
	MNL_FUNCTIONS(X)
#undef X
};
extern struct mnl_api mnl;
int mnl_load(struct err *e);

struct rtnl {
	struct mnl_socket *sock;
	uint32_t seq;
};
void rtnl_close(struct rtnl *r);
#define _cleanup_rtnl_ __attribute__((cleanup(rtnl_close)))
/* In the calling process's network namespace. */
int rtnl_open(struct rtnl *ret, struct err *e);
/* One that hears of changes: groups are RTMGRP_*. Not blocking. */
int rtnl_listen(struct rtnl *ret, unsigned groups, struct err *e);
/* Forgets what it has heard. Returns whether that was anything (a loss counts). */
bool rtnl_drain(struct rtnl *r);

/* One request under construction. The caller adds attributes with mnl.mnl_attr_put…(m->h, …); all
 * that bailey sends is far below the buffer's size. */
struct rtnl_msg {
	union {
		struct nlmsghdr align;
		char buf[4096];
	};
	struct nlmsghdr *h;
};
/* Starts one; returns the zeroed family header of size bytes. */
void *rtnl_msg_init(struct rtnl_msg *m, uint16_t type, uint16_t flags, size_t size);
/* Sends it and handles answers with cb until the end. Returns 0 or the kernel's -errno. */
int rtnl_call(struct rtnl *r, struct rtnl_msg *m, mnl_cb_t cb, void *data);
