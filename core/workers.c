/*
 * workers - threads that run a loop each. Signals are the first loop's to hear, so
 * the others block them all.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

struct seat {
	struct loop *loop;
	struct watchdog *watchdog;
	char         name[32];          /* of which the system takes 15 bytes */
	pthread_t    thread;
	bool         runs;
};

static bool
open_seat(struct workers *workers, unsigned i, const struct resolver_os_options *names, struct err *err)
{
	struct loop *loop = workers->loops[i] = loop_os_new(err);

	workers->seats[i].loop = loop;
	workers->nets[i] = loop != NULL ? net_os_new(loop, err) : NULL;
	workers->names[i] = workers->nets[i] != NULL ? resolver_os_new(loop, names, err) : NULL;
	return workers->names[i] != NULL;
}

struct workers *
workers_open(unsigned n, const struct resolver_os_options *names, struct err *err)
{
	struct workers *workers = mem_alloc(sizeof *workers);

	workers->n = n;
	workers->seats = mem_alloc(n * sizeof *workers->seats);
	workers->loops = mem_alloc(n * sizeof(struct loop *));
	workers->nets = mem_alloc(n * sizeof(struct net *));
	workers->names = mem_alloc(n * sizeof(struct resolver_source *));
	for (unsigned i = 0; i < n; i++) {
		if (open_seat(workers, i, names, err))
			continue;
		workers_close(workers);
		return NULL;
	}
	if (n > 1)
		workers->peers = peers_os_new(workers->loops, n);
	return workers;
}

void
workers_close(struct workers *workers)
{
	if (workers == NULL)
		return;
	peers_os_free(workers->peers);
	for (unsigned i = workers->n; i-- > 0;) {
		check(!workers->seats[i].runs);
		if (workers->names[i] != NULL)
			resolver_os_free(workers->names[i]);
		if (workers->nets[i] != NULL)
			net_os_free(workers->nets[i]);
		loop_os_free(workers->loops[i]);
	}
	free(workers->names);
	free(workers->nets);
	free(workers->loops);
	free(workers->seats);
	free(workers);
}

static void *
run(void *arg)
{
	struct seat *seat = arg;

	watchdog_watch(seat->watchdog, seat->loop, seat->name);
	loop_run(seat->loop);
	watchdog_leave(seat->watchdog, seat->loop);
	return NULL;
}

static bool
start_one(struct workers *workers, unsigned i, struct watchdog *watchdog, struct err *err)
{
	struct seat *seat = &workers->seats[i];
	int sys;

	seat->watchdog = watchdog;
	snprintf(seat->name, sizeof seat->name, "shard-%u", i);
	sys = pthread_create(&seat->thread, NULL, run, seat);
	if (sys != 0) {
		errno = sys;
		return err_sys(err, "cannot start worker %u", i);
	}
	pthread_setname_np(seat->thread, seat->name);
	seat->runs = true;
	peers_os_running(workers->peers, i, true);
	return true;
}

bool
workers_start(struct workers *workers, struct watchdog *watchdog, struct err *err)
{
	sigset_t all, before;
	bool ok = true;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 1; i < workers->n && ok; i++)
		ok = start_one(workers, i, watchdog, err);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!ok)
		workers_stop(workers);
	return ok;
}

void
workers_stop(struct workers *workers)
{
	for (unsigned i = 1; i < workers->n; i++)
		if (workers->seats[i].runs)
			loop_stop(workers->loops[i]);
	for (unsigned i = 1; i < workers->n; i++) {
		struct seat *seat = &workers->seats[i];

		if (!seat->runs)
			continue;
		check(pthread_join(seat->thread, NULL) == 0);
		seat->runs = false;
		peers_os_running(workers->peers, i, false);
	}
}

bool
workers_set_servers(struct workers *workers, const struct endpoint *servers, unsigned n, struct err *err)
{
	bool ok = true;

	for (unsigned i = 0; i < workers->n; i++)
		ok = resolver_os_set_servers(workers->names[i], servers, n, err) && ok;
	return ok;
}
