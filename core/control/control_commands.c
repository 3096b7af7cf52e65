/*
 * One row a command: its arguments, the options it knows, its function. What a
 * command does not know is refused, never ignored: `drop` with a misspelt
 * `job` would drop everything.
 *
 * A queue exists only while it holds mail. So a name that matches none is an
 * error where the command could only act on mail (why, retry, bounce, drop),
 * with the nearest name that is there; a pattern that matches none touched
 * nothing; and a pause holds for queues to come, whatever is there now.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_commands.h"

#include "control/control_search.h"
#include "delivery/outcome.h"
#include "policy/reaction_book.h"
#include "queue/warmup.h"

#define NEAREST_LOOKED_AT 20000u        /* queues; a hint is not worth holding up the mail */
#define NAME_MAX_BYTES    400u          /* a domain, a slash, a virtual MTA */

struct call {
	struct shard *shard;
	const struct control_request *request;
	struct now now;
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
	queues_match(call->shard->queues, SPAN("*"), nearer, &nearest);
	if (nearest.found)
		return err_set(err, ERR_PERM, "no such queue: %.200s (nearest: %.60s)", nearest.name.p, nearest.found);
	return err_set(err, ERR_PERM, "no such queue: %.200s", nearest.name.p);
}

static bool
is_missing(const struct call *call)
{
	struct span name = argument(call);
	return span_find(name, '*') == SIZE_MAX && !queues_find(call->shard->queues, name);
}

json_t *
control_status(const struct shard *shard, mono_us_t now)
{
	const struct queues *queues = shard->queues;
	struct spool_stats spool = { 0 };

	if (shard->spool)
		spool_stats(shard->spool, &spool);
	return control_answer_status(&(struct control_status){
		.version = SLUICE_VERSION,
		.policy = queues->o.ruleset->file,
		.generation = shard->generation,
		.queued = queues->rcpts_n,
		.deferred = queues->deferred_n,
		.queues = queues->queues.n,
		.sessions_in = shard->sessions_in,
		.sessions_out = queues->sessions_n,
		.received = shard->received,
		.delivered = shard->delivered,
		.bounced = shard->bounced,
		.uptime_us = now - shard->started,
		.spool_bytes = spool.bytes,
		.spool_messages = spool.live_messages,
		.refusing = spool.refusing ? spool.why : shard->memory_full ? "memory_limit is reached" : NULL,
	});
}

static bool
on_status(const struct call *call, struct err *err)
{
	control_answer_ok(control_status(call->shard, call->now.mono), call->out);
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
	*call->stream_out = control_listing_new(call->shard->queues, argument(call), (unsigned)most);
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
	const struct queue *queue = queues_find(call->shard->queues, argument(call));

	if (!queue && control_search_fits(argument(call))) {
		*call->stream_out = control_search_new(call->shard->queues, argument(call));
		return true;
	}
	if (!queue)
		return no_such_queue(call, err);
	control_answer_ok(control_why(queue, call->now.mono), call->out);
	return true;
}

static bool
touched(const struct call *call, unsigned queues, uint64_t recipients)
{
	control_answer_ok(control_answer_touched(queues, recipients), call->out);
	return true;
}

static bool
on_pause(const struct call *call, struct err *err)
{
	unsigned queues = 0;
	bool paused = !strcmp(call->request->command, "pause");
	uint64_t n = queues_pause(call->shard->queues, argument(call), option(call, "job"), paused, &queues, call->now);
	return touched(call, queues, n);
}

static bool
on_suspend(const struct call *call, struct err *err)
{
	unsigned queues = 0;
	int64_t lasts_us;
	uint64_t n;

	if (!duration_parse(span_text(call->request->arguments[1]), false, &lasts_us, err))
		return err_prefix(err, "suspend: how long: ");
	if (option(call, "job") != NULL && lasts_us == DURATION_NEVER)
		return err_set(err, ERR_PERM, "suspend: a job that is held without an end is paused: sluice pause --job");
	if (option(call, "job") != NULL)
		n = queues_suspend_job(call->shard->queues, argument(call), option(call, "job"), lasts_us, &queues, call->now);
	else
		n = queues_suspend(call->shard->queues, argument(call), lasts_us, &queues, call->now);
	return touched(call, queues, n);
}

static bool
on_lift(const struct call *call, struct err *err)
{
	const char *name = call->request->arguments_n > 1 ? call->request->arguments[1] : NULL;
	const char *job = option(call, "job");
	unsigned queues = 0;
	uint64_t n;

	if (job != NULL && name != NULL)
		return err_set(err, ERR_PERM, "lift: a job has no overlays that have names; leave out one of the two");
	if (job != NULL)
		n = queues_pause(call->shard->queues, argument(call), job, false, &queues, call->now);
	else
		n = queues_lift(call->shard->queues, argument(call), name, &queues, call->now);
	/* What lies on a queue outlives it, so only a name that nothing lies on is a mistake. */
	if (queues == 0 && is_missing(call))
		return no_such_queue(call, err);
	return touched(call, queues, n);
}

static bool
on_retry(const struct call *call, struct err *err)
{
	unsigned queues = 0;
	uint64_t n;

	if (is_missing(call))
		return no_such_queue(call, err);
	n = queues_retry(call->shard->queues, argument(call), option(call, "recipients") != NULL,
			 option(call, "job"), &queues, call->now);
	return touched(call, queues, n);
}

static bool
on_bounce(const struct call *call, struct err *err)
{
	unsigned queues = 0;
	uint64_t n;

	if (is_missing(call))
		return no_such_queue(call, err);
	n = outcome_bounce_by_hand(call->shard, argument(call), option(call, "job"), &queues, call->now);
	return touched(call, queues, n);
}

static bool
on_drop(const struct call *call, struct err *err)
{
	unsigned queues = 0;
	uint64_t n;

	if (is_missing(call))
		return no_such_queue(call, err);
	n = outcome_drop_by_hand(call->shard, argument(call), option(call, "job"), &queues, call->now);
	return touched(call, queues, n);
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
control_command(struct shard *shard, const struct control_request *request, struct now now,
		struct buf *out, struct control_stream **stream_out, struct err *err)
{
	const struct command *command = find(request->command);
	struct call call = { .shard = shard, .request = request, .now = now, .out = out, .stream_out = stream_out };

	*stream_out = NULL;
	if (!command)
		return err_set(err, ERR_PERM, "no such command: %.40s", request->command);
	if (!command->run)
		return err_set(err, ERR_PERM, "%s: this connection traces already", command->name);
	return is_fit(command, request, err) && command->run(&call, err);
}
