/*
 * accept - waits for the sync, then routes.
 *
 * The envelope stays in memory between the two, so that routing needs no read;
 * it goes when the recipients are placed, and all that is needed until then lives in its arena.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/accept.h"

#include "queue/queue_own.h"

#define META_KEPT (64 * 1024)           /* bytes */

struct accept {
	struct list     node;           /* queues->accepting */
	struct queues  *queues;
	struct message *message;
	struct arena    arena;
	struct envelope envelope;
	accept_fn      *on_done;
	void           *ctx;
};

static void
on_commit(void *ctx, const struct err *err)
{
	struct accept *accept = ctx;
	struct arena arena = accept->arena;

	list_remove(&accept->node);
	if (err == NULL)
		queues_add(accept->queues, accept->message, &accept->envelope, NULL,
			   loop_now(accept->queues->o.loop));
	else
		message_free(accept->message);
	accept->on_done(accept->ctx, err, &accept->envelope, &arena);
	arena_fini(&arena);
}

void
accept_message(struct queues *queues, struct spool_writer *writer, struct arena *arena,
	       const struct envelope *envelope, struct span head, accept_fn *on_done, void *ctx)
{
	struct accept *accept = arena_alloc(arena, sizeof *accept);
	struct buf *meta = &queues->meta;

	check(envelope->rcpts_n > 0);
	check(envelope->rcpts_n <= UINT16_MAX);
	accept->queues = queues;
	list_add_tail(&queues->accepting, &accept->node);
	accept->arena = *arena;
	arena_init(arena);
	accept->envelope = *envelope;
	accept->on_done = on_done;
	accept->ctx = ctx;
	accept->message = pool_take(&queues->messages_pool, message_bytes(envelope->rcpts_n));
	accept->message->spool.id = envelope->id;
	buf_clear(meta);
	envelope_encode(envelope, meta);
	spool_commit(writer, &accept->message->spool, (uint16_t)envelope->rcpts_n, buf_span(meta), head,
		     on_commit, accept);
	if (meta->cap > META_KEPT)
		buf_fini(meta);
}

bool
accept_is_under_way(const struct queues *queues, const char *vmta)
{
	list_each(node, &queues->accepting)
		if (span_eq(list_entry(node, struct accept, node)->envelope.vmta, span_text(vmta)))
			return true;
	return false;
}
