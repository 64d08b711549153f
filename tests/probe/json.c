/* A JSON printer that needs no tree: keys and commas by a small stack. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static bool has_member[32];
static int depth;

static void put_quoted(const char *s, size_t n)
{
	putchar('"');
	for (size_t i = 0; i < n; i++) {
		unsigned char c = s[i];
		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void member(const char *key)
{
	if (has_member[depth])
		putchar(',');
	has_member[depth] = true;
	if (key) {
		put_quoted(key, strlen(key));
		putchar(':');
	}
}

void js_open(const char *key, char bracket)
{
	member(key);
	putchar(bracket);
	has_member[++depth] = false;
}

void js_close(char bracket)
{
	depth--;
	putchar(bracket);
}

void js_strn(const char *key, const char *s, size_t n)
{
	member(key);
	put_quoted(s, n);
}

void js_str(const char *key, const char *s)
{
	member(key);
	if (s)
		put_quoted(s, strlen(s));
	else
		printf("null");
}

void js_int(const char *key, long long v)
{
	member(key);
	printf("%lld", v);
}

void js_bool(const char *key, bool v)
{
	member(key);
	printf(v ? "true" : "false");
}

void js_file(const char *key, const char *path)
{
	static char buf[1 << 20];
	size_t n = 0;
	ssize_t r;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		js_str(key, NULL);
		return;
	}
	while ((r = read(fd, buf + n, sizeof(buf) - n)) > 0)
		n += r;
	close(fd);
	if (r < 0)
		js_str(key, NULL);
	else
		js_strn(key, buf, n);
}

void js_link(const char *key, const char *path)
{
	char buf[4096];
	ssize_t n = readlink(path, buf, sizeof(buf));

	if (n < 0)
		js_str(key, NULL);
	else
		js_strn(key, buf, n);
}

void js_end(void)
{
	putchar('\n');
	fflush(stdout);
	memset(has_member, 0, sizeof(has_member));
	depth = 0;
}

int result(long long ret)
{
	int err = errno;

	js_open(NULL, '{');
	js_int("ret", ret);
	if (ret < 0) {
		const char *name = strerrorname_np(err);
		js_str("errno", name ? name : "?");
	}
	js_close('}');
	js_end();
	return 0;
}
