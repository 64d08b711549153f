/* pasta(1), user-mode networking for who may not make interfaces on the host. */
#pragma once
#include <sys/types.h>

#include "netsetup/network.h"

/* Starts it for the namespace netns, which is the process pid's, and waits until the namespace is
 * configured. It goes on in the background; its number is in the state directory. */
int pasta_start(const struct net_request *q, const char *dir, int netns, pid_t pid, struct err *e);
/* Ends it, if it runs. dir: the container's state directory, with its fd. */
int pasta_stop(const char *dir, int dirfd, struct err *e);
