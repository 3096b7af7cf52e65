/*
 * control_commands - what each command of the control socket does to the shards.
 *
 * Threads    The first shard's; all stand still meanwhile (shards_halt()).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_listing.h"
#include "control/control_request.h"
#include "shards.h"

/* The arguments and options are those of the command, which is known. */
bool control_command_fits(const struct control_request *request, struct err *err);
/* Answers onto *out, one line. With *stream_out set the answer is that instead, which
 * the caller writes and frees. False: *err is the answer. */
bool control_command(struct shards *shards, const struct control_request *request, struct buf *out,
		     struct control_stream **stream_out, struct err *err);

/* The answers of `why` and `status`. */
json_t *control_why(const struct queue *queue, mono_us_t now);
json_t *control_status(const struct shards *shards, mono_us_t now);
