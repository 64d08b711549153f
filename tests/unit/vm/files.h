/* Directories with made-up files, for the tests of what is found on the host. */
#pragma once
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "tests/unit/test.h"

static char files_dir[64];

/* A new, empty directory: files_dir. */
static inline void files_begin(void)
{
	snprintf(files_dir, sizeof(files_dir), "/tmp/bailey-test-XXXXXX");
	if (!mkdtemp(files_dir))
		abort();
}
static inline int files_remove(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
	return remove(path);
}
static inline void files_end(void)
{
	nftw(files_dir, files_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* "files_dir/name"; the caller frees. */
static inline char *files_path(const char *name)
{
	return xasprintf("%s/%s", files_dir, name);
}

/* Writes the file, its directories made where they are missing. */
static inline void files_put(const char *name, const void *buf, size_t n)
{
	_cleanup_free_ char *path = files_path(name);
	_cleanup_close_ int fd = -1;

	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || fd_write_all(fd, buf, n) < 0)
		abort();
}
static inline void files_text(const char *name, const char *text)
{
	files_put(name, text, strlen(text));
}

/* A bzImage's first sectors, with that version text. */
static inline void files_bzimage(const char *name, const char *version)
{
	uint8_t head[4096] = { 0 };

	head[0x1f1] = 4;
	head[0x1fe] = 0x55;
	head[0x1ff] = 0xaa;
	memcpy(head + 0x202, "HdrS", 4);
	head[0x206] = 0x0f;
	head[0x207] = 0x02;
	head[0x20e] = 0x00;
	head[0x20f] = 0x04; /* at 0x600 */
	head[0x236] = 1;
	snprintf((char *)head + 0x600, 256, "%s", version);
	files_put(name, head, sizeof(head));
}
/* An ELF header, and the banner at offset at. */
static inline void files_elf(const char *name, const char *banner, size_t at)
{
	size_t n = at + strlen(banner) + 64;
	_cleanup_free_ uint8_t *buf = xcalloc(1, n);

	memcpy(buf, "\177ELF\2\1\1", 7);
	buf[18] = 62;
	memcpy(buf + at, banner, strlen(banner));
	files_put(name, buf, n);
}
