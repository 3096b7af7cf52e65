/*
 * One row a command: its arguments, the options it knows, its function. What a
 * command does not know is refused, never ignored: `drop` with a misspelt
 * `job` would drop everything.
 *
 * A queue exists only while it holds mail. So a name that matches none is an
 * error where the command could only act on mail (why, retry, bounce, drop),
 * with the nearest name that is there; a pattern that matches none touched
 * nothing; and a pause holds for queues to come, whatever is there now.
 *
 * A queue is one shard's, so what is done by pattern is done in each of them, on
 * that one's own clock: another's reading may be a turn behind it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_commands.h"

#include "control/control_drop.h"
#include "control/control_search.h"
#include "delivery/outcome.h"
#include "policy/reaction_book.h"
#include "queue/queue_hand.h"
#include "queue/warmup.h"

#define NEAREST_LOOKED_AT 20000u        /* queues; a hint is not worth holding up the mail */
#define NAME_MAX_BYTES    400u          /* a domain, a slash, a virtual MTA */

struct call {
	struct shards *shards;
	const struct control_request *request;
	struct buf *out;
	struct control_stream **stream_out;
};

static struct span
argument(const struct call *call)
{
	return call->request->arguments_n ? span_text(call->request->arguments[0]) : SPAN("*");
}

static const char *
option(const struct call *call, const char *name)
{
	return control_request_option(call->request, name);
}

static struct now
first_now(const struct call *call)
{
	return loop_now(call->shards->all[0]->loop);
}

struct nearest {
	struct span name;
	unsigned distance, looked_at;
	const char *found;
};

static void
nearer(void *ctx, struct queue *queue)
{
	struct nearest *nearest = ctx;
	struct span name = span_text(queue->name);
	unsigned distance;

	if (nearest->looked_at++ >= NEAREST_LOOKED_AT || name.n > NAME_MAX_BYTES)
		return;
	if (span_starts_nocase(name, nearest->name))    /* "google" of "google/mta-1" */
		distance = 1;
	else
		distance = span_distance(name, nearest->name);
	if (distance >= nearest->distance)
		return;
	nearest->distance = distance;
	nearest->found = queue->name;
}

static bool
no_such_queue(const struct call *call, struct err *err)
{
	struct nearest nearest = { .name = argument(call) };

	nearest.distance = 3 + (unsigned)nearest.name.n / 4;
	for (unsigned i = 0; i < call->shards->n; i++)
		queues_match(call->shards->all[i]->queues, SPAN("*"), nearer, &nearest);
	if (nearest.found)
		return err_set(err, ERR_PERM, "no such queue: %.200s (nearest: %.60s)", nearest.name.p, nearest.found);
	return err_set(err, ERR_PERM, "no such queue: %.200s", nearest.name.p);
}

static bool
is_missing(const struct call *call)
{
	struct span name = argument(call);
	return span_find(name, '*') == SIZE_MAX && !shards_find_queue(call->shards, name);
}

/* Who is ready in a queue that waits for its retry waits for it too. */
static uint64_t
deferred(const struct queues *queues, mono_us_t now)
{
	const struct queue *queue;
	uint64_t n = queues->deferred_n;
	uint32_t pos = 0;

	while ((queue = table_next(&queues->queues, &pos)) != NULL)
		if (queue->retry_until > now)
			n += queue->ready_n;
	return n;
}

static void
add_status(struct control_status *sum, const struct shard *shard)
{
	const struct queues *queues = shard->queues;

	sum->queued += queues->rcpts_n;
	sum->deferred += deferred(queues, loop_now(shard->loop).mono);
	sum->queues += queues->queues.n;
	sum->sessions_in += shard->sessions_in;
	sum->sessions_out += queues->sessions_n;
	sum->received += shard->received;
	sum->delivered += shard->delivered;
	sum->bounced += shard->bounced;
}

json_t *
control_status(const struct shards *shards, mono_us_t now)
{
	const struct shard *first = shards->all[0];
	struct spool_stats spool = { 0 };
	struct err trouble;
	struct control_status sum = {
		.version = SLUICE_VERSION, .policy = first->queues->o.ruleset->file, .generation = first->generation,
		.uptime_us = now - first->started,
	};

	if (first->spool)
		spool_stats(first->spool, &spool);
	sum.spool_bytes = spool.bytes;
	sum.spool_messages = spool.live_messages;
	sum.refusing = spool.refusing ? spool.why : first->memory_full ? "memory_limit is reached" : NULL;
	if (first->account != NULL) {
		sum.accounting_trouble = account_trouble(first->account, &trouble) ? trouble.text : NULL;
		sum.accounting_lost = account_lost(first->account);
	}
	for (unsigned i = 0; i < shards->n; i++)
		add_status(&sum, shards->all[i]);
	return control_answer_status(&sum);
}

static bool
on_status(const struct call *call, struct err *err)
{
	control_answer_ok(control_status(call->shards, first_now(call).mono), call->out);
	return true;
}

static bool
on_queues(const struct call *call, struct err *err)
{
	const char *limit = option(call, "limit");
	char *end = NULL;
	unsigned long long most = limit ? strtoull(limit, &end, 10) : UINT32_MAX;

	if (most == 0 || most > UINT32_MAX || (limit && (*end || !(limit[0] >= '0' && limit[0] <= '9'))))
		return err_set(err, ERR_PERM, "queues: limit must be a number from 1 on");
	*call->stream_out = control_listing_new(call->shards, argument(call), (unsigned)most);
	return true;
}

static struct ceiling
queue_ceiling(const struct queue *queue)
{
	const struct scope_limits *limits[SCOPES_N];

	for (unsigned i = 0; i < SCOPES_N; i++)
		limits[i] = queue->scopes[i] ? &queue->scopes[i]->limits : NULL;
	return ceiling_of(queue_settings_now(queue), limits);
}

struct overlay_list {
	const struct queue *queue;
	json_t   *rows;
	mono_us_t now;
};

/* An overlay outlives its rule; the policy of now has none of that name. */
static bool
rule_is_gone(const struct queue *queue, const struct overlay *overlay)
{
	if (overlay->where.file == NULL || strcmp(overlay->name, "on.reply") == 0)
		return false;
	if (strcmp(overlay->name, "warm-up") == 0)
		return queue->vmta->warmup == NULL;
	return !reaction_book_has(queue->queues->o.ruleset->reactions, span_text(overlay->name));
}

static void
add_overlay(void *ctx, const struct overlay *overlay)
{
	struct overlay_list *list = ctx;

	json_t *row = control_answer_overlay(overlay, list->now);

	json_object_set_new(row, "rule_gone", json_boolean(rule_is_gone(list->queue, overlay)));
	json_array_append_new(list->rows, row);
}

/* null: it does not warm up */
static json_t *
control_warmup(const struct queue *queue)
{
	struct warmup_state state;

	if (!warmup_state(queue, loop_now(queue->queues->o.loop).wall, &state))
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I}", "day", (json_int_t)state.day, "per_day", (json_int_t)state.per_day,
			 "used", (json_int_t)state.used, "left", (json_int_t)state.left);
}

json_t *
control_why(const struct queue *queue, mono_us_t now)
{
	struct overlay_list overlays = { .queue = queue, .rows = json_array(), .now = now };
	struct gate_answer gates;
	struct control_row row;
	struct ceiling ceiling;

	gate_decide(queue, now, &gates);
	control_listing_row(queue, &gates, now, &row);
	ceiling = queue_ceiling(queue);
	queue_overlays(queue, add_overlay, &overlays);
	json_t *why = control_answer_why(&row, &gates, overlays.rows, &ceiling, now);
	json_object_set_new(why, "warmup", control_warmup(queue));
	return why;
}

static bool
on_why(const struct call *call, struct err *err)
{
	const struct queue *queue = shards_find_queue(call->shards, argument(call));

	if (!queue && control_search_fits(argument(call))) {
		*call->stream_out = control_search_new(call->shards, argument(call));
		return true;
	}
	if (!queue)
		return no_such_queue(call, err);
	control_answer_ok(control_why(queue, loop_now(queue->queues->o.loop).mono), call->out);
	return true;
}

/* ---- by pattern ---- */

/* How many recipients one shard's part of it touched. */
typedef uint64_t act_fn(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now);

struct touched {
	unsigned queues;
	uint64_t recipients;
};

/* saves: who is told that it is done may pull the plug. One shard's queues see to that themselves. */
static struct touched
for_each_shard(const struct call *call, act_fn *act, bool saves)
{
	struct touched sum = { 0 };

	for (unsigned i = 0; i < call->shards->n; i++) {
		struct shard *shard = call->shards->all[i];
		unsigned queues = 0;

		sum.recipients += act(call, shard, &queues, loop_now(shard->loop));
		sum.queues += queues;
	}
	if (saves && call->shards->n > 1)
		shards_save_now(call->shards);
	return sum;
}

static bool
tell(const struct call *call, struct touched sum)
{
	control_answer_ok(control_answer_touched(sum.queues, sum.recipients), call->out);
	return true;
}

static uint64_t
pause_in(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now)
{
	bool paused = !strcmp(call->request->command, "pause");

	return queues_pause(shard->queues, argument(call), option(call, "job"), paused, queues_out, now);
}

static bool
on_pause(const struct call *call, struct err *err)
{
	return tell(call, for_each_shard(call, pause_in, true));
}

static uint64_t
suspend_in(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now)
{
	const char *job = option(call, "job");
	struct err err = { 0 };
	int64_t lasts_us;

	check(duration_parse(span_text(call->request->arguments[1]), false, &lasts_us, &err));
	if (job != NULL)
		return queues_suspend_job(shard->queues, argument(call), job, lasts_us, queues_out, now);
	return queues_suspend(shard->queues, argument(call), lasts_us, queues_out, now);
}

static bool
on_suspend(const struct call *call, struct err *err)
{
	int64_t lasts_us;

	if (!duration_parse(span_text(call->request->arguments[1]), false, &lasts_us, err))
		return err_prefix(err, "suspend: how long: ");
	if (option(call, "job") != NULL && lasts_us == DURATION_NEVER)
		return err_set(err, ERR_PERM, "suspend: a job that is held without an end is paused: sluice pause --job");
	return tell(call, for_each_shard(call, suspend_in, true));
}

static const char *
overlay_name(const struct call *call)
{
	return call->request->arguments_n > 1 ? call->request->arguments[1] : NULL;
}

static uint64_t
lift_in(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now)
{
	const char *job = option(call, "job");

	if (job != NULL)
		return queues_pause(shard->queues, argument(call), job, false, queues_out, now);
	return queues_lift(shard->queues, argument(call), overlay_name(call), queues_out, now);
}

static bool
on_lift(const struct call *call, struct err *err)
{
	struct touched sum;

	if (option(call, "job") != NULL && overlay_name(call) != NULL)
		return err_set(err, ERR_PERM, "lift: a job has no overlays that have names; leave out one of the two");
	sum = for_each_shard(call, lift_in, true);
	/* What lies on a queue outlives it, so only a name that nothing lies on is a mistake. */
	if (sum.queues == 0 && is_missing(call))
		return no_such_queue(call, err);
	return tell(call, sum);
}

static uint64_t
retry_in(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now)
{
	return queues_retry(shard->queues, argument(call), option(call, "recipients") != NULL, option(call, "job"), queues_out, now);
}

static uint64_t
bounce_in(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now)
{
	return outcome_bounce_by_hand(shard, argument(call), option(call, "job"), queues_out, now);
}

static uint64_t
drop_in(const struct call *call, struct shard *shard, unsigned *queues_out, struct now now)
{
	return outcome_drop_by_hand(shard, argument(call), option(call, "job"), queues_out, now);
}

static bool
act_on_mail(const struct call *call, act_fn *act, struct err *err)
{
	if (is_missing(call))
		return no_such_queue(call, err);
	return tell(call, for_each_shard(call, act, false));
}

static bool
on_retry(const struct call *call, struct err *err)
{
	return act_on_mail(call, retry_in, err);
}

static bool
on_bounce(const struct call *call, struct err *err)
{
	return act_on_mail(call, bounce_in, err);
}

/* Who is told that it is done may rely on it: nothing of it leaves any more. */
static bool
on_drop(const struct call *call, struct err *err)
{
	struct touched sum;

	if (is_missing(call))
		return no_such_queue(call, err);
	sum = for_each_shard(call, drop_in, false);
	*call->stream_out = control_drop_new(call->shards, sum.queues, sum.recipients);
	return true;
}

#define A_QUEUE "one argument: a queue"

static const struct command {
	const char *name;
	unsigned    arguments_min, arguments_max;
	const char *arguments;          /* in words */
	const char *options[3];
	bool      (*run)(const struct call *call, struct err *err);
} commands[] = {
	{ "status",  0, 0, "no arguments",                      { NULL },                on_status },
	{ "queues",  0, 1, "at most one argument: a pattern",   { "limit" },             on_queues },
	{ "why",     1, 1, A_QUEUE ", a message or a recipient", { NULL },               on_why },
	{ "trace",   0, 0, "no arguments",                      { "to", "queue", "listener" }, NULL /* control.c's */ },
	{ "pause",   1, 1, A_QUEUE,                             { "job" },               on_pause },
	{ "resume",  1, 1, A_QUEUE,                             { "job" },               on_pause },
	{ "suspend", 2, 2, "two arguments: a queue, how long",  { "job" },               on_suspend },
	{ "lift",    1, 2, "a queue, and the name of an overlay", { "job" },             on_lift },
	{ "retry",   1, 1, A_QUEUE,                             { "job", "recipients" }, on_retry },
	{ "bounce",  1, 1, A_QUEUE,                             { "job" },               on_bounce },
	{ "drop",    1, 1, A_QUEUE,                             { "job" },               on_drop },
};

static const struct command *
find(const char *name)
{
	for (size_t i = 0; i < countof(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static bool
knows(const struct command *command, const char *name)
{
	for (size_t i = 0; i < countof(command->options); i++)
		if (command->options[i] && !strcmp(command->options[i], name))
			return true;
	return false;
}

static bool
is_fit(const struct command *command, const struct control_request *request, struct err *err)
{
	const char *name;
	json_t *value;
	const char *job = control_request_option(request, "job");

	if (request->arguments_n < command->arguments_min || request->arguments_n > command->arguments_max)
		return err_set(err, ERR_PERM, "%s takes %s", command->name, command->arguments);
	if (request->arguments_n && strlen(request->arguments[0]) > NAME_MAX_BYTES)
		return err_set(err, ERR_PERM, "no queue has a name of over %u bytes", NAME_MAX_BYTES);
	json_object_foreach(request->options, name, value) {
		if (!knows(command, name))
			return err_set(err, ERR_PERM, "%s: no such option: %.40s", command->name, name);
	}
	if (job && !*job)
		return err_set(err, ERR_PERM, "%s: job must name a job", command->name);
	return true;
}

bool
control_command_fits(const struct control_request *request, struct err *err)
{
	const struct command *command = find(request->command);

	check(command != NULL);
	return is_fit(command, request, err);
}

bool
control_command(struct shards *shards, const struct control_request *request, struct buf *out,
		struct control_stream **stream_out, struct err *err)
{
	const struct command *command = find(request->command);
	struct call call = { .shards = shards, .request = request, .out = out, .stream_out = stream_out };

	*stream_out = NULL;
	if (!command)
		return err_set(err, ERR_PERM, "no such command: %.40s", request->command);
	if (!command->run)
		return err_set(err, ERR_PERM, "%s: this connection traces already", command->name);
	return is_fit(command, request, err) && command->run(&call, err);
}
