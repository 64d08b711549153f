/* network.json in a container's state directory: what net_undo() has to take back. Written before
 * anything that it names is made. */
#pragma once
#include "netsetup/network.h"

#define JOURNAL "network.json"

struct journal {
	enum net_kind kind;
	uint64_t host;			/* the host's network namespace, by inode */
	char network[NET_NAME_MAX + 1]; /* "" where none has an address to give back */
	char link[IFNAMSIZ];		/* the host's end; "": none */
	bool openvswitch;		/* link is a port of a bridge of its */
	struct ip ip4, ip6;		/* family 0 in both: taken, but not known which */
	char **ports;			/* names of claims */
};
void journal_free(struct journal *j);
#define _cleanup_journal_ __attribute__((cleanup(journal_free)))
int journal_write(const struct journal *j, int dirfd, struct err *e);
/* *ret_found false: there is none. */
int journal_read(int dirfd, struct journal *ret, bool *ret_found, struct err *e);
