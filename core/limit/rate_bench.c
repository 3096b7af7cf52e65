/*
 * What a limiter costs a message: rate_take alone, refused, and with two threads at
 * one limiter; the same of a gauge's take and give.
 *
 * In short batches, which both threads begin together: on a busy machine two threads that are
 * only started run one behind the other mostly, and tell what a take alone costs. Of all
 * batches the median counts.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>

#include "limit/gauge.h"
#include "limit/rate.h"
#include "util/bench.h"

#define BATCHES 2001
#define TAKES   1000            /* in each */

struct bench {
	struct rate             rate;
	struct gauge            gauge;
	const struct rate_spec *spec;           /* NULL: the gauge */
	mono_us_t               step;
	unsigned                threads_n;
	_Atomic unsigned        arrived;        /* at any batch, all told */
};

struct job {
	struct bench *bench;
	double        ns[BATCHES];              /* a take, in each batch */
	uint64_t      taken;
};

static uint64_t
take(struct bench *bench, mono_us_t *now)
{
	uint64_t taken = 0;

	for (unsigned i = 0; i < TAKES; i++) {
		if (bench->spec != NULL) {
			taken += rate_take(&bench->rate, bench->spec, 1, *now += bench->step);
		} else if (gauge_take(&bench->gauge, 2)) {
			taken++;
			gauge_give(&bench->gauge);
		}
	}
	return taken;
}

static void *
run(void *ctx)
{
	struct job *job = ctx;
	mono_us_t now = 0;

	for (unsigned i = 0; i < BATCHES; i++) {
		double start;

		atomic_fetch_add(&job->bench->arrived, 1);
		while (atomic_load(&job->bench->arrived) < job->bench->threads_n * (i + 1))
			;
		start = bench_clock_s();
		job->taken += take(job->bench, &now);
		job->ns[i] = (bench_clock_s() - start) * 1e9 / TAKES;
	}
	return NULL;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void
measure(const char *name, const struct rate_spec *spec, mono_us_t step, unsigned threads_n)
{
	static struct job jobs[2];
	struct bench bench = { .spec = spec, .step = step, .threads_n = threads_n };
	pthread_t threads[2];
	double median = 0;

	for (unsigned i = 0; i < threads_n; i++) {
		jobs[i] = (struct job){ .bench = &bench };
		check(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0);
	}
	for (unsigned i = 0; i < threads_n; i++) {
		pthread_join(threads[i], NULL);
		check(jobs[i].taken > 0);
		qsort(jobs[i].ns, BATCHES, sizeof jobs[i].ns[0], by_size);
		median += jobs[i].ns[BATCHES / 2] / threads_n;
	}
	bench_tell(median, "ns", "limit.%s", name);
}

int
main(void)
{
	const struct rate_spec hourly = { 400, 0, 3600 * US_PER_S };
	const struct rate_spec fast = { 1000000, 500000, US_PER_S };

	measure("rate_take", &hourly, 10 * US_PER_S, 1);
	measure("rate_take_refused", &hourly, 1, 1);
	measure("rate_take_2_threads", &fast, 4, 2);
	measure("gauge_take_give", NULL, 0, 1);
	measure("gauge_take_give_2_threads", NULL, 0, 2);
	return 0;
}
