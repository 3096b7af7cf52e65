/*
 * drops - by turns, because a line in the accounting wants the envelope, and that is in
 * the spool: a million reads while all stand still for a command would hold up the mail for
 * as long as the disk likes, and the watchdog would end the process for it.
 *
 * An operator's word outlives an orderly end: what has had no turn by then is over without
 * being read.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/drops.h"

#define SLICE 200               /* recipients in a turn of the loop */

struct drops {
	struct shard *shard;
	struct timer  timer;
	struct rcpt **rcpts;
	size_t        n, cap, next;
};

static void
on_turn(void *ctx, struct now now)
{
	drops_run(ctx, now);
}

struct drops *
drops_new(struct shard *shard)
{
	struct drops *drops = mem_alloc(sizeof *drops);

	drops->shard = shard;
	timer_init(&drops->timer, on_turn, drops);
	return drops;
}

static void
forget_all(struct drops *drops)
{
	free(drops->rcpts);
	drops->rcpts = NULL;
	drops->n = drops->cap = drops->next = 0;
}

void
drops_free(struct shard *shard)
{
	struct drops *drops = shard->drops;
	struct now now;

	if (drops == NULL)
		return;
	now = loop_now(shard->loop);
	timer_stop(&shard->loop->timers, &drops->timer);
	if (drops->next < drops->n && shard->account != NULL)
		log_warning(shard->log, "%zu recipients are dropped without a line in the accounting: the node ends", drops->n - drops->next);
	while (drops->next < drops->n)
		outcome_settle_dropped(shard, drops->rcpts[drops->next++], false, now);
	forget_all(drops);
	free(drops);
	shard->drops = NULL;
}

void
drops_add(struct drops *drops, struct rcpt *rcpt)
{
	if (drops->n == drops->cap) {
		drops->cap = drops->cap > 0 ? drops->cap * 2 : 64;
		drops->rcpts = mem_grow(drops->rcpts, drops->cap * sizeof(struct rcpt *));
	}
	drops->rcpts[drops->n++] = rcpt;
	if (!timer_started(&drops->timer))
		timer_start(&drops->shard->loop->timers, &drops->timer, loop_now(drops->shard->loop).mono);
}

bool
drops_run(struct drops *drops, struct now now)
{
	size_t end = drops->n - drops->next > SLICE ? drops->next + SLICE : drops->n;

	if (drops->n == 0)
		return false;
	while (drops->next < end)
		outcome_settle_dropped(drops->shard, drops->rcpts[drops->next++], true, now);
	spool_hurry(drops->shard->spool);
	if (drops->next == drops->n)
		forget_all(drops);
	else if (!timer_started(&drops->timer))
		timer_start(&drops->shard->loop->timers, &drops->timer, now.mono);
	return true;
}
