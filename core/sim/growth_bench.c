/*
 * Whether a message costs the same however much there is of everything: mail queued,
 * destinations, virtual MTAs, reactions; and what an attempt costs in a storm of 421s.
 * In a world, so that nothing but the engine, and the receivers beside it, takes time; and
 * without the world's ledger, which looks up five texts a message in tables that grow with them.
 * BIG=1 adds a million queued.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "queue/queue_hand.h"
#include "shard.h"
#include "sim/receiver.h"
#include "sim/world.h"
#include "util/bench.h"
#include "util/buf.h"

struct load {
	struct buf   policy;
	struct world *world;
	struct receiver *mx;
	uint64_t     destinations;
	char         to[64];
};

static const char *
to_of(void *ctx, uint64_t i)
{
	struct load *load = ctx;

	snprintf(load->to, sizeof load->to, "u%" PRIu64 "@d%" PRIu64 ".example", i, i % load->destinations);
	return load->to;
}

/* 200 sessions at once whatever there is, or what is measured is how many there may be. */
static void
write_policy(struct load *load, unsigned vmtas_n, unsigned rules_n, const char *settings)
{
	buf_printf(&load->policy,
		   "local members, rules = {}, {}\n"
		   "for i = 1, %u do vmta('v' .. i) { source = 'any' }; members[i] = 'v' .. i end\n"
		   "for i = 1, %u do rules[i] = { '421 RP-' .. i .. ' ', lasts = '1h', max_smtp_out = 5 } end\n"
		   "pool 'default' (members)\n"
		   "node { max_smtp_out = 200 }\n"
		   "domain '*' { smtp_hosts = 'mx.example', retry_jitter = '0%%', retry_recipients_after = '1m', backoff = rules, %s }\n",
		   vmtas_n, rules_n, settings);
}

static void
load_open(struct load *load, uint64_t destinations_n, unsigned vmtas_n, unsigned rules_n, const char *settings)
{
	char path[] = "/tmp/sluice-bench-XXXXXX";
	const struct world_options options = { .policy = path, .seed = 1, .unrecorded = true };
	struct policy_report report;
	struct err err = { 0 };
	int fd = mkstemp(path);

	*load = (struct load){ .destinations = destinations_n };
	buf_init(&load->policy, 0);
	write_policy(load, vmtas_n, rules_n, settings);
	policy_report_init(&report);
	check(fd >= 0 && write(fd, buf_span(&load->policy).p, buf_len(&load->policy)) == (ssize_t)buf_len(&load->policy));
	load->world = world_new(&options, &report, &err);
	if (load->world == NULL)
		fprintf(stderr, "%s\n", report.errors_n > 0 ? report.errors[0].text : err.text);
	check(load->world != NULL);
	policy_report_fini(&report);
	close(fd);
	unlink(path);
	load->mx = world_receiver(load->world, "mx.example", &err);
	check(load->mx != NULL);
	receiver_set_latency(load->mx, 80 * US_PER_MS);
}

static void
load_close(struct load *load)
{
	world_free(load->world);
	buf_fini(&load->policy);
}

static void
hold(struct load *load, bool paused)
{
	unsigned n;
	struct shard *shard = world_shard(load->world);

	queues_pause(shard->queues, SPAN("*"), NULL, paused, &n, loop_now(shard->loop));
}

/* All of it is queued before the first leaves; CPU time of the way out, each. */
static double
us_each_to_deliver(struct load *load, uint64_t n)
{
	const struct world_injection injection = { .count = n, .to_of = to_of, .ctx = load, .priority = 50 };
	struct world_injected injected;
	struct err err = { 0 };
	double start;

	hold(load, true);
	check(world_inject(load->world, &injection, &injected, &err) && injected.accepted == n);
	check(world_run_until(load->world, US_PER_S, &err));
	start = bench_cpu_s();
	hold(load, false);
	check(world_run_until_idle(load->world, &err));
	check(receiver_totals(load->mx)->recipients == n);
	return (bench_cpu_s() - start) * 1e6 / (double)n;
}

/* ---- points of a curve: CPU time a message, with n of something ---- */

static double
queued(uint64_t n)
{
	struct load load;
	double us;

	load_open(&load, 10, 1, 0, "");
	us = us_each_to_deliver(&load, n);
	load_close(&load);
	return us;
}

/* A connection for each message everywhere, or the number of messages on one would change with the destinations. */
static double
destinations(uint64_t n)
{
	struct load load;
	double us;

	load_open(&load, n, 1, 0, "max_msg_per_connection = 1");
	us = us_each_to_deliver(&load, 100000);
	load_close(&load);
	return us;
}

static double
virtual_mtas(uint64_t n)
{
	struct load load;
	double us;

	load_open(&load, 10, (unsigned)n, 0, "max_msg_per_connection = 1");
	us = us_each_to_deliver(&load, 50000);
	load_close(&load);
	return us;
}

static void
refuse(struct load *load, enum answer_stage stage, const char *with, unsigned every)
{
	struct answer_rule rule = { .stage = stage, .every = every };
	struct err err = { 0 };

	check(answer_parse(span_text(with), &rule.fixed));
	check(answers_add(receiver_answers(load->mx), &rule, &err));
}

/* Each second attempt is refused, by a reply that no rule is for. */
static double
reactions(uint64_t n)
{
	struct load load;
	double us;

	load_open(&load, 10, 1, (unsigned)n, "");
	refuse(&load, ANSWER_RCPT, "450 4.2.1 The user you are trying to contact is receiving mail too fast", 2);
	us = us_each_to_deliver(&load, 50000);
	load_close(&load);
	return us;
}

#define CURVE_MAX 4
#define ROUNDS    3

struct curve {
	double    (*us_at)(uint64_t n);
	const char *how, *what;
	uint64_t    at[CURVE_MAX];
	unsigned    n;
};

/* All points in each round, and of each the best: what else the machine does meanwhile bends a curve that is taken point by
 * point. The ratio is of the last to the first: bar 1.3. */
static void
play(const struct curve *curve)
{
	double best[CURVE_MAX] = { 0 };

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < curve->n; i++) {
			double us = curve->us_at(curve->at[i]);

			best[i] = round == 0 || us < best[i] ? us : best[i];
		}
	for (unsigned i = 0; i < curve->n; i++)
		bench_tell(best[i], "us", "growth.message_%s_%" PRIu64 "_%s", curve->how, curve->at[i], curve->what);
	bench_tell(best[curve->n - 1] / best[0], "ratio", "growth.%s_%" PRIu64 "_to_%" PRIu64, curve->what,
		   curve->at[curve->n - 1], curve->at[0]);
}

/* CPU time of an attempt while every receiver answers 421. */
static double
us_an_attempt(enum answer_stage stage)
{
	struct load load;
	const struct world_injection injection = { .count = 10000, .to_of = to_of, .ctx = &load };
	struct world_injected injected;
	struct err err = { 0 };
	double start, us;

	load_open(&load, 10000, 1, 0, "retry_after = '5s'");
	refuse(&load, stage, "421 4.7.0 too busy", 1);
	hold(&load, true);
	check(world_inject(load.world, &injection, &injected, &err) && injected.accepted == injection.count);
	hold(&load, false);
	start = bench_cpu_s();
	check(world_run_until(load.world, 600 * US_PER_S, &err));
	us = (bench_cpu_s() - start) * 1e6 / (double)receiver_totals(load.mx)->connections;
	load_close(&load);
	return us;
}

/* Beside a delivery that opens a connection of its own too, to as many destinations: bar 1.0. */
static void
storm(void)
{
	double attempt = HUGE_VAL, greeted = HUGE_VAL, delivery = HUGE_VAL;

	for (unsigned round = 0; round < ROUNDS; round++) {
		attempt = fmin(attempt, us_an_attempt(ANSWER_MAIL));
		greeted = fmin(greeted, us_an_attempt(ANSWER_CONNECT));
		delivery = fmin(delivery, destinations(10000));
	}
	bench_tell(attempt, "us", "growth.attempt_in_a_storm");
	bench_tell(greeted, "us", "growth.attempt_in_a_storm_of_greetings");
	bench_tell(attempt / delivery, "ratio", "growth.attempt_in_a_storm_to_a_delivery");
	bench_tell(greeted / delivery, "ratio", "growth.attempt_in_a_storm_of_greetings_to_a_delivery");
}

int
main(void)
{
	const char *big = getenv("BIG");
	const struct curve curves[] = {
		{ queued, "of", "queued", { 1000, 100000, 1000000 }, big != NULL && *big ? 3 : 2 },
		{ destinations, "to", "destinations", { 10, 1000, 100000 }, 3 },
		{ virtual_mtas, "by", "vmtas", { 1, 10, 100, 1000 }, 4 },
		{ reactions, "under", "reactions", { 0, 500 }, 2 },
	};

	for (unsigned i = 0; i < countof(curves); i++)
		play(&curves[i]);
	storm();
	return 0;
}
