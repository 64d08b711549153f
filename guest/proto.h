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
 * both start with GP_WINDOW. CREDIT grants anew what has been passed on, once that is GP_GRANT or
 * more: so much is left until then, and little that is said costs no answer. An empty STDIN,
 * STDOUT or STDERR is its end; a CREDIT of 0 says that nobody reads there any more. Frames about a
 * process that cross with its EXIT, and a second end, have no effect; bytes that were not granted
 * end the stream (CREDIT 0).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define GP_VERSION	1
#define GP_PORT_AGENT	"org.bailey.agent" /* name of the console port */
#define GP_TAG		"bailey"	   /* tag of the virtio-fs device */
#define GP_DISK_ROOT	"bailey-root"	   /* serials of disks */
#define GP_DISK_SCRATCH "bailey-scratch"
#define GP_MAX_TO_GUEST (16u << 20) /* body of a frame */
#define GP_MAX_TO_HOST	(256u << 10)
#define GP_MAX_DATA	(32u << 10) /* body of a STDIN, STDOUT or STDERR */
#define GP_WINDOW	(256u << 10)
#define GP_GRANT	(GP_WINDOW / 2)
/* Of a stream that has more: with its header this is what the driver of the port takes at a time,
 * 32 KiB, and in whole pages, as which it gives. */
#define GP_PIECE (GP_MAX_DATA - sizeof(struct gp_header))

enum gp_type {
	/* both ways */
	GP_OK = 1, /* the reply to seq: done; no body */
	GP_ERROR,  /* the reply to seq: struct gp_error, then the message */
	GP_CREDIT, /* struct gp_credit */
	/* host to guest */
	GP_TIME,     /* struct gp_time; no reply */
	GP_ENTROPY,  /* bytes for the guest's random pool; no reply */
	GP_NET,	     /* JSON: interfaces, addresses, routes as they shall be; OK or ERROR */
	GP_CREATE,   /* two JSON texts, each ended by NUL: options (below), config.json */
	GP_START,    /* no body */
	GP_EXEC,     /* process.json, as exec --process takes it, perhaps with options (below) */
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

/*
 * The JSON texts. What is not marked optional must be there; members unknown to the agent are
 * ignored.
 *
 * CREATE's options:
 *	"id"		the container's: name of its keyring, and for hooks
 *	"bundle"	absolute path on the host, for hooks
 *	"rootfs", "created", "owner"	for hooks too; optional
 *	"exports"	[0, 3 …]: indices of .mounts in config.json that are binds. The host exports
 *			each as m/INDEX beside rootfs, with its idmap applied; every bind must be
 *			among them
 *	"hostname", "domainname"	of a uts namespace that config.json joins on the host; they
 *			hold where it does not give its own; optional
 *	"keyring"	bool, optional (true): make a session keyring
 *	"tag"		of the virtio-fs device; optional (GP_TAG)
 *	"root"		optional, an object: the rootfs is not in the export but on a disk
 *		"disk"		serial of the disk that holds it, as a read-only EROFS file system
 *		"scratch"	serial of one with an empty ext4 file system, for what the container
 *				writes; optional: that stays in the guest's memory
 * What of config.json is the host's business is left out by the agent: namespaces' paths, user and
 * network namespaces and mappings; hooks but startContainer; AppArmor and SELinux labels (the
 * guest's kernel has neither; the monitor carries them on the host); of linux.resources all but
 * memory, pids, devices and unified memory.* and pids.*; swap limits, as the guest has no swap;
 * netDevices, intelRdt, memoryPolicy. CPU numbers (execCPUAffinity) count the machine's CPUs.
 *
 * EXEC: a member "bailey" of process.json, optional, an object:
 *	"cgroup"	path below the container's cgroup; optional
 *	"keyring"	bool, optional (true): join the container's session keyring
 *
 * NET: all interfaces of the machine; one that is missing here is hidden, with its addresses and
 * routes gone. What the container has made itself stays as it is. Interfaces are told apart by the
 * MAC address that the machine's device has; one that was made for another interface ("device") is
 * given that one's.
 *	"interfaces": array of
 *		"name"		"eth0"
 *		"mac"		"02:42:ac:11:00:02"
 *		"device"	MAC address; optional: the same as "mac"
 *		"mtu"		optional: as it is
 *		"up"		bool, optional (true)
 *		"addresses"	array of
 *			"address"	"172.17.0.2/16"
 *			"broadcast"	optional
 *			"scope"		RT_SCOPE_*, optional (0)
 *		"routes"	array of
 *			"destination"	"10.0.0.0/8", or "default" with
 *			"family"	4 or 6 (4)
 *			"gateway", "source"	addresses; optional
 *			"metric", "scope", "type" (RTN_*), "onlink" (bool)	optional
 *		"neighbours"	array, optional, of permanent ones
 *			"address", "mac"
 * The kernel's own routes (RTPROT_KERNEL) come from the addresses and need not be listed.
 *
 * PS's reply: [ { "pid", "ppid": in the container (ppid 0: none of it), "guest_pid", "uid",
 *	"tty": "pts/0" or "?", "start": seconds since the epoch, "time": CPU seconds, "comm",
 *	"cmd": arguments joined by blanks, or "[comm]" } … ]
 * STATS' reply: the "data" object of an event as events --stats prints it, of the guest's cgroup.
 *
 * Standard streams: with process.terminal there is only one, STDOUT, and an empty STDIN hangs the
 * terminal up. After the end of an exec's process its streams end with what it has written; what
 * others that it left behind write then is dropped. When a container's first process ends, the
 * kernel ends all others: their EXITs come first, process 0's last. A CREATE or EXEC that fails has
 * no EXIT; a START that fails has one, of the status that the runtime's init would end with.
 */

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

/* ---- frames out of bytes and back (proto.c; both sides) ---- */

enum gp_way { GP_TO_GUEST, GP_TO_HOST };
/* May such a frame come this way? Its type is known and goes this way, its length is one that the
 * type allows, the rest is 0 where it must be. -EPROTO says what is wrong. */
int gp_check_header(const struct gp_header *h, enum gp_way way, struct err *e);
/* A checked header's name, "STDOUT". */
const char *gp_type_name(uint16_t type);

/* A frame's body; it is the reader's, and of any alignment. Returns 0, 1 (taken, but no more now)
 * or -errno. */
typedef int gp_frame_fn(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e);

/* Frames come in pieces: holds the piece of one, never more than a checked header allows. */
struct gp_reader {
	enum gp_way way; /* of what comes in */
	uint8_t *buf;
	size_t have, cap;
};
/* Calls fn for each frame that is complete. Returns how many of the n bytes are used up: all,
 * unless fn has returned 1; or -errno, from fn or -EPROTO for a frame that may not come. */
ssize_t gp_reader_feed(
    struct gp_reader *r, const uint8_t *bytes, size_t n, gp_frame_fn *fn, void *arg, struct err *e);
void gp_reader_free(struct gp_reader *r);
