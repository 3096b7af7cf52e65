/*
 * drops - recipients that an operator drops, until they are over: a share of them at
 * each turn of the loop.
 *
 * Ownership  One for a shard, made and ended with delivery. Each recipient here is
 *            SENDING and has no session.
 * Limits     So many recipients in a turn; the rest waits in memory, a pointer each.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "delivery/outcome.h"

struct drops *drops_new(struct shard *shard);
/* What is still to be dropped is, without its line in the accounting. */
void drops_free(struct shard *shard);
void drops_add(struct drops *drops, struct rcpt *rcpt);
/* A turn's share, now. False: there was nothing to do. */
bool drops_run(struct drops *drops, struct now now);

/* outcome.c, for drops.c. with_line: in the accounting, for which its envelope is read. */
void outcome_settle_dropped(struct shard *shard, struct rcpt *rcpt, bool with_line, struct now now);
