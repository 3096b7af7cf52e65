/*
 * A day of a big sender, simulated: a million recipients over 20 hours to five
 * providers that each take 12,500 an hour on 20 connections, 80 ms away. All of it
 * is the shipped engine, down to the bytes of SMTP.
 *
 * world_bench N plays the first N recipients of that day: under callgrind two such
 * runs tell the instructions a message costs, without what the start costs.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sim/receiver.h"
#include "sim/world.h"
#include "util/bench.h"

#define RECIPIENTS 1000000u
#define PROVIDERS  5u
#define HOUR_US    (3600 * US_PER_S)

static const char policy[] =
	"listener '127.0.0.1:2525' { relay_from = { '127.0.0.0/8' } }\n"
	"vmta 'mta-1' { source = 'any' }\n"
	"pool 'default' { 'mta-1' }\n"
	"for i = 1, 5 do\n"
	"  provider('p' .. i) { domains = { 'p' .. i .. '.example' }, max_smtp_out = 20, max_msg_rate = '12500/h',\n"
	"    backoff = { { '421 RP-001', lasts = '1h', max_smtp_out = 5 } } }\n"
	"end\n";

static const char *
to_of(void *ctx, uint64_t i)
{
	struct buf *text = ctx;

	buf_clear(text);
	buf_add_char(text, 'u');
	buf_add_u64(text, i);
	buf_add_text(text, "@p");
	buf_add_u64(text, i % PROVIDERS + 1);
	buf_add_text(text, ".example");
	return buf_text(text);
}

static struct world *
open_world(struct err *err)
{
	char path[] = "/tmp/sluice-bench-XXXXXX";
	const struct world_options options = { .policy = path, .seed = 1 };
	struct policy_report report;
	struct world *world = NULL;
	int fd = mkstemp(path);

	policy_report_init(&report);
	if (fd >= 0 && write(fd, policy, sizeof policy - 1) == sizeof policy - 1)
		world = world_new(&options, &report, err);
	if (world == NULL)
		printf("world: %s\n", report.errors_n > 0 ? report.errors[0].text : err->text);
	policy_report_fini(&report);
	close(fd);
	unlink(path);
	return world;
}

static bool
play(struct world *world, uint64_t recipients, struct err *err)
{
	char host[32];
	struct buf to = { 0 };
	const struct world_injection injection = {
		.count = recipients, .to_of = to_of, .ctx = &to, .priority = 50,
		.over_us = (mono_us_t)(20 * HOUR_US * recipients / RECIPIENTS),
	};
	struct world_injected injected;

	for (unsigned i = 1; i <= PROVIDERS; i++) {
		snprintf(host, sizeof host, "p%u.example", i);
		receiver_set_latency(world_receiver(world, host, err), 80 * US_PER_MS);
	}
	bool ok = world_inject(world, &injection, &injected, err) && world_run_until_idle(world, err);
	buf_fini(&to);
	return ok;
}

static uint64_t
delivered(struct world *world, struct err *err)
{
	char host[32];
	uint64_t n = 0;

	for (unsigned i = 1; i <= PROVIDERS; i++) {
		snprintf(host, sizeof host, "p%u.example", i);
		n += receiver_totals(world_receiver(world, host, err))->recipients;
	}
	return n;
}

int
main(int argc, char **argv)
{
	uint64_t recipients = argc > 1 ? strtoull(argv[1], NULL, 10) : RECIPIENTS;
	struct err err = { 0 };
	struct world *world = open_world(&err);
	struct rusage usage;

	if (world == NULL)
		return 1;
	if (!play(world, recipients, &err)) {
		printf("world: %s\n", err.text);
		return 1;
	}
	getrusage(RUSAGE_SELF, &usage);
	check(delivered(world, &err) == recipients);
	bench_tell(bench_cpu_s(), "s", "sim.day_of_a_million");
	bench_tell((double)usage.ru_maxrss / 1024, "MiB", "sim.day_of_a_million_memory");
	world_free(world);
	return 0;
}
