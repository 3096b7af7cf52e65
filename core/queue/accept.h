/*
 * accept - a message's way in: made durable first, then queued.
 *
 * Used by reception and for our own reports; nothing gets into a queue but
 * through here or by recovery.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/queue.h"

/* The envelope is there for the call, in *arena: who takes that over (and leaves it empty) has it for longer. */
typedef void accept_fn(void *ctx, const struct err *err, const struct envelope *envelope, struct arena *arena);

/* Ends the writer. Takes *arena over (it is left empty): the envelope and all it points to must live there.
 * envelope->id and received must be set, its virtual MTA known to the ruleset. on_done comes later,
 * never from within; err NULL: the message is durable and queued. */
void accept_message(struct queues *queues, struct spool_writer *writer, struct arena *arena,
		    const struct envelope *envelope, struct span head, accept_fn *on_done, void *ctx);
/* A message of that virtual MTA is on its way to the disk. */
bool accept_is_under_way(const struct queues *queues, const char *vmta);
