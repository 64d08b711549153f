/* Traffic: a server that says whom it sees, and its client; lib/net.py has the same in Python. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/probe/probe.h"

/* "ADDRESS TEXT", the address without what marks it as IPv4's in an IPv6 socket. */
static size_t answer(
    char *out, size_t size, const struct sockaddr_in6 *who, const char *text, size_t n)
{
	char addr[INET6_ADDRSTRLEN] = "?";

	inet_ntop(AF_INET6, &who->sin6_addr, addr, sizeof(addr));
	return (size_t)snprintf(
	    out, size, "%s %.*s", strncmp(addr, "::ffff:", 7) == 0 ? addr + 7 : addr, (int)n, text);
}

static int serve(int type, uint16_t port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type, 0), one = 1, zero = 0;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (void *)&a, sizeof(a)) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0)) {
		perror("probe: answer");
		exit(1);
	}
	return fd;
}

static void answer_datagram(int fd)
{
	struct sockaddr_in6 who;
	socklen_t len = sizeof(who);
	char in[1024], out[1200];
	ssize_t n = recvfrom(fd, in, sizeof(in), 0, (void *)&who, &len);

	if (n >= 0)
		(void)sendto(
		    fd, out, answer(out, sizeof(out), &who, in, (size_t)n), 0, (void *)&who, len);
}

static void answer_stream(int fd)
{
	struct sockaddr_in6 who;
	socklen_t len = sizeof(who);
	int c = accept(fd, (void *)&who, &len);
	char in[1024], out[1200];
	ssize_t n = c < 0 ? -1 : read(c, in, sizeof(in));

	if (n >= 0)
		(void)!write(c, out, answer(out, sizeof(out), &who, in, (size_t)n));
	if (c >= 0)
		close(c);
}

static int cmd_answer(int argc, char **argv)
{
	struct pollfd p[] = {
		{ .fd = serve(SOCK_STREAM, (uint16_t)atoi(argv[1])), .events = POLLIN },
		{ .fd = serve(SOCK_DGRAM, (uint16_t)atoi(argv[1])), .events = POLLIN },
	};

	for (;;) {
		if (poll(p, 2, -1) < 0)
			return 1;
		if (p[0].revents)
			answer_stream(p[0].fd);
		if (p[1].revents)
			answer_datagram(p[1].fd);
	}
}

static int cmd_say(int argc, char **argv)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };
	int type = strcmp(argv[1], "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, fd, r;
	const struct timeval limit = { .tv_sec = argc > 4 ? atoi(argv[4]) : 10 };
	char in[1200];
	ssize_t n;

	six.sin6_port = four.sin_port = htons((uint16_t)atoi(argv[3]));
	if (inet_pton(AF_INET6, argv[2], &six.sin6_addr) == 1) {
		fd = socket(AF_INET6, type, 0);
	} else if (inet_pton(AF_INET, argv[2], &four.sin_addr) == 1) {
		fd = socket(AF_INET, type, 0);
		six.sin6_family = AF_INET;
	} else {
		return 99;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	r = six.sin6_family == AF_INET6 ? connect(fd, (void *)&six, sizeof(six))
					: connect(fd, (void *)&four, sizeof(four));
	n = r < 0 || write(fd, "hello", 5) != 5 ? -1 : read(fd, in, sizeof(in));
	if (n < 0)
		printf("failed: %s", strerror(errno));
	else
		printf("%.*s", (int)n, in);
	return 0;
}

const struct command network_commands[] = {
	{ "answer", "PORT", "answer TCP and UDP of both families with \"ADDRESS TEXT\"", 1,
	    cmd_answer },
	{ "say", "tcp|udp ADDRESS PORT [SECONDS]", "print what it answers to hello", 3, cmd_say },
	{},
};
