/*
 * watchdog_os - a heart in each loop is a timer that counts; a thread looks whether it
 * counted.
 *
 * A loop that hangs may hang in a write to standard error, and then the watchdog's own words would,
 * too: so an alarm is set before the first of them, whose default ends the process by itself. The stack is
 * written by the thread it belongs to, in a signal handler: backtrace() has been called once before,
 * for its first call loads a library, and backtrace_symbols_fd() does not allocate. The handler is told where to
 * answer by the signal's value, because there is no global that it could look at.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/watchdog.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

#include "util/list.h"

#define TICKS       8u
#define FRAMES_MAX  64
#define SAY_S       2
#define ALARM_S     5u

struct heart {
	struct list     link;
	struct loop    *loop;
	struct timer    timer;
	mono_us_t       every_us;
	pthread_t       thread;
	char            name[32];
	atomic_uint     beats;
	unsigned        seen, silent;   /* the watchdog's: beats at its last look, looks without one */
};

struct watchdog {
	struct log          *log;
	const struct notify *notify;
	mono_us_t            tick_us;
	pthread_t            thread;
	pthread_mutex_t      lock;      /* guards what follows */
	pthread_cond_t       wake;
	struct list          hearts;
	bool                 stop;
};

static void
on_stack_asked(int signum, siginfo_t *info, void *unused)
{
	void *frames[FRAMES_MAX];
	int before = errno;

	backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
	if (info->si_code == SI_QUEUE && info->si_pid == getpid() && info->si_value.sival_ptr != NULL)
		sem_post(info->si_value.sival_ptr);
	errno = before;
}

static struct timespec
in_us(mono_us_t us)
{
	struct timespec at;

	check(clock_gettime(CLOCK_MONOTONIC, &at) == 0);
	us += at.tv_nsec / 1000;
	at.tv_sec += us / US_PER_S;
	at.tv_nsec = us % US_PER_S * 1000;
	return at;
}

static void
set_alarm(void)
{
	sigset_t only;

	signal(SIGALRM, SIG_DFL);
	sigemptyset(&only);
	sigaddset(&only, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &only, NULL);
	alarm(ALARM_S);
}

NORETURN static void
end_process(struct watchdog *w, const struct heart *heart)
{
	struct timespec until;
	sem_t said;

	set_alarm();
	check(sem_init(&said, 0, 0) == 0);
	log_error(w->log, "%s hangs: its loop has not turned for %.1f s. The process ends here. Its stack, for addr2line -fpe:",
		  heart->name, (double)(w->tick_us * TICKS) / (double)US_PER_S);
	if (pthread_sigqueue(heart->thread, SIGUSR2, (union sigval){ .sival_ptr = &said }) == 0) {
		until = in_us(SAY_S * US_PER_S);
		while (sem_clockwait(&said, CLOCK_MONOTONIC, &until) != 0 && errno == EINTR)
			;
	}
	abort();
}

static void
look(struct watchdog *w)
{
	list_each_safe(pos, &w->hearts) {
		struct heart *heart = list_entry(pos, struct heart, link);
		unsigned beats = atomic_load_explicit(&heart->beats, memory_order_relaxed);

		heart->silent = beats == heart->seen ? heart->silent + 1 : 0;
		heart->seen = beats;
		if (heart->silent >= TICKS)
			end_process(w, heart);
	}
	if (w->notify->watchdog_us > 0)
		notify_say(w->notify, "WATCHDOG=1");
}

static void *
watch_thread(void *arg)
{
	struct watchdog *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		struct timespec until = in_us(w->tick_us);

		if (pthread_cond_clockwait(&w->wake, &w->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
			look(w);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void
install_handler(void)
{
	struct sigaction action = { .sa_sigaction = on_stack_asked, .sa_flags = SA_SIGINFO | SA_RESTART };
	void *frame;

	backtrace(&frame, 1);
	sigemptyset(&action.sa_mask);
	check(sigaction(SIGUSR2, &action, NULL) == 0);
}

static int
start_thread(struct watchdog *w)
{
	sigset_t all, before;
	int sys;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	sys = pthread_create(&w->thread, NULL, watch_thread, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (sys == 0)
		pthread_setname_np(w->thread, "watchdog");
	return sys;
}

static void
destroy(struct watchdog *w)
{
	check(list_empty(&w->hearts));
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

struct watchdog *
watchdog_os_new(struct log *log, const struct notify *notify, struct err *err)
{
	struct watchdog *w = mem_alloc(sizeof *w);
	mono_us_t limit_us = WATCHDOG_LIMIT_US;

	/* The manager would end us without a stack: be first. */
	if (notify->watchdog_us > 0)
		limit_us = min_i64(limit_us, notify->watchdog_us / 2);
	w->log = log;
	w->notify = notify;
	w->tick_us = max_i64(limit_us / TICKS, US_PER_MS);
	list_init(&w->hearts);
	check(pthread_mutex_init(&w->lock, NULL) == 0);
	check(pthread_cond_init(&w->wake, NULL) == 0);
	install_handler();
	errno = start_thread(w);
	if (errno == 0)
		return w;
	err_sys(err, "cannot start the thread watchdog");
	destroy(w);
	return NULL;
}

void
watchdog_os_free(struct watchdog *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	check(pthread_join(w->thread, NULL) == 0);
	destroy(w);
}

static void
on_beat(void *ctx, struct now now)
{
	struct heart *heart = ctx;

	atomic_fetch_add_explicit(&heart->beats, 1, memory_order_relaxed);
	timer_start(&heart->loop->timers, &heart->timer, now.mono + heart->every_us);
}

void
watchdog_watch(struct watchdog *w, struct loop *loop, const char *name)
{
	struct heart *heart = mem_alloc(sizeof *heart);
	sigset_t only;

	heart->loop = loop;
	heart->thread = pthread_self();
	heart->every_us = w->tick_us;
	snprintf(heart->name, sizeof heart->name, "%s", name);
	atomic_init(&heart->beats, 0);
	timer_init(&heart->timer, on_beat, heart);
	timer_start(&loop->timers, &heart->timer, loop_now(loop).mono + heart->every_us);
	sigemptyset(&only);
	sigaddset(&only, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &only, NULL);
	pthread_mutex_lock(&w->lock);
	list_add_tail(&w->hearts, &heart->link);
	pthread_mutex_unlock(&w->lock);
}

void
watchdog_leave(struct watchdog *w, struct loop *loop)
{
	pthread_mutex_lock(&w->lock);
	list_each_safe(pos, &w->hearts) {
		struct heart *heart = list_entry(pos, struct heart, link);

		if (heart->loop != loop)
			continue;
		list_remove(&heart->link);
		timer_stop(&loop->timers, &heart->timer);
		free(heart);
	}
	pthread_mutex_unlock(&w->lock);
}
