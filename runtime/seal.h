/* The sealed copy: what runs in or beside a container is never the host's file. */
#pragma once
#include "base/err.h"

/*
 * Executes the program anew from a sealed memfd copy, unless it runs from one already; then it
 * returns 0. A process in a container that gets hold of /proc/PID/exe of an init or exec stage
 * (CVE-2019-5736) holds that copy, which nobody can write.
 */
int seal_self(char **argv, struct err *e);
