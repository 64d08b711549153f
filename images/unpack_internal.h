/* Shared by images/unpack_*.c: one layer being applied. */
#pragma once
#include <sys/stat.h>

#include "images/tar.h"
#include "images/unpack.h"

#define WHITEOUT	".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
/* Mode and time of directories that no entry names. */
#define IMPLIED_DIR_MODE 0755

/* ---- unpack_map.c: numbers to numbers ---- */

struct u64map {
	struct u64pair {
		uint64_t key, value; /* key 0: free */
	} * slots;
	size_t n, cap;
};
uint64_t *u64map_get(const struct u64map *m, uint64_t key); /* NULL: not there */
void u64map_put(struct u64map *m, uint64_t key, uint64_t value);
void u64map_free(struct u64map *m);

/* ---- unpack_dirs.c: directories below the root ---- */

/* An open directory; valid until the next call that may open another. */
struct dir {
	char *path; /* as it was asked for, clean, "" for the root */
	int fd;	    /* O_RDONLY; -EBADF: unused */
	uint64_t ino;
	bool stale; /* no longer found; open until its slot is needed */
};
#define DIR_CACHE 64

/* What is set when all entries have been applied, since making files changes it. */
struct late {
	char *path; /* without symlinks on the way */
	uint64_t ino;
	struct timespec mtime;
	mode_t mode;
	bool set_mode, set_mtime;
};

struct apply {
	int root;
	uint64_t root_ino;
	const struct unpack_opts *opts;
	struct dir cache[DIR_CACHE];
	unsigned hand; /* of the clock that chooses what goes */
	struct late *late;
	size_t n_late;
	uint64_t late_bytes;   /* of their paths */
	struct u64map late_of; /* inode to late's index */
	struct u64map made;    /* flat: names that this layer brought; see unpack_whiteout.c */
	uint64_t seed;
	char path[TAR_PATH_MAX + 2];   /* the entry's, clean */
	char target[TAR_PATH_MAX + 2]; /* a hard link's, clean */
	uint64_t entries, bytes, skipped;
	bool opaque_root;
};

/* One entry: where it goes. */
struct place {
	struct dir *dir;
	const char *name; /* in a->path; one component */
};

int apply_init(struct apply *a, int rootfd, const struct unpack_opts *opts, struct err *e);
void apply_free(struct apply *a);
int apply_entry(struct apply *a, struct tar *t, const struct tar_entry *en, struct err *e);
int apply_finish(struct apply *a, struct err *e);

/* Counts an entry, or a directory that none names, against the limit. */
int apply_count(struct apply *a, struct err *e);
/* Opens path (clean), its missing components made. Errors name the path. */
int dir_open(struct apply *a, const char *path, struct dir **ret, struct err *e);
/* After a directory or symlink went: what the cache holds may no longer be what its path says. */
void dir_forget(struct apply *a);
/* Makes, or finds, the directory in its place, which only with replace may hold something else now.
 * *ret_late is what will be set at the end, to be filled in; valid until the next call. existed may
 * be NULL. */
int dir_make(struct apply *a, const struct place *p, bool replace, int *ret_fd,
    struct late **ret_late, bool *existed, struct err *e);
/* The record of the layer's root; *ret_fd stays a's. */
int dir_root(struct apply *a, int *ret_fd, struct late **ret_late, struct err *e);
int dirs_finish(struct apply *a, struct err *e);

/* ---- unpack_whiteout.c ---- */

bool is_whiteout(const struct stat *st);
int make_whiteout(struct apply *a, const struct place *p, struct err *e);
/* Marks an open directory as hiding what lower layers have there. */
int mark_opaque(struct apply *a, int fd, struct err *e);
/* Remembers that this layer brought what is in this place: no whiteout of its own removes it. */
void made_add(struct apply *a, const struct place *p);
/* 1: the entry was a whiteout and has been applied; 0: it is none. */
int apply_whiteout(
    struct apply *a, const struct place *p, const struct tar_entry *en, struct err *e);
/* Removes whatever is there, so that an entry of this layer can take its place. */
int make_way(struct apply *a, const struct place *p, struct err *e);

/* ---- unpack_attrs.c ---- */

int map_owner(const struct apply *a, uint32_t uid, uint32_t gid, uid_t *ret_uid, gid_t *ret_gid,
    struct err *e);
/* Owner and xattrs of an open directory, those that it had removed; mode and time go to late. */
int set_attrs_dir(struct apply *a, int fd, bool existed, struct late *late,
    const struct tar_entry *en, struct err *e);
/* Owner, mode, xattrs and time of an open regular file just made. */
int set_attrs_file(struct apply *a, int fd, const struct tar_entry *en, struct err *e);
/* The same of what is neither, by its name. */
int set_attrs_at(struct apply *a, const struct place *p, const struct tar_entry *en, struct err *e);
