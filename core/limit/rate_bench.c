/*
 * What one rate_take costs: alone, refused, and with two threads at one limiter.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "limit/rate.h"

#define TAKES 10000000

struct job {
	struct rate            *rate;
	const struct rate_spec *spec;
	mono_us_t               step;
	uint64_t                taken;
};

static double
seconds_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *
run(void *ctx)
{
	struct job *job = ctx;
	mono_us_t now = 0;
	for (int i = 0; i < TAKES; i++)
		job->taken += rate_take(job->rate, job->spec, 1, now += job->step);
	return NULL;
}

static void
measure(const char *what, const struct rate_spec *spec, mono_us_t step, int n_threads)
{
	struct rate rate = { 0 };
	struct job jobs[2];
	pthread_t threads[2];
	double start = seconds_now();
	for (int i = 0; i < n_threads; i++) {
		jobs[i] = (struct job){ &rate, spec, step, 0 };
		check(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0);
	}
	uint64_t taken = 0;
	for (int i = 0; i < n_threads; i++) {
		pthread_join(threads[i], NULL);
		taken += jobs[i].taken;
	}
	double ns = (seconds_now() - start) * 1e9 / TAKES;
	printf("rate_take %-28s%6.1f ns a take in each thread (%.0f %% taken)\n", what, ns,
	       100.0 * (double)taken / ((double)TAKES * n_threads));
}

int
main(void)
{
	struct rate_spec spec = { 400, 0, 3600 * US_PER_S };
	measure("alone, all taken", &spec, 10 * US_PER_S, 1);
	measure("alone, nearly all refused", &spec, 1, 1);
	measure("two threads, one limiter", &spec, 5 * US_PER_S, 2);
	return 0;
}
