/* The parts of the reader that no tar file shows; the rest:
 * tests/integration/test_images_unpack.py, tests/attacks/test_layers.py, tests/fuzz/fuzz_tar.c. */
#include <fcntl.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "images/tar_internal.h"
#include "tests/unit/test.h"

TEST(test_number_field)
{
	static const struct {
		const char *field;
		size_t n;
		int r;
		int64_t want;
	} cases[] = {
		{ "0000644\0", 8, 0, 0644 },
		{ "   644 \0", 8, 0, 0644 },
		{ "77777777", 8, 0, 077777777 }, /* without an end */
		{ "\0\0\0\0\0\0\0\0", 8, 0, 0 },
		{ "        ", 8, 0, 0 },
		{ "0000648\0", 8, -EINVAL, 0 },
		{ "-000001\0", 8, -EINVAL, 0 },
		{ "0x00001\0", 8, -EINVAL, 0 },
		{ "\x80\0\0\0\0\0\1\0", 8, 0, 256 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xfe", 8, 0, -2 },
		{ "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, 0, INT64_MAX },
		{ "\x80\0\0\0\x80\0\0\0\0\0\0\0", 12, -EINVAL, 0 },
		{ "\x80\0\0\1\0\0\0\0\0\0\0\0", 12, -EINVAL, 0 },
		{ "\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 12, 0, INT64_MIN },
		{ "\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12, -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t v = 0;

		CHECK_INT(
		    tar_number_field((const uint8_t *)cases[i].field, cases[i].n, &v), cases[i].r);
		CHECK_INT(v, cases[i].want);
	}
}

TEST(test_number_time)
{
	static const struct {
		const char *s;
		int64_t sec;
		long ns;
	} good[] = { { "0", 0, 0 }, { "1.5", 1, 500000000 }, { "1.", 1, 0 },
		{ ".25", 0, 250000000 }, { "-1", -1, 0 }, { "-0.25", -1, 750000000 },
		{ "7.1234567899", 7, 123456789 } };
	static const char *const bad[] = { "", "-", ".", "1e9", " 1", "1 ", "+1", "1.2.3",
		"99999999999999999999", "--1" };
	struct timespec t;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		CHECK_INT(tar_number_time(good[i].s, &t), 0);
		CHECK_INT(t.tv_sec, good[i].sec);
		CHECK_INT(t.tv_nsec, good[i].ns);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_INT(tar_number_time(bad[i], &t), -EINVAL);
}

TEST(test_encodings)
{
	char ok[] = "user.a%20b%2Fc", cut[] = "a%2", nul[] = "a%00", other[] = "a%\x10\x10";
	char b64[] = "AP8Q", padded[] = "AA==", open_[] = "AAE", bits[] = "AB==", odd[] = "A";

	CHECK_INT(tar_percent_decode(ok), 10);
	CHECK_STR(ok, "user.a b/c");
	CHECK_INT(tar_percent_decode(cut), -EINVAL);
	CHECK_INT(tar_percent_decode(nul), -EINVAL);
	CHECK_INT(tar_percent_decode(other), -EINVAL);
	CHECK_INT(tar_base64_decode(b64), 3);
	CHECK(memcmp(b64, "\0\xff\x10", 3) == 0);
	CHECK_INT(tar_base64_decode(padded), 1);
	CHECK_INT(tar_base64_decode(open_), 2);
	CHECK_INT(tar_base64_decode(bits), -EINVAL);
	CHECK_INT(tar_base64_decode(odd), -EINVAL);
}

/* A header of a plain file. */
static void put_header(char *h, const char *name, size_t size)
{
	unsigned sum = 0;

	memset(h, 0, TAR_BLOCK);
	snprintf(h, 100, "%s", name);
	snprintf(h + 100, 8, "0000644");
	snprintf(h + 124, 12, "%011zo", size);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	for (int i = 0; i < TAR_BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
}

/* Three files of 200 KiB, the archive's end. */
#define SIZE (200 * 1024)
static int archive(void)
{
	char path[] = "/tmp/bailey-unit-XXXXXX", h[TAR_BLOCK];
	int fd = mkstemp(path);
	char *data = xcalloc(1, SIZE);

	unlink(path);
	for (int i = 0; i < 3; i++) {
		memset(data, 'a' + i, SIZE);
		put_header(h, (const char *const[]){ "a", "b", "c" }[i], SIZE);
		CHECK_INT(fd_write_all(fd, h, sizeof(h)), 0);
		CHECK_INT(fd_write_all(fd, data, SIZE), 0);
	}
	memset(data, 0, SIZE);
	CHECK_INT(fd_write_all(fd, data, 1024), 0);
	free(data);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void walk(bool seekable)
{
	_cleanup_close_ int fd = archive();
	struct tar_input in;
	struct tar_file *f = tar_file_new(fd, "archive", seekable, &in);
	_cleanup_tar_ struct tar *t = tar_new(&in);
	const struct tar_entry *en;
	struct err e = ERR_INIT;
	struct tar_piece piece;
	char c;

	CHECK((in.skip != NULL) == seekable);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(tar_next(t, &en, &e), 1);
		CHECK_INT(en->path[0], 'a' + i);
		CHECK_INT(en->offset, 512 + i * (512 + SIZE));
		CHECK_INT(pread(fd, &c, 1, (off_t)en->offset), 1);
		CHECK_INT(c, 'a' + i);
		if (i == 1)
			CHECK(tar_data(t, &piece, &e) == 1 && *(const char *)piece.p == 'b');
	}
	CHECK_INT(tar_next(t, &en, &e), 0);
	tar_file_free(f);
}

TEST(test_file)
{
	walk(true);
	walk(false);
}

/* lseek(2) goes beyond the end without a word. */
TEST(test_file_cut_off)
{
	_cleanup_close_ int fd = archive();
	struct tar_input in;
	struct tar_file *f;
	struct tar *t;
	const struct tar_entry *en;
	struct err e = ERR_INIT;

	CHECK_INT(ftruncate(fd, 512 + SIZE / 2), 0);
	f = tar_file_new(fd, "archive", true, &in);
	t = tar_new(&in);
	CHECK_INT(tar_next(t, &en, &e), 1);
	CHECK_INT(tar_next(t, &en, &e), -EBADMSG);
	CHECK_HAS(e.msg, "ends inside");
	tar_free(t);
	tar_file_free(f);
}

TEST_MAIN(T(test_number_field), T(test_number_time), T(test_encodings), T(test_file),
    T(test_file_cut_off))
