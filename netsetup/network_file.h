/* A named network's file: text to struct network and back. */
#pragma once
#include "netsetup/network.h"

/* The document in text, complete and checked (network_complete()); file is its name for messages.
 * Unknown members are errors. */
int network_parse(const char *file, const char *text, size_t n, struct network *ret, struct err *e);
/* The same of the file below dirfd. */
int network_read(int dirfd, const char *file, struct network *ret, struct err *e);
/* Replaces the file below dirfd, atomically. */
int network_write(int dirfd, const char *file, const struct network *n, struct err *e);
