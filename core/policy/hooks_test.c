/* Hooks: what they see, change and decide; and that none of their failures is more than a 451. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

#define BASE "vmta 'mta-1' { source = 'any' } vmta 'mta-2' { source = 'any' } pool 'marketing' { 'mta-1', 'mta-2' }\n"

struct world {
	struct logged logged;
	struct log log;
	struct policy *policy;
	struct policy_session session;
	struct buf headers;
	struct span recipients[2];
	struct policy_message message;
	struct policy_decision decision;
};

static void
set_up(struct world *w, const char *text)
{
	char errors[2000], warnings[2000];
	memset(w, 0, sizeof(*w));
	w->log = fixture_log(&w->logged);
	struct policy_env env = { .log = &w->log, .seed = 1 };
	w->policy = fixture_load(text, &env, errors, warnings, sizeof(errors));
	if (!w->policy)
		fail_msg("%s\n%s", text, errors);
	w->session = (struct policy_session){ "192.0.2.1", "192.0.2.9", "192.0.2.9:25", "client.example", "TLSv1.2", NULL };
	buf_init(&w->headers, 65536);
	buf_add_text(&w->headers, "From: Ann <ann@News.Example>\r\nX-Pool: marketing\r\nReceived: one\r\nReceived: two\r\n three\r\nSubject: hi\r\n");
	w->recipients[0] = SPAN("bob@example.org");
	w->recipients[1] = SPAN("eve@example.net");
	w->message = (struct policy_message){
		.session = &w->session, .id = 18446744073709551615u, .sender = SPAN("ann@news.example"), .recipients = w->recipients,
		.recipients_n = 2, .size_bytes = 1000, .headers = &w->headers, .priority = 50, .envid = "e1",
	};
}

static void
tear_down(struct world *w)
{
	policy_free(w->policy);
	buf_fini(&w->headers);
}

static void
message_hook(struct world *w, const char *body)
{
	char text[4000];
	snprintf(text, sizeof(text), "%son.message(function(msg)\n%s\nend)", BASE, body);
	set_up(w, text);
	policy_on_message(w->policy, &w->message, &w->decision);
}

static void
a_policy_without_hooks_accepts(void **state)
{
	struct world w;
	set_up(&w, BASE);
	for (enum policy_hook hook = 0; hook < HOOKS_N; hook++)
		assert_false(policy_has_hook(w.policy, hook));
	policy_on_message(w.policy, &w.message, &w.decision);
	assert_false(w.decision.refused);
	tear_down(&w);
}

static void
each_hook_is_given_what_it_is_about(void **state)
{
	struct world w;
	set_up(&w, "on.connect(function(s) return reject('421 ' .. s.address .. s.local_address .. s.listener .. tostring(s.auth)) end)\n"
		   "on.mail(function(s, sender) return reject('550 5.1.8 ' .. s.helo .. ' ' .. sender .. s.tls) end)\n"
		   "on.rcpt(function(s, rcpt) if rcpt == 'bad@x.example' then return reject '550 5.1.1 nobody here' end end)\n");
	policy_on_connect(w.policy, &w.session, &w.decision);
	assert_true(w.decision.refused);
	assert_int_equal(w.decision.code, 421);
	assert_string_equal(w.decision.text, "192.0.2.1192.0.2.9192.0.2.9:25nil");
	policy_on_mail(w.policy, &w.session, SPAN(""), &w.decision);
	assert_string_equal(w.decision.text, "5.1.8 client.example TLSv1.2");
	policy_on_rcpt(w.policy, &w.session, SPAN("bad@x.example"), &w.decision);
	assert_true(w.decision.refused && w.decision.code == 550);
	policy_on_rcpt(w.policy, &w.session, SPAN("good@x.example"), &w.decision);
	assert_false(w.decision.refused);
	assert_string_equal(w.logged.text, "");
	tear_down(&w);
}

static void
a_message_shows_its_fields(void **state)
{
	static const struct { const char *expression, *value; } cases[] = {
		{ "msg.sender", "ann@news.example" }, { "msg.recipients[2]", "eve@example.net" }, { "#msg.recipients", "2" },
		{ "msg.size", "1000" }, { "msg.auth", "nil" }, { "msg.source", "192.0.2.1" }, { "msg.tls", "TLSv1.2" },
		{ "msg.helo", "client.example" }, { "msg.from_domain", "news.example" }, { "msg.id", "18446744073709551615" },
		{ "msg.pool", "nil" }, { "msg.vmta", "nil" }, { "msg.job", "nil" }, { "msg.priority", "50" }, { "msg.envid", "e1" },
		{ "msg.session.address", "192.0.2.1" }, { "msg:header 'x-pool'", "marketing" }, { "msg:header 'None'", "nil" },
		{ "msg:header 'Received'", "one" }, { "#msg:headers 'received'", "2" }, { "msg:headers('Received')[2]", "two three" },
		{ "#msg:headers 'None'", "0" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct world w;
		char body[200];
		snprintf(body, sizeof(body), "return reject('550 ' .. tostring((%s)))", cases[i].expression);
		message_hook(&w, body);
		if (!w.decision.refused || strcmp(w.decision.text, cases[i].value) != 0)
			fail_msg("%s: %s %s", cases[i].expression, w.decision.text, w.logged.text);
		tear_down(&w);
	}
}

static void
a_message_takes_choices(void **state)
{
	struct world w;
	message_hook(&w, "msg.vmta = 'mta-2' msg.pool = msg:header 'X-Pool' or 'none' msg.job = 'news-7' msg.priority = 100 msg.envid = nil");
	assert_false(w.decision.refused);
	assert_string_equal(w.message.pool, "marketing");
	assert_string_equal(w.message.vmta, "");
	assert_string_equal(w.message.job, "news-7");
	assert_string_equal(w.message.envid, "");
	assert_int_equal(w.message.priority, 100);
	tear_down(&w);
	message_hook(&w, "msg.pool = 'marketing' msg.vmta = 'mta-2' msg.pool = nil");
	assert_string_equal(w.message.vmta, "mta-2");
	assert_string_equal(w.message.pool, "");
	tear_down(&w);
}

static void
headers_are_added_removed_and_replaced(void **state)
{
	struct world w;
	message_hook(&w, "msg:add_header('X-New', 'n') assert(msg:remove_header 'X-Pool' == 1) assert(msg:remove_header 'X-Pool' == 0)\n"
			 "msg:set_header('Subject', 'ho') msg:replace_header('Received', 'zero')");
	assert_string_equal(w.logged.text, "");
	assert_string_equal(buf_text(&w.headers), "From: Ann <ann@News.Example>\r\nReceived: zero\r\nSubject: ho\r\nX-New: n\r\n");
	tear_down(&w);
}

static void
every_failure_is_a_451_and_a_line_in_the_log(void **state)
{
	static const struct { const char *body, *logged; } cases[] = {
		{ "error 'no'", "policy.lua:3: on.message: no" },
		{ "local x = nil\nreturn x.y", "policy.lua:4: on.message: attempt to index local 'x' (a nil value)" },
		{ "while true do end", "policy.lua:3: on.message: ran over its budget of 1000000 instructions" },
		{ "while true do pcall(error) end", "ran over its budget of 1000000 instructions" },
		{ "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end", "on.message: ran over its budget of" },
		{ "msg.pool = 'marketin'", "policy.lua:3: on.message: msg.pool: \"marketin\" is not declared (marketing?)" },
		{ "msg.vmta = 'mta-9'", "msg.vmta: \"mta-9\" is not declared (mta-1?)" },
		{ "msg.pool = 'mta-1'", "msg.pool: \"mta-1\" is a virtual MTA: write msg.vmta" },
		{ "msg.vmta = 'marketing'", "msg.vmta: \"marketing\" is a pool: write msg.pool" },
		{ "msg.pool = 5", "msg.pool: a number will not do: write a text, or nil" },
		{ "msg.priority = 101", "msg.priority: write a whole number from 0 to 100" },
		{ "msg.priority = -1", "msg.priority: write a whole number from 0 to 100" },
		{ "msg.priority = 1.5", "msg.priority: write a whole number from 0 to 100" },
		{ "msg.job = ('x'):rep(128)", "msg.job: 128 bytes are too long: at most 127" },
		{ "msg.job = 'a\\nb'", "msg.job: has a control character in it" },
		{ "msg.job = 'a\\226\\128\\168b'", "msg.job: has a control character in it" },
		{ "msg.sender = 'x'", "msg.sender: cannot be set" },
		{ "msg.sendr = 'x'", "msg.sendr: no such field (sender?)" },
		{ "return msg.sendr", "msg.sendr: no such field (sender?)" },
		{ "msg.session.helo = 'x'", "session.helo: cannot be set" },
		{ "return msg.session.hello", "session.hello: no such field (helo?)" },
		{ "local m = msg m['sign'](m, {})", "msg:sign is not there yet" },
		{ "msg:add_header('X: y', 'v')", "msg:add_header: " },
		{ "msg:add_header('X', 'a\\r\\nBcc: eve')", "msg:add_header: " },
		{ "msg.header('x')", "bad argument #1 to 'header'" },
		{ "return reject '250 fine'", "reject: write a code from 400 to 599" },
		{ "return reject '552'", "reject: write a code from 400 to 599" },
		{ "return reject '552 a\\r\\nb'", "reject: write a code from 400 to 599" },
		{ "return reject(552)", "reject: write a code from 400 to 599" },
		{ "reject '552 5.3.4 too big'", "policy.lua:2: on.message: reject was called and not returned: write return reject" },
		{ "return true", "returned a boolean: return nothing, or reject" },
		{ "return '552 5.3.4 too big'", "returned a string: return nothing, or reject" },
		{ "return msg", "returned a userdata: return nothing, or reject" },
		{ "provider 'x' {}", "provider: a policy declares when it is loaded, not later" },
		{ "require 'x'", "a policy loads its modules when it is loaded, not later" },
		{ "on.message(function() end)", "on.message: a policy declares when it is loaded, not later" },
		{ "count = 1", "count: no such global" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct world w;
		message_hook(&w, cases[i].body);
		assert_true(w.decision.refused);
		assert_int_equal(w.decision.code, 451);
		assert_string_equal(w.decision.text, "4.3.0 policy error, try again later");
		if (!strstr(w.logged.text, cases[i].logged))
			fail_msg("%s: %s", cases[i].body, w.logged.text);
		assert_non_null(strstr(w.logged.text, " error policy.lua:"));
		tear_down(&w);
	}
}

static void
a_traceback_names_the_way_to_the_error(void **state)
{
	struct world w;
	set_up(&w, "local function inner(x)\n return x.y\nend\non.message(function(msg)\n inner(nil)\nend)");
	policy_on_message(w.policy, &w.message, &w.decision);
	assert_non_null(strstr(w.logged.text, "policy.lua:2: on.message: attempt to index local 'x' (a nil value); stack traceback:"));
	assert_non_null(strstr(w.logged.text, "policy.lua:5: in function <policy.lua:4>"));
	assert_int_equal(w.logged.text[w.logged.n - 1], '\n');
	tear_down(&w);
}

static void
a_hook_that_failed_answers_the_next_time(void **state)
{
	struct world w;
	set_up(&w, "local n = 0 on.message(function(msg) n = n + 1 if n == 1 then while true do end end if n == 2 then return ('x'):rep(1e9) end end)");
	for (int i = 1; i <= 3; i++) {
		policy_on_message(w.policy, &w.message, &w.decision);
		assert_int_equal(w.decision.refused, i < 3);
	}
	tear_down(&w);
}

static void
a_handle_kept_beyond_its_call_is_gone(void **state)
{
	struct world w;
	set_up(&w, "local m, s, f\non.message(function(msg) if not m then m, s, f = msg, msg.session, msg.header return end\n"
		   "if msg.job == 'session' then return s.helo elseif msg.job == 'method' then return f(m, 'X') end return m.sender end)");
	policy_on_message(w.policy, &w.message, &w.decision);
	assert_false(w.decision.refused);
	policy_on_message(w.policy, &w.message, &w.decision);
	assert_int_equal(w.decision.code, 451);
	assert_non_null(strstr(w.logged.text, "message is gone"));
	w.logged.n = 0;
	snprintf(w.message.job, sizeof(w.message.job), "session");
	policy_on_message(w.policy, &w.message, &w.decision);
	assert_non_null(strstr(w.logged.text, "session is gone"));
	w.logged.n = 0;
	snprintf(w.message.job, sizeof(w.message.job), "method");
	policy_on_message(w.policy, &w.message, &w.decision);
	assert_non_null(strstr(w.logged.text, "message is gone"));
	tear_down(&w);
}

static void
a_decision_made_at_load_may_be_returned(void **state)
{
	struct world w;
	set_up(&w, "local full = reject '452 4.3.1 full' on.connect(function() return full end)");
	for (int i = 0; i < 2; i++) {
		policy_on_connect(w.policy, &w.session, &w.decision);
		assert_int_equal(w.decision.code, 452);
	}
	assert_string_equal(w.logged.text, "");
	tear_down(&w);
}

static void
what_print_says_goes_to_the_log(void **state)
{
	struct world w;
	message_hook(&w, "print('size', msg.size, nil, true)");
	assert_non_null(strstr(w.logged.text, " info policy: size 1000 nil true\n"));
	tear_down(&w);
}

static void
budgets_are_the_callers(void **state)
{
	struct world w = { 0 };
	char errors[500], warnings[500];
	struct policy_env env = { .instructions_max = 5000, .memory_max = 1 << 20 };
	w.policy = fixture_load("on.connect(function(s) for i = 1, 10000 do end end) on.mail(function() return ('x'):rep(2e6) end) "
				"on.rcpt(function() for i = 1, 1000 do end end)",
				&env, errors, warnings, sizeof(errors));
	policy_on_connect(w.policy, &w.session, &w.decision);
	assert_int_equal(w.decision.code, 451);
	policy_on_mail(w.policy, &w.session, SPAN(""), &w.decision);
	assert_int_equal(w.decision.code, 451);
	policy_on_rcpt(w.policy, &w.session, SPAN(""), &w.decision);
	assert_false(w.decision.refused);
	policy_free(w.policy);
}

static void
many_calls_hold_no_more_memory_than_one(void **state)
{
	struct world w;
	set_up(&w, "on.message(function(msg) local t = {} for i = 1, 100 do t[i] = msg:header 'Subject' .. i end end)");
	for (int i = 0; i < 20000; i++) {
		policy_on_message(w.policy, &w.message, &w.decision);
		assert_false(w.decision.refused);
	}
	tear_down(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_without_hooks_accepts),
		cmocka_unit_test(each_hook_is_given_what_it_is_about),
		cmocka_unit_test(a_message_shows_its_fields),
		cmocka_unit_test(a_message_takes_choices),
		cmocka_unit_test(headers_are_added_removed_and_replaced),
		cmocka_unit_test(every_failure_is_a_451_and_a_line_in_the_log),
		cmocka_unit_test(a_traceback_names_the_way_to_the_error),
		cmocka_unit_test(a_hook_that_failed_answers_the_next_time),
		cmocka_unit_test(a_handle_kept_beyond_its_call_is_gone),
		cmocka_unit_test(a_decision_made_at_load_may_be_returned),
		cmocka_unit_test(what_print_says_goes_to_the_log),
		cmocka_unit_test(budgets_are_the_callers),
		cmocka_unit_test(many_calls_hold_no_more_memory_than_one),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
