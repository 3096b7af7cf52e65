/*
 * world_report - what the world was doing, for whom a spec has failed.
 *
 * An event is a line of the node's log, something the world did, or a record of
 * the ledger; a record is written out only when it is told, for there may be
 * millions of them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#include <stdarg.h>

#include "queue/queue_hand.h"

#define QUEUES_TOLD 10u
#define EVENTS_TOLD 10u

static struct world_event *
next_event(struct world *world)
{
	struct world_event *event = &world->events[world->events_n++ % WORLD_EVENTS];

	event->at = loop_now(world->loop).mono;
	event->record = SIZE_MAX;
	return event;
}

void
world_note(struct world *world, const char *format, ...)
{
	struct world_event *event = next_event(world);
	va_list ap;

	va_start(ap, format);
	vsnprintf(event->text, sizeof event->text, format, ap);
	va_end(ap);
}

void
world_note_record(struct world *world)
{
	next_event(world)->record = ledger_n(world->ledger) - 1;
}

struct telling {
	struct world *world;
	void        (*line)(void *ctx, const char *text);
	void         *ctx;
	unsigned      queues;
};

static void
tell(const struct telling *t, const char *format, ...)
{
	char text[1000];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	t->line(t->ctx, text);
}

/* "closed: max_smtp_out (20 of 20), policies/x.lua:14" */
static void
gate_text(const struct gate_answer *gates, mono_us_t now, char *out, size_t size)
{
	const struct gate_state *g = &gates->binding;
	char until[40] = "", limit[80] = "", rate[48], lasts[32], where[300] = "";

	if (gates->open) {
		snprintf(out, size, "open");
		return;
	}
	if (g->until != MONO_NEVER) {
		duration_format(max_i64(g->until - now, 0), lasts);
		snprintf(until, sizeof until, " for %s", lasts);
	}
	if (g->kind == GATE_LIMIT_COUNT && g->limit != UNLIMITED)
		snprintf(limit, sizeof limit, " (%u of %u)", g->in_use, g->limit);
	if (g->kind == GATE_LIMIT_RATE && !rate_unlimited(&g->rate)) {
		rate_format(&g->rate, rate);
		snprintf(limit, sizeof limit, " (%s)", rate);
	}
	if (g->where.file != NULL)
		snprintf(where, sizeof where, ", %.280s:%d", g->where.file, g->where.line);
	snprintf(out, size, "closed by %s%s%s%s", gate_name(g->gate), limit, until, where);
}

static void
tell_queue(void *ctx, struct queue *queue)
{
	struct telling *t = ctx;
	mono_us_t now = loop_now(t->world->loop).mono;
	struct gate_answer gates;
	char text[500];

	if (queue_n(queue) == 0 || ++t->queues > QUEUES_TOLD)
		return;
	gate_decide(queue, now, &gates);
	gate_text(&gates, now, text, sizeof text);
	tell(t, "%s: %u queued, %u sessions; %s%s%s", queue->name, queue_n(queue), gauge_in_use(&queue->scope.use->sessions), text,
	     queue->last_error != NULL ? "; last error: " : "", queue->last_error != NULL ? queue->last_error : "");
}

static void
tell_record(const struct telling *t, double at_s, size_t i)
{
	static const char *const what[] = { "delivered", "bounced", "deferred", "attempt failed", "received" };
	struct account_record r;

	ledger_read(t->world->ledger, i, &r);
	tell(t, "%12.3f  %.*s: %s %.*s%s%.*s", at_s, SPAN_ARG(r.queue), what[r.type], SPAN_ARG(r.rcpt),
	     r.diag.n > 0 ? ": " : "", SPAN_ARG(r.diag));
}

void
world_report(struct world *world, void (*line)(void *ctx, const char *text), void *ctx)
{
	struct telling t = { world, line, ctx, 0 };
	uint64_t n = (uint64_t)min_i64((int64_t)world->events_n, EVENTS_TOLD);
	char now[32];

	duration_format(world_now(world), now);
	tell(&t, "%s with seed %llu, %.3f s after it began (%s)", world->policy, (unsigned long long)world->o.seed,
	     (double)world_now(world) / (double)US_PER_S, now);
	if (world->shards == NULL)
		tell(&t, "the node is down");
	for (unsigned i = 0; world->shards != NULL && i < world->shards->n; i++)
		queues_match(world->shards->all[i]->queues, SPAN("*"), tell_queue, &t);
	if (t.queues > QUEUES_TOLD)
		tell(&t, "and %u more queues with mail", t.queues - QUEUES_TOLD);
	for (uint64_t i = world->events_n - n; i < world->events_n; i++) {
		const struct world_event *event = &world->events[i % WORLD_EVENTS];
		double at_s = (double)(event->at - WORLD_START_US) / (double)US_PER_S;

		if (event->record != SIZE_MAX)
			tell_record(&t, at_s, event->record);
		else
			tell(&t, "%12.3f  %s", at_s, event->text);
	}
}
