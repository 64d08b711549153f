/*
 * What the monitor (host) and the agent (PID 1 of the guest) say to each other, over one virtio
 * console port: frames, each a header and a body, little-endian.
 *
 * The monitor treats every byte that comes from the guest as hostile: gp_check_header() first, then
 * the body's own length. Every message names its container and process, so that several containers
 * can share one machine. Process 0 is a container's first one; the host numbers exec's from 1.
 *
 *      host                                             agent
 *        │◀──────────────────────────────────── HELLO ─│ up; version, kernel, CPUs, memory
 *        │── TIME, ENTROPY, NET ──────────────────────▶│
 *        │── CREATE (config.json and what differs) ───▶│ namespaces, mounts … as runtime/init.c;
 *        │◀─────────────────────────────── OK | ERROR ─│ executable found; waits
 *        │── START ───────────────────────────────────▶│ startContainer hooks, seccomp, execve
 *        │◀─────────────────────────────── OK | ERROR ─│
 *        │◀─▶ STDIN, STDOUT, STDERR, CREDIT ◀─▶        │ any time after CREATE resp. EXEC
 *        │── EXEC (process.json) ─────────────────────▶│
 *        │◀─────────────────────────────── OK | ERROR ─│ executed, or why not
 *        │◀───────────────────────────────────── EXIT ─│ after the last STDOUT and STDERR
 *        │── SHUTDOWN ────────────────────────────────▶│ syncs, powers off
 *
 * Streams have credits: a side sends at most as many bytes of a stream as the other has granted;
 * both start with GP_WINDOW. CREDIT grants more once bytes have been passed on. An empty STDIN,
 * STDOUT or STDERR is its end; a CREDIT of 0 says that nobody reads there any more.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define GP_VERSION	1
#define GP_PORT_AGENT	"org.bailey.agent" /* name of the console port */
#define GP_TAG		"bailey"	   /* tag of the virtio-fs device */
#define GP_MAX_TO_GUEST (16u << 20)	   /* body of a frame */
#define GP_MAX_TO_HOST	(256u << 10)
#define GP_MAX_DATA	(32u << 10) /* body of a STDIN, STDOUT or STDERR */
#define GP_WINDOW	(256u << 10)

enum gp_type {
	/* both ways */
	GP_OK = 1, /* the reply to seq: done; no body */
	GP_ERROR,  /* the reply to seq: struct gp_error, then the message */
	GP_CREDIT, /* struct gp_credit */
	/* host to guest */
	GP_TIME,     /* struct gp_time; no reply */
	GP_ENTROPY,  /* bytes for the guest's random pool; no reply */
	GP_NET,	     /* JSON: interfaces, addresses, routes as they shall be; OK or ERROR */
	GP_CREATE,   /* two JSON texts, each ended by NUL: struct of docs/vm.md, config.json */
	GP_START,    /* no body */
	GP_EXEC,     /* process.json, as exec --process takes it, with what exec adds */
	GP_SIGNAL,   /* struct gp_signal; OK or ERROR */
	GP_WINSIZE,  /* struct gp_winsize; no reply */
	GP_STDIN,    /* bytes; empty: end */
	GP_UPDATE,   /* resources.json; OK or ERROR */
	GP_STATS,    /* no body; JSON */
	GP_PS,	     /* no body; JSON */
	GP_SHUTDOWN, /* no body, no reply */
	/* guest to host */
	GP_HELLO,  /* struct gp_hello, then the kernel's release */
	GP_JSON,   /* the reply to seq */
	GP_STDOUT, /* bytes; empty: end */
	GP_STDERR,
	GP_EXIT, /* struct gp_exit */
	GP_OOM,	 /* struct gp_oom: the guest's kernel has killed for want of memory */
	GP_LOG,	 /* text for the debug log */
	GP_TYPES
};

struct gp_header {
	uint32_t length; /* of the body */
	uint16_t type;
	uint16_t zero;
	uint32_t container;
	uint32_t process;
	uint32_t seq; /* of a request, and of its reply; 0: none */
};

struct gp_error {
	int32_t code; /* errno */
	int32_t exit; /* of the runtime (126, 127), or 0 */
};
struct gp_credit {
	uint32_t stream; /* 0, 1, 2 */
	uint32_t bytes;
};
struct gp_time {
	int64_t sec;
	uint32_t nsec;
	uint32_t zero;
};
struct gp_signal {
	int32_t number;
	uint32_t all; /* 1: every process of the container */
};
struct gp_winsize {
	uint16_t rows, columns;
};
struct gp_hello {
	uint32_t version;
	uint32_t cpus;
	uint64_t memory; /* bytes, MemTotal */
};
struct gp_exit {
	int32_t status; /* as of wait(2) */
};
struct gp_oom {
	uint64_t kills; /* of the container's cgroup so far */
};
