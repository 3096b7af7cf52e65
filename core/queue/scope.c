/*
 * scope - lines of queues at a shared cap or rate.
 *
 * A turn is given to the head of the line, which tries everything again. It
 * ends in one of three ways: it took something (and stands at the end again if
 * it wants more), it has to wait elsewhere (the turn passes on), or this scope
 * is still closed (it is back at the head, and nobody behind it can do better).
 *
 * Where other shards have lines too, a line that is not the first of them gives no
 * turns and has no timer: its shard stands in the row while the line has waiters, and
 * is called when it is first. As the first it keeps the turn while the scope is closed,
 * since no other shard could do better, and passes it on when its line is empty or as
 * many turns were taken as it had waiters at the beginning.
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

/* ---- one line ---- */

/* It, or the shard's, may give turns: no other shard's line comes before it. */
static bool
is_first(const struct scope_queue *line)
{
	return line->place == NULL || turns_first(line->place);
}

static bool
others_stand(const struct scope_queue *line)
{
	return line->place != NULL && turns_others(line->place);
}

/* The first one tries again. False: it is closed. */
static bool
give_turn(struct scope_queue *line, struct now now)
{
	struct scope_waiter *first = list_first(&line->waiters, struct scope_waiter, node);

	list_remove(&first->node);
	line->n--;
	first->scope = NULL;
	first->turn = true;
	first->turn_in = line;
	first->served = false;
	first->on_turn(first, now);
	first->turn = false;
	return first->served || first->scope != line->scope || line->waiters.next != &first->node;
}

/* No more turns here, for nobody waits or the others' come. */
static void
end_turn(struct scope_queue *line)
{
	timer_stop(line->scope->timers, &line->timer);
	line->has_turn = false;
	if (line->place == NULL || !line->place->stands)
		return;
	if (list_empty(&line->waiters))
		turns_leave(line->place);
	else
		turns_pass(line->place);
}

/* A hundred thousand may stand here, and nobody has looked at the next one for long. */
static void
tell_near(const struct scope_queue *line)
{
	const struct list *node = line->waiters.next;

	for (unsigned turns = 0; turns < SCOPE_NEAR && node != &line->waiters; turns++, node = node->next) {
		const struct scope_waiter *waiter = list_entry(node, const struct scope_waiter, node);

		if (waiter->on_near != NULL)
			waiter->on_near(waiter, turns);
	}
}

static void
line_wake(struct scope_queue *line, struct now now)
{
	bool closed = false;

	if (!line->has_turn) {
		line->has_turn = true;
		line->left = line->n;
	}
	line->giving++;
	while (!closed && !list_empty(&line->waiters) && (line->left > 0 || !others_stand(line))) {
		closed = !give_turn(line, now);
		if (!closed && line->left > 0)
			line->left--;
		if (!closed)
			tell_near(line);
	}
	/* A turn in a turn leaves the rest to the outer one. */
	if (--line->giving == 0 && !closed)
		end_turn(line);
}

static void
wake(struct scope_queue *line, struct now now)
{
	if (!is_first(line))
		turns_call(line->place);
	else if (!list_empty(&line->waiters))
		line_wake(line, now);
}

static void
on_line_timer(void *ctx, struct now now)
{
	wake(ctx, now);
}

void
scope_init(struct scope *scope, struct timers *timers)
{
	scope->limits.max_smtp_out = scope->declared.max_smtp_out = UNLIMITED;
	scope->use = &scope->own;
	scope->timers = timers;
}

static void
make_lines(struct scope *scope)
{
	scope->lines = mem_alloc(SCOPE_LINES_N * sizeof *scope->lines);
	for (unsigned i = 0; i < SCOPE_LINES_N; i++) {
		struct scope_queue *line = &scope->lines[i];

		list_init(&line->waiters);
		timer_init(&line->timer, on_line_timer, line);
		line->scope = scope;
	}
}

void
scope_fini(struct scope *scope)
{
	check(gauge_in_use(&scope->own.sessions) == 0);
	for (unsigned i = 0; i < SCOPE_LINES_N && scope->lines != NULL; i++) {
		struct scope_queue *line = &scope->lines[i];

		check(list_empty(&line->waiters));
		timer_stop(scope->timers, &line->timer);
		if (line->place != NULL)
			turns_exit(line->place);
	}
	free(scope->lines);
	scope->lines = NULL;
}

void
scope_share(struct scope *scope, struct scope_use *use, struct turns *const turns[SCOPE_LINES_N], unsigned me)
{
	make_lines(scope);
	scope->use = use;
	for (unsigned i = 0; i < SCOPE_LINES_N; i++)
		scope->lines[i].place = turns_enter(turns[i], me, scope->timers, &scope->lines[i].timer);
}

/* ---- waiters ---- */

void
scope_waiter_init(struct scope_waiter *waiter, void (*on_turn)(struct scope_waiter *waiter, struct now now),
		  void (*on_near)(const struct scope_waiter *waiter, unsigned turns))
{
	list_init(&waiter->node);
	waiter->scope = NULL;
	waiter->turn = waiter->served = false;
	waiter->on_turn = on_turn;
	waiter->on_near = on_near;
}

void
scope_wait(struct scope *scope, enum scope_line which, struct scope_waiter *waiter, mono_us_t at)
{
	struct scope_queue *line;

	if (scope->lines == NULL)
		make_lines(scope);
	line = &scope->lines[which];
	if (waiter->scope != scope || waiter->line != which) {
		scope_leave(waiter);
		/* Who comes from another line has not stood here: a row of them would otherwise be turned round. */
		if (waiter->turn && !waiter->served && waiter->turn_in == line)
			list_add_head(&line->waiters, &waiter->node);
		else
			list_add_tail(&line->waiters, &waiter->node);
		line->n++;
		waiter->scope = scope;
		waiter->line = which;
		if (line->place != NULL && !line->place->stands && turns_stand(line->place))
			at = 0;
	}
	if (at != MONO_NEVER && is_first(line) && (!timer_started(&line->timer) || at < line->timer.node.key))
		timer_start(line->scope->timers, &line->timer, at);
}

void
scope_leave(struct scope_waiter *waiter)
{
	struct scope_queue *line;

	if (waiter->scope == NULL)
		return;
	line = &waiter->scope->lines[waiter->line];
	list_remove(&waiter->node);
	line->n--;
	waiter->scope = NULL;
	/* One shard's line may keep its time: nobody is kept waiting by it. */
	if (line->place != NULL && list_empty(&line->waiters) && line->giving == 0)
		end_turn(line);
}

bool
scope_others_first(const struct scope *scope, enum scope_line which, const struct scope_waiter *waiter)
{
	const struct scope_queue *line;

	if (scope->lines == NULL || (waiter->turn && !waiter->served))
		return false;
	line = &scope->lines[which];
	if (list_empty(&line->waiters))
		return others_stand(line);
	return line->waiters.next != &waiter->node || !is_first(line);
}

bool
scope_others_wait(const struct scope *scope, enum scope_line which, const struct scope_waiter *waiter)
{
	const struct list *waiters;

	if (scope->lines == NULL)
		return false;
	waiters = &scope->lines[which].waiters;
	if (!list_empty(waiters) && (waiters->next != &waiter->node || waiters->prev != &waiter->node))
		return true;
	return others_stand(&scope->lines[which]);
}

void
scope_wake_soon(struct scope *scope, mono_us_t now)
{
	for (unsigned i = 0; i < SCOPE_LINES_N && scope->lines != NULL; i++) {
		struct scope_queue *line = &scope->lines[i];

		if (!is_first(line))
			turns_call(line->place);
		else if (!list_empty(&line->waiters))
			timer_start(line->scope->timers, &line->timer, now);
	}
}

void
scope_wake(struct scope *scope, struct now now)
{
	for (unsigned i = 0; i < SCOPE_LINES_N && scope->lines != NULL; i++)
		wake(&scope->lines[i], now);
}

void
scope_gave_back(struct scope *scope, mono_us_t now)
{
	if (!scope_is_shared(scope))
		return;
	atomic_thread_fence(memory_order_seq_cst);      /* rate_give() alone says nothing of what comes after it */
	scope_wake_soon(scope, now);
}
