/*
 * scope - lines of queues at a shared cap or rate.
 *
 * A turn is given to the head of the line, which tries everything again. It
 * ends in one of three ways: it took something (and stands at the end again if
 * it wants more), it has to wait elsewhere (the turn passes on), or this scope
 * is still closed (it is back at the head, and nobody behind it can do better).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/scope.h"

/* Settings, a virtual MTA and a pool name them alike. */
#define LIMITS(of, prefix) { \
	(of)->prefix##max_smtp_out, (of)->prefix##max_connect_rate, (of)->prefix##max_msg_rate, \
	(of)->where[SETTING_##prefix##max_smtp_out], (of)->where[SETTING_##prefix##max_connect_rate], \
	(of)->where[SETTING_##prefix##max_msg_rate] }
#define OWN_LIMITS(of) { \
	(of)->max_smtp_out, (of)->max_connect_rate, (of)->max_msg_rate, \
	(of)->max_smtp_out_where, (of)->max_connect_rate_where, (of)->max_msg_rate_where }

struct scope_limits
scope_limits_of_queue(const struct queue_settings *settings)
{
	return (struct scope_limits)LIMITS(settings, );
}

struct scope_limits
scope_limits_of_site(const struct queue_settings *settings)
{
	return (struct scope_limits)LIMITS(settings, total_);
}

struct scope_limits
scope_limits_of_vmta(const struct ruleset_vmta *vmta)
{
	return (struct scope_limits)OWN_LIMITS(vmta);
}

struct scope_limits
scope_limits_of_pool(const struct ruleset_pool *pool)
{
	return (struct scope_limits)OWN_LIMITS(pool);
}

struct scope_limits
scope_limits_of_node(const struct ruleset_node *node)
{
	return (struct scope_limits){
		.max_smtp_out = node->max_smtp_out, .max_msg_rate = node->max_msg_rate,
		.max_smtp_out_where = node->max_smtp_out_where, .max_msg_rate_where = node->max_msg_rate_where,
	};
}

static void
line_wake(struct scope_queue *line, struct now now)
{
	while (!list_empty(&line->waiters)) {
		struct scope_waiter *first = list_first(&line->waiters, struct scope_waiter, node);

		list_remove(&first->node);
		first->scope = NULL;
		first->turn = true;
		first->turn_in = line;
		first->served = false;
		first->on_turn(first, now);
		first->turn = false;
		if (!first->served && first->scope == line->scope &&
		    line->waiters.next == &first->node)
			return;
	}
	timer_stop(line->scope->timers, &line->timer);
}

static void
on_line_timer(void *ctx, struct now now)
{
	line_wake(ctx, now);
}

void
scope_init(struct scope *scope, struct timers *timers)
{
	scope->limits.max_smtp_out = scope->declared.max_smtp_out = UNLIMITED;
	scope->timers = timers;
	for (unsigned i = 0; i < SCOPE_LINES_N; i++) {
		list_init(&scope->lines[i].waiters);
		timer_init(&scope->lines[i].timer, on_line_timer, &scope->lines[i]);
		scope->lines[i].scope = scope;
	}
}

void
scope_fini(struct scope *scope)
{
	check(gauge_in_use(&scope->sessions) == 0);
	for (unsigned i = 0; i < SCOPE_LINES_N; i++) {
		check(list_empty(&scope->lines[i].waiters));
		timer_stop(scope->timers, &scope->lines[i].timer);
	}
}

void
scope_waiter_init(struct scope_waiter *waiter, void (*on_turn)(struct scope_waiter *waiter, struct now now))
{
	list_init(&waiter->node);
	waiter->scope = NULL;
	waiter->turn = waiter->served = false;
	waiter->on_turn = on_turn;
}

void
scope_wait(struct scope *scope, enum scope_line which, struct scope_waiter *waiter, mono_us_t at)
{
	struct scope_queue *line = &scope->lines[which];

	if (waiter->scope != scope || waiter->line != which) {
		scope_leave(waiter);
		/* Who comes from another line has not stood here: a row of them would otherwise be turned round. */
		if (waiter->turn && !waiter->served && waiter->turn_in == line)
			list_add_head(&line->waiters, &waiter->node);
		else
			list_add_tail(&line->waiters, &waiter->node);
		waiter->scope = scope;
		waiter->line = which;
	}
	if (at != MONO_NEVER && (!timer_started(&line->timer) || at < line->timer.node.key))
		timer_start(scope->timers, &line->timer, at);
}

void
scope_leave(struct scope_waiter *waiter)
{
	if (waiter->scope == NULL)
		return;
	list_remove(&waiter->node);
	waiter->scope = NULL;
}

bool
scope_others_first(const struct scope *scope, enum scope_line which, const struct scope_waiter *waiter)
{
	const struct scope_queue *line = &scope->lines[which];

	if (list_empty(&line->waiters) || (waiter->turn && !waiter->served))
		return false;
	return line->waiters.next != &waiter->node;
}

bool
scope_others_wait(const struct scope *scope, enum scope_line which, const struct scope_waiter *waiter)
{
	const struct list *waiters = &scope->lines[which].waiters;

	return !list_empty(waiters) && (waiters->next != &waiter->node || waiters->prev != &waiter->node);
}

void
scope_wake_soon(struct scope *scope, mono_us_t now)
{
	for (unsigned i = 0; i < SCOPE_LINES_N; i++)
		if (!list_empty(&scope->lines[i].waiters))
			timer_start(scope->timers, &scope->lines[i].timer, now);
}

void
scope_wake(struct scope *scope, struct now now)
{
	for (unsigned i = 0; i < SCOPE_LINES_N; i++)
		if (!list_empty(&scope->lines[i].waiters))
			line_wake(&scope->lines[i], now);
}
