/*
 * state - limits, retry steps and pauses of all shards as one file in the spool:
 * each tells its own, the first one writes them.
 *
 * Threads    state_tell(): the telling shard's. The rest: the first shard's, while
 *            all stand still.
 * Limits     Two writes are apart by state_pause() of what they write.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shard.h"

struct state;

struct state *state_new(struct shards *shards);
void state_free(struct state *state);

/* How long to wait between two saves of so many bytes, whatever changes. */
mono_us_t state_pause(size_t bytes);
/* What the shard has now; written soon. */
void state_tell(struct state *state, struct shard *shard);
/* All of it: soon; before it returns; and what is there when the spool has been closed. */
void state_save(struct state *state);
void state_save_now(struct state *state);
void state_save_last(struct state *state);
/* Everybody is given all, and takes what is his. */
bool state_load(struct shards *shards, struct err *err);
