/*
 * What a limiter costs a message: rate_take alone, refused, and with two threads at
 * one limiter; the same of a gauge's take and give.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "limit/gauge.h"
#include "limit/rate.h"
#include "util/bench.h"

#define TAKES 10000000

struct job {
	struct rate            *rate;           /* NULL: the gauge */
	struct gauge           *gauge;
	const struct rate_spec *spec;
	mono_us_t               step;
	uint64_t                taken;
};

static void *
run_rate(void *ctx)
{
	struct job *job = ctx;
	mono_us_t now = 0;

	for (int i = 0; i < TAKES; i++)
		job->taken += rate_take(job->rate, job->spec, 1, now += job->step);
	return NULL;
}

static void *
run_gauge(void *ctx)
{
	struct job *job = ctx;

	for (int i = 0; i < TAKES; i++) {
		if (!gauge_take(job->gauge, 2))
			continue;
		job->taken++;
		gauge_give(job->gauge);
	}
	return NULL;
}

static void
measure(const char *name, void *(*run)(void *ctx), const struct rate_spec *spec, mono_us_t step, unsigned n_threads)
{
	struct rate rate = { 0 };
	struct gauge gauge = { 0 };
	struct job jobs[2];
	pthread_t threads[2];
	double start = bench_cpu_s();
	uint64_t taken = 0;

	for (unsigned i = 0; i < n_threads; i++) {
		jobs[i] = (struct job){ &rate, &gauge, spec, step, 0 };
		check(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0);
	}
	for (unsigned i = 0; i < n_threads; i++) {
		pthread_join(threads[i], NULL);
		taken += jobs[i].taken;
	}
	check(taken > 0);
	bench_tell((bench_cpu_s() - start) * 1e9 / TAKES / n_threads, "ns", "limit.%s", name);
}

int
main(void)
{
	const struct rate_spec spec = { 400, 0, 3600 * US_PER_S };

	measure("rate_take", run_rate, &spec, 10 * US_PER_S, 1);
	measure("rate_take_refused", run_rate, &spec, 1, 1);
	measure("rate_take_2_threads", run_rate, &spec, 5 * US_PER_S, 2);
	measure("gauge_take_give", run_gauge, NULL, 0, 1);
	measure("gauge_take_give_2_threads", run_gauge, NULL, 0, 2);
	return 0;
}
