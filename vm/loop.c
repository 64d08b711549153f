#include "vm/loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define EVENTS_PER_ROUND 16
#define WAKE		 UINT64_MAX

/* Found by descriptor. An event carries the serial of the entry it was made for: when a callback
 * has removed that entry, or put another in its place, the event is stale. */
struct entry {
	loop_fn fn; /* NULL: free */
	void *arg;
	uint32_t serial;
};

struct post {
	void (*fn)(void *arg);
	void *arg;
	struct post *next;
};

struct loop {
	int epoll, wake;
	struct entry *entries;
	size_t n;
	uint32_t serial;
	bool stop; /* atomic */
	pthread_mutex_t lock;
	struct post *posted, **last; /* under lock */
};

int loop_new(struct loop **ret, struct err *e)
{
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	_cleanup_close_ int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = WAKE };
	struct loop *l;

	if (epoll < 0 || wake < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &ev) < 0)
		return err_errno(e, errno, "make an event loop");
	l = xcalloc(1, sizeof(*l));
	l->epoll = steal_fd(&epoll);
	l->wake = steal_fd(&wake);
	l->last = &l->posted;
	pthread_mutex_init(&l->lock, NULL);
	*ret = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->posted) {
		struct post *p = l->posted;

		l->posted = p->next;
		free(p);
	}
	closep(&l->epoll);
	closep(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l->entries);
	free(l);
}

static struct entry *entry_find(struct loop *l, int fd)
{
	if (fd < 0 || (size_t)fd >= l->n || !l->entries[fd].fn)
		return NULL;
	return &l->entries[fd];
}

static uint64_t entry_data(const struct entry *en, int fd)
{
	return (uint64_t)en->serial << 32 | (uint32_t)fd;
}

int loop_add(struct loop *l, int fd, uint32_t events, loop_fn fn, void *arg, struct err *e)
{
	struct epoll_event ev = { .events = events };
	struct entry *en;

	if (fd < 0 || entry_find(l, fd))
		return err_set(e, fd < 0 ? EBADF : EEXIST, "descriptor %d cannot be watched", fd);
	if ((size_t)fd >= l->n) {
		size_t n = (size_t)fd + 16;

		l->entries = xrealloc(l->entries, n * sizeof(*l->entries));
		for (size_t i = l->n; i < n; i++)
			l->entries[i] = (struct entry){ 0 };
		l->n = n;
	}
	en = &l->entries[fd];
	/* Never UINT32_MAX: WAKE is no entry's. */
	en->serial = ++l->serial & 0x7fffffff;
	ev.data.u64 = entry_data(en, fd);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_errno(e, errno, "watch descriptor %d", fd);
	en->fn = fn;
	en->arg = arg;
	return 0;
}

int loop_change(struct loop *l, int fd, uint32_t events, struct err *e)
{
	struct entry *en = entry_find(l, fd);
	struct epoll_event ev = { .events = events };

	if (!en)
		return err_set(e, ENOENT, "descriptor %d is not watched", fd);
	ev.data.u64 = entry_data(en, fd);
	if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, fd, &ev) < 0)
		return err_errno(e, errno, "watch descriptor %d", fd);
	return 0;
}

void loop_remove(struct loop *l, int fd)
{
	struct entry *en = entry_find(l, fd);

	if (!en)
		return;
	en->fn = NULL;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void wake(struct loop *l)
{
	uint64_t one = 1;

	/* It fails only when the counter is full: the loop wakes anyway. */
	if (write(l->wake, &one, sizeof(one)) < 0)
		return;
}

static void run_posted(struct loop *l)
{
	struct post *list;
	uint64_t count;

	if (read(l->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&l->lock);
	list = l->posted;
	l->posted = NULL;
	l->last = &l->posted;
	pthread_mutex_unlock(&l->lock);
	while (list) {
		struct post *p = list;

		list = p->next;
		p->fn(p->arg);
		free(p);
	}
}

static void dispatch(struct loop *l, const struct epoll_event *ev)
{
	struct entry *en;

	if (ev->data.u64 == WAKE) {
		run_posted(l);
		return;
	}
	en = entry_find(l, (int)(uint32_t)ev->data.u64);
	if (en && en->serial == ev->data.u64 >> 32)
		en->fn(en->arg, ev->events);
}

int loop_once(struct loop *l, int timeout_ms, struct err *e)
{
	struct epoll_event ev[EVENTS_PER_ROUND];
	int n = epoll_wait(l->epoll, ev, EVENTS_PER_ROUND, timeout_ms);

	if (n < 0 && errno != EINTR)
		return err_errno(e, errno, "wait for events");
	for (int i = 0; i < n; i++)
		dispatch(l, &ev[i]);
	return n > 0;
}

int loop_run(struct loop *l, struct err *e)
{
	while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
		int r = loop_once(l, -1, e);

		if (r < 0)
			return r;
	}
	__atomic_store_n(&l->stop, false, __ATOMIC_RELEASE);
	return 0;
}

void loop_stop(struct loop *l)
{
	__atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
	wake(l);
}

int loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct post *p = xmalloc(sizeof(*p));

	*p = (struct post){ .fn = fn, .arg = arg };
	pthread_mutex_lock(&l->lock);
	*l->last = p;
	l->last = &p->next;
	pthread_mutex_unlock(&l->lock);
	wake(l);
	return 0;
}
