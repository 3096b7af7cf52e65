/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NOW ((wall_ms_t){ 1767225600000 })     /* 2026-01-01T00:00:00Z */

static json_t *
load(const char *text)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	return value;
}

static void
why_says_it_in_its_first_line(void **state)
{
	static const struct { const char *why, *line; } cases[] = {
		{ "{\"queue\":\"google/mta-1\",\"open\":false,\"gate\":\"max_smtp_out\",\"until\":null,\"limit\":20,\"in_use\":20,\"declared_at\":\"policies/x.lua:14\"}",
		  "google/mta-1 waits: max_smtp_out 20 of 20 in use (policies/x.lua:14)\n" },
		{ "{\"queue\":\"google/mta-1\",\"open\":false,\"gate\":\"vmta.max_smtp_out\",\"until\":null,\"limit\":5,\"in_use\":4,\"declared_at\":\"x.lua:2\"}",
		  "google/mta-1 waits: vmta.max_smtp_out 4 of 5 in use, others are first in line (x.lua:2)\n" },
		{ "{\"queue\":\"a/b\",\"open\":false,\"gate\":\"retry_after\",\"until\":552,\"limit\":null,\"in_use\":null,\"declared_at\":null}",
		  "a/b waits: retry_after, until in 9m12s\n" },
		{ "{\"queue\":\"a/b\",\"open\":false,\"gate\":\"max_msg_rate\",\"until\":71.7,\"limit\":\"50/h\",\"in_use\":null,\"declared_at\":\"x.lua:3\"}",
		  "a/b waits: max_msg_rate 50/h, until in 1m12s (x.lua:3)\n" },
		{ "{\"queue\":\"a/b\",\"open\":false,\"gate\":\"paused\",\"until\":null}", "a/b waits: paused by hand, until `sluice resume`\n" },
		{ "{\"queue\":\"a/b\",\"open\":false,\"gate\":\"paused\",\"declared_at\":\"x.lua:9\"}", "a/b waits: paused (x.lua:9)\n" },
		{ "{\"queue\":\"a/b\",\"open\":false,\"gate\":\"empty\"}", "a/b has nothing to send\n" },
		{ "{\"queue\":\"a/b\",\"open\":true,\"gate\":null}", "a/b is open: nothing holds it\n" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		json_t *why = load(cases[i].why);
		struct buf out;
		buf_init(&out, 0);
		cmd_view_why(why, false, &out);
		assert_int_equal(strncmp(buf_text(&out), cases[i].line, strlen(cases[i].line)), 0);
		buf_fini(&out);
		json_decref(why);
	}
}

static void
why_shows_gates_and_what_waits(void **state)
{
	json_t *why = load("{\"queue\":\"a/b\",\"open\":false,\"gate\":\"retry_after\",\"until\":552,\"gates\":["
			   "{\"gate\":\"paused\",\"open\":true},"
			   "{\"gate\":\"retry_after\",\"open\":false,\"until\":552,\"declared_at\":\"x.lua:20\"},"
			   "{\"gate\":\"max_smtp_out\",\"open\":true,\"limit\":20,\"in_use\":0,\"declared_at\":\"x.lua:14\"}],"
			   "\"queued\":12,\"ready\":7,\"sessions\":0,\"oldest_age\":5400,\"last_error\":\"421 4.7.0\\nno\","
			   "\"ceiling\":{\"msgs_per_hour\":500,\"bound_by\":\"max_connect_rate × max_msg_per_connection\"},"
			   "\"pace\":432.5,\"empty_in\":100,\"warmup\":{\"day\":3,\"per_day\":150,\"used\":20,\"left\":130}}");
	struct buf out;

	buf_init(&out, 0);
	cmd_view_why(why, false, &out);
	assert_string_equal(buf_text(&out),
		"a/b waits: retry_after, until in 9m12s\n"
		"\n"
		"gate          state   opens in  in use  limit  declared at\n"
		"paused        open\n"
		"retry_after   closed     9m12s                 x.lua:20\n"
		"max_smtp_out  open                   0     20  x.lua:14\n"
		"\n"
		"queued      12, 7 ready, 0 sessions, the oldest for 1h30m\n"
		"pace        432.5 recipients an hour lately: empty in 1m40s\n"
		"ceiling     500 messages an hour, by max_connect_rate × max_msg_per_connection\n"
		"warm-up     day 3: 20 of 150 went out, 130 left\n"
		"last error  421 4.7.0\\x0ano\n");
	buf_fini(&out);
	json_decref(why);
}

static void
overlays_are_rows_behind_the_gates(void **state)
{
	json_t *why = load("{\"queue\":\"a/b\",\"open\":true,\"gates\":[],\"queued\":1,\"ready\":0,\"sessions\":0,\"overlays\":["
			   "{\"name\":\"421 RP-001\",\"scope\":\"queue\",\"since\":60,\"until\":3540,\"reply\":\"421 RP-001 no\","
			   "\"declared_at\":\"x.lua:3\",\"changes\":{\"max_smtp_out\":5,\"max_msg_rate\":\"1000/h\",\"suspend\":true}},"
			   "{\"name\":\"by hand\",\"scope\":\"queue\",\"since\":1,\"until\":null,\"reply\":null,\"declared_at\":null,"
			   "\"changes\":{\"retry_recipients_after\":1200,\"retry_after\":[60,3600],\"reroute\":\"b\"}}]}");
	struct buf out;

	buf_init(&out, 0);
	cmd_view_why(why, false, &out);
	assert_non_null(strstr(buf_text(&out),
		"overlay     on     since  ends in  changes                                                   declared at  reply\n"
		"421 RP-001  queue     1m      59m  max_smtp_out 5, max_msg_rate 1000/h, suspend              x.lua:3      421 RP-001 no\n"
		"by hand     queue     1s  forever  retry_recipients_after 20m, retry_after 1m,1h, reroute b\n"
		"\n"
		"queued      1, 0 ready, 0 sessions\n"));
	buf_fini(&out);
	json_decref(why);
}

static void
queues_are_rows(void **state)
{
	json_t *rows = load("[{\"queue\":\"google/mta-1\",\"queued\":1204,\"ready\":900,\"sessions\":20,\"mode\":\"normal\","
			    "\"gate\":\"max_smtp_out\",\"oldest_age\":5400,\"next_attempt\":null,\"last_error\":\"421 slow\"},"
			    "{\"queue\":\"b.example/mta-1\",\"queued\":1,\"ready\":0,\"sessions\":0,\"mode\":\"paused\",\"gate\":\"paused\","
			    "\"oldest_age\":30,\"next_attempt\":\"2026-01-01T00:09:12.000Z\",\"last_error\":null},"
			    "{\"queue\":\"c.example/mta-1\",\"queued\":0,\"mode\":\"normal\",\"gate\":null}]");
	struct buf out;

	buf_init(&out, 0);
	cmd_view_queues(rows, NOW, false, &out);
	assert_string_equal(buf_text(&out),
		"queue            queued  ready  sessions  state         oldest  next in  last error\n"
		"google/mta-1       1204    900        20  max_smtp_out   1h30m           421 slow\n"
		"b.example/mta-1       1      0         0  paused           30s    9m12s\n"
		"c.example/mta-1       0      0         0  open\n");
	buf_fini(&out);
	json_decref(rows);
}

static void
no_queue_is_said_in_words(void **state)
{
	json_t *rows = json_array();
	struct buf out;

	buf_init(&out, 0);
	cmd_view_queues(rows, NOW, false, &out);
	assert_string_equal(buf_text(&out), "no queue holds mail\n");
	buf_fini(&out);
	json_decref(rows);
}

static void
status_shows_why_new_mail_is_refused(void **state)
{
	json_t *status = load("{\"version\":\"0.1.0\",\"policy\":\"p.lua\",\"generation\":1,\"uptime\":11520,\"queued\":1204,\"queues\":1,"
			      "\"deferred\":300,\"sessions_in\":2,\"sessions_out\":40,\"received\":1,\"delivered\":8796,\"bounced\":12,"
			      "\"spool_messages\":1192,\"spool_bytes\":12582912,\"refusing\":\"less than 1G free\"}");
	struct buf out;

	buf_init(&out, 0);
	cmd_view_status(status, false, &out);
	assert_string_equal(buf_text(&out),
		"sluice 0.1.0, up 3h12m, generation 1 of p.lua\n"
		"queued      1204 recipients in 1 queue, 300 of them deferred\n"
		"sessions    2 in, 40 out\n"
		"since start 1 message received; 8796 recipients delivered, 12 bounced\n"
		"spool       1192 messages, 12M\n"
		"new mail is refused: less than 1G free\n");
	buf_fini(&out);
	json_decref(status);
}

static void
status_shows_what_is_wrong_with_accounting_and_only_that(void **state)
{
	static const struct { const char *status, *line; } cases[] = {
		{ "{\"accounting_trouble\":null,\"accounting_lost\":0}", "" },
		{ "{\"accounting_trouble\":null,\"accounting_lost\":1}", "accounting  1 record lost\n" },
		{ "{\"accounting_trouble\":\"no space\",\"accounting_lost\":12}", "accounting  nothing is written: no space; 12 records lost\n" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		json_t *status = load(cases[i].status);
		struct buf out;

		buf_init(&out, 0);
		cmd_view_status(status, false, &out);
		assert_string_equal(strchr(strstr(buf_text(&out), "\nspool ") + 1, '\n') + 1, cases[i].line);
		buf_fini(&out);
		json_decref(status);
	}
}

static void
an_act_that_met_no_queue_says_so(void **state)
{
	json_t *none = load("{\"queues\":0,\"recipients\":0}"), *one = load("{\"queues\":3,\"recipients\":1}");
	struct buf out;

	buf_init(&out, 0);
	cmd_view_touched(&(struct cmd_view_act){ "dropped", "a/*" }, one, false, &out);
	cmd_view_touched(&(struct cmd_view_act){ "paused", "a/b" }, none, false, &out);
	assert_string_equal(buf_text(&out), "dropped 1 recipient in 3 queues\n"
					    "paused 0 recipients in 0 queues: no queue is called a/b now\n");
	buf_fini(&out);
	json_decref(none);
	json_decref(one);
}

static void
an_answer_of_any_shape_is_survived(void **state)
{
	static const char *const shapes[] = {
		"null", "[]", "{}", "7", "[1,null,[]]",
		"{\"queue\":1,\"gates\":{\"a\":1},\"ceiling\":[],\"limit\":true,\"until\":\"x\"}",
		"{\"gates\":[null,{\"gate\":null}],\"ceiling\":{\"msgs_per_hour\":\"x\"}}",
		"[{\"next_attempt\":\"yesterday\",\"queued\":\"x\"}]",
	};
	for (size_t i = 0; i < countof(shapes); i++) {
		json_t *value = load(shapes[i]);
		struct buf out;
		buf_init(&out, 0);
		cmd_view_why(value, true, &out);
		cmd_view_queues(value, NOW, true, &out);
		cmd_view_status(value, true, &out);
		cmd_view_touched(&(struct cmd_view_act){ "dropped", "x" }, value, false, &out);
		assert_true(buf_len(&out) > 0);
		buf_fini(&out);
		json_decref(value);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(why_says_it_in_its_first_line),
		cmocka_unit_test(why_shows_gates_and_what_waits),
		cmocka_unit_test(overlays_are_rows_behind_the_gates),
		cmocka_unit_test(queues_are_rows),
		cmocka_unit_test(no_queue_is_said_in_words),
		cmocka_unit_test(status_shows_why_new_mail_is_refused),
		cmocka_unit_test(status_shows_what_is_wrong_with_accounting_and_only_that),
		cmocka_unit_test(an_act_that_met_no_queue_says_so),
		cmocka_unit_test(an_answer_of_any_shape_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
