/*
 * loop_os - libev, of which we use little: it waits, and tells which of the
 * file descriptors are ready.
 *
 * Timers are ours (util/timer), because the simulated loop has the same ones;
 * one ev_timer only bounds the wait. They run in the prepare watcher, that is
 * after the events of the turn, as do the ends of the turn. The check watcher
 * has the highest priority and reads the clock before any event is told.
 *
 * Posting from other threads pushes onto an atomic stack; the loop takes it
 * whole and turns it round, so that calls run in the order they were posted.
 * What is posted by such a call waits for the next turn.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/loop_os.h"

#include <signal.h>
#include <stdatomic.h>

struct loop_os {
	struct loop                loop;
	struct ev_loop            *ev;
	ev_timer                   wait;
	mono_us_t                  wait_until;
	ev_prepare                 before_wait;
	ev_check                   after_wait;
	ev_async                   wake;
	_Atomic(struct loop_call *) posted;     /* newest first */
	struct loop_call          *row;         /* taken from there, oldest first */
	atomic_bool                stop;
	struct list                turn_ends;
	struct list                signals;
};

struct loop_signal {
	struct list link;
	ev_signal   watcher;
	void      (*fn)(void *ctx, int signum);
	void       *ctx;
};

static void
loop_os_post(struct loop *loop, struct loop_call *call)
{
	struct loop_os *l = container_of(loop, struct loop_os, loop);
	struct loop_call *first = atomic_load_explicit(&l->posted, memory_order_relaxed);

	do
		call->next = first;
	while (!atomic_compare_exchange_weak_explicit(&l->posted, &first, call,
						      memory_order_release, memory_order_relaxed));
	/* Who finds calls waiting knows that their poster has sent the wake, or is about to. */
	if (!first)
		ev_async_send(l->ev, &l->wake);
}

/* Onto the end of the row, oldest first. */
static void
take_posted(struct loop_os *l)
{
	struct loop_call *newest = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire);
	struct loop_call *oldest = NULL, **end = &l->row;

	while (newest) {
		struct loop_call *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (*end != NULL)
		end = &(*end)->next;
	*end = oldest;
}

/* A call may stand still while another thread runs what is behind it (net/peers.h): so the row is the
 * loop's, not this function's. */
static bool
run_posted(struct loop_os *l)
{
	bool some = false;

	take_posted(l);
	while (l->row != NULL) {
		struct loop_call *call = l->row;

		l->row = call->next;
		call->next = NULL;
		call->fn(call->ctx);
		some = true;
	}
	return some;
}

static void
on_wake(EV_P_ ev_async *w, int revents)
{
	run_posted(w->data);
}

static void
on_waited(EV_P_ ev_timer *w, int revents)
{
	/* The end of the turn runs what is due, and sets the next wait. */
	struct loop_os *l = w->data;

	l->wait_until = MONO_NEVER;
}

static void
on_after_wait(EV_P_ ev_check *w, int revents)
{
	struct loop_os *l = w->data;

	l->loop.now = clock_now(&l->loop.clock);
}

static void
wait_at_most_until(struct loop_os *l, mono_us_t until)
{
	if (until == l->wait_until)
		return;
	ev_timer_stop(l->ev, &l->wait);
	l->wait_until = until;
	if (until == MONO_NEVER)
		return;
	ev_timer_set(&l->wait, (double)max_i64(0, until - l->loop.now.mono) / (double)US_PER_S, 0.);
	ev_timer_start(l->ev, &l->wait);
}

static void
on_before_wait(EV_P_ ev_prepare *w, int revents)
{
	struct loop_os *l = w->data;
	bool more = false;

	timers_run(&l->loop.timers, l->loop.now);
	list_each_safe(pos, &l->turn_ends) {
		struct loop_turn_end *end = list_entry(pos, struct loop_turn_end, link);

		more |= end->fn(end->ctx);
	}
	if (atomic_exchange(&l->stop, false))
		ev_break(l->ev, EVBREAK_ALL);
	wait_at_most_until(l, more ? l->loop.now.mono : timers_next(&l->loop.timers));
}

static void
loop_os_run(struct loop *loop)
{
	struct loop_os *l = container_of(loop, struct loop_os, loop);

	ev_now_update(l->ev);
	loop->now = clock_now(&loop->clock);
	/* A wait set in an earlier run would count from then. */
	wait_at_most_until(l, MONO_NEVER);
	ev_run(l->ev, 0);
}

static void
loop_os_stop(struct loop *loop)
{
	struct loop_os *l = container_of(loop, struct loop_os, loop);

	atomic_store(&l->stop, true);
	ev_async_send(l->ev, &l->wake);
}

static bool
loop_os_run_posted(struct loop *loop)
{
	return run_posted(container_of(loop, struct loop_os, loop));
}

static const struct loop_ops loop_os_ops = {
	.post = loop_os_post,
	.run = loop_os_run,
	.stop = loop_os_stop,
	.run_posted = loop_os_run_posted,
};

static void
start_watchers(struct loop_os *l)
{
	ev_timer_init(&l->wait, on_waited, 0., 0.);
	l->wait.data = l;
	l->wait_until = MONO_NEVER;

	ev_prepare_init(&l->before_wait, on_before_wait);
	l->before_wait.data = l;
	ev_prepare_start(l->ev, &l->before_wait);

	ev_check_init(&l->after_wait, on_after_wait);
	ev_set_priority(&l->after_wait, EV_MAXPRI);
	l->after_wait.data = l;
	ev_check_start(l->ev, &l->after_wait);

	ev_async_init(&l->wake, on_wake);
	l->wake.data = l;
	ev_async_start(l->ev, &l->wake);
}

struct loop *
loop_os_new(struct err *err)
{
	struct loop_os *l = mem_alloc(sizeof(*l));

	l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK | EVFLAG_NOTIMERFD);
	if (!l->ev) {
		err_sys(err, "cannot start an event loop");
		free(l);
		return NULL;
	}
	l->loop.ops = &loop_os_ops;
	clock_os_init(&l->loop.clock);
	timers_init(&l->loop.timers);
	l->loop.now = clock_now(&l->loop.clock);
	atomic_init(&l->posted, NULL);
	atomic_init(&l->stop, false);
	list_init(&l->turn_ends);
	list_init(&l->signals);
	start_watchers(l);
	return &l->loop;
}

void
loop_os_free(struct loop *loop)
{
	struct loop_os *l = loop ? container_of(loop, struct loop_os, loop) : NULL;

	if (!l)
		return;
	check(list_empty(&l->turn_ends));
	list_each_safe(pos, &l->signals) {
		struct loop_signal *s = list_entry(pos, struct loop_signal, link);

		ev_signal_stop(l->ev, &s->watcher);
		list_remove(pos);
		free(s);
	}
	ev_loop_destroy(l->ev);
	timers_fini(&loop->timers);
	free(l);
}

static void
on_signal(EV_P_ ev_signal *w, int revents)
{
	struct loop_signal *s = w->data;

	s->fn(s->ctx, w->signum);
}

void
loop_os_on_signal(struct loop *loop, int signum, void (*fn)(void *ctx, int signum), void *ctx)
{
	struct loop_os *l = container_of(loop, struct loop_os, loop);
	struct loop_signal *s = mem_alloc(sizeof(*s));
	sigset_t only;

	s->fn = fn;
	s->ctx = ctx;
	ev_signal_init(&s->watcher, on_signal, signum);
	s->watcher.data = s;
	ev_signal_start(l->ev, &s->watcher);
	list_add_tail(&l->signals, &s->link);
	/* Whoever started us may have held it back (process_hold_signals()). */
	sigemptyset(&only);
	sigaddset(&only, signum);
	pthread_sigmask(SIG_UNBLOCK, &only, NULL);
}

struct ev_loop *
loop_os_ev(struct loop *loop)
{
	check(loop->ops == &loop_os_ops);
	return container_of(loop, struct loop_os, loop)->ev;
}

void
loop_os_add_turn_end(struct loop *loop, struct loop_turn_end *end)
{
	check(loop->ops == &loop_os_ops);
	list_add_tail(&container_of(loop, struct loop_os, loop)->turn_ends, &end->link);
}

void
loop_os_remove_turn_end(struct loop_turn_end *end)
{
	list_remove(&end->link);
}
