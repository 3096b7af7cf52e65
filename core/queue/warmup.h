/*
 * warmup - how many recipients of a day still go out by a virtual MTA that warms
 * up; the rest goes by its overflow.
 *
 * Time    The wall clock's days, in UTC, counted from the declared start.
 * Limits  Never more than the day's number, whatever its sessions and hands do. A crash forgets at
 *         most what went out since the last checkpoint, a second ago.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue.h"

struct warmup_state {
	int64_t   day;                  /* 1 …; 0: it has not begun */
	uint32_t  per_day, used, left;
	wall_ms_t ends;                 /* the day */
};

/* False: the queue does not warm up. */
bool warmup_state(const struct queue *queue, wall_ms_t now, struct warmup_state *out);
/* How many may go now; UINT32_MAX: any number. At 0 the rest is on its way to the overflow. */
uint32_t warmup_available(struct queue *queue, struct now now);
void warmup_take(struct queue *queue, uint32_t n, struct now now);

/* The mail of one queue goes by another from now on: what went out today counts there. */
struct warmup_used {
	int64_t  day;                   /* 0: nothing did */
	uint32_t used;
	bool     is_moving;
};
struct warmup_used warmup_used(const struct queue *from);
void warmup_inherit(struct queue *heir, const struct warmup_used *used);

void warmups_save(struct queues *queues, uint8_t kind, struct buf *out);
bool warmups_load(struct queues *queues, struct span *in, bool clean);         /* one, behind its kind; queues NULL: past it. False: damaged */
void warmups_free(struct queues *queues);
