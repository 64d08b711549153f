/* Private to the client table: connection.c has connections and processes, clients.c what is said.
 */
#pragma once
#include "vm/clients.h"

#define CLIENTS_MAX   512
#define PROCESSES_MAX 4096
#define REQUESTS_MAX  4		 /* of one connection */
#define OUT_MAX	      (4u << 20) /* windows and replies come to less */

struct client;

/* Of the guest's, made by a connection. */
struct process {
	struct process *next;
	uint32_t number;
	struct client *client; /* NULL: closed */
	uint32_t may_send[3];  /* 1, 2: bytes that the guest may send yet */
};

struct client {
	struct client *next;
	struct clients *t;
	int fd;
	struct gp_reader in;
	uint8_t *out;
	size_t out_len, out_cap;
	struct process *process;
	bool made; /* a process: EXEC was sent, or it is the pump */
	bool wants_oom;
	bool closing; /* freed at the end of the callback */
	unsigned requests;
};

/* A request that was passed on. */
struct pending {
	struct pending *next;
	struct clients *t;
	struct client *client; /* NULL: closed */
	struct process *made;  /* EXEC's */
	uint32_t seq;
};

struct clients {
	struct loop *loop;
	struct channel *channel;
	int listening;
	bool deaf; /* out of descriptors: not accepting until a connection closes */
	bool held;
	struct client *list;
	unsigned n_clients;
	struct process *processes;
	unsigned n_processes;
	struct pending *pending;
	uint32_t next_number;
	uint64_t oom_kills; /* that the guest has told of */
};

/* The container's (0) or one that the connection's EXEC makes. */
struct process *process_new(struct clients *t, struct client *c, uint32_t number);
struct process *process_find(struct clients *t, uint32_t number);
void process_free(struct clients *t, struct process *p);

/* fn: called with the client when its socket is ready. */
int client_new(struct clients *t, int fd, loop_fn fn, struct client **ret, struct err *e);
/* Closes it; its process is abandoned. */
void client_free(struct client *c);
/* Frees those that are closing. At the end of a callback: none of them may be used behind it. */
void clients_sweep(struct clients *t);
/* Waits for what the client's state asks for. */
void client_watch(struct client *c);
/* Writes what the socket takes. */
void client_flush(struct client *c);
/* Sends a frame, with the connection's own seq and as its own process. */
void client_pass_on(struct client *c, const struct gp_header *h, uint32_t seq, const uint8_t *body);
/* Starts accepting again, once descriptors are free. */
void clients_listen(struct clients *t);
