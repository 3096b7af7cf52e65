/*
 * control_drop - the answer to `drop`: it comes when all that was named is dropped, which is
 * done by turns (delivery/drops.h). Who goes away before it ends changes nothing of that.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_stream.h"
#include "shards.h"

struct control_stream *control_drop_new(struct shards *shards, unsigned queues, uint64_t recipients);
