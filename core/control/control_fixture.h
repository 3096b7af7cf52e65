/*
 * control_fixture - for tests: the socket through a fake door, and a fake engine
 * behind it: queues made by hand, and functions of queue/, spool/ and delivery/ that
 * only note what they were asked. All that control uses of them stands here, so that
 * the linker takes none of the real ones.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "control/control.h"
#include "control/control_trace.h"
#include "delivery/outcome.h"
#include "queue/queue_hand.h"
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
	unsigned      shares;           /* that a drop takes */
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

static inline uint64_t
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

bool
outcome_drop_on(struct shard *shard, struct now now)
{
	struct engine *e = (struct engine *)shard->queues;

	e->shares -= e->shares > 0;
	return e->shares > 0;
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

static inline void
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

static inline void
fake_write(struct conn *conn, struct span bytes)
{
	struct client *client = container_of(conn, struct client, conn);
	check(!client->closed);
	buf_add(&client->told, bytes);
	client->pending += bytes.n;
}

static inline size_t
fake_pending(const struct conn *conn)
{
	return container_of(conn, struct client, conn)->pending;
}

static inline void
fake_pause(struct conn *conn, bool paused)
{
	container_of(conn, struct client, conn)->paused = paused;
}

static inline void
fake_close(struct conn *conn)
{
	struct client *client = container_of(conn, struct client, conn);
	check(!client->closed);
	client->closed = true;
}

static const struct conn_ops fake_conn_ops = { .write = fake_write, .pending = fake_pending, .pause = fake_pause, .close = fake_close };

static inline struct listener *
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

static inline void
fake_unlisten(struct listener *listener)
{
	container_of(listener, struct engine, listener)->listening = false;
}

static const struct net_ops fake_net_ops = { .listen_unix = fake_listen, .listener_close = fake_unlisten };

static inline struct engine *
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

static inline void
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

static inline void
join_as(struct engine *e, struct client *client, uint32_t uid)
{
	*client = (struct client){ .conn = { .ops = &fake_conn_ops, .peer_uid = uid } };
	buf_init(&client->told, 0);
	e->on_accept(e->on_accept_ctx, &client->conn);
}

static inline void
join(struct engine *e, struct client *client)
{
	join_as(e, client, geteuid());
}

static inline void
say(struct client *client, const char *text)
{
	client->conn.events->on_data(client->conn.ctx, span_text(text));
}

/* The peer reads all it was sent. */
static inline void
drain(struct client *client)
{
	while (!client->closed && client->pending) {
		client->pending = 0;
		client->conn.events->on_drained(client->conn.ctx);
	}
}

/* The end of a test: of the engine, and of the one peer. */
static inline void
leave(struct engine *e, struct client *client)
{
	engine_free(e);
	buf_fini(&client->told);
}

static inline json_t *
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

static inline void
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

static inline json_t *
take_result(struct client *client)
{
	json_t *answer = next_answer(client), *result;

	assert_true(json_is_true(json_object_get(answer, "ok")));
	result = json_incref(json_object_get(answer, "result"));
	assert_non_null(result);
	json_decref(answer);
	return result;
}
