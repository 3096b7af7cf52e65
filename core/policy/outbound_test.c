/* Functions of reactions and outbound hooks: what they see, what they may ask of a queue, and that a failure is no opinion. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

/* A queue that writes down what is asked of it. */
struct asked { char text[2000]; };

static void
write_down(struct asked *asked, const char *format, ...)
{
	size_t used = strlen(asked->text);
	va_list args;
	va_start(args, format);
	vsnprintf(asked->text + used, sizeof(asked->text) - used, format, args);
	va_end(args);
}

static void
on_limit(void *ctx, const struct tightening *t, unsigned n, int64_t lasts_us, const struct where *where)
{
	char lasts[32];
	duration_format(lasts_us, lasts);
	write_down(ctx, "limit %s %s:%d (%s)", lasts, where->file, where->line, where->scope);
	for (unsigned i = 0; i < n; i++) {
		write_down(ctx, " %s", setting_name(t[i].setting));
		if (t[i].is_percent)
			write_down(ctx, "=%g%% floor %u", t[i].percent, t[i].floor);
		else
			write_down(ctx, "=%u %u %lld %u", t[i].count, t[i].rate.count, (long long)t[i].duration_us, t[i].durations.n);
	}
	write_down(ctx, "; ");
}

static void
on_suspend(void *ctx, int64_t lasts_us, const struct where *where)
{
	char lasts[32];
	duration_format(lasts_us, lasts);
	write_down(ctx, "suspend %s %s:%d; ", lasts, where->file, where->line);
}

static void
on_defer(void *ctx)
{
	write_down(ctx, "defer; ");
}

static unsigned
on_recent(void *ctx, const char *name, int64_t window_us)
{
	write_down(ctx, "recent %s %llds; ", name, (long long)(window_us / US_PER_S));
	return 11;
}

static unsigned
on_lift(void *ctx, const char *name)
{
	write_down(ctx, "lift %s; ", name ? name : "all");
	return 2;
}

static const struct policy_queue_ops ops = { on_limit, on_suspend, on_defer, on_recent, on_lift };

struct world {
	struct logged logged;
	struct log log;
	struct asked asked;
	struct policy *policy;
	struct smtp_reply smtp;
	struct policy_reply reply;
	struct policy_queue queue;
	struct policy_attempt attempt;
};

static void
set_up(struct world *w, const char *text)
{
	char errors[4000], warnings[4000];
	memset(w, 0, sizeof(*w));
	w->log = fixture_log(&w->logged);
	struct policy_env env = { .log = &w->log, .seed = 1 };
	w->policy = fixture_load(text, &env, errors, warnings, sizeof(errors));
	if (!w->policy)
		fail_msg("%s\n%s", text, errors);
	smtp_reply_make(&w->smtp, 421, "4.7.0", "S3140 too many");
	w->reply = (struct policy_reply){ &w->smtp, SMTP_STAGE_MAIL };
	w->queue = (struct policy_queue){ "g/mta-1", "g", "mta-1", &ops, &w->asked };
	w->attempt = (struct policy_attempt){
		.sender = SPAN("ann@news.example"), .recipient = SPAN("bob@g.example"), .job = SPAN("j1"), .envid = SPAN("e1"), .id = 18446744073709551615u,
		.size_bytes = 1000, .queue = "g/mta-1", .site = "g", .vmta = "mta-1", .pool = "p", .remote_host = "mx.g.example",
		.remote_address = "192.0.2.1", .local_address = "192.0.2.9", .attempts = 3, .reply = &w->smtp,
	};
}

static void
tear_down(struct world *w)
{
	policy_free(w->policy);
}

static const struct reaction *
first_rule(struct world *w)
{
	return reaction_list_at(ruleset_reactions(policy_ruleset(w->policy), NULL, SPAN("x.y"), NULL), 0);
}

/* A rule's function, whose body begins at line 2. */
static void
react(struct world *w, const char *body)
{
	char text[4000];
	snprintf(text, sizeof(text), "domain '*' { backoff = { { 'S3140', name = 'tss', function(reply, queue)\n%s\nend } } }", body);
	set_up(w, text);
	policy_react(w->policy, first_rule(w), &w->reply, &w->queue);
}

static void
a_function_asks_the_queue(void **state)
{
	static const struct { const char *body, *asked; } cases[] = {
		{ "", "" },
		{ "queue:limit { max_smtp_out = 3, lasts = '30m' }", "limit 30m policy.lua:2 (domain \"*\") max_smtp_out=3 0 0 0; " },
		{ "\nqueue:limit {\n lasts = 90, max_msg_rate = '100/h', retry_after = '1m,2m',\n max_smtp_out = '50%', floor = 4 }",
		  "limit 1m30s policy.lua:3 (domain \"*\") max_smtp_out=50% floor 4 max_msg_rate=0 100 0 0 retry_after=0 0 0 2; " },
		{ "queue:limit { retry_after_dns_error = '1m', lasts = 'forever' }", "limit never policy.lua:2 (domain \"*\") retry_after_dns_error=0 0 60000000 0; " },
		{ "queue:suspend '1d'", "suspend 1d policy.lua:2; " },
		{ "queue:suspend 'forever'", "suspend never policy.lua:2; " },
		{ "queue:defer()", "defer; " },
		{ "if queue:recent('tss', '1h') == 11 then queue:defer() end", "recent tss 3600s; defer; " },
		{ "assert(queue:lift() == 2) queue:lift 'gone'", "lift all; lift gone; " },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct world w;
		react(&w, cases[i].body);
		if (strcmp(w.asked.text, cases[i].asked) != 0 || w.logged.n)
			fail_msg("%s: %s %s", cases[i].body, w.asked.text, w.logged.text);
		tear_down(&w);
	}
}

static void
a_function_sees_the_reply_and_the_queue(void **state)
{
	static const struct { const char *expression, *value; } cases[] = {
		{ "reply.code + 0", "421" }, { "type(reply.code)", "number" }, { "reply.enhanced", "4.7.0" }, { "reply.text", "S3140 too many" },
		{ "reply.line", "421 4.7.0 S3140 too many" }, { "reply.stage", "mail" }, { "queue.name", "g/mta-1" }, { "queue.site", "g" },
		{ "queue.vmta", "mta-1" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct world w;
		char body[200], line[200];
		snprintf(body, sizeof(body), "print(%s)", cases[i].expression);
		snprintf(line, sizeof(line), " info policy: %s\n", cases[i].value);
		react(&w, body);
		if (!strstr(w.logged.text, line))
			fail_msg("%s: %s", cases[i].expression, w.logged.text);
		tear_down(&w);
	}
}

static void
every_failure_is_a_line_in_the_log_and_no_opinion(void **state)
{
	static const struct { const char *body, *logged; } cases[] = {
		{ "error 'no'", "policy.lua:2: backoff \"tss\": no; stack traceback:" },
		{ "while true do end", "policy.lua:2: backoff \"tss\": ran over its budget of 1000000 instructions" },
		{ "local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end", "backoff \"tss\": ran over its budget of" },
		{ "return true", "policy.lua:1: backoff \"tss\": returned a boolean: return nothing" },
		{ "return reject '421 x'", "policy.lua:1: backoff \"tss\": reject: there is nothing to refuse here" },
		{ "return reply.txt", "reply.txt: no such field (text?)" },
		{ "reply.code = 5", "reply.code: cannot be set" },
		{ "queue.name = 'x'", "queue.name: cannot be set" },
		{ "queue:limits {}", "queue.limits: no such field (limit?)" },
		{ "return queue[{}]", "queue.?: no such field" },
		{ "queue:limit()", "queue:limit: write { max_smtp_out = 3, lasts = \"30m\" }" },
		{ "queue:limit { 5 }", "queue:limit: write names and values" },
		{ "queue:limit { lasts = '1h' }", "queue:limit: limits nothing: write a cap, a rate or a retry setting, such as max_smtp_out = 3" },
		{ "queue:limit { max_smtp_out = 3 }", "queue:limit: lasts is missing: write lasts = \"30m\" or \"forever\"" },
		{ "queue:limit { max_smtp_uot = 3, lasts = '1h' }", "queue:limit: max_smtp_uot: no such setting (max_smtp_out?)" },
		{ "queue:limit { smtp_port = 3, lasts = '1h' }", "queue:limit: smtp_port: is nothing that can be tightened" },
		{ "queue:limit { max_smtp_out = '101%', lasts = '1h' }", "queue:limit: max_smtp_out: \"101%\" is not a percentage" },
		{ "queue:limit { max_smtp_out = 1, lasts = 'x' }", "queue:limit: lasts: \"x\" is not a duration" },
		{ "queue:suspend()", "queue:suspend: write how long: queue:suspend \"1d\"" },
		{ "queue:suspend 'never'", "queue:suspend: \"never\" will not do: write a duration such as \"1h\", or \"forever\"" },
		{ "queue:recent()", "queue:recent: write queue:recent(\"name\", \"1h\")" },
		{ "queue:recent('ts', '1h')", "queue:recent: \"ts\": no reaction has that name or pattern (tss?)" },
		{ "queue:recent('tss', 'x')", "queue:recent: \"x\" is not a duration" },
		{ "queue:lift(5)", "queue:lift: write queue:lift(\"name\"), or queue:lift() for all" },
		{ "queue.defer()", "bad argument #1 to 'defer'" },
		{ "queue.defer(reply)", "bad argument #1 to 'defer'" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct world w;
		react(&w, cases[i].body);
		if (!strstr(w.logged.text, cases[i].logged) || !strstr(w.logged.text, " error policy.lua:"))
			fail_msg("%s: %s", cases[i].body, w.logged.text);
		assert_string_equal(w.asked.text, "");
		tear_down(&w);
	}
}

static void
handles_end_with_their_call(void **state)
{
	struct world w;
	set_up(&w, "local r, q, a, defer\n"
		   "on.reply(function(reply, queue) if not q then r, q, defer = reply, queue, queue.defer return end\n"
		   " for _, f in ipairs { function() return r.code end, function() return q.name end, function() defer(q) end, function() return a.id end,\n"
		   "  function() q.x = 1 end } do local ok, why = pcall(f) print(ok, (why:gsub('^.*: ', ''))) end end)\n"
		   "on.delivered(function(attempt) a = attempt end)");
	policy_on_delivered(w.policy, &w.attempt);
	policy_on_reply(w.policy, &w.reply, &w.queue);
	policy_on_reply(w.policy, &w.reply, &w.queue);
	static const char *const lines[] = { "false reply is gone\n", "false queue is gone\n", "false attempt is gone\n" };
	for (size_t i = 0; i < countof(lines); i++)
		if (!strstr(w.logged.text, lines[i]))
			fail_msg("%s: %s", lines[i], w.logged.text);
	assert_null(strstr(w.logged.text, "policy: true"));
	assert_string_equal(w.asked.text, "");
	tear_down(&w);
}

static void
attempts_show_their_fields(void **state)
{
	static const struct { const char *expression, *value; } cases[] = {
		{ "sender", "ann@news.example" }, { "recipient", "bob@g.example" }, { "job", "j1" }, { "envid", "e1" }, { "id", "18446744073709551615" },
		{ "size", "1000" }, { "queue", "g/mta-1" }, { "site", "g" }, { "vmta", "mta-1" }, { "pool", "p" }, { "remote_host", "mx.g.example" },
		{ "remote_address", "192.0.2.1" }, { "local_address", "192.0.2.9" }, { "attempts", "3" }, { "reply.line", "421 4.7.0 S3140 too many" },
		{ "reply.stage", "nil" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct world w;
		char text[300], line[200];
		snprintf(text, sizeof(text), "on.delivered(function(attempt) print('d', attempt.%s) end) on.bounced(function(attempt) print('b', attempt.%s) end)",
			 cases[i].expression, cases[i].expression);
		set_up(&w, text);
		assert_true(policy_has_hook(w.policy, HOOK_DELIVERED) && policy_has_hook(w.policy, HOOK_BOUNCED));
		assert_false(policy_has_hook(w.policy, HOOK_REPLY));
		policy_on_delivered(w.policy, &w.attempt);
		snprintf(line, sizeof(line), " info policy: d %s\n", cases[i].value);
		if (!strstr(w.logged.text, line) || strstr(w.logged.text, "policy: b"))
			fail_msg("%s: %s", cases[i].expression, w.logged.text);
		policy_on_bounced(w.policy, &w.attempt);
		snprintf(line, sizeof(line), " info policy: b %s\n", cases[i].value);
		if (!strstr(w.logged.text, line))
			fail_msg("%s: %s", cases[i].expression, w.logged.text);
		tear_down(&w);
	}
}

static void
what_an_attempt_lacks_is_nil(void **state)
{
	struct world w;
	set_up(&w, "on.bounced(function(a) assert(a.sender == '' and a.job == nil and a.envid == nil and a.pool == nil and a.remote_host == nil and a.reply == nil)\n"
		   "a.sender = 'x' end) on.bounced(function(a) return a.sendr end)");
	w.attempt = (struct policy_attempt){ .recipient = SPAN("b@x") };
	policy_on_bounced(w.policy, &w.attempt);
	assert_non_null(strstr(w.logged.text, "policy.lua:2: on.bounced: attempt.sender: cannot be set"));
	assert_non_null(strstr(w.logged.text, "policy.lua:2: on.bounced: attempt.sendr: no such field (sender?)"));
	tear_down(&w);
}

static void
handlers_of_one_hook_run_in_order(void **state)
{
	struct world w;
	set_up(&w, "on.reply(function(r, q) q:defer() end) on.reply(function(r, q) error 'x' end) on.reply(function(r, q) q:lift() end)\n"
		   "on.mail(function(s, m) print 'first' end) on.mail(function(s, m) return reject '451 4.7.1 second' end) on.mail(function() print 'third' end)");
	policy_on_reply(w.policy, &w.reply, &w.queue);
	assert_string_equal(w.asked.text, "defer; lift all; ");
	assert_non_null(strstr(w.logged.text, "policy.lua:1: on.reply: x"));
	struct policy_decision decision;
	struct policy_session session = { .helo = "x" };
	policy_on_mail(w.policy, &session, SPAN("a@b"), &decision);
	assert_true(decision.refused && decision.code == 451);
	assert_non_null(strstr(w.logged.text, "policy: first"));
	assert_null(strstr(w.logged.text, "policy: third"));
	tear_down(&w);
}

static void
periodic_functions_have_their_intervals(void **state)
{
	struct world w;
	set_up(&w, "local n = 0 on.every('5m', function(...) n = n + 1 print('five', n, select('#', ...)) end)\non.every(1, function() error 'x' end)");
	assert_int_equal(policy_every_n(w.policy), 2);
	assert_true(policy_every_us(w.policy, 0) == 300 * US_PER_S && policy_every_us(w.policy, 1) == US_PER_S);
	policy_run_every(w.policy, 0);
	policy_run_every(w.policy, 1);
	policy_run_every(w.policy, 0);
	assert_non_null(strstr(w.logged.text, "policy: five 1 0"));
	assert_non_null(strstr(w.logged.text, "policy: five 2 0"));
	assert_non_null(strstr(w.logged.text, "policy.lua:2: on.every: x"));
	tear_down(&w);
}

static void
without_hooks_nothing_happens(void **state)
{
	struct world w;
	set_up(&w, "domain '*' { backoff = { { 'x', defer = true } } }");
	policy_on_reply(w.policy, &w.reply, &w.queue);
	policy_on_delivered(w.policy, &w.attempt);
	policy_react(w.policy, first_rule(&w), &w.reply, &w.queue);
	assert_int_equal(policy_every_n(w.policy), 0);
	assert_string_equal(w.logged.text, "");
	tear_down(&w);
}

static void
a_place_is_that_of_the_module_that_asked(void **state)
{
	struct world w;
	fixture_write("slow.lua", "return function(reply, queue)\n queue:suspend '1h' end");
	set_up(&w, "domain '*' { backoff = { { 'x', require 'slow' } } }");
	policy_react(w.policy, first_rule(&w), &w.reply, &w.queue);
	assert_string_equal(w.asked.text, "suspend 1h slow.lua:2; ");
	tear_down(&w);
}

static void
many_calls_hold_no_more_memory_than_one(void **state)
{
	struct world w;
	set_up(&w, "on.reply(function(r, q) local t = {} for i = 1, 50 do t[i] = r.line .. i end q:limit { max_smtp_out = #t, lasts = 5 } end)");
	for (int i = 0; i < 20000; i++) {
		w.asked.text[0] = '\0';
		policy_on_reply(w.policy, &w.reply, &w.queue);
	}
	assert_string_equal(w.logged.text, "");
	tear_down(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_function_asks_the_queue),
		cmocka_unit_test(a_function_sees_the_reply_and_the_queue),
		cmocka_unit_test(every_failure_is_a_line_in_the_log_and_no_opinion),
		cmocka_unit_test(handles_end_with_their_call),
		cmocka_unit_test(attempts_show_their_fields),
		cmocka_unit_test(what_an_attempt_lacks_is_nil),
		cmocka_unit_test(handlers_of_one_hook_run_in_order),
		cmocka_unit_test(periodic_functions_have_their_intervals),
		cmocka_unit_test(without_hooks_nothing_happens),
		cmocka_unit_test(a_place_is_that_of_the_module_that_asked),
		cmocka_unit_test(many_calls_hold_no_more_memory_than_one),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
