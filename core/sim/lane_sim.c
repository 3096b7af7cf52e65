/*
 * lane_sim - what is under way on links of one latency arrives in the order it
 * left. So it stands in a ring, not in the loop's heap: an arrival costs the
 * same with ten thousand connections as with one.
 *
 * An entry only says "look at this conn now". A conn that was closed, or is
 * used again, finds nothing due and does nothing, so nobody takes entries back;
 * the memory of conns is the wire's and outlives the lanes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "sim/conn_sim.h"

#define LANES_MAX   64u         /* of one wire; further latencies use the heap */
#define ENTRIES_MIN 64u

struct lane_entry {
	mono_us_t        at;
	struct conn_sim *c;
};

struct lane_sim {
	struct list        link;        /* of the wire's */
	struct loop       *loop;
	mono_us_t          latency_us;
	struct sim_event   due;         /* the first entry is */
	struct lane_entry *ring;
	uint32_t           first, n, cap;       /* cap is a power of two */
};

static struct lane_entry *
entry_at(const struct lane_sim *lane, uint32_t i)
{
	return &lane->ring[(lane->first + i) & (lane->cap - 1)];
}

static void
on_due(void *ctx)
{
	struct lane_sim *lane = ctx;
	mono_us_t now = loop_now(lane->loop).mono;

	while (lane->n && entry_at(lane, 0)->at <= now) {
		struct conn_sim *c = entry_at(lane, 0)->c;

		lane->first = (lane->first + 1) & (lane->cap - 1);
		lane->n--;
		conn_sim_arrive(c);
	}
	if (lane->n)
		loop_sim_at(lane->loop, &lane->due, entry_at(lane, 0)->at);
}

struct lane_sim *
lane_sim_find(struct wire *wire, mono_us_t latency_us)
{
	struct lane_sim *lane;
	unsigned n = 0;

	list_each (pos, &wire->lanes) {
		lane = list_entry(pos, struct lane_sim, link);
		if (lane->latency_us == latency_us)
			return lane;
		n++;
	}
	if (n == LANES_MAX)
		return NULL;
	lane = mem_alloc(sizeof(*lane));
	lane->loop = wire->loop;
	lane->latency_us = latency_us;
	lane->due = (struct sim_event){ .fn = on_due, .ctx = lane };
	lane->cap = ENTRIES_MIN;
	lane->ring = mem_alloc(lane->cap * sizeof(*lane->ring));
	list_add_tail(&wire->lanes, &lane->link);
	return lane;
}

void
lane_sim_add(struct lane_sim *lane, struct conn_sim *c)
{
	mono_us_t at = loop_now(lane->loop).mono + lane->latency_us;

	if (lane->n == lane->cap) {
		struct lane_entry *ring = mem_alloc(2 * lane->cap * sizeof(*ring));

		for (uint32_t i = 0; i < lane->n; i++)
			ring[i] = *entry_at(lane, i);
		free(lane->ring);
		lane->ring = ring;
		lane->first = 0;
		lane->cap *= 2;
	}
	lane->n++;
	*entry_at(lane, lane->n - 1) = (struct lane_entry){ .at = at, .c = c };
	if (lane->n == 1)
		loop_sim_at(lane->loop, &lane->due, at);
}

void
lane_sim_free_all(struct wire *wire)
{
	list_each_safe(pos, &wire->lanes) {
		struct lane_sim *lane = list_entry(pos, struct lane_sim, link);

		loop_sim_cancel(wire->loop, &lane->due);
		list_remove(pos);
		free(lane->ring);
		free(lane);
	}
}
