#include "base/fd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "tests/unit/test.h"

static int temp_dir(char path[32])
{
	snprintf(path, 32, "/tmp/bailey-fd-XXXXXX");
	return mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

TEST(replace_and_read)
{
	char dir[32];
	_cleanup_close_ int fd = temp_dir(dir);
	_cleanup_free_ char *text = NULL, *again = NULL;
	struct err e = ERR_INIT;
	struct stat st;
	size_t n;

	CHECK_INT(file_replace(fd, "f", "one\n", 4, 0600, true, &e), 0);
	CHECK_INT(file_replace(fd, "f", "second\n", 7, 0640, false, &e), 0);
	CHECK_INT(file_read(fd, "f", 100, &text, &n, &e), 0);
	CHECK_STR(text, "second\n");
	CHECK_INT(n, 7);
	CHECK(fstatat(fd, "f", &st, 0) == 0 && (st.st_mode & 07777) == 0640);
	CHECK_INT(file_read(fd, "f", 6, &text, NULL, &e), -EFBIG);
	CHECK_HAS(e.msg, "f: larger than 6 bytes");
	CHECK_INT(file_read(fd, "none", 6, &text, NULL, &e), -ENOENT);
	CHECK_HAS(e.msg, "open none");
	CHECK_INT(file_replace(fd, "no/dir", "x", 1, 0600, true, &e), -ENOENT);
	CHECK_INT(kfile_read(fd, "f", &again), 0);
	CHECK_STR(again, "second");
	CHECK_INT(kfile_write(fd, "f", "x"), 0);
	CHECK_INT(symlinkat("f", fd, "link"), 0);
	CHECK_INT(kfile_write(fd, "link", "x"), -ELOOP);
	CHECK_INT(kfile_read(fd, "link", &again), -ELOOP);
	unlinkat(fd, "f", 0);
	unlinkat(fd, "link", 0);
	CHECK_INT(rmdir(dir), 0); /* no temporary file stayed */
}

TEST(descriptors_travel)
{
	int s[2], got[2] = { -1, -1 }, pipes[2];
	size_t n = 1;
	char buf[8] = "";

	CHECK_INT(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	CHECK_INT(pipe(pipes), 0);
	CHECK_INT(sock_send_fds(s[0], "hi", 2, pipes, 2), 0);
	CHECK_INT(sock_recv_fds(s[1], buf, sizeof(buf), got, &n), 2);
	CHECK_INT(n, 1); /* room for one: the other is closed, not leaked */
	CHECK_INT(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	CHECK_INT(sock_send_fds(s[0], "long message", 12, NULL, 0), 0);
	CHECK_INT(sock_recv_fds(s[1], buf, sizeof(buf), NULL, NULL), -EMSGSIZE);
	close(s[0]);
	CHECK_INT(sock_recv_fds(s[1], buf, sizeof(buf), NULL, NULL), 0);
	CHECK_INT(sock_send_fds(s[1], "x", 1, NULL, 0), -EPIPE);
	close(s[1]);
	close(got[0]);
	close(pipes[0]);
	close(pipes[1]);
}

TEST(sockets_below_long_paths)
{
	char dir[32];
	_cleanup_close_ int top = temp_dir(dir);
	_cleanup_free_ char *deep = NULL, *path = NULL;
	_cleanup_close_ int dirfd = -1, l = -1, c1 = -1, c2 = -1;
	struct stat st;

	CHECK(top >= 0);
	deep = xasprintf("%s/%0*d", dir, 200, 7);
	path = xasprintf("%s/s.sock", deep);
	CHECK_INT(mkdir(deep, 0700), 0);
	dirfd = open(deep, O_RDONLY | O_DIRECTORY);
	l = unix_listen(SOCK_SEQPACKET, dirfd, "s.sock", 0600);
	CHECK(l >= 0);
	CHECK(fstatat(dirfd, "s.sock", &st, 0) == 0 && (st.st_mode & 0777) == 0600);
	c1 = unix_connect(SOCK_SEQPACKET, path);
	c2 = unix_connect_at(SOCK_SEQPACKET, dirfd, "s.sock");
	CHECK(c1 >= 0 && c2 >= 0);
	closep(&l);
	l = unix_connect_at(SOCK_SEQPACKET, dirfd, "s.sock");
	CHECK_INT(l, -ECONNREFUSED);
	CHECK_INT(unix_connect(SOCK_STREAM, "/nonexistent/socket"), -ENOENT);
	unlinkat(dirfd, "s.sock", 0);
	rmdir(deep);
	rmdir(dir);
}

TEST(cloexec_flag)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDONLY);

	CHECK_INT(fd_cloexec(fd, true), 0);
	CHECK_INT(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_INT(fd_cloexec(fd, false), 0);
	CHECK_INT(fcntl(fd, F_GETFD), 0);
	CHECK_INT(fd_cloexec(-1, false), -EBADF);
}

TEST_MAIN(T(replace_and_read), T(descriptors_travel), T(sockets_below_long_paths), T(cloexec_flag))
