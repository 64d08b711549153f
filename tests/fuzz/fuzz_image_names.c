/* Small grammars: names of images, platforms, users by passwd and group. The input's first line is
 * the word, the rest is the image's passwd and group. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "images/images.h"
#include "tests/fuzz/fuzz.h"

static int rootfd = -1;

static char path[] = "/tmp/fuzz-image-XXXXXX";

static void remove_root(void)
{
	unlinkat(rootfd, "etc/passwd", 0);
	unlinkat(rootfd, "etc/group", 0);
	unlinkat(rootfd, "etc", AT_REMOVEDIR);
	rmdir(path);
}

/* One directory for the whole run; both files are written anew each time. */
static void make_root(void)
{
	if (rootfd >= 0)
		return;
	MUST(mkdtemp(path) != NULL);
	rootfd = open(path, O_RDONLY | O_DIRECTORY);
	MUST(rootfd >= 0 && mkdirat(rootfd, "etc", 0700) == 0);
	atexit(remove_root);
}

static void put(const char *name, const char *text)
{
	int fd = openat(rootfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void a_user(struct arena *a, const char *word, const char *db)
{
	struct spec_user u = { .uid = 7777 };
	struct err e = ERR_INIT;
	int r;

	make_root();
	put("etc/passwd", db);
	put("etc/group", db);
	r = image_user_resolve(rootfd, word, a, &u, &e);
	must_be_consistent(r, &e);
	MUST(r == 0 || u.uid == 7777);
	MUST(u.uid != UINT32_MAX && u.gid != UINT32_MAX);
	/* What needs no root gives the same without one. */
	if (!image_user_needs_root(word)) {
		struct spec_user v = { 0 };
		struct err f = ERR_INIT;

		MUST(image_user_resolve(-1, word, a, &v, &f) == r);
		MUST(r < 0 || (v.uid == u.uid && v.gid == u.gid));
	}
}

static void a_name(struct arena *a, const char *word)
{
	struct image_name n, again;
	struct image_platform p;
	struct err e = ERR_INIT, f = ERR_INIT, g = ERR_INIT;
	int r = image_name_parse(a, word, &n, &e);

	must_be_consistent(r, &e);
	if (r == 0) {
		const char *text = image_name_text(a, &n);

		/* The filled up form means itself, and leads nowhere as a path or URL. */
		MUST(image_name_parse(a, text, &again, &f) == 0);
		MUST(!strcmp(image_name_text(a, &again), text));
		MUST(!strstr(text, "../") && !strstr(text, "/..") && !strpbrk(text, " \t%?#\\"));
	}
	must_be_consistent(image_platform_parse(a, word, &p, &g), &g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *word = fuzz_string(data, size), *db = strchr(word, '\n');
	struct arena *a = arena_new();

	if (db)
		*db++ = '\0';
	a_name(a, word);
	a_user(a, word, db ? db : "");
	arena_free(a);
	free(word);
	return 0;
}
