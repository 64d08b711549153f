/*
 * Two sinks. stderr is for people: text, `bailey: MESSAGE`. The log (--log) is for engines: podman
 * reads the whole file as one JSON object, so by default it gets errors alone, and main writes
 * exactly one. --log-level=warning or debug widens both.
 *
 * Each line is one write(2) to an O_APPEND file, so that processes sharing a log do not mix.
 */
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

#define JOURNAL_SOCKET	"/run/systemd/journal/socket"
#define SYSLOG_SOCKET	"/dev/log"
#define FACILITY_DAEMON (3 << 3) /* syslog(3) LOG_DAEMON */

static const struct level {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = {
	[LEVEL_ERROR] = { "error", 3 },
	[LEVEL_WARNING] = { "warning", 4 },
	[LEVEL_DEBUG] = { "debug", 7 },
};

static struct {
	int fd;
	enum sink { SINK_NONE, SINK_FILE, SINK_JOURNAL, SINK_SYSLOG } sink;
	enum log_format format;
	enum log_level stderr_level, log_level;
	bool muted;
	char ident[64];
} lg = { .fd = -EBADF, .stderr_level = LEVEL_WARNING, .log_level = LEVEL_ERROR };

/* Control characters in names that a container or a user chose must not reach a terminal. */
static void add_printable(struct strbuf *b, const char *s, bool quote)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			strbuf_addf(b, "\\x%02x", c);
		else if (quote && (c == '"' || c == '\\'))
			strbuf_addf(b, "\\%c", c);
		else
			strbuf_addn(b, s, 1);
	}
}

static void add_json(struct strbuf *b, enum log_level level, const char *msg)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	char now[40];

	format_rfc3339_now(now);
	json_gen_map(g);
	json_gen_kstr(g, "level", levels[level].name);
	json_gen_kstr(g, "msg", msg);
	json_gen_kstr(g, "time", now);
	json_gen_end(g);
	strbuf_add(b, json_gen_text(g, NULL));
	strbuf_add(b, "\n");
}

static void add_text(struct strbuf *b, enum log_level level, const char *msg)
{
	char now[40];

	format_rfc3339_now(now);
	strbuf_addf(b, "time=\"%s\" level=%s msg=\"", now, levels[level].name);
	add_printable(b, msg, true);
	strbuf_add(b, "\"\n");
}

static void write_file(enum log_level level, const char *msg)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	if (lg.format == LOG_JSON)
		add_json(&b, level, msg);
	else
		add_text(&b, level, msg);
	/* A full disk must not change what the verb returns. */
	(void)fd_write_all(lg.fd, b.s, b.len);
}

/* systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one field per line. Messages hold
 * no newline once they are printable. */
static void write_journal(enum log_level level, const char *msg)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	strbuf_addf(
	    &b, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=", levels[level].priority, lg.ident);
	add_printable(&b, msg, false);
	strbuf_add(&b, "\n");
	(void)send(lg.fd, b.s, b.len, MSG_NOSIGNAL);
}

static void write_syslog(enum log_level level, const char *msg)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	time_t now = time(NULL);
	struct tm tm;
	char stamp[32];

	strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", localtime_r(&now, &tm));
	strbuf_addf(&b, "<%d>%s %s[%d]: ", FACILITY_DAEMON | levels[level].priority, stamp,
	    lg.ident, getpid());
	add_printable(&b, msg, false);
	(void)send(lg.fd, b.s, b.len, MSG_NOSIGNAL);
}

static void write_stderr(enum log_level level, const char *msg)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	if (lg.sink == SINK_NONE && lg.format == LOG_JSON) {
		add_json(&b, level, msg);
	} else {
		strbuf_add(&b, "bailey: ");
		if (level != LEVEL_ERROR)
			strbuf_addf(&b, "%s: ", levels[level].name);
		add_printable(&b, msg, false);
		strbuf_add(&b, "\n");
	}
	(void)fd_write_all(STDERR_FILENO, b.s, b.len);
}

static void __attribute__((format(printf, 2, 0)))
vlog(enum log_level level, const char *fmt, va_list ap)
{
	static void (*const to_log[])(enum log_level, const char *) = {
		[SINK_FILE] = write_file,
		[SINK_JOURNAL] = write_journal,
		[SINK_SYSLOG] = write_syslog,
	};
	/* Engines read some verbs' stdout and stderr as one text: debug lines go to the log. */
	bool on_stderr = level <= lg.stderr_level && (level < LEVEL_DEBUG || lg.sink == SINK_NONE);
	bool in_log = lg.sink != SINK_NONE && level <= lg.log_level;
	int saved = errno;

	if (!lg.muted && (on_stderr || in_log)) {
		_cleanup_free_ char *msg = xvasprintf(fmt, ap);

		if (in_log)
			to_log[lg.sink](level, msg);
		if (on_stderr)
			write_stderr(level, msg);
	}
	errno = saved;
}

void log_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LEVEL_ERROR, fmt, ap);
	va_end(ap);
}

void log_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LEVEL_WARNING, fmt, ap);
	va_end(ap);
}

void log_debug(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LEVEL_DEBUG, fmt, ap);
	va_end(ap);
}

int log_parse_level(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (streq(s, levels[i].name)) {
			*ret = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

void log_set_level(enum log_level level)
{
	lg.stderr_level = lg.log_level = level;
}

/* ident: what follows "journald:" or "syslog:", which may be empty. */
static int open_datagram(const char *name, const char *sock, const char *ident, struct err *e)
{
	int fd;

	if (strlen(ident) >= sizeof(lg.ident))
		return err_set(e, EINVAL, "--log %s:%s: identifier longer than %zu bytes", name,
		    ident, sizeof(lg.ident) - 1);
	for (const char *p = ident; *p; p++)
		if ((unsigned char)*p < 0x20)
			return err_set(
			    e, EINVAL, "--log %s: identifier holds a control character", name);
	fd = unix_connect(SOCK_DGRAM, sock);
	if (fd < 0)
		return err_errno(e, -fd, "--log %s: connect to %s", name, sock);
	snprintf(lg.ident, sizeof(lg.ident), "%s", *ident ? ident : "bailey");
	return fd;
}

int log_open(const char *path, enum log_format format, bool debug, struct err *e)
{
	enum sink sink = SINK_FILE;
	const char *rest;
	int fd;

	lg.format = format;
	if (debug)
		log_set_level(LEVEL_DEBUG);
	if (!path)
		return 0;
	rest = startswith(path, "journald:");
	if (rest) {
		sink = SINK_JOURNAL;
		fd = open_datagram("journald", JOURNAL_SOCKET, rest, e);
	} else if ((rest = startswith(path, "syslog:"))) {
		sink = SINK_SYSLOG;
		fd = open_datagram("syslog", SYSLOG_SOCKET, rest, e);
	} else {
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
		if (fd < 0)
			fd = err_errno(e, errno, "--log: open %s", path);
	}
	if (fd < 0)
		return fd;
	if (lg.fd >= 0)
		close(lg.fd);
	lg.fd = fd;
	lg.sink = sink;
	return 0;
}

int log_fd(void)
{
	return lg.fd;
}

void log_mute(void)
{
	lg.muted = true;
}

bool log_debug_enabled(void)
{
	return !lg.muted && (lg.stderr_level >= LEVEL_DEBUG || lg.log_level >= LEVEL_DEBUG);
}
