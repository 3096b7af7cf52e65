/*
 * Beside the turns that each shard has by itself a piece of this answer is a share of one shard's: so it
 * is not behind them, and needs no timer of its own.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_drop.h"

#include "control/control_answers.h"
#include "delivery/outcome.h"

struct drop {
	struct control_stream stream;
	struct shards *shards;
	unsigned       queues;
	uint64_t       recipients;
};

static bool
drop_next(struct control_stream *stream, unsigned work_max, struct now now, struct buf *out)
{
	struct drop *drop = container_of(stream, struct drop, stream);

	for (unsigned i = 0; i < drop->shards->n; i++) {
		struct shard *shard = drop->shards->all[i];

		if (outcome_drop_on(shard, loop_now(shard->loop)))
			return true;
	}
	control_answer_ok(control_answer_touched(drop->queues, drop->recipients), out);
	return false;
}

static void
drop_free(struct control_stream *stream)
{
	free(container_of(stream, struct drop, stream));
}

struct control_stream *
control_drop_new(struct shards *shards, unsigned queues, uint64_t recipients)
{
	struct drop *drop = mem_alloc(sizeof *drop);

	*drop = (struct drop){ { drop_next, drop_free }, shards, queues, recipients };
	return &drop->stream;
}
