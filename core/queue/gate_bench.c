/*
 * What it costs to ask whether a queue may send, with every limit there is declared
 * and none of them reached: the scheduler's two questions, and the whole report.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "queue/gate.h"
#include "queue/queue_hand.h"
#include "shard.h"
#include "sim/world.h"
#include "util/bench.h"

#define ASKED 2000000

#define LIMITS "max_smtp_out = 20, max_connect_rate = '1000/m', max_msg_rate = '5000/h'"

static const char policy[] =
	"node { max_smtp_out = 1000, max_msg_rate = '1000000/h' }\n"
	"vmta 'v' { source = 'any', " LIMITS " }\n"
	"pool 'default' { 'v', " LIMITS " }\n"
	"provider 'p' { domains = { 'p.example' }, " LIMITS ",\n"
	"  total_max_smtp_out = 40, total_max_connect_rate = '2000/m', total_max_msg_rate = '10000/h' }\n";

static struct world *
open_world(void)
{
	char path[] = "/tmp/sluice-bench-XXXXXX";
	const struct world_options options = { .policy = path, .seed = 1 };
	struct policy_report report;
	struct err err = { 0 };
	struct world *world;
	int fd = mkstemp(path);

	policy_report_init(&report);
	check(fd >= 0 && write(fd, policy, sizeof policy - 1) == sizeof policy - 1);
	world = world_new(&options, &report, &err);
	check(world != NULL);
	policy_report_fini(&report);
	close(fd);
	unlink(path);
	return world;
}

/* It holds a message that does not leave. */
static struct queue *
waiting_queue(struct world *world)
{
	static const char *const to[] = { "u@p.example" };
	const struct world_injection injection = { .count = 1, .to = to, .to_n = 1 };
	struct queues *queues = world_shard(world)->queues;
	struct world_injected injected;
	struct err err = { 0 };
	struct queue *queue;

	queues->stopping = true;
	check(world_inject(world, &injection, &injected, &err) && injected.accepted == 1);
	check(world_run_until(world, US_PER_S, &err));
	queue = queues_find(queues, SPAN("p/v"));
	check(queue != NULL);
	return queue;
}

int
main(void)
{
	struct world *world = open_world();
	const struct queue *queue = waiting_queue(world);
	mono_us_t now = world_now(world) + 3600 * US_PER_S;
	struct gate_answer answer;
	struct gate_wait wait;
	double start = bench_cpu_s();

	for (int i = 0; i < ASKED; i++)
		check(gate_session(queue, now, &wait) <= now);
	bench_tell((bench_cpu_s() - start) * 1e9 / ASKED, "ns", "gate.session");
	start = bench_cpu_s();
	for (int i = 0; i < ASKED; i++)
		check(gate_message(queue, now, &wait) <= now);
	bench_tell((bench_cpu_s() - start) * 1e9 / ASKED, "ns", "gate.message");
	start = bench_cpu_s();
	for (int i = 0; i < ASKED / 10; i++) {
		gate_decide(queue, now, &answer);
		check(answer.open);
	}
	bench_tell((bench_cpu_s() - start) * 1e9 / (ASKED / 10), "ns", "gate.report");
	world_free(world);
	return 0;
}
