#include "runtime/foreground.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"

/* One direction of the relay: what was read waits here until the other side takes it. */
struct flow {
	int from, to;
	char buf[16 * 1024];
	size_t have, done;
	bool eof;
};

#define DRAIN_MAX (128u * 1024)

struct session {
	pid_t pid;
	int pidfd, signals;
	int master;
	int tty; /* the caller's terminal; -EBADF: none */
	struct termios saved;
	bool raw;
	struct flow in, out;
};

/* Everything but what reports a bug of ours, what cannot be caught, and job control's stop signals.
 */
static void forwarded_signals(sigset_t *set)
{
	static const int ours[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS,
		SIGTSTP, SIGTTIN, SIGTTOU, SIGURG };

	sigfillset(set);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		sigdelset(set, ours[i]);
}

void foreground_prepare(void)
{
	sigset_t set;

	forwarded_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int find_tty(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (isatty(fd))
			return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
}

static void copy_size(int tty, int master)
{
	struct winsize ws;

	if (master >= 0 && tty >= 0 && ioctl(tty, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row)
		(void)ioctl(master, TIOCSWINSZ, &ws);
}

void foreground_copy_size(int master)
{
	_cleanup_close_ int tty = find_tty();

	copy_size(tty, master);
}

static bool make_raw(const struct session *s)
{
	struct termios raw = s->saved;

	cfmakeraw(&raw);
	return tcsetattr(s->tty, TCSANOW, &raw) == 0;
}

static void terminal_begin(struct session *s)
{
	if (s->master < 0)
		return;
	s->tty = find_tty();
	if (s->tty >= 0 && tcgetattr(s->tty, &s->saved) == 0)
		s->raw = make_raw(s);
	fcntl(s->master, F_SETFL, O_RDWR | O_NONBLOCK);
}

static void terminal_end(struct session *s)
{
	if (s->raw)
		(void)tcsetattr(s->tty, TCSANOW, &s->saved);
	closep(&s->tty);
}

static void flow_read(struct flow *f)
{
	ssize_t n = read(f->from, f->buf, sizeof(f->buf));

	if (n > 0) {
		f->have = (size_t)n;
		f->done = 0;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		f->eof = true; /* EIO: the terminal's last user is gone */
	}
}

static void flow_write(struct flow *f)
{
	ssize_t n = write(f->to, f->buf + f->done, f->have - f->done);

	if (n > 0)
		f->done += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		f->eof = true, f->done = f->have; /* the reader is gone: nothing left to do */
	if (f->done == f->have)
		f->have = f->done = 0;
}

/* At the end of what is no terminal, the container's reader gets what a terminal's user would type.
 */
static void end_of_input(struct session *s)
{
	static const char eot = 4;

	if (!isatty(s->in.from) && write(s->master, &eot, 1) < 0)
		log_debug("end of input: %s", strerror(errno));
	s->in.from = -1;
}

static void flow_poll(const struct flow *f, struct pollfd *from, struct pollfd *to)
{
	bool full = f->have > f->done;

	*from = (struct pollfd){ .fd = full || f->eof ? -1 : f->from, .events = POLLIN };
	*to = (struct pollfd){ .fd = full ? f->to : -1, .events = POLLOUT };
}

static void take_signal(const struct session *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		return;
	/* Stopped and continued: the shell had the terminal for itself meanwhile. */
	if (info.ssi_signo == SIGCONT && s->raw)
		(void)make_raw(s);
	if (info.ssi_signo == SIGWINCH && s->master >= 0)
		copy_size(s->tty, s->master);
	else
		(void)sys_pidfd_send_signal(s->pidfd, (int)info.ssi_signo);
}

/* What the process wrote last is still in the terminal when it is gone: no more than a terminal
 * holds, for others may go on writing to it. */
static void drain(struct session *s)
{
	struct pollfd to = { .fd = s->out.to, .events = POLLOUT };
	size_t total = 0;

	if (s->master < 0)
		return;
	while (!s->out.eof && total < DRAIN_MAX) {
		if (s->out.have == s->out.done)
			flow_read(&s->out);
		if (s->out.have == s->out.done)
			break;
		total += s->out.have;
		while (s->out.have > s->out.done && (poll(&to, 1, -1) > 0 || errno == EINTR))
			flow_write(&s->out);
	}
}

static int relay(struct session *s, struct err *e)
{
	for (;;) {
		struct pollfd p[6] = {
			{ .fd = s->pidfd, .events = POLLIN },
			{ .fd = s->signals, .events = POLLIN },
		};

		flow_poll(&s->in, &p[2], &p[3]);
		flow_poll(&s->out, &p[4], &p[5]);
		if (poll(p, ARRAY_SIZE(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_errno(e, errno, "poll");
		}
		if (p[1].revents)
			take_signal(s);
		if (p[2].revents)
			flow_read(&s->in);
		if (p[3].revents)
			flow_write(&s->in);
		if (p[4].revents)
			flow_read(&s->out);
		if (p[5].revents)
			flow_write(&s->out);
		if (s->in.eof && s->in.from >= 0)
			end_of_input(s);
		if (p[0].revents)
			return 0;
	}
}

int foreground_wait(pid_t pid, int pidfd, int master, int *ret, struct err *e)
{
	struct session s = {
		.pid = pid,
		.pidfd = pidfd,
		.master = master,
		.tty = -EBADF,
		.in = { .from = master >= 0 ? STDIN_FILENO : -1, .to = master },
		.out = { .from = master, .to = STDOUT_FILENO },
	};
	siginfo_t info = { 0 };
	sigset_t set;
	int r;

	forwarded_signals(&set);
	s.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.signals < 0)
		return err_errno(e, errno, "signalfd");
	terminal_begin(&s);
	r = relay(&s, e);
	drain(&s);
	terminal_end(&s);
	closep(&s.signals);
	if (r < 0)
		return r;
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "wait for pid %d", pid);
	*ret = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	return 0;
}
