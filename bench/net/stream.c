/* A TCP stream between two ends, for bench/net/throughput: gcc -O2 -static.
 *
 *   stream serve PORT                       what the other end asks for, one connection at a time
 *   stream up|down|turns ADDRESS PORT SECONDS
 *                                           prints a figure: MiB/s that the server received, MiB/s
 *                                           that it sent, or how often a byte went to and fro a
 * second
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (128 * 1024)

static char buf[CHUNK];

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t drain(int fd)
{
	uint64_t sum = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sum += (uint64_t)n;
	return sum;
}

/* The first byte says which: u (it sends, then wants to know how much came), d (wants to be sent
 * to), t (its bytes back). */
static void serve_one(int fd)
{
	uint64_t sum;
	char mode;

	if (read(fd, &mode, 1) != 1)
		return;
	if (mode == 'u') {
		sum = drain(fd);
		(void)!write(fd, &sum, sizeof(sum));
	} else if (mode == 'd') {
		while (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0)
			;
	} else {
		while (read(fd, &mode, 1) == 1 && send(fd, &mode, 1, MSG_NOSIGNAL) == 1)
			;
	}
}

static _Noreturn void serve(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s < 0 || bind(s, (void *)&a, sizeof(a)) < 0 || listen(s, 8) < 0)
		die("listen");
	for (;;) {
		int fd = accept(s, NULL, NULL);

		if (fd < 0)
			die("accept");
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		serve_one(fd);
		close(fd);
	}
}

static int reach(const char *address, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (inet_pton(AF_INET, address, &a.sin_addr) != 1)
		die(address);
	if (connect(fd, (void *)&a, sizeof(a)) < 0)
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static double up(int fd, double seconds)
{
	double start = now();
	uint64_t sum = 0;

	while (now() - start < seconds)
		if (write(fd, buf, sizeof(buf)) < 0)
			die("write");
	shutdown(fd, SHUT_WR);
	if (read(fd, &sum, sizeof(sum)) != sizeof(sum))
		die("read");
	return (double)sum / (now() - start) / 1048576;
}

static double down(int fd, double seconds)
{
	double start = now();
	uint64_t sum = 0;
	ssize_t n = 1;

	while (n > 0 && now() - start < seconds) {
		n = read(fd, buf, sizeof(buf));
		sum += n > 0 ? (uint64_t)n : 0;
	}
	return (double)sum / (now() - start) / 1048576;
}

static double turns(int fd, double seconds)
{
	double start = now();
	uint64_t n = 0;

	for (; now() - start < seconds; n++)
		if (write(fd, buf, 1) != 1 || read(fd, buf, 1) != 1)
			die("turn");
	return (double)n / (now() - start);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		double (*fn)(int fd, double seconds);
	} modes[] = { { "up", up }, { "down", down }, { "turns", turns } };

	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve((uint16_t)atoi(argv[2]));
	for (size_t i = 0; argc == 5 && i < sizeof(modes) / sizeof(*modes); i++) {
		int fd;

		if (strcmp(argv[1], modes[i].name) != 0)
			continue;
		fd = reach(argv[2], (uint16_t)atoi(argv[3]));
		if (write(fd, modes[i].name, 1) != 1)
			die("write");
		printf("%.2f\n", modes[i].fn(fd, atof(argv[4])));
		return 0;
	}
	fprintf(stderr, "stream serve PORT | up|down|turns ADDRESS PORT SECONDS\n");
	return 2;
}
