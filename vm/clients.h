/*
 * Who talks to the machine from the host: connections on the container's control socket (the
 * processes of exec, and the verbs ps, events, update, kill) and the pump of the container's own
 * standard streams.
 *
 * A connection carries frames of guest/proto.h whose container and process are 0: the monitor
 * numbers processes, and what a connection means by "the process" is the one that its EXEC made
 * (the pump's: the container's first). EXEC may be sent once. SIGNAL of a connection that has made
 * none, or with `all`, is for the container. A request's seq is the connection's own and comes back
 * with the reply; with seq 0 the reply is dropped. Who has sent STATS gets GP_OOM frames
 * afterwards, and before the reply one that counts the kills so far, if there were any.
 *
 * A connection that is closed leaves its process running: its output is no longer read (credit 0),
 * its standard input ends.
 *
 * Memory is bounded: a process of the guest's has at most GP_WINDOW bytes per stream under way, as
 * many as its reader has granted; more is a breach of protocol that ends the machine. Connections
 * are not read while the guest takes nothing.
 */
#pragma once
#include "vm/channel.h"
#include "vm/loop.h"

struct clients;

/* listening: SOCK_STREAM unix socket, not blocking, or -EBADF; it stays the caller's. */
int clients_new(
    struct loop *l, struct channel *c, int listening, struct clients **ret, struct err *e);
void clients_free(struct clients *t); /* closes all connections; accepts NULL */

/* A connection as if it had been accepted; owned from here on. */
int clients_add(struct clients *t, int sock, struct err *e);
/* The pump's connection, for process 0; the same. */
int clients_add_pump(struct clients *t, int sock, struct err *e);

/* What the channel's event callback gets, but LOG. *ret_exit: the wait status of process 0, if it
 * was its EXIT, else -1. */
int clients_event(struct clients *t, const struct gp_header *h, const uint8_t *body, int *ret_exit,
    struct err *e);
/* The guest has taken what was queued: connections are read on. */
void clients_resume(struct clients *t);
