/* A world of several shards: the mail is spread over them, and what an operator asks and does reaches all. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_commands.h"
#include "queue/accept.h"
#include "reception/reception.h"
#include "sim/receiver.h"
#include "sim/world_fixture.h"

#define WORKERS 4u
#define DOMAINS 24u

static const char policy[] =
	"node { workers = 4 }\n"
	"vmta 'mta-1' { source = 'any' }\n"
	"pool 'default' { 'mta-1' }\n"
	"domain '*' { retry_jitter = '0%', max_smtp_out = 1, max_msg_rate = '60/h' }\n";

static void
inject(struct world *world, uint64_t count)
{
	struct fixture_spread to = { .domains = DOMAINS };
	const struct world_injection injection = { .count = count, .to_of = fixture_spread_to, .ctx = &to, .priority = 50 };
	struct world_injected injected;
	struct err err = { 0 };

	assert_true(world_inject(world, &injection, &injected, &err));
	assert_int_equal(injected.accepted, count);
	buf_fini(&to.text);
}

static struct world *
open_world(unsigned workers)
{
	const struct world_options options = { .policy = "policy.lua", .text = policy, .seed = 1, .workers = workers };

	return fixture_world(&options);
}

static void
run(struct world *world, mono_us_t us)
{
	struct err err = { 0 };

	assert_true(world_run_until(world, world_now(world) + us, &err));
}

/* The answer to one line of the control protocol. */
static json_t *
command(struct world *world, const char *line)
{
	struct shards *shards = world_shards(world);
	struct control_stream *stream = NULL;
	struct control_request request;
	struct err err = { 0 };
	struct buf out = { 0 };
	json_t *answer;

	assert_true(control_request_parse(span_text(line), &request, &err));
	shards_halt(shards);
	if (!control_command(shards, &request, &out, &stream, &err))
		fail_msg("%s: %s", line, err.text);
	while (stream != NULL && stream->next(stream, 100, loop_now(shards->all[0]->loop), &out))
		;
	control_stream_free(stream);
	shards_resume(shards);
	control_request_fini(&request);
	answer = json_loads(buf_text(&out), 0, NULL);
	assert_non_null(answer);
	buf_fini(&out);
	return answer;
}

static json_int_t
result_of(struct world *world, const char *line, const char *key)
{
	json_t *answer = command(world, line), *value = json_object_get(json_object_get(answer, "result"), key);
	json_int_t n = json_integer_value(value);

	assert_non_null(value);
	json_decref(answer);
	return n;
}

static void
has_as_many_shards_as_its_policy_has_workers(void **state)
{
	struct world *world = open_world(0);

	assert_int_equal(world_shards(world)->n, 4);
	world_free(world);
	world = open_world(7);
	assert_int_equal(world_shards(world)->n, 7);
	world_free(world);
}

static void
connections_and_queues_are_spread_over_its_shards(void **state)
{
	struct world *world = open_world(WORKERS);
	const struct shards *shards = world_shards(world);
	unsigned sessions = 0, queues = 0, rcpts = 0;

	inject(world, 10 * DOMAINS);
	run(world, US_PER_S);
	for (unsigned i = 0; i < shards->n; i++) {
		sessions += reception_sessions(shards->all[i]->reception) > 0;
		queues += shards->queues[i]->rcpts_n > 0;
		rcpts += shards->queues[i]->rcpts_n;
	}
	assert_int_equal(sessions, WORKERS);
	assert_int_equal(queues, WORKERS);
	assert_int_equal(rcpts, 10 * DOMAINS - DOMAINS);        /* one each has left */
	world_free(world);
}

static void
what_an_operator_asks_is_about_all_shards(void **state)
{
	struct world *world = open_world(WORKERS);
	json_t *answer;

	inject(world, 10 * DOMAINS);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "queued"), 10 * DOMAINS);
	for (unsigned i = 1; i <= DOMAINS; i++) {
		char line[100];

		snprintf(line, sizeof line, "{\"command\":\"why\",\"arguments\":[\"u%u@d%u.example\"]}", i, i + 1);
		answer = command(world, line);
		assert_int_equal(json_array_size(json_object_get(answer, "result")), i < DOMAINS);
		json_decref(answer);
	}
	run(world, US_PER_S);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "queued"), 9 * DOMAINS);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "delivered"), DOMAINS);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "received"), 10 * DOMAINS);
	answer = command(world, "{\"command\":\"queues\"}");
	assert_int_equal(json_array_size(json_object_get(answer, "result")), DOMAINS);
	json_decref(answer);
	answer = command(world, "{\"command\":\"queues\",\"options\":{\"limit\":\"5\"}}");
	assert_int_equal(json_array_size(json_object_get(answer, "result")), 5);
	json_decref(answer);
	for (unsigned i = 1; i <= DOMAINS; i++) {
		char line[100];

		snprintf(line, sizeof line, "{\"command\":\"why\",\"arguments\":[\"d%u.example/mta-1\"]}", i);
		assert_int_equal(result_of(world, line, "queued"), 9);
	}
	world_free(world);
}

static void
what_an_operator_does_reaches_all_shards(void **state)
{
	struct world *world = open_world(WORKERS);
	struct err err = { 0 };

	inject(world, 10 * DOMAINS);
	run(world, US_PER_S);
	assert_int_equal(result_of(world, "{\"command\":\"pause\",\"arguments\":[\"*\"]}", "queues"), DOMAINS);
	run(world, 3600 * US_PER_S);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "queued"), 9 * DOMAINS);
	assert_int_equal(result_of(world, "{\"command\":\"drop\",\"arguments\":[\"d1*\"]}", "recipients"), 9 * 11);
	assert_int_equal(result_of(world, "{\"command\":\"resume\",\"arguments\":[\"*\"]}", "recipients"), 9 * (DOMAINS - 11));
	assert_true(world_run_until_idle(world, &err));
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "delivered"), 10 * DOMAINS - 9 * 11);
	world_free(world);
}

/* Each is read from the spool for its line in the accounting, and all stand still for the command. */
static void
a_drop_of_many_is_done_by_turns(void **state)
{
	enum { MANY = 300 };
	struct world *world = open_world(WORKERS);
	struct shards *shards = world_shards(world);
	struct control_stream *stream = NULL;
	struct control_request request;
	struct err err = { 0 };
	struct buf out = { 0 };

	inject(world, MANY * DOMAINS);
	assert_true(control_request_parse(SPAN("{\"command\":\"drop\",\"arguments\":[\"*\"]}"), &request, &err));
	shards_halt(shards);
	assert_true(control_command(shards, &request, &out, &stream, &err));
	for (unsigned i = 1; i <= 5; i++) {
		assert_true(stream->next(stream, 1, loop_now(shards->all[0]->loop), &out));
		assert_int_equal(result_of(world, "{\"command\":\"status\"}", "queued"), MANY * DOMAINS - 200 * i);
	}
	assert_int_equal(buf_len(&out), 0);
	control_stream_free(stream);
	shards_resume(shards);
	control_request_fini(&request);
	/* Who asked is gone. */
	run(world, US_PER_S);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "queued"), 0);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "delivered"), 0);
	world_free(world);
}

/* And what waits under a pause waits after a crash, with however many shards. */
static void
what_an_operator_was_told_outlives_a_crash_into_another_number(void **state)
{
	static const unsigned workers[] = { 1, 16, 3, 4 };
	struct world *world = open_world(WORKERS);
	struct policy_report report;
	struct err err = { 0 };

	inject(world, 10 * DOMAINS);
	run(world, US_PER_S);
	result_of(world, "{\"command\":\"pause\",\"arguments\":[\"*\"]}", "queues");
	for (unsigned i = 0; i < countof(workers); i++) {
		assert_true(world_crash(world, &err));
		policy_report_init(&report);
		assert_true(world_restart(world, workers[i], &report, &err));
		policy_report_fini(&report);
		run(world, 600 * US_PER_S);
		assert_int_equal(world_shards(world)->n, workers[i]);
		assert_int_equal(result_of(world, "{\"command\":\"status\"}", "queued"), 9 * DOMAINS);
	}
	result_of(world, "{\"command\":\"resume\",\"arguments\":[\"*\"]}", "queues");
	assert_true(world_run_until_idle(world, &err));
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "delivered"), 9 * DOMAINS);
	world_free(world);
}

static void
on_done(void *ctx, const struct err *err, const struct envelope *envelope, struct arena *arena)
{
	(void)envelope;
	assert_null(err);
	*(bool *)ctx = true;
}

/* On its way to the disk, where it arrives some time later. */
static void
accept_to_dead(struct shard *shard, bool *done)
{
	struct envelope_rcpt rcpt = { .address = SPAN("u@dead.example"), .domain = SPAN("dead.example") };
	struct envelope envelope = {
		.id = spool_next_id(shard->spool), .received = loop_now(shard->loop).wall, .vmta = SPAN("mta-1"), .rcpts_n = 1,
	};
	struct spool_writer *writer = spool_begin(shard->spool, NULL);
	struct arena arena;

	assert_non_null(writer);
	arena_init(&arena);
	envelope.rcpts = arena_alloc(&arena, sizeof rcpt);
	envelope.rcpts[0] = rcpt;
	accept_message(shard->queues, writer, &arena, &envelope, SPAN(""), on_done, done);
	arena_fini(&arena);
}

/* Delivery has ended before the spool does, and the domain is known to be dead: nobody is there to give it up. */
static void
what_becomes_durable_with_the_nodes_end_is_left_to_the_next(void **state)
{
	static const struct resolver_sim_zone dead = { .status = RESOLVER_NXDOMAIN };
	struct world *world = open_world(1);
	bool done = false;

	world_set_name(world, "dead.example", &dead);
	accept_to_dead(world_shard(world), &done);
	run(world, US_PER_S);
	assert_true(done);
	assert_int_equal(result_of(world, "{\"command\":\"status\"}", "bounced"), 1);
	done = false;
	accept_to_dead(world_shard(world), &done);
	world_free(world);
	assert_true(done);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_as_many_shards_as_its_policy_has_workers),
		cmocka_unit_test(connections_and_queues_are_spread_over_its_shards),
		cmocka_unit_test(what_an_operator_asks_is_about_all_shards),
		cmocka_unit_test(what_an_operator_does_reaches_all_shards),
		cmocka_unit_test(a_drop_of_many_is_done_by_turns),
		cmocka_unit_test(what_an_operator_was_told_outlives_a_crash_into_another_number),
		cmocka_unit_test(what_becomes_durable_with_the_nodes_end_is_left_to_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
