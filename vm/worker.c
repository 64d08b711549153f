#include "vm/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/alloc.h"
#include "base/log.h"

/* Nothing in a worker recurses. */
#define STACK_SIZE (256u << 10)

struct worker {
	struct loop *loop;
	pthread_t thread;
	bool running;
	/* of worker_start(), until `prepared` */
	const char *name;
	int (*prepare)(void *arg, struct err *e);
	void *arg;
	struct err *e;
	int result;
	sem_t prepared;
};

int worker_new(struct worker **ret, struct err *e)
{
	struct worker *w = xcalloc(1, sizeof(*w));
	int r = loop_new(&w->loop, e);

	if (r < 0) {
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct loop *worker_loop(struct worker *w)
{
	return w->loop;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct err e = ERR_INIT;
	int r;

	/* By the thread itself, before it is jailed: another would need /proc for it. */
	prctl(PR_SET_NAME, w->name);
	r = w->prepare ? w->prepare(w->arg, w->e) : 0;
	w->result = r;
	sem_post(&w->prepared);
	if (r == 0 && loop_run(w->loop, &e) < 0)
		log_error("virtual machine: a device's worker ended: %s", e.msg);
	return NULL;
}

static int start_thread(struct worker *w)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	/* Inherited: no signal may end up on this thread. */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, &attr, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

int worker_start(struct worker *w, const char *name, int (*prepare)(void *arg, struct err *e),
    void *arg, struct err *e)
{
	int r;

	w->name = name;
	w->prepare = prepare;
	w->arg = arg;
	w->e = e;
	sem_init(&w->prepared, 0, 0);
	r = start_thread(w);
	if (r != 0) {
		sem_destroy(&w->prepared);
		return err_errno(e, r, "start the thread of device %s", name);
	}
	while (sem_wait(&w->prepared) < 0)
		;
	sem_destroy(&w->prepared);
	if (w->result < 0) {
		pthread_join(w->thread, NULL);
		return w->result;
	}
	w->running = true;
	return 0;
}

void worker_stop(struct worker *w)
{
	if (!w->running)
		return;
	loop_stop(w->loop);
	pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	worker_stop(w);
	loop_free(w->loop);
	free(w);
}
