/* Private to the jail: jail.c has the process, jail_calls.c the threads' system calls. */
#pragma once
#include "vm/jail.h"

/* Compiles the lists of all kinds of threads, so that none has to be compiled behind a filter. */
int jail_compile(struct err *e);
/* Loads one into the calling thread. */
int jail_install(enum vm_thread kind, struct err *e);
