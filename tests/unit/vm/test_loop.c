#include "tests/unit/test.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vm/loop.h"

static struct loop *l;
static struct err e;
static int fds[3], calls[3];

static void setup(void)
{
	e = (struct err)ERR_INIT;
	CHECK_INT(loop_new(&l, &e), 0);
	for (int i = 0; i < 3; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		calls[i] = 0;
	}
}
static void teardown(void)
{
	loop_free(l);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}
static void poke(int fd)
{
	CHECK_INT(eventfd_write(fd, 1), 0);
}
static void drained(void *arg, uint32_t events)
{
	eventfd_t v;
	int i = (int)((int *)arg - fds);

	CHECK_INT(events, EPOLLIN);
	CHECK_INT(eventfd_read(fds[i], &v), 0);
	calls[i]++;
}
static void left_readable(void *arg, uint32_t events)
{
	calls[(int *)arg - fds]++;
}

TEST(callbacks)
{
	setup();
	CHECK_INT(loop_once(l, 0, &e), 0);
	CHECK_INT(loop_add(l, fds[0], EPOLLIN, drained, &fds[0], &e), 0);
	CHECK_INT(loop_add(l, fds[1], EPOLLIN, left_readable, &fds[1], &e), 0);
	CHECK_INT(loop_once(l, 0, &e), 0);
	poke(fds[0]);
	poke(fds[1]);
	CHECK_INT(loop_once(l, 0, &e), 1);
	CHECK_INT(loop_once(l, 0, &e), 1); /* level-triggered */
	CHECK_INT(calls[0], 1);
	CHECK_INT(calls[1], 2);
	CHECK_INT(loop_change(l, fds[1], 0, &e), 0);
	CHECK_INT(loop_once(l, 0, &e), 0);
	CHECK_INT(loop_change(l, fds[1], EPOLLIN, &e), 0);
	CHECK_INT(loop_once(l, 0, &e), 1);
	CHECK_INT(calls[1], 3);
	loop_remove(l, fds[1]);
	CHECK_INT(loop_once(l, 0, &e), 0);
	teardown();
}

TEST(one_entry_per_descriptor)
{
	setup();
	CHECK_INT(loop_add(l, fds[0], EPOLLIN, drained, &fds[0], &e), 0);
	CHECK_INT(loop_add(l, fds[0], EPOLLIN, drained, &fds[0], &e), -EEXIST);
	CHECK_INT(loop_add(l, -1, EPOLLIN, drained, NULL, &e), -EBADF);
	CHECK_INT(loop_change(l, fds[1], EPOLLIN, &e), -ENOENT);
	loop_remove(l, fds[1]);
	loop_remove(l, -EBADF);
	loop_remove(l, 12345);
	loop_remove(l, fds[0]);
	CHECK_INT(loop_add(l, fds[0], EPOLLIN, drained, &fds[0], &e), 0);
	CHECK_INT(loop_add(l, 12345, EPOLLIN, drained, NULL, &e), -EBADF);
	teardown();
}

/* Of two that are ready in one round the first called removes the other. */
static void removes_other(void *arg, uint32_t events)
{
	int i = (int)((int *)arg - fds);

	calls[i]++;
	loop_remove(l, fds[!i]);
	loop_remove(l, fds[i]);
}
/* … or puts another entry in its place, which is not ready before the next round. */
static void replaces_other(void *arg, uint32_t events)
{
	int i = (int)((int *)arg - fds);

	calls[i]++;
	loop_remove(l, fds[!i]);
	loop_remove(l, fds[i]);
	CHECK_INT(loop_add(l, fds[!i], EPOLLIN, drained, &fds[2], &e), 0);
}
TEST(removed_in_a_callback)
{
	setup();
	for (int i = 0; i < 2; i++) {
		CHECK_INT(loop_add(l, fds[i], EPOLLIN, removes_other, &fds[i], &e), 0);
		poke(fds[i]);
	}
	CHECK_INT(loop_once(l, 0, &e), 1);
	CHECK_INT(calls[0] + calls[1], 1);
	CHECK_INT(loop_once(l, 0, &e), 0);
	calls[0] = calls[1] = 0;
	for (int i = 0; i < 2; i++)
		CHECK_INT(loop_add(l, fds[i], EPOLLIN, replaces_other, &fds[i], &e), 0);
	CHECK_INT(loop_once(l, 0, &e), 1);
	CHECK_INT(calls[0] + calls[1], 1);
	CHECK_INT(calls[2], 0);
	teardown();
}

static int order[4], n_order;
static void posted(void *arg)
{
	order[n_order++] = (int)(intptr_t)arg;
	if (arg == (void *)2)
		loop_post(l, posted, (void *)3);
}
static void *other_thread(void *arg)
{
	loop_post(l, posted, (void *)1);
	loop_post(l, posted, (void *)2);
	usleep(20000);
	loop_stop(l);
	return NULL;
}
TEST(posts_and_stop_from_another_thread)
{
	pthread_t t;

	setup();
	n_order = 0;
	CHECK_INT(pthread_create(&t, NULL, other_thread, NULL), 0);
	CHECK_INT(loop_run(l, &e), 0);
	pthread_join(t, NULL);
	CHECK_INT(n_order, 3);
	for (int i = 0; i < 3; i++)
		CHECK_INT(order[i], i + 1);
	/* A stop that came before ends the next run, once. */
	loop_stop(l);
	CHECK_INT(loop_run(l, &e), 0);
	CHECK_INT(loop_once(l, 0, &e), 1); /* the wake-up that is left */
	CHECK_INT(loop_once(l, 0, &e), 0);
	loop_post(l, posted, (void *)1); /* dropped, and freed */
	teardown();
}

TEST_MAIN(T(callbacks), T(one_entry_per_descriptor), T(removed_in_a_callback),
    T(posts_and_stop_from_another_thread))
