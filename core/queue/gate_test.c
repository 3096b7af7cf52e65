/* Which gate is named, until when, and where it was declared. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

/* The limit in question stands on line 3. */
#define V1 "vmta \"v1\" { source = \"any\" }\nvmta \"v2\" { source = \"any\" }\n"
#define ANY(settings) V1 "domain \"*\" { " settings ", retry_jitter = \"0%\" }\n"
#define VMTA(settings) "\n\nvmta \"v1\" { source = \"any\", " settings " }\nvmta \"v2\" { source = \"any\" }\n"
#define POOL(settings) V1 "pool \"p\" { \"v1\", \"v2\", " settings " }\n"
#define NODE(settings) "\n\nnode { " settings " }\n" V1
#define ONE_EACH "domain \"*\" { max_msg_per_connection = 1 }\n"

enum { OPEN = -1, NEVER = -2 };

struct row {
	const char *says;
	const char *policy;
	const char *other;              /* a queue whose mail goes first: "domain vmta" */
	unsigned    refuse, temp, reply_s;
	unsigned    messages;
	bool        by_hand;
	enum gate   gate;
	int64_t     until_s;            /* from now, rounded up; NEVER; OPEN */
	int         line;
	const char *scope;
	uint32_t    limit, in_use;
};

static const struct row rows[] = {
	{ "nothing to send", ANY("max_smtp_out = 2"), .messages = 1, .gate = GATE_EMPTY, .until_s = NEVER },
	{ "paused by the policy", ANY("paused = true"), .messages = 1, .gate = GATE_PAUSED, .until_s = NEVER, .line = 3, .scope = "domain \"*\"" },
	{ "paused by hand", ANY("max_smtp_out = 2"), .messages = 1, .by_hand = true, .gate = GATE_PAUSED, .until_s = NEVER },
	{ "retry", ANY("retry_after = \"30m\""), .messages = 1, .refuse = 1000, .gate = GATE_RETRY_AFTER, .until_s = 1796, .line = 3,
	  .scope = "domain \"*\"" },
	{ "recipients deferred", ANY("retry_recipients_after = \"30m\""), .messages = 2, .temp = 1000, .gate = GATE_RETRY_RECIPIENTS_AFTER,
	  .until_s = 1796, .line = 3 },
	{ "cap of the queue", ANY("max_smtp_out = 1"), .messages = 2, .reply_s = 60, .gate = GATE_MAX_SMTP_OUT, .until_s = NEVER, .line = 3,
	  .limit = 1, .in_use = 1 },
	{ "cap of the site", ANY("total_max_smtp_out = 1"), .other = "a.example v2", .messages = 1, .reply_s = 60,
	  .gate = GATE_TOTAL_MAX_SMTP_OUT, .until_s = NEVER, .line = 3, .limit = 1, .in_use = 1 },
	{ "cap of the virtual MTA", VMTA("max_smtp_out = 1"), .other = "b.example v1", .messages = 1, .reply_s = 60,
	  .gate = GATE_VMTA_MAX_SMTP_OUT, .until_s = NEVER, .line = 3, .scope = "vmta \"v1\"", .limit = 1, .in_use = 1 },
	{ "cap of the pool", POOL("max_smtp_out = 1"), .other = "b.example v2", .messages = 1, .reply_s = 60,
	  .gate = GATE_POOL_MAX_SMTP_OUT, .until_s = NEVER, .line = 3, .scope = "pool \"p\"", .limit = 1, .in_use = 1 },
	{ "cap of the node", NODE("max_smtp_out = 1"), .other = "b.example v2", .messages = 1, .reply_s = 60,
	  .gate = GATE_NODE_MAX_SMTP_OUT, .until_s = NEVER, .line = 3, .limit = 1, .in_use = 1 },
	{ "connects of the queue", ANY("max_msg_per_connection = 1, max_connect_rate = \"1/m\""), .messages = 2,
	  .gate = GATE_MAX_CONNECT_RATE, .until_s = 56, .line = 3 },
	{ "connects of the site", ANY("total_max_connect_rate = \"1/m\""), .other = "a.example v2", .messages = 1,
	  .gate = GATE_TOTAL_MAX_CONNECT_RATE, .until_s = 56, .line = 3 },
	{ "connects of the virtual MTA", VMTA("max_connect_rate = \"1/m\""), .other = "b.example v1", .messages = 1,
	  .gate = GATE_VMTA_MAX_CONNECT_RATE, .until_s = 56, .line = 3 },
	{ "connects of the pool", POOL("max_connect_rate = \"1/m\""), .other = "b.example v2", .messages = 1,
	  .gate = GATE_POOL_MAX_CONNECT_RATE, .until_s = 56, .line = 3 },
	{ "rate of the queue", ANY("max_msg_rate = \"1/m\""), .messages = 2, .gate = GATE_MAX_MSG_RATE, .until_s = 56, .line = 3 },
	{ "rate of the site", ANY("total_max_msg_rate = \"1/m\""), .other = "a.example v2", .messages = 1,
	  .gate = GATE_TOTAL_MAX_MSG_RATE, .until_s = 56, .line = 3 },
	{ "rate of the virtual MTA", VMTA("max_msg_rate = \"1/m\""), .other = "b.example v1", .messages = 1,
	  .gate = GATE_VMTA_MAX_MSG_RATE, .until_s = 56, .line = 3 },
	{ "rate of the pool", POOL("max_msg_rate = \"1/m\""), .other = "b.example v2", .messages = 1,
	  .gate = GATE_POOL_MAX_MSG_RATE, .until_s = 56, .line = 3 },
	{ "rate of the node", NODE("max_msg_rate = \"1/m\""), .other = "b.example v2", .messages = 1,
	  .gate = GATE_NODE_MAX_MSG_RATE, .until_s = 56, .line = 3 },
	/* several at once */
	{ "no known end is later than any time", ANY("retry_after = \"30m\""), .messages = 1, .refuse = 1000, .by_hand = true,
	  .gate = GATE_PAUSED, .until_s = NEVER },
	{ "the one that opens last: a rate", ANY("max_connect_rate = \"1/m\", retry_after = \"20s\""), .messages = 1, .refuse = 1000,
	  .gate = GATE_MAX_CONNECT_RATE, .until_s = 56, .line = 3 },
	{ "the one that opens last: retry", ANY("max_connect_rate = \"1/m\", retry_after = \"90s\""), .messages = 1, .refuse = 1000,
	  .gate = GATE_RETRY_AFTER, .until_s = 86, .line = 3 },
	{ "between equals the first in the list: unknown ends", ANY("max_smtp_out = 1, total_max_smtp_out = 1"), .messages = 2, .reply_s = 60,
	  .gate = GATE_MAX_SMTP_OUT, .until_s = NEVER, .line = 3, .limit = 1, .in_use = 1 },
	{ "between equals the first in the list: times", ANY("total_max_msg_rate = \"1/m\", max_msg_rate = \"1/m\""), .messages = 2,
	  .gate = GATE_MAX_MSG_RATE, .until_s = 56, .line = 3 },
	{ "a cap that is full, before a rate", ANY("max_smtp_out = 1, max_msg_rate = \"1/m\""), .messages = 2, .reply_s = 60,
	  .gate = GATE_MAX_SMTP_OUT, .until_s = NEVER, .line = 3, .limit = 1, .in_use = 1 },
};

static struct queue *
set_up(struct world *w, const struct row *row)
{
	char domain[40], vmta[8];
	unsigned n;

	w->play.refuse = row->refuse;
	w->play.temp = row->temp;
	w->play.reply_us = row->reply_s ? SEC((int64_t)row->reply_s) : MS(20);
	if (row->other != NULL) {
		assert_int_equal(sscanf(row->other, "%39s %7s", domain, vmta), 2);
		put(w, domain, .vmta = vmta);
		world_run(w, SEC(1));
	}
	put(w, "a.example", .messages = row->messages);
	world_run(w, row->other ? SEC(3) : SEC(4));
	if (row->by_hand) {
		queues_pause(w->queues, SPAN("a.example/v1"), NULL, true, &n, w->loop.now);
		put(w, "a.example");
	}
	return queue_called(w, "a.example/v1");
}

static void
the_closed_gate_that_opens_last_is_named(void **state)
{
	for (unsigned i = 0; i < countof(rows); i++) {
		const struct row *row = &rows[i];
		struct world *w = world_new(row->policy);
		const struct queue *q = set_up(w, row);
		struct gate_answer answer;
		int64_t s;

		gate_decide(q, world_now(w), &answer);
		if (answer.open)
			fail_msg("%s: open", row->says);
		s = answer.binding.until == MONO_NEVER ? NEVER : (answer.binding.until - world_now(w) + US_PER_S - 1) / US_PER_S;
		if (answer.binding.gate != row->gate || (s != row->until_s && s != row->until_s + 1))
			fail_msg("%s: %s, until %lld", row->says, gate_name(answer.binding.gate), (long long)s);
		if (row->line != answer.binding.where.line || (row->line != 0) != (answer.binding.where.file != NULL))
			fail_msg("%s: on line %d", row->says, answer.binding.where.line);
		if (row->scope != NULL)
			assert_string_equal(answer.binding.where.scope, row->scope);
		if (row->limit != 0) {
			assert_int_equal(answer.binding.kind, GATE_LIMIT_COUNT);
			assert_int_equal(answer.binding.limit, row->limit);
			assert_int_equal(answer.binding.in_use, row->in_use);
		}
		if (row->gate >= GATE_MAX_CONNECT_RATE && strstr(gate_name(row->gate), "rate")) {
			assert_int_equal(answer.binding.kind, GATE_LIMIT_RATE);
			assert_int_equal(answer.binding.rate.count, 1);
		}
		world_free(w);
	}
}

static const struct gate_state *
state_of(const struct gate_answer *answer, enum gate gate)
{
	for (unsigned i = 0; i < answer->n; i++)
		if (answer->all[i].gate == gate)
			return &answer->all[i];
	return NULL;
}

static void
the_report_holds_four_gates_always_and_each_that_has_a_limit_in_order(void **state)
{
	static const enum gate plain[] = { GATE_PAUSED, GATE_SUSPENDED, GATE_RETRY_AFTER, GATE_MAX_SMTP_OUT };
	static const enum gate limited[] = {
		GATE_MAX_CONNECT_RATE, GATE_MAX_MSG_RATE, GATE_TOTAL_MAX_SMTP_OUT, GATE_TOTAL_MAX_CONNECT_RATE, GATE_TOTAL_MAX_MSG_RATE,
		GATE_VMTA_MAX_SMTP_OUT, GATE_VMTA_MAX_CONNECT_RATE, GATE_VMTA_MAX_MSG_RATE,
		GATE_POOL_MAX_SMTP_OUT, GATE_POOL_MAX_CONNECT_RATE, GATE_POOL_MAX_MSG_RATE, GATE_NODE_MAX_MSG_RATE,
	};
	struct gate_answer answer;
	struct world *w = world_new(V1);

	w->queues->stopping = true;     /* so that it stays */
	put(w, "a.example");
	world_run(w, SEC(1));
	gate_decide(queue_called(w, "a.example/v1"), world_now(w), &answer);
	assert_true(answer.open);
	for (unsigned i = 0; i < countof(plain); i++) {
		assert_non_null(state_of(&answer, plain[i]));
		assert_true(state_of(&answer, plain[i])->open);
	}
	assert_int_equal(state_of(&answer, GATE_MAX_SMTP_OUT)->limit, 20);
	assert_null(state_of(&answer, GATE_MAX_SMTP_OUT)->where.file);
	for (unsigned i = 0; i < countof(limited); i++)
		assert_null(state_of(&answer, limited[i]));
	assert_null(state_of(&answer, GATE_EMPTY));
	world_free(w);

#define CAPS "max_smtp_out = 7, max_connect_rate = \"7/s\", max_msg_rate = \"7/s\""
	w = world_new("vmta \"v1\" { source = \"any\", " CAPS " }\npool \"p\" { \"v1\", " CAPS " }\nnode { max_smtp_out = 7, max_msg_rate = \"7/s\" }\n"
		      "domain \"*\" { " CAPS ", total_max_smtp_out = 7, total_max_connect_rate = \"7/s\", total_max_msg_rate = \"7/s\" }\n");
	w->queues->stopping = true;
	put(w, "a.example");
	world_run(w, SEC(1));
	gate_decide(queue_called(w, "a.example/v1"), world_now(w), &answer);
	assert_true(answer.open);
	for (unsigned i = 0; i < countof(limited); i++)
		assert_non_null(state_of(&answer, limited[i]));
	assert_non_null(state_of(&answer, GATE_NODE_MAX_SMTP_OUT));
	for (unsigned i = 1; i < answer.n; i++)
		assert_true(answer.all[i].gate > answer.all[i - 1].gate);
	world_free(w);
}

static void
asking_changes_nothing(void **state)
{
	struct world *w = world_new(ANY("max_msg_rate = \"60/m\", max_connect_rate = \"60/m\""));
	struct gate_answer answer;
	struct gate_wait wait;
	struct queue *q;
	int64_t messages, connects;

	put(w, "a.example", .messages = 10);
	world_run(w, SEC(3));
	q = queue_called(w, "a.example/v1");
	messages = rate_save(&q->scope.use->messages, world_now(w));
	connects = rate_save(&q->scope.use->connects, world_now(w));
	for (unsigned i = 0; i < 100; i++) {
		gate_decide(q, world_now(w), &answer);
		gate_session(q, world_now(w), &wait);
		gate_message(q, world_now(w), &wait);
	}
	assert_int_equal(rate_save(&q->scope.use->messages, world_now(w)), messages);
	assert_int_equal(rate_save(&q->scope.use->connects, world_now(w)), connects);
	assert_int_equal(gauge_in_use(&q->scope.use->sessions), 1);
	world_free(w);
}

/* What holds a new session is not what holds a message on an open one. */
static void
an_open_session_is_held_by_pauses_and_rates_only(void **state)
{
	struct world *w = world_new(ANY("max_smtp_out = 1, retry_after = \"1h\", max_connect_rate = \"1/h\", max_msg_rate = \"1/m\""));
	struct gate_wait wait;
	struct queue *q;
	unsigned n;

	put(w, "a.example");
	world_run(w, SEC(4));
	q = queue_called(w, "a.example/v1");
	q->retry_until = world_now(w) + HOUR(1);
	assert_in_range(gate_message(q, world_now(w), &wait), world_now(w) + SEC(50), world_now(w) + SEC(58));
	assert_int_equal(wait.gate, GATE_MAX_MSG_RATE);
	assert_int_equal(wait.scope, SCOPE_QUEUE);
	assert_int_equal(wait.line, SCOPE_LINE_MESSAGES);
	assert_int_equal(gate_session(q, world_now(w), &wait), MONO_NEVER);
	assert_int_equal(wait.gate, GATE_MAX_SMTP_OUT);
	queues_pause(w->queues, SPAN("*"), NULL, true, &n, w->loop.now);
	assert_int_equal(gate_message(q, world_now(w), &wait), MONO_NEVER);
	assert_int_equal(wait.gate, GATE_PAUSED);
	assert_int_equal(wait.scope, SCOPES_N);
	world_free(w);
}

static void
the_next_attempt_is_an_open_sessions_where_there_is_one(void **state)
{
	struct world *w = world_new(ANY("max_smtp_out = 1, max_connect_rate = \"1/h\", max_msg_rate = \"1/m\""));
	struct queue *q;
	unsigned n;

	put(w, "a.example", .messages = 3);
	world_run(w, SEC(4));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(q->slots_n, 1);
	assert_in_range(queue_next_attempt(q, world_now(w)), world_now(w) + SEC(50), world_now(w) + SEC(58));
	queues_pause(w->queues, SPAN("*"), NULL, true, &n, w->loop.now);
	assert_int_equal(queue_next_attempt(q, world_now(w)), MONO_NEVER);
	world_free(w);
}

static void
one_behind_others_in_a_line_is_told_what_the_line_is_for(void **state)
{
	static const struct { const char *policy; enum gate gate; } lines[] = {
		{ VMTA("max_msg_rate = \"6/m\""), GATE_VMTA_MAX_MSG_RATE },
		{ VMTA("max_connect_rate = \"6/m\"") ONE_EACH, GATE_VMTA_MAX_CONNECT_RATE },
		{ VMTA("max_connect_rate = \"6/m\", max_smtp_out = 1") ONE_EACH, GATE_VMTA_MAX_CONNECT_RATE },
		{ VMTA("max_smtp_out = 1") ONE_EACH, GATE_VMTA_MAX_SMTP_OUT },
	};

	for (unsigned i = 0; i < countof(lines); i++) {
		struct world *w = world_new(lines[i].policy);
		struct gate_answer answer;
		unsigned unknown = 0;

		if (lines[i].gate == GATE_VMTA_MAX_SMTP_OUT)
			w->play.reply_us = SEC(60);
		for (unsigned d = 0; d < 5; d++) {
			char domain[20];

			snprintf(domain, sizeof domain, "d%u.example", d);
			put(w, domain, .messages = 5);
		}
		world_run(w, SEC(1));
		for (unsigned d = 0; d < 5; d++) {
			char name[20];
			struct queue *q;

			snprintf(name, sizeof name, "d%u.example/v1", d);
			q = queue_called(w, name);
			gate_decide(q, world_now(w), &answer);
			assert_false(answer.open);
			if (answer.binding.gate != lines[i].gate)
				fail_msg("row %u: %s", i, gate_name(answer.binding.gate));
			unknown += answer.binding.until == MONO_NEVER;
			for (unsigned g = 0; g < answer.n; g++)
				assert_true(answer.all[g].kind != GATE_LIMIT_COUNT || answer.all[g].limit != UNLIMITED);
		}
		assert_in_range(unknown, 4, 5);
		world_free(w);
	}
}

static void
an_empty_queue_asked_when_next_says_never(void **state)
{
	struct world *w = world_new(ANY("max_msg_rate = \"1/m\", retry_recipients_after = \"30m\""));
	struct queue *q;

	put(w, "a.example");
	world_run(w, SEC(4));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(queue_next_attempt(q, world_now(w)), MONO_NEVER);
	assert_int_equal(queue_oldest(q), MONO_NEVER);
	put(w, "a.example", .age_us = MINS(7));
	assert_in_range(queue_next_attempt(q, world_now(w)), world_now(w) + SEC(55), world_now(w) + SEC(57));
	assert_int_equal(queue_oldest(q), world_now(w) - MINS(7));
	w->play.temp = 1000;
	world_run(w, MINS(2));
	assert_in_range(queue_next_attempt(q, world_now(w)), world_now(w) + MINS(28), world_now(w) + MINS(29));
	world_free(w);
}

static void
a_session_on_its_way_leaves_what_the_rate_lets_go_beside_it(void **state)
{
	struct world *w = world_new(ANY("total_max_msg_rate = { \"60/m\", burst = 5 }"));
	const struct rate_spec *spec;
	struct gate_wait wait;
	struct scope *site;
	struct queue *q;
	mono_us_t at;

	put(w, "a.example");
	world_run(w, SEC(1));
	q = queue_called(w, "a.example/v1");
	site = q->scopes[SCOPE_SITE];
	spec = &site->limits.max_msg_rate;
	assert_true(rate_take(&site->use->messages, spec, rate_available(&site->use->messages, spec, world_now(w)), world_now(w)));
	site->use->connecting = 1;
	at = gate_session(q, world_now(w), &wait);
	assert_int_equal(wait.gate, GATE_TOTAL_MAX_MSG_RATE);
	assert_in_range(at, world_now(w) + SEC(1), world_now(w) + SEC(4));
	assert_int_equal(rate_available(&site->use->messages, spec, at), 2);
	/* More than ever go at once. */
	site->use->connecting = 5;
	assert_int_equal(gate_session(q, world_now(w), &wait), MONO_NEVER);
	site->use->connecting = 0;
	world_free(w);
}

static void
on_no_turn(struct scope_waiter *waiter, struct now now)
{
}

static void
who_stands_behind_others_at_a_place_that_is_free_waits_for_the_rate(void **state)
{
	struct world *w = world_new(ANY("total_max_smtp_out = 5, total_max_msg_rate = { \"60/m\", burst = 5 }"));
	struct scope_waiter first;
	struct gate_wait wait;
	struct queue *q;

	put(w, "a.example");
	world_run(w, SEC(30));
	q = queue_called(w, "a.example/v1");
	scope_waiter_init(&first, on_no_turn, NULL);
	scope_wait(q->scopes[SCOPE_SITE], SCOPE_LINE_SESSIONS, &first, MONO_NEVER);
	assert_int_equal(gate_session(q, world_now(w), &wait), MONO_NEVER);
	assert_int_equal(wait.gate, GATE_TOTAL_MAX_MSG_RATE);
	assert_int_equal(wait.line, SCOPE_LINE_SESSIONS);
	scope_leave(&first);
	world_free(w);
}

/* Some wait for names, one for its time, one for its report: none is ready, and the queue is not open. */
static void
who_is_not_ready_waits_for_something(void **state)
{
	struct world *w = world_new(ANY("retry_recipients_after = \"30m\""));
	struct gate_answer answer;
	struct queue *q;

	w->play.temp = 1000;
	put(w, "a.example");
	world_run(w, MINS(1));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(q->deferred_n, 1);
	q->routing_n++;
	gate_decide(q, world_now(w), &answer);
	assert_false(answer.open);
	assert_int_equal(answer.binding.gate, GATE_RETRY_RECIPIENTS_AFTER);
	q->routing_n--;

	w->play.temp = 0;
	for (unsigned i = 0; i < 36000 && (queue_n(q) > 0 || q->slots_n > 0); i++)
		world_run(w, MS(100));
	assert_int_equal(queue_n(q), 0);
	q->sending_n++;
	gate_decide(q, world_now(w), &answer);
	assert_false(answer.open);
	assert_int_equal(answer.binding.gate, GATE_SPOOL);
	q->sending_n--;
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_closed_gate_that_opens_last_is_named),
		cmocka_unit_test(the_report_holds_four_gates_always_and_each_that_has_a_limit_in_order),
		cmocka_unit_test(asking_changes_nothing),
		cmocka_unit_test(an_open_session_is_held_by_pauses_and_rates_only),
		cmocka_unit_test(the_next_attempt_is_an_open_sessions_where_there_is_one),
		cmocka_unit_test(one_behind_others_in_a_line_is_told_what_the_line_is_for),
		cmocka_unit_test(an_empty_queue_asked_when_next_says_never),
		cmocka_unit_test(a_session_on_its_way_leaves_what_the_rate_lets_go_beside_it),
		cmocka_unit_test(who_stands_behind_others_at_a_place_that_is_free_waits_for_the_rate),
		cmocka_unit_test(who_is_not_ready_waits_for_something),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
