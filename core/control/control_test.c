/*
 * The socket through a fake door, and a fake engine behind it: queues made by
 * hand, and functions of queue/, spool/ and delivery/ that only note what they
 * were asked. All that control uses of them stands here, so that the linker
 * takes none of the real ones.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "control/control_request.h"
#include "control/control_trace.h"
#include "delivery/outcome.h"
#include "queue/warmup.h"

/* ---- the engine ---- */

struct engine {
	struct queues queues;           /* first: the fakes find the engine by it */
	struct loop   loop;
	struct net    net;
	struct shard  shard, *one;
	struct shards shards;
	struct queue *all;
	unsigned      n;
	struct message *message;        /* in each of them; NULL: none */
	char          did[200];         /* what the fakes were asked */
	/* the door */
	void        (*on_accept)(void *ctx, struct conn *conn);
	void         *on_accept_ctx;
	struct listener listener;
	bool          listening, refuses_to_listen;
	struct control *control;
};

static struct ruleset ruleset = { .file = "policies/x.lua" };
static struct queue_settings settings = { .max_msg_per_connection = UNLIMITED };
static struct ruleset_vmta vmta = { .name = "mta-1" };

unsigned
queues_match(struct queues *queues, struct span pattern, queue_visit_fn *fn, void *ctx)
{
	struct engine *e = (struct engine *)queues;
	unsigned n = 0;

	for (unsigned i = 0; i < e->n; i++) {
		bool fits = span_eq(pattern, SPAN("*")) || span_eq(pattern, span_text(e->all[i].name)) ||
			    (pattern.p[pattern.n - 1] == '*' && span_starts(span_text(e->all[i].name), span_first(pattern, pattern.n - 1)));
		if (fits && ++n)
			fn(ctx, &e->all[i]);
	}
	return n;
}

bool
warmup_state(const struct queue *queue, wall_ms_t now, struct warmup_state *out)
{
	*out = (struct warmup_state){ .day = 3, .per_day = 150, .used = 20, .left = 130 };
	return true;
}

bool
queue_pattern_matches(struct span pattern, struct span name)
{
	return span_eq(pattern, SPAN("*")) || span_eq(pattern, name);
}

struct queue *
queues_find(struct queues *queues, struct span name)
{
	struct engine *e = (struct engine *)queues;

	for (unsigned i = 0; i < e->n; i++)
		if (span_eq(name, span_text(e->all[i].name)))
			return &e->all[i];
	return NULL;
}

void
shards_halt(struct shards *shards)
{
	shards->halts++;
}

void
shards_resume(struct shards *shards)
{
	assert_true(shards->halts-- > 0);
}

void
shards_save_now(struct shards *shards)
{
	fail();
}

struct queue *
shards_find_queue(const struct shards *shards, struct span name)
{
	assert_true(shards->halts > 0);
	return queues_find(shards->all[0]->queues, name);
}

static uint64_t
did(struct queues *queues, const char *what, struct span pattern, const char *job, unsigned *queues_out)
{
	struct engine *e = (struct engine *)queues;

	snprintf(e->did, sizeof(e->did), "%s %.*s %s", what, SPAN_ARG(pattern), job ? job : "-");
	*queues_out = 2;
	return 7;
}

uint64_t
queues_pause(struct queues *queues, struct span pattern, const char *job, bool paused, unsigned *queues_out, struct now now)
{
	return did(queues, paused ? "pause" : "resume", pattern, job, queues_out);
}

uint64_t
queues_suspend(struct queues *queues, struct span pattern, int64_t lasts_us, unsigned *queues_out, struct now now)
{
	return did(queues, lasts_us == 7200 * US_PER_S ? "suspend 2h" : "suspend", pattern, NULL, queues_out);
}

mono_us_t
queue_held_until(const struct queue *queue)
{
	return MONO_NEVER;
}

uint64_t
queues_suspend_job(struct queues *queues, struct span pattern, const char *job, int64_t lasts_us, unsigned *queues_out,
		   struct now now)
{
	return did(queues, "suspend", pattern, job, queues_out);
}

uint64_t
queues_lift(struct queues *queues, struct span pattern, const char *name, unsigned *queues_out, struct now now)
{
	return did(queues, "lift", pattern, name, queues_out);
}

void
queue_overlays(const struct queue *queue, overlay_visit_fn *fn, void *ctx)
{
}

uint64_t
queues_retry(struct queues *queues, struct span pattern, bool recipients, const char *job, unsigned *queues_out, struct now now)
{
	return did(queues, recipients ? "retry recipients" : "retry", pattern, job, queues_out);
}

uint64_t
outcome_bounce_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now)
{
	return did(shard->queues, "bounce", pattern, job, queues_out);
}

uint64_t
outcome_drop_by_hand(struct shard *shard, struct span pattern, const char *job, unsigned *queues_out, struct now now)
{
	return did(shard->queues, "drop", pattern, job, queues_out);
}

/* Each queue has the one message, if there is one, and its mail has left: `why` of what waits is tried on the wire. */
void
queue_each(const struct queue *queue, void (*fn)(void *ctx, const struct rcpt *rcpt), void *ctx)
{
	struct engine *e = (struct engine *)queue->queues;

	snprintf(e->did, sizeof(e->did), "each of %s", queue->name);
	for (unsigned i = 0; e->message && i < 600; i++)
		fn(ctx, &e->message->rcpts[0]);
}

void
message_hold(struct message *message)
{
	message->refs++;
}

void
message_unhold(struct queues *queues, struct message *message)
{
	check(message->refs > 0);
	message->refs--;
}

bool
spool_read_open(struct spool *spool, const struct spool_message *message, struct spool_reader *out, struct err *err)
{
	check(false);
}

void
spool_read_close(struct spool_reader *reader)
{
	check(false);
}

bool
spool_stalls(const struct spool *spool)
{
	return false;
}

mono_us_t
queue_oldest(const struct queue *queue)
{
	return queue_n(queue) ? 0 : MONO_NEVER;
}

mono_us_t
queue_next_attempt(const struct queue *queue, mono_us_t now)
{
	return MONO_NEVER;
}

const char *
queue_mode(const struct queue *queue)
{
	return "normal";
}

void
spool_stats(struct spool *spool, struct spool_stats *out)
{
	*out = (struct spool_stats){ .bytes = 4096, .live_messages = 3, .refusing = true, .why = "the disk is full" };
}

static void
add_queues(struct engine *e, const char *format, unsigned n)
{
	e->all = mem_alloc(n * sizeof(*e->all));
	e->n = n;
	for (unsigned i = 0; i < n; i++) {
		struct queue *q = &e->all[i];
		char name[64];

		snprintf(name, sizeof(name), format, i);
		q->name = mem_strdup(name);
		q->site = mem_alloc(sizeof(*q->site));
		q->site->name = mem_strndup(name, span_find(span_text(name), '/'));
		q->vmta = &vmta;
		q->settings = &settings;
		q->queues = &e->queues;
		q->ready_n = (i * 7919) % n;
		scope_init(&q->scope, &e->loop.timers);
		q->scope.limits.max_smtp_out = 0;       /* none left of none: closed */
		q->scopes[SCOPE_QUEUE] = &q->scope;
	}
}

/* ---- the door ---- */

struct client {
	struct conn conn;
	struct buf  told;
	size_t      pending;
	bool        paused, closed;
};

static void
fake_write(struct conn *conn, struct span bytes)
{
	struct client *client = container_of(conn, struct client, conn);
	check(!client->closed);
	buf_add(&client->told, bytes);
	client->pending += bytes.n;
}

static size_t
fake_pending(const struct conn *conn)
{
	return container_of(conn, struct client, conn)->pending;
}

static void
fake_pause(struct conn *conn, bool paused)
{
	container_of(conn, struct client, conn)->paused = paused;
}

static void
fake_close(struct conn *conn)
{
	struct client *client = container_of(conn, struct client, conn);
	check(!client->closed);
	client->closed = true;
}

static const struct conn_ops fake_conn_ops = { .write = fake_write, .pending = fake_pending, .pause = fake_pause, .close = fake_close };

static struct listener *
fake_listen(struct net *net, const char *path, void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	struct engine *e = container_of(net, struct engine, net);

	if (e->refuses_to_listen) {
		err_set(err, ERR_PERM, "cannot listen on %s", path);
		return NULL;
	}
	e->on_accept = on_accept;
	e->on_accept_ctx = ctx;
	e->listening = true;
	return &e->listener;
}

static void
fake_unlisten(struct listener *listener)
{
	container_of(listener, struct engine, listener)->listening = false;
}

static const struct net_ops fake_net_ops = { .listen_unix = fake_listen, .listener_close = fake_unlisten };

static struct engine *
engine_new(void)
{
	struct engine *e = mem_alloc(sizeof(*e));

	timers_init(&e->loop.timers);
	e->loop.now = (struct now){ .mono = 90 * US_PER_S, .wall = { 1767225600000 } };
	e->net = (struct net){ &fake_net_ops, &e->loop };
	e->queues.o.ruleset = &ruleset;
	e->queues.o.loop = &e->loop;
	e->queues.rcpts_n = 12;
	e->shard = (struct shard){ .loop = &e->loop, .net = &e->net, .queues = &e->queues, .generation = 1,
				   .started = 30 * US_PER_S, .received = 5, .sessions_in = 2 };
	e->one = &e->shard;
	e->shards = (struct shards){ .all = &e->one, .n = 1 };
	e->control = control_open(&e->shards, "/run/control.sock", NULL);
	assert_non_null(e->control);
	return e;
}

static void
engine_free(struct engine *e)
{
	control_close(e->control);
	assert_int_equal(e->shards.halts, 0);
	assert_false(e->listening);
	assert_int_equal(timers_next(&e->loop.timers), MONO_NEVER);
	for (unsigned i = 0; i < e->n; i++) {
		free(e->all[i].name);
		free(e->all[i].site->name);
		free(e->all[i].site);
	}
	free(e->all);
	timers_fini(&e->loop.timers);
	free(e);
}

static void
join_as(struct engine *e, struct client *client, uint32_t uid)
{
	*client = (struct client){ .conn = { .ops = &fake_conn_ops, .peer_uid = uid } };
	buf_init(&client->told, 0);
	e->on_accept(e->on_accept_ctx, &client->conn);
}

static void
join(struct engine *e, struct client *client)
{
	join_as(e, client, geteuid());
}

static void
say(struct client *client, const char *text)
{
	client->conn.events->on_data(client->conn.ctx, span_text(text));
}

/* The peer reads all it was sent. */
static void
drain(struct client *client)
{
	while (!client->closed && client->pending) {
		client->pending = 0;
		client->conn.events->on_drained(client->conn.ctx);
	}
}

static json_t *
next_answer(struct client *client)
{
	struct span told = buf_span(&client->told);
	size_t end = span_find(told, '\n');
	json_t *answer;

	assert_true(end != SIZE_MAX);
	answer = json_loadb(told.p, end, 0, NULL);
	assert_non_null(answer);
	buf_consume(&client->told, end + 1);
	return answer;
}

static void
assert_error(struct client *client, const char *says)
{
	json_t *answer = next_answer(client);
	const char *error = json_string_value(json_object_get(answer, "error"));

	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_non_null(error);
	if (!strstr(error, says))
		fail_msg("\"%s\" does not say \"%s\"", error, says);
	json_decref(answer);
}

static json_t *
take_result(struct client *client)
{
	json_t *answer = next_answer(client), *result;

	assert_true(json_is_true(json_object_get(answer, "ok")));
	result = json_incref(json_object_get(answer, "result"));
	assert_non_null(result);
	json_decref(answer);
	return result;
}

/* ---- what it promises ---- */

static void
status_comes_from_the_shard(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *status;

	e->shard.spool = (struct spool *)e;
	join(e, &c);
	say(&c, "{\"command\":\"status\"}\n");
	status = take_result(&c);
	assert_int_equal(json_integer_value(json_object_get(status, "queued")), 12);
	assert_int_equal(json_integer_value(json_object_get(status, "uptime")), 60);
	assert_string_equal(json_string_value(json_object_get(status, "refusing")), "the disk is full");
	assert_string_equal(json_string_value(json_object_get(status, "policy")), "policies/x.lua");
	json_decref(status);
	assert_false(c.closed);
	engine_free(e);
	assert_true(c.closed);
	buf_fini(&c.told);
}

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
	engine_free(e);
	buf_fini(&c.told);
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
	engine_free(e);
	buf_fini(&c.told);
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
	engine_free(e);
	buf_fini(&c.told);
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

static void
a_long_listing_comes_in_pieces_most_queued_first(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;
	json_int_t last = INT64_MAX;

	add_queues(e, "site%u/mta-1", 1009);
	join(e, &c);
	say(&c, "{\"command\":\"queues\"}\n{\"command\":\"status\"}\n");
	assert_true(span_find(buf_span(&c.told), '\n') == SIZE_MAX);
	assert_true(c.paused);
	drain(&c);
	assert_false(c.paused);
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 1009);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_int_t queued = json_integer_value(json_object_get(json_array_get(rows, i), "queued"));
		assert_true(queued <= last);
		last = queued;
	}
	json_decref(rows);
	json_decref(take_result(&c));
	assert_int_equal(buf_len(&c.told), 0);
	engine_free(e);
	buf_fini(&c.told);
}

static void
queues_that_end_while_they_are_listed_have_no_row(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;
	unsigned n;

	add_queues(e, "site%u/mta-1", 1000);
	join(e, &c);
	say(&c, "{\"command\":\"queues\",\"arguments\":[\"site*\"]}\n");
	n = e->n;
	e->n = 0;
	drain(&c);
	e->n = n;
	rows = take_result(&c);
	assert_true(json_array_size(rows) > 0 && json_array_size(rows) < 1000);
	json_decref(rows);
	say(&c, "{\"command\":\"queues\",\"arguments\":[\"none\"]}\n");
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
	engine_free(e);
	buf_fini(&c.told);
}

static struct message *
message_that_left(uint64_t id)
{
	struct message *message = mem_alloc(sizeof(*message) + sizeof(message->rcpts[0]));

	message->spool.id = id;
	message->rcpts[0].message = message;
	message->rcpts[0].state = RCPT_OVER;
	return message;
}

static void
a_long_search_that_finds_nothing_ends(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;

	add_queues(e, "site%u/mta-1", 3);
	e->message = message_that_left(0x1f);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"000000000000001f\"]}\n");
	assert_true(e->message->refs > 500);
	drain(&c);
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 0);
	assert_int_equal(e->message->refs, 0);
	json_decref(rows);
	free(e->message);
	engine_free(e);
	buf_fini(&c.told);
}

static void
a_search_ends_with_its_peer_and_holds_nothing(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	struct message *message;

	add_queues(e, "site%u/mta-1", 3);
	message = e->message = message_that_left(0x1f);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"000000000000001f\"]}\n");
	assert_true(message->refs > 500);
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_true(c.closed);
	assert_int_equal(message->refs, 0);
	engine_free(e);
	free(message);
	buf_fini(&c.told);
}

static void
an_address_or_an_id_is_looked_for_in_every_queue(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;

	add_queues(e, "site%u/mta-1", 2);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"user@example.com\"]}\n");
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
	assert_string_equal(e->did, "each of site1/mta-1");
	e->did[0] = '\0';
	say(&c, "{\"command\":\"why\",\"arguments\":[\"0123456789abcDEF\"]}\n");
	json_decref(take_result(&c));
	assert_string_equal(e->did, "each of site1/mta-1");
	say(&c, "{\"command\":\"why\",\"arguments\":[\"0123456789abcDEFG\"]}\n");
	assert_error(&c, "no such queue");
	engine_free(e);
	buf_fini(&c.told);
}

static void
a_trace_tells_what_is_wanted_and_drops_what_is_not_read(void **state)
{
	struct engine *e = engine_new();
	struct trace_session of_queue = { .number = 7, .queue = "a/b", .domain = "a", .peer = "mx (192.0.2.1)" };
	struct trace_session of_listener = { .number = 8, .listener = "127.0.0.1:25", .peer = "192.0.2.2" };
	struct client c;
	json_t *line;

	trace_init(&e->shard.trace, 1, 1);
	join(e, &c);
	say(&c, "{\"command\":\"trace\",\"options\":{\"queue\":\"a/b\"}}\n");
	assert_int_equal(buf_len(&c.told), 0);
	trace_tell(&e->shard.trace, &of_listener, TRACE_THEY, SPAN("EHLO x\r\n"));
	assert_int_equal(buf_len(&c.told), 0);
	trace_tell(&e->shard.trace, &of_queue, TRACE_WE, SPAN("EHLO \xff\r\n"));
	line = take_result(&c);
	assert_string_equal(json_string_value(json_object_get(line, "line")), "EHLO \xef\xbf\xbd");
	assert_string_equal(json_string_value(json_object_get(line, "who")), "we");
	json_decref(line);
	for (unsigned i = 0; i < 5000; i++)
		trace_tell(&e->shard.trace, &of_queue, TRACE_THEY, SPAN("250 a reply that takes some room in the buffer of who does not read"));
	assert_true(c.pending < CONTROL_TRACE_BEHIND_MAX + 1024);
	drain(&c);
	buf_clear(&c.told);
	trace_tell(&e->shard.trace, &of_queue, TRACE_EVENT, SPAN("the end"));
	line = take_result(&c);
	assert_true(json_integer_value(json_object_get(line, "dropped")) > 1000);
	json_decref(line);
	json_decref(take_result(&c));
	say(&c, "{\"command\":\"trace\"}\n");
	assert_error(&c, "traces already");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_false(trace_on(&e->shard.trace));
	engine_free(e);
	buf_fini(&c.told);
}

static void
a_trace_takes_a_domain_however_it_is_written(void **state)
{
	struct engine *e = engine_new();
	struct trace_session session = { .number = 7, .queue = "a/b", .domain = "b.example", .peer = "mx (192.0.2.1)" };
	struct client c, d;

	trace_init(&e->shard.trace, 1, 1);
	join(e, &c);
	say(&c, "{\"command\":\"trace\",\"options\":{\"to\":\"B.Example.\"}}\n");
	trace_tell(&e->shard.trace, &session, TRACE_WE, SPAN("QUIT"));
	json_decref(take_result(&c));
	session.domain = "c.example";
	trace_tell(&e->shard.trace, &session, TRACE_WE, SPAN("QUIT"));
	assert_int_equal(buf_len(&c.told), 0);
	join(e, &d);
	say(&d, "{\"command\":\"trace\",\"options\":{\"to\":\"u@b.example\"}}\n");
	assert_error(&d, "trace: to: not a domain name");
	engine_free(e);
	buf_fini(&c.told);
	buf_fini(&d.told);
}

static void
a_trace_of_a_listener_that_is_not_declared_is_refused(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	trace_init(&e->shard.trace, 1, 1);
	join(e, &c);
	say(&c, "{\"command\":\"trace\",\"options\":{\"listener\":\"nosuch:25\"}}\n");
	assert_error(&c, "no such listener: nosuch:25");
	assert_true(c.closed);
	engine_free(e);
	buf_fini(&c.told);
}

static void
a_listing_ends_with_its_peer(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	add_queues(e, "site%u/mta-1", 1000);
	join(e, &c);
	say(&c, "{\"command\":\"queues\"}\n");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_true(c.closed);
	engine_free(e);
	buf_fini(&c.told);
}

static void
requests_may_come_in_pieces_or_many_at_once(void **state)
{
	static const char two[] = "{\"command\":\"status\"}\r\n\n{\"command\":\"frob\"}\n";
	struct engine *e = engine_new();

	for (size_t step = 1; step < sizeof(two); step++) {
		struct client c;
		join(e, &c);
		for (size_t at = 0; at < sizeof(two) - 1; at += step) {
			size_t left = sizeof(two) - 1 - at;
			c.conn.events->on_data(c.conn.ctx, span_make(two + at, left < step ? left : step));
		}
		json_decref(take_result(&c));
		assert_error(&c, "no such command: frob");
		c.conn.events->on_close(c.conn.ctx, NULL);
		assert_true(c.closed);
		assert_int_equal(buf_len(&c.told), 0);
		buf_fini(&c.told);
	}
	engine_free(e);
}

static void
who_does_not_listen_is_not_served(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	unsigned answers = 0;
	struct buf many;

	buf_init(&many, 0);
	for (int i = 0; i < 3000; i++)
		buf_add_text(&many, "{\"command\":\"status\"}\n");
	join(e, &c);
	say(&c, buf_text(&many));
	assert_true(c.paused);
	assert_true(c.pending < 300 * 1024);
	drain(&c);
	assert_false(c.paused);
	for (; buf_len(&c.told); answers++)
		json_decref(take_result(&c));
	assert_int_equal(answers, 3000);
	engine_free(e);
	buf_fini(&many);
	buf_fini(&c.told);
}

static void
who_breaks_the_protocol_hears_why_and_is_closed(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	struct buf megabyte;

	join(e, &c);
	say(&c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_error(&c, "one line of JSON");
	assert_true(c.closed);
	buf_fini(&c.told);

	join(e, &c);
	say(&c, "{\"command\":\"sta");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_error(&c, "ends with a line feed");
	assert_true(c.closed);
	buf_fini(&c.told);

	buf_init(&megabyte, 0);
	buf_printf(&megabyte, "%01000000d", 0);
	for (int whole = 0; whole < 2; whole++) {
		join(e, &c);
		if (whole)
			buf_add_char(&megabyte, '\n');
		say(&c, buf_text(&megabyte));
		assert_error(&c, "65536 bytes");
		assert_true(c.closed);
		buf_fini(&c.told);
	}
	buf_fini(&megabyte);
	engine_free(e);
}

static void
silence_ends_a_connection_and_bytes_keep_it(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	join(e, &c);
	for (int i = 0; i < 5; i++) {
		e->loop.now.mono += 29 * US_PER_S;
		timers_run(&e->loop.timers, e->loop.now);
		assert_false(c.closed);
		say(&c, " ");
	}
	e->loop.now.mono += 30 * US_PER_S;
	timers_run(&e->loop.timers, e->loop.now);
	assert_error(&c, "silence");
	assert_true(c.closed);
	engine_free(e);
	buf_fini(&c.told);
}

static void
only_root_and_our_own_user_are_answered(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	join_as(e, &c, geteuid() + 1);
	assert_error(&c, "only root");
	assert_true(c.closed);
	buf_fini(&c.told);
	join_as(e, &c, 0);
	assert_false(c.closed);
	say(&c, "{\"command\":\"status\"}\n");
	json_decref(take_result(&c));
	engine_free(e);
	buf_fini(&c.told);
}

static void
the_seventeenth_connection_is_turned_away(void **state)
{
	struct engine *e = engine_new();
	struct client c[17];

	for (size_t i = 0; i < countof(c); i++)
		join(e, &c[i]);
	assert_false(c[15].closed);
	assert_error(&c[16], "too many");
	assert_true(c[16].closed);
	buf_fini(&c[16].told);
	c[3].conn.events->on_close(c[3].conn.ctx, NULL);
	join(e, &c[16]);
	assert_false(c[16].closed);
	engine_free(e);
	for (size_t i = 0; i < countof(c); i++)
		buf_fini(&c[i].told);
}

static void
a_socket_that_cannot_be_had_is_an_error(void **state)
{
	struct engine *e = engine_new();
	struct err err = { 0 };

	e->refuses_to_listen = true;
	assert_null(control_open(&e->shards, "/x", &err));
	assert_string_equal(err.text, "cannot listen on /x");
	engine_free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_comes_from_the_shard),
		cmocka_unit_test(why_is_the_gates_answer_or_the_nearest_name),
		cmocka_unit_test(acts_reach_the_engine_as_asked),
		cmocka_unit_test(what_a_command_does_not_know_is_refused_and_touches_nothing),
		cmocka_unit_test(a_name_too_long_for_a_queue_is_refused),
		cmocka_unit_test(a_long_listing_comes_in_pieces_most_queued_first),
		cmocka_unit_test(queues_that_end_while_they_are_listed_have_no_row),
		cmocka_unit_test(an_address_or_an_id_is_looked_for_in_every_queue),
		cmocka_unit_test(a_long_search_that_finds_nothing_ends),
		cmocka_unit_test(a_search_ends_with_its_peer_and_holds_nothing),
		cmocka_unit_test(a_trace_tells_what_is_wanted_and_drops_what_is_not_read),
		cmocka_unit_test(a_trace_takes_a_domain_however_it_is_written),
		cmocka_unit_test(a_trace_of_a_listener_that_is_not_declared_is_refused),
		cmocka_unit_test(a_listing_ends_with_its_peer),
		cmocka_unit_test(requests_may_come_in_pieces_or_many_at_once),
		cmocka_unit_test(who_does_not_listen_is_not_served),
		cmocka_unit_test(who_breaks_the_protocol_hears_why_and_is_closed),
		cmocka_unit_test(silence_ends_a_connection_and_bytes_keep_it),
		cmocka_unit_test(only_root_and_our_own_user_are_answered),
		cmocka_unit_test(the_seventeenth_connection_is_turned_away),
		cmocka_unit_test(a_socket_that_cannot_be_had_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
