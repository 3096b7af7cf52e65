/* What is asked reaches the engine as it was meant, or is refused and touches nothing. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_fixture.h"

static void
why_is_the_gates_answer_or_the_nearest_name(void **state)
{
	static const struct { const char *asked, *says; } cases[] = {
		{ "site3/mta-2", "no such queue: site3/mta-2 (nearest: site3/mta-1)" },
		{ "site3", "no such queue: site3 (nearest: site3/mta-1)" },
		{ "quite-another.example/x", "no such queue: quite-another.example/x" },
	};
	struct engine *e = engine_new();
	struct client c;
	json_t *why;

	add_queues(e, "site%u/mta-1", 9);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"site4/mta-1\"]}\n");
	why = take_result(&c);
	assert_string_equal(json_string_value(json_object_get(why, "queue")), "site4/mta-1");
	assert_string_equal(json_string_value(json_object_get(why, "gate")), "max_smtp_out");
	assert_int_equal(json_array_size(json_object_get(why, "gates")), 4);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(why, "warmup"), "left")), 130);
	json_decref(why);
	for (size_t i = 0; i < countof(cases); i++) {
		char line[200];
		snprintf(line, sizeof(line), "{\"command\":\"why\",\"arguments\":[\"%s\"]}\n", cases[i].asked);
		say(&c, line);
		assert_error(&c, cases[i].says);
	}
	leave(e, &c);
}

static void
acts_reach_the_engine_as_asked(void **state)
{
	static const struct { const char *request, *did; } cases[] = {
		{ "{\"command\":\"pause\",\"arguments\":[\"new/*\"]}\n", "pause new/* -" },
		{ "{\"command\":\"pause\",\"arguments\":[\"none/mta-1\"]}\n", "pause none/mta-1 -" },
		{ "{\"command\":\"pause\",\"arguments\":[\"*\"],\"options\":{\"job\":\"n\"}}\n", "pause * n" },
		{ "{\"command\":\"suspend\",\"arguments\":[\"*\",\"2h\"]}\n", "suspend 2h * -" },
		{ "{\"command\":\"lift\",\"arguments\":[\"*\"]}\n", "lift * -" },
		{ "{\"command\":\"lift\",\"arguments\":[\"*\",\"421 RP-001\"]}\n", "lift * 421 RP-001" },
		{ "{\"command\":\"resume\",\"arguments\":[\"site1/*\"]}\n", "resume site1/* -" },
		{ "{\"command\":\"retry\",\"arguments\":[\"site1/mta-1\"]}\n", "retry site1/mta-1 -" },
		{ "{\"command\":\"retry\",\"arguments\":[\"*\"],\"options\":{\"recipients\":true,\"job\":\"n\"}}\n", "retry recipients * n" },
		{ "{\"command\":\"bounce\",\"arguments\":[\"*\"],\"options\":{\"job\":\"n17\"}}\n", "bounce * n17" },
		{ "{\"command\":\"drop\",\"arguments\":[\"none/*\"]}\n", "drop none/* -" },
	};
	struct engine *e = engine_new();
	struct client c;

	add_queues(e, "site%u/mta-1", 3);
	join(e, &c);
	for (size_t i = 0; i < countof(cases); i++) {
		json_t *touched;
		say(&c, cases[i].request);
		touched = take_result(&c);
		assert_int_equal(json_integer_value(json_object_get(touched, "queues")), 2);
		assert_int_equal(json_integer_value(json_object_get(touched, "recipients")), 7);
		assert_string_equal(e->did, cases[i].did);
		json_decref(touched);
	}
	leave(e, &c);
}

static void
what_a_command_does_not_know_is_refused_and_touches_nothing(void **state)
{
	static const struct { const char *request, *says; } cases[] = {
		{ "{\"command\":\"frob\"}\n", "no such command: frob" },
		{ "{\"command\":\"drop\"}\n", "drop takes one argument" },
		{ "{\"command\":\"drop\",\"arguments\":[\"a\",\"b\"]}\n", "drop takes one argument" },
		{ "{\"command\":\"status\",\"arguments\":[\"a\"]}\n", "status takes no arguments" },
		{ "{\"command\":\"queues\",\"arguments\":[\"a\",\"b\"]}\n", "queues takes at most one" },
		{ "{\"command\":\"drop\",\"arguments\":[\"*\"],\"options\":{\"jobb\":\"n\"}}\n", "no such option: jobb" },
		{ "{\"command\":\"drop\",\"arguments\":[\"*\"],\"options\":{\"job\":\"\"}}\n", "job must name a job" },
		{ "{\"command\":\"drop\",\"arguments\":[\"*\"],\"options\":{\"job\":true}}\n", "job must name a job" },
		{ "{\"command\":\"suspend\",\"arguments\":[\"*\",\"soon\"]}\n", "suspend: how long: " },
		{ "{\"command\":\"queues\",\"options\":{\"limit\":\"5x\"}}\n", "limit must be a number" },
		{ "{\"command\":\"queues\",\"options\":{\"limit\":\"-1\"}}\n", "limit must be a number" },
		{ "{\"command\":\"drop\",\"arguments\":[\"site1/mta-2\"]}\n", "nearest: site1/mta-1" },
		{ "{\"command\":\"bounce\",\"arguments\":[\"site1/mta-2\"]}\n", "nearest: site1/mta-1" },
		{ "{\"command\":\"retry\",\"arguments\":[\"site1/mta-2\"]}\n", "nearest: site1/mta-1" },
	};
	struct engine *e = engine_new();
	struct client c;

	add_queues(e, "site%u/mta-1", 3);
	join(e, &c);
	for (size_t i = 0; i < countof(cases); i++) {
		say(&c, cases[i].request);
		assert_error(&c, cases[i].says);
		assert_string_equal(e->did, "");
		assert_false(c.closed);
	}
	leave(e, &c);
}

static void
a_name_too_long_for_a_queue_is_refused(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	struct buf line;

	buf_init(&line, 0);
	buf_printf(&line, "{\"command\":\"pause\",\"arguments\":[\"%0500d\"]}\n", 0);
	join(e, &c);
	say(&c, buf_text(&line));
	assert_error(&c, "over 400 bytes");
	assert_string_equal(e->did, "");
	engine_free(e);
	buf_fini(&line);
	buf_fini(&c.told);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(why_is_the_gates_answer_or_the_nearest_name),
		cmocka_unit_test(acts_reach_the_engine_as_asked),
		cmocka_unit_test(what_a_command_does_not_know_is_refused_and_touches_nothing),
		cmocka_unit_test(a_name_too_long_for_a_queue_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
