/* As much of rtnetlink(7) as the agent needs. */
#pragma once
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A request: header, its type's struct, attributes. */
struct nl_request {
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[512];
};
/* flags beside NLM_F_REQUEST and NLM_F_ACK. Returns the struct of n bytes, zeroed. */
void *nl_begin(struct nl_request *r, uint16_t type, uint16_t flags, size_t n);
void nl_attr(struct nl_request *r, uint16_t type, const void *data, size_t n);
void nl_attr_u32(struct nl_request *r, uint16_t type, uint32_t v);

int nl_open(struct err *e);
/* Sends and waits for the kernel's word: 0 or its -errno, without a message. */
int nl_do(int fd, struct nl_request *r);
/* Calls fn for each message of a dump until it returns other than 0, which comes back. The struct
 * that a family is asked by starts with it. */
typedef int nl_fn(void *arg, const struct nlmsghdr *m);
int nl_dump(int fd, uint16_t type, uint8_t family, nl_fn *fn, void *arg);
/* An attribute of a message whose struct has n bytes, or NULL. */
const struct rtattr *nl_find(const struct nlmsghdr *m, size_t n, uint16_t type);
/* Sends a dumped message back as a request of another type, such as the one that deletes. */
int nl_echo(int fd, const struct nlmsghdr *m, uint16_t type);
