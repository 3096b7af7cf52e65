/*
 * gate - every reason that can hold a queue back, each looked at once.
 *
 * One table of small looks, in CLI.md's order, so that the scheduler's fast
 * question, the report and the documents cannot drift apart: gate_session()
 * and gate_message() run the same looks as gate_decide() and keep only the worst.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/gate.h"

#include "queue/queue_hand.h"

#define SPOOL_ASK_US US_PER_S               /* it tries a batch each second */
#define RESERVE_US (2 * US_PER_S)       /* for how long a session on its way may claim a message of a rate */

static const char *const names[] = {
#define X(id, name) [GATE_##id] = name,
	GATES(X)
#undef X
};

const char *
gate_name(enum gate gate)
{
	return names[gate];
}

static const enum gate cap_gates[SCOPES_N] = {
	[SCOPE_QUEUE] = GATE_MAX_SMTP_OUT, [SCOPE_SITE] = GATE_TOTAL_MAX_SMTP_OUT,
	[SCOPE_VMTA] = GATE_VMTA_MAX_SMTP_OUT, [SCOPE_POOL] = GATE_POOL_MAX_SMTP_OUT,
	[SCOPE_NODE] = GATE_NODE_MAX_SMTP_OUT,
};
static const enum gate connect_gates[SCOPES_N] = {
	[SCOPE_QUEUE] = GATE_MAX_CONNECT_RATE, [SCOPE_SITE] = GATE_TOTAL_MAX_CONNECT_RATE,
	[SCOPE_VMTA] = GATE_VMTA_MAX_CONNECT_RATE, [SCOPE_POOL] = GATE_POOL_MAX_CONNECT_RATE,
	[SCOPE_NODE] = GATES_N,         /* the node has none */
};
static const enum gate message_gates[SCOPES_N] = {
	[SCOPE_QUEUE] = GATE_MAX_MSG_RATE, [SCOPE_SITE] = GATE_TOTAL_MAX_MSG_RATE,
	[SCOPE_VMTA] = GATE_VMTA_MAX_MSG_RATE, [SCOPE_POOL] = GATE_POOL_MAX_MSG_RATE,
	[SCOPE_NODE] = GATE_NODE_MAX_MSG_RATE,
};

/* When each of a scope's limits opens for the queue: now, later, or MONO_NEVER. Where others
 * stand in the scope's line before the queue, what they wait for is closed to it. */
static bool
others_first(const struct queue *q, int i, enum scope_line line)
{
	return i != SCOPE_QUEUE && scope_others_first(q->scopes[i], line, &q->waiter);
}

static mono_us_t
cap_opens(const struct queue *q, int i, mono_us_t now)
{
	const struct scope *scope = q->scopes[i];

	if (gauge_in_use(&scope->use->sessions) >= scope->limits.max_smtp_out)
		return MONO_NEVER;
	/* A place that is free is the first one's; if they wait for a rate, that is said instead. */
	return rate_unlimited(&scope->limits.max_connect_rate) && rate_unlimited(&scope->limits.max_msg_rate) &&
	       others_first(q, i, SCOPE_LINE_SESSIONS) ? MONO_NEVER : now;
}

static mono_us_t
connects_open(const struct queue *q, int i, mono_us_t now)
{
	const struct scope *scope = q->scopes[i];
	const struct rate_spec *spec = &scope->limits.max_connect_rate;

	if (rate_unlimited(spec))
		return now;
	if (gauge_in_use(&scope->use->sessions) < scope->limits.max_smtp_out && others_first(q, i, SCOPE_LINE_SESSIONS))
		return MONO_NEVER;
	return rate_ready_at(&scope->use->connects, spec, now);
}

static mono_us_t
messages_open(const struct queue *q, int i, mono_us_t now)
{
	const struct scope *scope = q->scopes[i];
	const struct rate_spec *spec = &scope->limits.max_msg_rate;

	if (rate_unlimited(spec))
		return now;
	if (others_first(q, i, SCOPE_LINE_MESSAGES))
		return MONO_NEVER;
	return rate_ready_at(&scope->use->messages, spec, now);
}

/* A session on its way will take a message: what it will take is not there for another new one, asked again when
 * it has taken it, or the rate lets one more go. But a site that does not answer must not keep from others the rate of what is wider than it. */
static mono_us_t
unreserved(const struct queue *q, int i, mono_us_t now)
{
	const struct scope *scope = q->scopes[i];
	const struct rate_spec *spec = &scope->limits.max_msg_rate;
	uint32_t connecting;
	mono_us_t at;

	if (rate_unlimited(spec))
		return now;
	if (rate_unlimited(&scope->limits.max_connect_rate) && gauge_in_use(&scope->use->sessions) < scope->limits.max_smtp_out &&
	    others_first(q, i, SCOPE_LINE_SESSIONS))
		return MONO_NEVER;
	connecting = atomic_load(&scope->use->connecting);
	if (connecting == 0)
		return now;
	at = rate_ready_for(&scope->use->messages, spec, connecting + 1, now);
	if (at <= now || i <= SCOPE_SITE)
		return at;
	return min_i64(at, max_i64(now, atomic_load_explicit(&scope->use->connecting_at, memory_order_relaxed) + RESERVE_US));
}

struct worst {
	mono_us_t until;
	enum gate gate;
	int       scope;                /* SCOPES_N: none */
	enum scope_line line;
};

static void
worse(struct worst *worst, mono_us_t until, enum gate gate, int scope, enum scope_line line)
{
	if (until > worst->until || (until == worst->until && worst->gate != GATES_N && gate < worst->gate))
		*worst = (struct worst){ until, gate, scope, line };
}

static mono_us_t
suspended_opens(const struct queue *q, mono_us_t now)
{
	return max_i64(q->hold.suspended_until, now);
}

static mono_us_t
sources_open(const struct queue *q, mono_us_t now)
{
	return max_i64(q->hold.sources_until, now);
}

static mono_us_t
retry_opens(const struct queue *q, mono_us_t now)
{
	return q->retry_until > now ? q->retry_until : now;
}

/* The soonest that a route which could not be asked is asked again. */
static mono_us_t
dns_opens(const struct queue *q, mono_us_t now)
{
	mono_us_t at = MONO_NEVER;      /* asked; the answer is on its way */

	list_each(node, &q->routes) {
		const struct route *route = list_entry(node, struct route, in_queue);

		if (route->state == ROUTE_FAILED && route->retry_at > now && !list_empty(&route->waiting))
			at = min_i64(at, route->retry_at);
	}
	return at;
}

/* For the coverage of policies: what was asked had a say, open or closed. */
static void
tell_used(const struct queue *q, bool for_session)
{
	const struct queues_options *o = &q->queues->o;

	queue_used(q, SETTING_paused);
	for (int i = 0; i < SCOPES_N; i++) {
		const struct scope_limits *limits = q->scopes[i] != NULL ? &q->scopes[i]->limits : NULL;
		bool total = i == SCOPE_SITE;

		if (limits != NULL && for_session) {
			o->on_used(o->used_ctx, &limits->max_smtp_out_where, total ? "total_max_smtp_out" : "max_smtp_out");
			o->on_used(o->used_ctx, &limits->max_connect_rate_where, total ? "total_max_connect_rate" : "max_connect_rate");
		}
		if (limits != NULL)
			o->on_used(o->used_ctx, &limits->max_msg_rate_where, total ? "total_max_msg_rate" : "max_msg_rate");
	}
}

/* What would be sent now might be sent again after a crash. */
static bool
stopped_by_spool(const struct queue *q)
{
	return q->queues->o.spool != NULL && spool_stalls(q->queues->o.spool);
}

static struct worst
look(const struct queue *q, bool for_session, mono_us_t now)
{
	struct worst worst = { now, GATES_N, SCOPES_N, SCOPE_LINE_SESSIONS };

	if (q->queues->o.on_used != NULL)
		tell_used(q, for_session);
	if (q->settings->paused || q->paused_by_hand)
		worse(&worst, MONO_NEVER, GATE_PAUSED, SCOPES_N, 0);
	if (stopped_by_spool(q))
		worse(&worst, now + SPOOL_ASK_US, GATE_SPOOL, SCOPES_N, 0);
	worse(&worst, suspended_opens(q, now), GATE_SUSPENDED, SCOPES_N, 0);
	if (for_session)
		worse(&worst, sources_open(q, now), GATE_SOURCE_DISABLED, SCOPES_N, 0);
	if (for_session || q->deferred_by_rule)
		worse(&worst, retry_opens(q, now), GATE_RETRY_AFTER, SCOPES_N, 0);
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL)
			continue;
		if (for_session) {
			worse(&worst, cap_opens(q, i, now), cap_gates[i], i, SCOPE_LINE_SESSIONS);
			worse(&worst, connects_open(q, i, now), connect_gates[i], i, SCOPE_LINE_SESSIONS);
		}
		worse(&worst, messages_open(q, i, now), message_gates[i], i, SCOPE_LINE_MESSAGES);
		if (for_session)
			worse(&worst, unreserved(q, i, now), message_gates[i], i, SCOPE_LINE_SESSIONS);
	}
	return worst;
}

mono_us_t
gate_session(const struct queue *queue, mono_us_t now, struct gate_wait *wait)
{
	struct worst worst = look(queue, true, now);

	*wait = (struct gate_wait){ worst.gate, worst.scope, worst.line };
	return worst.until;
}

mono_us_t
gate_message(const struct queue *queue, mono_us_t now, struct gate_wait *wait)
{
	struct worst worst = look(queue, false, now);

	*wait = (struct gate_wait){ worst.gate, worst.scope, worst.line };
	return worst.until;
}

/* ---- the report ---- */

static void
add(struct gate_answer *out, const struct gate_state *state, bool always)
{
	if (state->open && !always)
		return;
	check(out->n < GATES_N);
	out->all[out->n++] = *state;
}

static void
add_time(struct gate_answer *out, enum gate gate, mono_us_t until, mono_us_t now, const struct where *where, bool always)
{
	struct gate_state state = { .gate = gate, .open = until <= now, .until = until };

	if (where != NULL)
		state.where = *where;
	add(out, &state, always);
}

static void
add_cap(struct gate_answer *out, enum gate gate, mono_us_t until, const struct scope *scope, mono_us_t now)
{
	struct gate_state state = {
		.gate = gate, .until = until, .kind = GATE_LIMIT_COUNT,
		.limit = scope->limits.max_smtp_out, .in_use = gauge_in_use(&scope->use->sessions),
		.where = scope->limits.max_smtp_out_where,
	};

	state.open = state.until <= now;
	add(out, &state, scope->limits.max_smtp_out != UNLIMITED || gate == GATE_MAX_SMTP_OUT);
}

static void
add_rate(struct gate_answer *out, enum gate gate, mono_us_t until, const struct rate_spec *spec,
	 const struct where *where, mono_us_t now)
{
	struct gate_state state = {
		.gate = gate, .open = until <= now, .until = until, .kind = GATE_LIMIT_RATE,
		.rate = *spec, .where = *where,
	};

	add(out, &state, !rate_unlimited(spec));
}

static void
add_scopes(struct gate_answer *out, const struct queue *q, mono_us_t now)
{
	for (int i = 0; i < SCOPES_N; i++) {
		const struct scope *scope = q->scopes[i];

		if (scope == NULL)
			continue;
		add_cap(out, cap_gates[i], cap_opens(q, i, now), scope, now);
		if (connect_gates[i] != GATES_N)
			add_rate(out, connect_gates[i], connects_open(q, i, now), &scope->limits.max_connect_rate,
				 &scope->limits.max_connect_rate_where, now);
		add_rate(out, message_gates[i], max_i64(messages_open(q, i, now), unreserved(q, i, now)),
			 &scope->limits.max_msg_rate,
			 &scope->limits.max_msg_rate_where, now);
	}
}

/* Where nobody is ready: what the first of them waits for. */
static void
add_recipients(struct gate_answer *out, const struct queue *q, mono_us_t now)
{
	const struct queue_settings *s = queue_settings_now(q);
	const struct heap_node *due = heap_min(&q->deferred);
	mono_us_t dns = q->routing_n > 0 ? dns_opens(q, now) : MONO_NEVER;

	if (q->ready_n > 0)
		return;
	if (q->routing_n > 0 && (due == NULL || dns < due->key))
		add_time(out, GATE_DNS, dns, now, &s->where[SETTING_retry_after_dns_error], false);
	else if (due != NULL)
		add_time(out, GATE_RETRY_RECIPIENTS_AFTER, due->key, now, &s->where[SETTING_retry_recipients_after], false);
}

static int
by_gate(const void *a, const void *b)
{
	return (int)((const struct gate_state *)a)->gate - (int)((const struct gate_state *)b)->gate;
}

void
gate_decide(const struct queue *q, mono_us_t now, struct gate_answer *out)
{
	const struct queue_settings *s = queue_settings_now(q);
	bool only_held = q->held_n > 0 && q->held_n == queue_n(q);
	mono_us_t held_until = only_held ? queue_held_until(q) : 0;
	bool paused = s->paused || q->paused_by_hand || held_until == MONO_NEVER;

	memset(out, 0, sizeof *out);
	add_time(out, GATE_PAUSED, paused ? MONO_NEVER : now, now,
		 q->paused_by_hand || (only_held && !s->paused) ? NULL : &s->where[SETTING_paused], true);
	add_time(out, GATE_SUSPENDED, max_i64(suspended_opens(q, now), held_until == MONO_NEVER ? now : held_until), now,
		 q->hold.suspended_until > now ? &q->hold.suspended_where : NULL, true);
	add_time(out, GATE_RETRY_AFTER, retry_opens(q, now), now, &s->where[SETTING_retry_after], true);
	add_recipients(out, q, now);
	/* Bounced, and over when the report is stored. */
	if (q->sending_n > 0 && q->sending_n + q->held_n == queue_n(q) && q->slots_n == 0)
		add_time(out, GATE_SPOOL, MONO_NEVER, now, NULL, false);
	else if (stopped_by_spool(q))
		add_time(out, GATE_SPOOL, now + SPOOL_ASK_US, now, NULL, false);
	add_scopes(out, q, now);
	add_time(out, GATE_SOURCE_DISABLED, sources_open(q, now), now, &q->hold.sources_where, false);
	if (queue_n(q) == 0)
		add_time(out, GATE_EMPTY, MONO_NEVER, now, NULL, false);

	qsort(out->all, out->n, sizeof *out->all, by_gate);
	out->open = true;
	for (unsigned i = 0; i < out->n; i++) {
		if (out->all[i].open || (!out->open && out->all[i].until <= out->binding.until))
			continue;
		/* Sessions that the spool keeps idle fill the caps. */
		if (out->all[i].kind == GATE_LIMIT_COUNT && stopped_by_spool(q))
			continue;
		out->open = false;
		out->binding = out->all[i];
	}
}
