/* Which settings are said to have had a say, and when: by a real policy's rows of coverage. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#include "policy/coverage.h"

#define POLICY \
	"node { max_smtp_out = 100 }\n" \
	"vmta \"v1\" { source = \"any\",\n" \
	"  max_msg_rate = \"100/s\" }\n" \
	"domain \"*\" { max_smtp_out = 1,\n" \
	"  max_connect_rate = \"10/s\",\n" \
	"  total_max_smtp_out = 9,\n" \
	"  paused = false,\n" \
	"  max_msg_per_connection = 2,\n" \
	"  max_rcpt_per_message = 3,\n" \
	"  retry_after = \"1m\",\n" \
	"  retry_recipients_after = \"2m\",\n" \
	"  retry_jitter = \"1%\",\n" \
	"  bounce_after = \"1h\",\n" \
	"  max_attempts = 3 }\n"

static void
on_used(void *ctx, const struct where *where, const char *name)
{
	coverage_setting(ctx, where, name);
}

static struct coverage *
cover(struct world *w)
{
	struct coverage *coverage = coverage_new();

	coverage_declare(coverage, w->policy);
	w->queues->o.on_used = on_used;
	w->queues->o.used_ctx = coverage;
	return coverage;
}

static void
add_name(void *ctx, const struct coverage_row *row)
{
	char *out = ctx;

	if (row->state == COVERAGE_EXERCISED)
		snprintf(out + strlen(out), 1000 - strlen(out), "%d %s\n", row->line, row->name);
}

static void
assert_used(struct coverage *coverage, const char *expected)
{
	char names[1000] = "";

	coverage_each(coverage, add_name, names);
	assert_string_equal(names, expected);
}

#define ASKED "1 max_smtp_out\n3 max_msg_rate\n4 max_smtp_out\n5 max_connect_rate\n6 total_max_smtp_out\n7 paused\n"

static void
caps_and_rates_have_a_say_once_the_gate_is_asked(void **state)
{
	struct world *w = world_new(POLICY);
	struct coverage *coverage = cover(w);

	assert_used(coverage, "");
	put(w, "a.example", .n = 1);
	assert_true(run_until_empty(w, SEC(10)));
	assert_used(coverage, ASKED);
	world_free(w);
	coverage_free(coverage);
}

static void
limits_of_a_session_have_a_say_when_they_are_reached(void **state)
{
	struct world *w = world_new(POLICY);
	struct coverage *coverage = cover(w);

	put(w, "a.example", .n = 2);
	assert_true(run_until_empty(w, SEC(10)));
	assert_used(coverage, ASKED);
	put(w, "a.example", .n = 5);
	assert_true(run_until_empty(w, SEC(10)));
	assert_used(coverage, ASKED "8 max_msg_per_connection\n9 max_rcpt_per_message\n");
	world_free(w);
	coverage_free(coverage);
}

static void
retries_and_the_end_have_a_say_when_they_come(void **state)
{
	struct world *w = world_new(POLICY);
	struct coverage *coverage = cover(w);

	w->play.refuse = 1000;
	put(w, "a.example", .n = 1);
	world_run(w, SEC(10));
	assert_used(coverage, ASKED "10 retry_after\n12 retry_jitter\n");
	world_run(w, HOUR(2));
	assert_used(coverage, ASKED "10 retry_after\n12 retry_jitter\n13 bounce_after\n");
	w->play.refuse = 0;
	w->play.temp = 1000;
	put(w, "b.example", .n = 1);
	world_run(w, SEC(10));
	assert_used(coverage, ASKED "10 retry_after\n11 retry_recipients_after\n12 retry_jitter\n13 bounce_after\n");
	world_run(w, MINS(30));
	assert_used(coverage, ASKED "10 retry_after\n11 retry_recipients_after\n12 retry_jitter\n13 bounce_after\n14 max_attempts\n");
	world_free(w);
	coverage_free(coverage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(caps_and_rates_have_a_say_once_the_gate_is_asked),
		cmocka_unit_test(limits_of_a_session_have_a_say_when_they_are_reached),
		cmocka_unit_test(retries_and_the_end_have_a_say_when_they_come),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
