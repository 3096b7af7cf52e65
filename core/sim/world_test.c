/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/session_own.h"
#include "sim/receiver.h"
#include "sim/world_fixture.h"
#include "sim/world_own.h"
#include "spool/spool_inside.h"

#define POLICY \
	"vmta 'mta-1' { source = 'any' }\n" \
	"pool 'default' { 'mta-1' }\n" \
	"provider 'google' { domains = { 'gmail.com' }, max_smtp_out = 2, max_msg_rate = '600/h' }\n" \
	"domain '*' { retry_jitter = '0%' }\n"

static struct world *
open_world(uint64_t seed)
{
	const struct world_options options = { .policy = "policy.lua", .seed = seed };

	fixture_write("policy.lua", POLICY);
	return fixture_world(&options);
}

static uint64_t
inject(struct world *world, const char *to, uint64_t count)
{
	const struct world_injection injection = { .count = count, .to = &to, .to_n = 1, .priority = 50 };
	struct world_injected injected;
	struct err err = { 0 };

	assert_true(world_inject(world, &injection, &injected, &err));
	return injected.accepted;
}

static uint64_t
taken(struct world *world, const char *host)
{
	return receiver_totals(world_receiver(world, host, NULL))->recipients;
}

static void
delivers_and_time_moves_only_when_it_runs(void **state)
{
	struct world *world = open_world(1);
	struct err err = { 0 };

	assert_int_equal(inject(world, "user@example.org", 3), 3);
	assert_int_equal(world_now(world), 0);
	assert_int_equal(taken(world, "example.org"), 0);
	assert_true(world_run_until(world, 10 * US_PER_S, &err));
	assert_int_equal(world_now(world), 10 * US_PER_S);
	assert_int_equal(taken(world, "example.org"), 3);
	assert_int_equal(ledger_n(world_ledger(world)), 6);
	world_free(world);
}

static void
sessions_that_idle_hold_no_memory_of_their_transactions(void **state)
{
	enum { HOSTS = DELIVERY_ARENAS_MAX + 36 };
	struct world *world = open_world(1);
	struct delivery *delivery = world_shard(world)->delivery;
	struct err err = { 0 };
	char to[40];

	for (unsigned i = 0; i < HOSTS; i++) {
		snprintf(to, sizeof to, "user@d%u.example", i);
		receiver_set_latency(world_receiver(world, to + 5, NULL), 100 * US_PER_MS);
		inject(world, to, 1);
	}
	assert_true(world_run_until(world, 2 * US_PER_S, &err));
	assert_int_equal(delivery->sessions_n, HOSTS);
	list_each(node, &delivery->sessions) {
		assert_int_equal(session_of(node)->state, OPEN);
		assert_false(session_of(node)->in_transaction);
		assert_null(session_of(node)->arena.blocks);
	}
	/* All had one at once. */
	assert_int_equal(delivery->spare_arenas_n, DELIVERY_ARENAS_MAX);
	inject(world, "user@d7.example", 1);
	assert_true(world_run_until(world, 4 * US_PER_S, &err));
	assert_int_equal(taken(world, "d7.example"), 2);
	assert_int_equal(delivery->spare_arenas_n, DELIVERY_ARENAS_MAX);
	world_free(world);
}

static void
a_policy_that_does_not_load_is_reported(void **state)
{
	const struct world_options options = { .policy = "policy.lua", .seed = 1 };
	struct policy_report report;
	struct err err = { 0 };

	fixture_write("policy.lua", "vmta 'a' { source = 'any', max_smtp_uot = 1 }\n");
	policy_report_init(&report);
	assert_null(world_new(&options, &report, &err));
	assert_int_equal(report.errors_n, 1);
	assert_int_equal(report.errors[0].line, 1);
	policy_report_fini(&report);
}

static uint64_t
play(uint64_t seed)
{
	struct world *world = open_world(seed);
	struct policy_report report;
	struct err err = { 0 };
	uint64_t digest;

	receiver_greylist(world_receiver(world, "example.org", NULL), 60 * US_PER_S);
	inject(world, "user@example.org", 20);
	inject(world, "user@gmail.com", 20);
	assert_true(world_run_until(world, 90 * US_PER_S, &err));
	assert_true(world_crash(world, &err));
	assert_true(world_run_until(world, 100 * US_PER_S, &err));
	policy_report_init(&report);
	assert_true(world_restart(world, 0, &report, &err));
	policy_report_fini(&report);
	assert_true(world_run_until_idle(world, &err));
	assert_true(taken(world, "example.org") >= 20);
	assert_true(taken(world, "gmail.com") >= 20);
	digest = world_digest(world);
	world_free(world);
	return digest;
}

static void
the_same_seed_gives_the_same_bytes(void **state)
{
	assert_true(play(1) == play(1));
	assert_true(play(2) != play(1));
}

static void
a_restart_goes_on_where_it_was(void **state)
{
	struct world *world = open_world(1);
	struct policy_report report;
	struct err err = { 0 };

	inject(world, "user@gmail.com", 10);
	assert_true(world_run_until(world, 13 * US_PER_S, &err));
	assert_int_equal(taken(world, "gmail.com"), 3);
	policy_report_init(&report);
	assert_true(world_restart(world, 0, &report, &err));
	policy_report_fini(&report);
	assert_true(world_run_until_idle(world, &err));
	assert_int_equal(taken(world, "gmail.com"), 10);
	world_free(world);
}

static void
add_line(void *ctx, const char *text)
{
	struct buf *all = ctx;

	buf_add_text(all, text);
	buf_add_char(all, '\n');
}

static void
reports_what_waits_and_what_happened_last(void **state)
{
	struct world *world = open_world(1);
	struct buf text;
	struct err err = { 0 };

	receiver_down(world_receiver(world, "example.org", NULL), RECEIVER_REFUSES);
	inject(world, "user@example.org", 2);
	assert_true(world_run_until(world, 60 * US_PER_S, &err));
	buf_init(&text, 0);
	world_report(world, add_line, &text);
	assert_non_null(strstr(buf_text(&text), "with seed 1, 60.000 s after it began"));
	assert_non_null(strstr(buf_text(&text), "example.org/mta-1: 2 queued, 0 sessions; closed by retry_after for "));
	assert_non_null(strstr(buf_text(&text), "400 connection refused"));
	buf_fini(&text);
	world_free(world);
}

static void
a_question_about_a_queue_that_cannot_be_names_the_nearest(void **state)
{
	struct world *world = open_world(1);
	struct err err = { 0 };
	json_t *why = world_why(world, "google/mta-1", &err);

	assert_string_equal(json_string_value(json_object_get(why, "gate")), "empty");
	json_decref(why);
	assert_null(world_why(world, "googel/mta-1", &err));
	assert_non_null(strstr(err.text, "nearest: google/mta-1"));
	assert_null(world_effective(world, "google/mta-2", &err));
	assert_non_null(strstr(err.text, "no such virtual MTA"));
	world_free(world);
}

static bool
at_once(void *ctx)
{
	++*(unsigned *)ctx;
	return true;
}

static void
stops_when_its_time_is_up(void **state)
{
	unsigned asked = 0;
	const struct world_options options = { .policy = "policy.lua", .seed = 1, .expired = at_once, .ctx = &asked };
	struct policy_report report;
	struct err err = { 0 };
	struct world *world;

	fixture_write("policy.lua", POLICY);
	policy_report_init(&report);
	world = world_new(&options, &report, &err);
	policy_report_fini(&report);
	assert_non_null(world);
	assert_false(world_run_until(world, 86400 * US_PER_S, &err));
	assert_int_equal(asked, 1);
	assert_non_null(strstr(err.text, "time"));
	world_free(world);
}

static void
count_line(void *ctx, const char *line, size_t n)
{
	unsigned *counts = ctx;
	struct span text = span_make(line, n);

	counts[0] += span_find_text(text, SPAN(" stays in its queue: ")) != SIZE_MAX;
	counts[1] += span_find_text(text, SPAN(" times more within a minute ")) != SIZE_MAX;
}

static wall_ms_t
no_wall(void *ctx)
{
	return (wall_ms_t){ 0 };
}

static void
spoil_mail(void *ctx, const char *name)
{
	struct world *world = ctx;

	if (span_ends_nocase(span_text(name), SPAN(".seg")))
		disk_sim_spoil(world->disk, name, 4096);
}

/* Nine or so stand in a sector, each of them tried once a minute. */
static void
messages_on_a_bad_sector_fill_no_log(void **state)
{
	struct world *world = open_world(1);
	unsigned counts[2] = { 0 };
	struct log log = { .wall = no_wall, .sink = count_line, .sink_ctx = counts };
	struct disk *disk = &world->disk->disk;
	struct policy_report report;
	struct err err = { 0 };

	policy_report_init(&report);
	receiver_down(world_receiver(world, "example.org", NULL), RECEIVER_REFUSES);
	inject(world, "user@example.org", 30);
	assert_true(world_run_until(world, 10 * US_PER_S, &err));
	assert_true(world_restart(world, 0, &report, &err));
	assert_true(disk->ops->list(disk, spoil_mail, world, NULL));
	receiver_up(world_receiver(world, "example.org", NULL));
	world_shard(world)->log = &log;
	assert_true(world_run_until(world, 3600 * US_PER_S, &err));
	assert_true(taken(world, "example.org") > 15 && taken(world, "example.org") < 28);
	assert_in_range(counts[0], 60, 3 * 61);
	assert_in_range(counts[1], 30, 61);
	policy_report_fini(&report);
	world_free(world);
}

/* A disk that takes its time: what it is given it is given again so much later. */
struct slow {
	struct worker worker;
	struct world *world;
	struct timer  later;
	struct worker_job *first, **end;
};

static void
slow_run(struct worker *worker, struct worker_job *job)
{
	struct slow *slow = container_of(worker, struct slow, worker);

	*slow->end = job;
	slow->end = &job->next;
	job->next = NULL;
	if (!timer_started(&slow->later))
		timer_start(&slow->world->loop->timers, &slow->later, loop_now(slow->world->loop).mono + 20 * US_PER_S);
}

static void
on_later(void *ctx, struct now now)
{
	struct slow *slow = ctx;
	struct worker_job *job = slow->first;

	(void)now;
	slow->first = job->next;
	if (slow->first == NULL)
		slow->end = &slow->first;
	else
		timer_start(&slow->world->loop->timers, &slow->later, loop_now(slow->world->loop).mono + 20 * US_PER_S);
	worker_run(slow->world->worker, job);
}

/* However long the disk takes, that is no fault of who sends. */
static void
the_time_for_a_body_rests_while_it_waits_for_the_disk(void **state)
{
	const char *to = "user@example.org";
	const struct world_options options = { .policy = "policy.lua", .seed = 1 };
	const struct world_injection injection = { .count = 1, .to = &to, .to_n = 1, .priority = 50, .size_bytes = 6 << 20 };
	struct world_injected injected;
	struct err err = { 0 };
	struct world *world;
	struct slow slow;

	fixture_write("policy.lua", POLICY "listener '127.0.0.1:2525' { relay_from = '127.0.0.1', data_timeout = '5s' }\n");
	world = fixture_world(&options);
	slow = (struct slow){ .worker = { slow_run }, .world = world, .end = &slow.first };
	timer_init(&slow.later, on_later, &slow);
	assert_true(world_run_until(world, US_PER_S, &err));
	world_shard(world)->spool->core->worker = &slow.worker;
	world_inject(world, &injection, &injected, &err);
	assert_true(world_run_until(world, 600 * US_PER_S, &err));
	assert_int_equal(taken(world, "example.org"), 1);
	timer_stop(&world->loop->timers, &slow.later);
	world_free(world);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivers_and_time_moves_only_when_it_runs),
		cmocka_unit_test(sessions_that_idle_hold_no_memory_of_their_transactions),
		cmocka_unit_test(a_policy_that_does_not_load_is_reported),
		cmocka_unit_test(the_same_seed_gives_the_same_bytes),
		cmocka_unit_test(a_restart_goes_on_where_it_was),
		cmocka_unit_test(reports_what_waits_and_what_happened_last),
		cmocka_unit_test(a_question_about_a_queue_that_cannot_be_names_the_nearest),
		cmocka_unit_test(stops_when_its_time_is_up),
		cmocka_unit_test(messages_on_a_bad_sector_fill_no_log),
		cmocka_unit_test(the_time_for_a_body_rests_while_it_waits_for_the_disk),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
