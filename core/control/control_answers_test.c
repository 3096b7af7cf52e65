/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_answers.h"

#include "policy/setting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NOW ((struct now){ .mono = 1000 * US_PER_S, .wall = { 1767225600000 } })       /* 2026-01-01T00:00:00Z */

static void
assert_json(json_t *value, const char *expected)
{
	struct buf out;

	buf_init(&out, 0);
	control_answer_write(value, &out);
	assert_string_equal(buf_text(&out), expected);
	buf_fini(&out);
}

static const struct control_row busy = {
	.queue = "google/mta-1", .site = "google", .vmta = "mta-1",
	.mode = "normal", .gate = "max_smtp_out", .last_error = "421 4.7.0 slow\tdown \xff",
	.queued = 12, .ready = 7, .sessions = 3,
	.oldest = 910 * US_PER_S, .next_attempt = 1008 * US_PER_S + 731400,
	.pace_per_hour = 432,
};

static void
writes_a_row_with_the_keys_of_the_manual(void **state)
{
	assert_json(control_answer_row(&busy, NOW),
		    "{\"queue\":\"google/mta-1\",\"site\":\"google\",\"vmta\":\"mta-1\",\"queued\":12,\"ready\":7,\"sessions\":3,"
		    "\"mode\":\"normal\",\"gate\":\"max_smtp_out\",\"oldest_age\":90,\"next_attempt\":\"2026-01-01T00:00:08.731Z\","
		    "\"last_error\":\"421 4.7.0 slow\\tdown \xef\xbf\xbd\",\"pace\":432}");
}

static void
writes_null_for_what_is_absent(void **state)
{
	struct control_row idle = { .queue = "a/b", .site = "a", .vmta = "b", .mode = "paused",
				    .oldest = MONO_NEVER, .next_attempt = MONO_NEVER };

	assert_json(control_answer_row(&idle, NOW),
		    "{\"queue\":\"a/b\",\"site\":\"a\",\"vmta\":\"b\",\"queued\":0,\"ready\":0,\"sessions\":0,"
		    "\"mode\":\"paused\",\"gate\":null,\"oldest_age\":null,\"next_attempt\":null,\"last_error\":null,\"pace\":0}");
}

static const struct gate_state cap = {
	.gate = GATE_MAX_SMTP_OUT, .open = false, .until = MONO_NEVER, .kind = GATE_LIMIT_COUNT,
	.limit = 20, .in_use = 20, .where = { "policies/x.lua", 14, "provider \"google\"" },
};
static const struct gate_state pace = {
	.gate = GATE_MAX_MSG_RATE, .open = false, .until = 1072 * US_PER_S + 500000, .kind = GATE_LIMIT_RATE,
	.rate = { .count = 50, .window_us = 3600 * US_PER_S }, .where = { "policies/x.lua", 15, "" },
};
static const struct gate_state unpaused = { .gate = GATE_PAUSED, .open = true };

static void
says_why_by_the_binding_gate_and_all_others(void **state)
{
	struct gate_answer gates = { .binding = cap, .n = 3, .all = { unpaused, cap, pace } };
	struct ceiling ceiling = { .bounded = true, .msgs_per_hour = 500, .bound_by = "max_msg_rate" };

	assert_json(control_answer_why(&busy, &gates, json_array(), &ceiling, NOW.mono),
		    "{\"queue\":\"google/mta-1\",\"open\":false,\"gate\":\"max_smtp_out\",\"until\":null,\"limit\":20,\"in_use\":20,"
		    "\"declared_at\":\"policies/x.lua:14\",\"gates\":["
		    "{\"gate\":\"paused\",\"open\":true,\"until\":null,\"limit\":null,\"in_use\":null,\"declared_at\":null},"
		    "{\"gate\":\"max_smtp_out\",\"open\":false,\"until\":null,\"limit\":20,\"in_use\":20,\"declared_at\":\"policies/x.lua:14\"},"
		    "{\"gate\":\"max_msg_rate\",\"open\":false,\"until\":72.5,\"limit\":\"50/h\",\"in_use\":null,\"declared_at\":\"policies/x.lua:15\"}],"
		    "\"overlays\":[],\"queued\":12,\"ready\":7,\"sessions\":3,\"oldest_age\":90,"
		    "\"last_error\":\"421 4.7.0 slow\\tdown \xef\xbf\xbd\",\"ceiling\":{\"msgs_per_hour\":500,\"bound_by\":\"max_msg_rate\"},\"pace\":432,\"empty_in\":100}");
}

static void
gives_each_setting_as_its_kind_is_written(void **state)
{
	static const struct smtp_host hosts[] = { { .name = "mx.example", .port = 2525 }, { .ip = { .family = IP_V4, .bytes = { 192, 0, 2, 1 } } } };
	static const struct smtp_hosts list = { 2, hosts };
	struct queue_settings settings = setting_built_in;
	json_t *all;

	settings.max_msg_rate = (struct rate_spec){ .count = 100, .window_us = 15 * 60 * US_PER_S };
	settings.where[SETTING_max_msg_rate] = (struct where){ "x.lua", 3, "provider \"g\"" };
	settings.retry_after = (struct duration_list){ 2, { 600 * US_PER_S, 1500 * US_PER_MS } };
	settings.bounce_after = DURATION_NEVER;
	settings.smtp_hosts = &list;
	settings.tls_ca = "/etc/ca.pem";
	all = control_answer_settings(&settings, false);
	assert_int_equal(json_object_size(all), SETTINGS_N);
	assert_json(json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O}",
			      "a", json_object_get(all, "max_smtp_out"), "b", json_object_get(all, "max_msg_rate"),
			      "c", json_object_get(all, "max_connect_rate"), "d", json_object_get(all, "retry_after"),
			      "e", json_object_get(all, "retry_recipients_after"), "f", json_object_get(all, "bounce_after"),
			      "g", json_object_get(all, "smtp_hosts"), "h", json_object_get(all, "tls_ca"),
			      "i", json_object_get(all, "retry_jitter"), "j", json_object_get(all, "rollup"),
			      "k", json_object_get(all, "backoff")),
		    "{\"a\":20,\"b\":\"100/15m\",\"c\":\"unlimited\",\"d\":[600,1.5],\"e\":600,\"f\":\"never\","
		    "\"g\":[\"mx.example:2525\",\"[192.0.2.1]\"],\"h\":\"/etc/ca.pem\",\"i\":\"5%\",\"j\":true,\"k\":[]}");
	json_decref(all);
	all = control_answer_settings(&settings, true);
	assert_json(json_incref(json_object_get(all, "max_msg_rate")),
		    "{\"value\":\"100/15m\",\"declared_at\":\"x.lua:3\",\"scope\":\"provider \\\"g\\\"\"}");
	assert_json(json_incref(json_object_get(all, "smtp_port")), "{\"value\":25,\"declared_at\":null,\"scope\":\"built-in\"}");
	json_decref(all);
}

static void
says_a_rate_as_declared_and_the_seconds_until_it_opens(void **state)
{
	struct gate_answer gates = { .binding = pace };
	json_t *why = control_answer_why(&busy, &gates, json_array(), &(struct ceiling){ 0 }, NOW.mono);

	assert_string_equal(json_string_value(json_object_get(why, "limit")), "50/h");
	assert_float_equal(json_number_value(json_object_get(why, "until")), 72.5, 1e-9);
	assert_true(json_is_null(json_object_get(why, "in_use")));
	assert_true(json_is_null(json_object_get(why, "ceiling")));
	json_decref(why);
	gates.binding.until = 3 * US_PER_S;
	why = control_answer_why(&busy, &gates, json_array(), &(struct ceiling){ 0 }, NOW.mono);
	assert_int_equal(json_integer_value(json_object_get(why, "until")), 0);
	json_decref(why);
}

static void
names_no_gate_when_open(void **state)
{
	static const char *const keys[] = { "gate", "until", "limit", "in_use", "declared_at" };
	struct gate_answer gates = { .open = true, .binding = cap };
	json_t *why = control_answer_why(&busy, &gates, json_array(), &(struct ceiling){ 0 }, NOW.mono);

	assert_true(json_is_true(json_object_get(why, "open")));
	for (size_t i = 0; i < countof(keys); i++)
		assert_true(json_is_null(json_object_get(why, keys[i])));
	json_decref(why);
}

static void
an_unlimited_cap_has_no_limit(void **state)
{
	struct gate_state open = cap;
	struct gate_answer gates = { .open = true, .n = 1 };
	json_t *why, *gate;

	open.open = true;
	open.limit = UNLIMITED;
	open.in_use = 7;
	gates.all[0] = open;
	why = control_answer_why(&busy, &gates, json_array(), &(struct ceiling){ 0 }, NOW.mono);
	gate = json_array_get(json_object_get(why, "gates"), 0);
	assert_true(json_is_null(json_object_get(gate, "limit")));
	assert_int_equal(json_integer_value(json_object_get(gate, "in_use")), 7);
	json_decref(why);
}

static void
writes_status_and_what_an_act_touched(void **state)
{
	struct control_status status = {
		.version = "0.1.0", .policy = "p.lua", .generation = 1, .queued = 5, .deferred = 2, .queues = 3,
		.sessions_in = 1, .sessions_out = 4, .received = 10, .delivered = 6, .bounced = 1,
		.uptime_us = 61500000, .spool_bytes = 4096, .spool_messages = 4,
	};
	assert_json(control_answer_status(&status),
		    "{\"generation\":1,\"queued\":5,\"deferred\":2,\"sessions_in\":1,\"sessions_out\":4,\"received\":10,\"delivered\":6,"
		    "\"bounced\":1,\"uptime\":61.5,\"queues\":3,\"spool_messages\":4,\"spool_bytes\":4096,\"refusing\":null,"
		    "\"accounting_trouble\":null,\"accounting_lost\":0,\"version\":\"0.1.0\",\"policy\":\"p.lua\"}");
	assert_json(control_answer_touched(3, 1204), "{\"queues\":3,\"recipients\":1204}");
}

static void
mends_every_wrong_byte_and_keeps_every_right_one(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "grüße ⚠ 😀", "grüße ⚠ 😀" },
		{ "a\x80z", "a\xef\xbf\xbdz" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },                              /* overlong */
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },              /* surrogate */
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "ü\xe2\x82", "ü\xef\xbf\xbd\xef\xbf\xbd" },                            /* cut short */
	};
	for (size_t i = 0; i < countof(cases); i++) {
		json_t *value = control_answer_text(cases[i].in);
		assert_string_equal(json_string_value(value), cases[i].out);
		json_decref(value);
	}
	assert_true(json_is_null(control_answer_text(NULL)));
}

static void
an_answer_is_one_line(void **state)
{
	struct buf out;

	buf_init(&out, 0);
	control_answer_ok(json_integer(7), &out);
	control_answer_error("no such queue: a\nb", &out);
	assert_string_equal(buf_text(&out), "{\"ok\":true,\"result\":7}\n{\"ok\":false,\"error\":\"no such queue: a\\nb\"}\n");
	buf_fini(&out);
}

static void
an_overlay_has_what_it_changes_why_and_until_when(void **state)
{
	struct overlay_target target = { .scope = OVERLAY_SITE };
	struct overlay_change changes[] = {
		{ .to = { .setting = SETTING_max_smtp_out, .count = 18 }, .declared_count = 20 },
		{ .to = { .setting = SETTING_max_msg_rate, .rate = { 1000, 0, 3600 * US_PER_S } } },
		{ .to = { .setting = SETTING_retry_after, .durations = { 2, { 60 * US_PER_S, 3600 * US_PER_S } } } },
	};
	struct overlay overlay = {
		.target = &target, .name = "gentle", .pattern = "421 .*\xff", .reply = "421 no", .where = { "p.lua", 7, "" },
		.since = NOW.mono - 5 * US_PER_S, .until = NOW.mono + 60 * US_PER_S, .ends = NOW.mono + 180 * US_PER_S,
		.recover_step = 1, .recover_every_us = 60 * US_PER_S, .suspend = true, .reroute = "clean",
		.source = { IP_V4, { 192, 0, 2, 1 } }, .changes_n = 3, .changes = changes,
	};
	struct overlay by_hand = {
		.target = &target, .name = "by hand", .since = NOW.mono, .until = MONO_NEVER, .ends = MONO_NEVER, .suspend = true,
	};

	assert_json(control_answer_overlay(&overlay, NOW.mono),
		    "{\"name\":\"gentle\",\"pattern\":\"421 .*\xef\xbf\xbd\",\"reply\":\"421 no\",\"since\":5,\"until\":60,"
		    "\"changes\":{\"max_smtp_out\":18,\"max_msg_rate\":\"1000/h\",\"retry_after\":[60,3600],\"suspend\":true,"
		    "\"reroute\":\"clean\",\"disable_source\":\"192.0.2.1\"},\"declared_at\":\"p.lua:7\",\"scope\":\"site\"}");
	/* Recovering: the rest has ended. */
	assert_json(control_answer_overlay(&overlay, NOW.mono + 130 * US_PER_S),
		    "{\"name\":\"gentle\",\"pattern\":\"421 .*\xef\xbf\xbd\",\"reply\":\"421 no\",\"since\":135,\"until\":50,"
		    "\"changes\":{\"max_smtp_out\":19},\"declared_at\":\"p.lua:7\",\"scope\":\"site\"}");
	assert_json(control_answer_overlay(&by_hand, NOW.mono),
		    "{\"name\":\"by hand\",\"pattern\":null,\"reply\":null,\"since\":0,\"until\":null,"
		    "\"changes\":{\"suspend\":true},\"declared_at\":null,\"scope\":\"site\"}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_overlay_has_what_it_changes_why_and_until_when),
		cmocka_unit_test(writes_a_row_with_the_keys_of_the_manual),
		cmocka_unit_test(writes_null_for_what_is_absent),
		cmocka_unit_test(says_why_by_the_binding_gate_and_all_others),
		cmocka_unit_test(gives_each_setting_as_its_kind_is_written),
		cmocka_unit_test(says_a_rate_as_declared_and_the_seconds_until_it_opens),
		cmocka_unit_test(names_no_gate_when_open),
		cmocka_unit_test(an_unlimited_cap_has_no_limit),
		cmocka_unit_test(writes_status_and_what_an_act_touched),
		cmocka_unit_test(mends_every_wrong_byte_and_keeps_every_right_one),
		cmocka_unit_test(an_answer_is_one_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
