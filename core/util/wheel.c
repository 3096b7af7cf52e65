/*
 * A hashed timing wheel (Varghese and Lauck, 1987, scheme 6). A run first takes
 * all that is due off the slots and then calls: a callback may add and remove
 * what it likes, and what it adds for the past waits for the next tick.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/wheel.h"

void
wheel_init(struct wheel *wheel, mono_us_t tick_us, mono_us_t now)
{
	check(tick_us > 0);
	wheel->tick_us = tick_us;
	wheel->done = now / tick_us;
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		list_init(&wheel->slots[i]);
}

void
wheel_node_init(struct wheel_node *node)
{
	list_init(&node->link);
	node->at = 0;
}

static struct list *
slot_of_tick(struct wheel *wheel, int64_t tick)
{
	return &wheel->slots[(uint64_t)tick % WHEEL_SLOTS];
}

void
wheel_add(struct wheel *wheel, struct wheel_node *node, mono_us_t at)
{
	check(!list_linked(&node->link));
	int64_t tick = at / wheel->tick_us + (at > 0 && at % wheel->tick_us != 0);
	node->at = at;
	list_add_tail(slot_of_tick(wheel, max_i64(tick, wheel->done + 1)), &node->link);
}

void
wheel_remove(struct wheel_node *node)
{
	list_remove(&node->link);
}

static void
collect_due(struct list *slot, mono_us_t until, struct list *due)
{
	list_each_safe(link, slot) {
		struct wheel_node *node = list_entry(link, struct wheel_node, link);
		if (node->at > until)
			continue;
		list_remove(link);
		list_add_tail(due, link);
	}
}

void
wheel_run(struct wheel *wheel, mono_us_t now,
	  void (*fn)(void *ctx, struct wheel_node *node), void *ctx)
{
	int64_t current = now / wheel->tick_us;
	int64_t first = max_i64(wheel->done + 1, current - WHEEL_SLOTS + 1);
	struct list due;
	list_init(&due);
	for (int64_t tick = first; tick <= current; tick++)
		collect_due(slot_of_tick(wheel, tick), current * wheel->tick_us, &due);
	wheel->done = max_i64(wheel->done, current);
	while (!list_empty(&due)) {
		struct wheel_node *node = list_first(&due, struct wheel_node, link);
		list_remove(&node->link);
		fn(ctx, node);
	}
}
