/*
 * recovery - what the spool holds of the last run, back into the queues of
 * whom it belongs to.
 *
 * Threads    The first shard's; no other runs yet.
 * Errors     Nothing is left behind: the spool is closed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shards.h"

bool recovery_run(struct shards *shards, struct err *err);
/* Every shard's face of the spool, the first one's last. */
void recovery_close_spool(struct shards *shards);
