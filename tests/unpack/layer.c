/*
 * Applies layers, for tests and measurements of images/ alone:
 *
 *   layer [OPTION…] DIR (BLOB DIGEST DIFFID)…
 *
 * DIGEST "-": none is expected, nor a size. Prints one JSON object per layer; errors go to stderr.
 *   --overlay          instead of flat; --userxattr, --userns as in images/unpack.h
 *   --map IN:OUT:N     a range of user and group ids, repeatable
 *   --entries N --bytes N --ratio N   limits
 *   --remove           nothing but tree_remove(DIR)
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "images/unpack.h"

#define MAPS 8

struct options {
	struct unpack_opts unpack;
	struct unpack_idmap map[MAPS];
	bool remove;
};

static int fail(const struct err *e)
{
	fprintf(stderr, "layer: %s\n", e->msg);
	return 1;
}

static int usage(void)
{
	fprintf(stderr, "usage: layer [OPTION...] DIR (BLOB DIGEST DIFFID)...\n");
	return 2;
}

static bool add_map(struct options *o, const char *s)
{
	struct unpack_idmap *m = &o->map[o->unpack.n_uids];
	_cleanup_strv_ char **v = strv_split(s, ':');

	if (o->unpack.n_uids == MAPS || strv_len(v) != 3 || parse_u32(v[0], &m->inside) < 0 ||
	    parse_u32(v[1], &m->outside) < 0 || parse_u32(v[2], &m->count) < 0)
		return false;
	o->unpack.uids = o->unpack.gids = o->map;
	o->unpack.n_gids = ++o->unpack.n_uids;
	return true;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "overlay", 0, NULL, 'o' },
		{ "userxattr", 0, NULL, 'x' }, { "userns", 0, NULL, 'u' }, { "map", 1, NULL, 'm' },
		{ "entries", 1, NULL, 'e' }, { "bytes", 1, NULL, 'b' }, { "ratio", 1, NULL, 'r' },
		{ "remove", 0, NULL, 'R' }, { "debug", 0, NULL, 'd' }, { 0 } };
	bool ok = true;

	for (int c; ok && (c = getopt_long(argc, argv, "+", longs, NULL)) != -1;) {
		switch (c) {
		case 'o':
			o->unpack.mode = UNPACK_OVERLAY;
			break;
		case 'x':
			o->unpack.userxattr = true;
			break;
		case 'u':
			o->unpack.userns = true;
			break;
		case 'm':
			ok = add_map(o, optarg);
			break;
		case 'e':
			ok = parse_u64(optarg, &o->unpack.limits.entries) == 0;
			break;
		case 'b':
			ok = parse_u64(optarg, &o->unpack.limits.bytes) == 0;
			break;
		case 'r':
			ok = parse_u32(optarg, &o->unpack.limits.ratio) == 0;
			break;
		case 'R':
			o->remove = true;
			break;
		case 'd':
			log_set_level(LEVEL_DEBUG);
			break;
		default:
			ok = false;
		}
	}
	return ok && optind < argc ? 0 : usage();
}

static int apply(const struct options *o, int root, char **argv, struct err *e)
{
	_cleanup_close_ int fd = open(argv[0], O_RDONLY | O_CLOEXEC);
	bool any = streq(argv[1], "-");
	struct unpack_layer l = { .name = argv[0], .fd = fd, .size = -1 };
	struct unpack_result res;
	struct digest digest, diff_id;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, errno, "open %s", argv[0]);
	r = digest_parse(argv[2], &diff_id, e);
	if (r == 0 && !any)
		r = digest_parse(argv[1], &digest, e);
	if (r < 0)
		return r;
	l.diff_id = &diff_id;
	if (!any) {
		l.digest = &digest;
		l.size = st.st_size;
	}
	r = layer_unpack(&l, root, &o->unpack, &res, e);
	if (r < 0)
		return r;
	printf("{\"digest\": \"%s\", \"diffID\": \"%s\", \"size\": %llu, \"tarSize\": %llu, "
	       "\"entries\": %llu, \"skipped\": %llu, \"compression\": \"%s\", "
	       "\"opaqueRoot\": %s}\n",
	    res.digest.text, res.diff_id.text, (unsigned long long)res.size,
	    (unsigned long long)res.tar_size, (unsigned long long)res.entries,
	    (unsigned long long)res.skipped, res.compression, res.opaque_root ? "true" : "false");
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	struct err e = ERR_INIT;
	_cleanup_close_ int root = -EBADF;
	int r = parse(argc, argv, &o);

	if (r != 0)
		return r;
	argv += optind;
	if (o.remove)
		return tree_remove(AT_FDCWD, argv[0], &e) < 0 ? fail(&e) : 0;
	root = open(argv[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(&e, errno, "open %s", argv[0]), fail(&e);
	for (argv++; argv[0] && argv[1] && argv[2]; argv += 3)
		if (apply(&o, root, argv, &e) < 0)
			return fail(&e);
	return argv[0] ? usage() : 0;
}
