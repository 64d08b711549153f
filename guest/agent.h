/*
 * The agent: PID 1 of a guest, one thread, one epoll(7) loop. It keeps containers and their
 * processes as the monitor asks for them over the port (guest/proto.h), with the code that the
 * runtime has for containers of the host.
 *
 *   main.c       PID 1: boot, loop, power-off
 *   boot.c       mounts, modules, the port; host.c what a running machine is asked for
 *   agent.c      the loop, and who handles which frame
 *   port.c       frames out, bounded; frames in
 *   options.c    the JSON texts of the protocol
 *   root.c       a root filesystem on disks
 *   container.c  containers: create, cgroup, statistics, OOM, end
 *   process.c    processes: made, told of, signalled, reaped
 *   child.c      what a process does itself until its execve
 *   streams.c    standard streams, with credits
 *   ps.c         the process list
 *   net*.c       the network as the host has it
 */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "cgroups/cgroups.h"
#include "guest/proto.h"
#include "namespaces/namespaces.h"
#include "spec/spec.h"

#define AGENT_EXPORT	   "/run/bailey" /* where a container's mount namespace has the export */
#define AGENT_CONTAINERS   64
#define AGENT_PROCESSES	   4096		/* of all containers, unreaped ones included */
#define AGENT_QUEUE_PAUSE  (1u << 20)	/* bytes for the host above which no output is read */
#define AGENT_QUEUE_RESUME (256u << 10) /* … and below which it is read again */
#define AGENT_QUEUE_MAX	   (8u << 20)	/* bytes above which no request is read */

/* What a machine does and a test of the agent does not. */
struct agent_host {
	/* Mounts the virtio-fs of this tag on dir, in the caller's mount namespace. */
	int (*mount_tag)(const char *tag, const char *dir, struct err *e);
	/* A detached mount of the file system on the disk that the host has named so, by its
	 * serial; flag: an option of the file system. */
	int (*open_disk)(
	    const char *serial, const char *type, const char *flag, int *ret_mount, struct err *e);
	int (*set_time)(const struct gp_time *t, struct err *e);
	int (*add_entropy)(const uint8_t *bytes, size_t n, struct err *e);
	int (*apply_net)(const char *json, size_t n, struct err *e);
	const char *cgroup; /* path that containers' cgroups start with: "/container-" */
};

/* ---- the loop ---- */

struct agent;
typedef void watch_fn(struct agent *a, void *arg, uint32_t events);
/* A descriptor that the loop looks at. Not in the epoll set while events is 0: EPOLLHUP, which
 * cannot be masked, would wake it for nothing. */
struct watch {
	int fd;
	uint32_t events;
	watch_fn *fn;
	void *arg;
};
/* Sets w->events. Running out of epoll watches is an allocation failure: aborts. */
void watch_set(struct agent *a, struct watch *w, uint32_t events);
/* Closes w->fd too, if it is >= 0; an event that waits for w is forgotten. */
void watch_close(struct agent *a, struct watch *w);

/* Serves the port until SHUTDOWN (1) or until the host closes it (0); -errno where it breaks the
 * protocol or the kernel fails. Blocks every signal, closes the port. procfd: root of the caller's
 * procfs. */
int agent_run(int port, int procfd, const struct agent_host *host, struct err *e);

/* ---- streams ---- */

/* A process's output: read while there is credit and room in the queue. */
struct out_stream {
	struct watch w;
	struct proc *p;
	uint32_t number; /* 1, 2 */
	uint32_t credit;
	bool open;
	bool drop; /* nobody reads: what comes is thrown away */
	bool last; /* its process has ended: only `left` more bytes are the stream's */
	size_t left;
	int64_t patience; /* a terminal whose process has ended: CLOCK_MONOTONIC ms to wait until */
};
/* A process's input: what the host has sent and the process has not read, at most GP_WINDOW. */
struct in_stream {
	struct watch w;
	struct proc *p;
	struct strbuf bytes;
	size_t at;	  /* of bytes, that are written */
	uint32_t granted; /* credit that is due */
	bool open, end;	  /* end: the host has no more */
};

void streams_init(struct proc *p);
/* Takes descriptors over, sets them non-blocking; in may be -EBADF. */
void streams_open(struct agent *a, struct proc *p, int in, const int out[2]);
void streams_close(struct agent *a, struct proc *p);
/* The process has ended: what it has written is its output. */
void streams_last(struct agent *a, struct proc *p);
/* Is all output of an ended process with the host (or dropped)? */
bool streams_done(const struct proc *p);
/* Have all writers gone? */
bool streams_closed(const struct proc *p);
/* Output goes on where the queue has room again. */
void streams_resume(struct agent *a);
/* Terminals of ended processes that have said nothing for a while are done. Returns the ms until
 * this wants to be called again, -1: not. */
int streams_expire(struct agent *a);
/* Both: -EPROTO where the host does not keep to what it was granted or has said; that is told in
 * its log, and the stream alone suffers. May free p. */
int stream_input(struct agent *a, struct proc *p, const uint8_t *bytes, size_t n, struct err *e);
int stream_credit(struct agent *a, struct proc *p, const struct gp_credit *c, struct err *e);

/* ---- processes ---- */

enum proc_state {
	PROC_PREPARING, /* made; its request waits for what it says */
	PROC_PREPARED,	/* a first process before START */
	PROC_STARTING,	/* told to execute; the request waits */
	PROC_RUNNING,
	PROC_FAILED, /* could not be executed; it ends without EXIT */
};
struct proc {
	struct proc *next;
	struct ctr *c;
	uint32_t number;
	enum proc_state state;
	uint32_t seq; /* the request that waits */
	pid_t pid;    /* 0: reaped */
	int pidfd;
	struct watch sock; /* handshake */
	bool terminal;
	int master;		   /* of the terminal, for its size; -EBADF: none (yet) */
	struct gp_winsize winsize; /* told before there was a terminal; 0: none */
	struct in_stream in;
	struct out_stream out[2];
	bool ended, told; /* reaped; EXIT sent */
	int status;
};

struct ctr {
	struct ctr *next;
	uint32_t number;
	struct arena *arena;
	struct spec *spec;
	const struct create_options *options;
	struct cgroup cg;
	struct watch oom; /* memory.events */
	uint64_t oom_kills;
	struct proc *procs;
};

struct agent {
	const struct agent_host *host;
	int epoll, procfd;
	struct watch port, signals;
	struct strbuf queue; /* to the host */
	size_t queue_at;
	struct gp_reader reader;
	uint8_t *input; /* what was read of the port and is not taken yet */
	size_t input_at, input_n;
	struct epoll_event *events; /* of the present round */
	int n_events;
	struct ctr *containers;
	unsigned n_procs;
	bool paused; /* no output is read: the queue is full */
	bool shutdown, hung_up;
	int failed; /* -errno that ends the loop, with */
	struct err *error;
};

/* Makes the process that runs child_init() resp. child_exec(), in c, with streams. Its request is
 * answered later. */
struct spawn_request {
	uint32_t number, seq;
	bool terminal;
	int cgroupfd;
	struct child *child;
};
int proc_spawn(struct agent *a, struct ctr *c, struct ns_set *ns, const struct spawn_request *r,
    struct proc **ret, struct err *e);
struct proc *proc_find(const struct ctr *c, uint32_t number);
int proc_start(struct agent *a, struct proc *p, uint32_t seq, struct err *e);
int proc_signal(struct proc *p, int number, struct err *e);
int proc_winsize(struct proc *p, const struct gp_winsize *w, struct err *e);
/* Forgets it, without a word. */
void proc_forget(struct agent *a, struct proc *p);
/* Reaps whoever has ended. */
void procs_reap(struct agent *a);
/* Says EXIT where all output has gone out, and forgets what is over. May free p, and its container
 * with the last one. */
void proc_settle(struct agent *a, struct proc *p);
/* Ends a process whose request has failed: the host hears why, and nothing else. Frees it, and its
 * container, where it is a first process. */
void proc_fail(struct agent *a, struct proc *p, const struct err *why);

/* ---- containers ---- */

struct ctr *ctr_find(const struct agent *a, uint32_t number);
int ctr_create(struct agent *a, const struct gp_header *h, const uint8_t *body, struct err *e);
int ctr_exec(
    struct agent *a, struct ctr *c, const struct gp_header *h, const uint8_t *body, struct err *e);
int ctr_update(struct ctr *c, const uint8_t *body, size_t n, struct err *e);
int ctr_stats(struct ctr *c, struct json_gen *g, struct err *e);
int ctr_ps(struct agent *a, struct ctr *c, struct json_gen *g, struct err *e);
/* Reads memory.events and tells the host of kills it has not heard of. */
void ctr_oom(struct agent *a, struct ctr *c);
/* After its last process: removes the cgroup, forgets it. */
void ctr_end(struct agent *a, struct ctr *c);
/* Frees it with its processes as they are, at the agent's own end. */
void ctr_free(struct agent *a, struct ctr *c);
/* What of resources is the guest's to enforce; the rest is the host's. */
void ctr_reduce_resources(struct spec_resources *r);

/* ---- the port ---- */

void port_put(struct agent *a, const struct gp_header *h, const void *body);
void port_ok(struct agent *a, uint32_t container, uint32_t process, uint32_t seq);
void port_error(
    struct agent *a, uint32_t container, uint32_t process, uint32_t seq, const struct err *why);
void port_json(struct agent *a, const struct gp_header *request, struct json_gen *g);
/* For the host's debug log. */
void port_log(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t port_queued(const struct agent *a);
void port_ready(struct agent *a, void *arg, uint32_t events); /* a watch_fn */
/* One frame of the host's: agent.c's. */
gp_frame_fn agent_frame;

/* ---- the protocol's JSON ---- */

struct create_options {
	const char *id, *bundle, *tag;
	const char *rootfs, *created, *owner; /* NULL: absent */
	const char *hostname, *domainname;    /* the same; where config.json says nothing */
	const char *root_disk, *scratch_disk; /* NULL: the root is in the export; no such disk */
	uint32_t *exports;
	size_t n_exports;
	bool keyring;
};
/* Splits CREATE's body; the texts stay where they are. */
int options_split(const uint8_t *body, size_t n, const char **text1, size_t *n1, const char **text2,
    size_t *n2, struct err *e);
int options_create(
    struct arena *a, const char *text, size_t n, struct create_options *ret, struct err *e);

struct exec_options {
	const char *cgroup; /* NULL: the container's own */
	bool keyring;
};
int options_exec(
    struct arena *a, const char *text, size_t n, struct exec_options *ret, struct err *e);
