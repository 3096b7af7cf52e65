/*
 * control_listing - the answer to `queues`, a piece at a time: 100,000 rows must
 * not hold up the mail that leaves meanwhile.
 *
 * Which queues, and in which order, is settled when it begins; each row says
 * how its queue stands when the row is written, and a queue that is gone by
 * then has none.
 *
 * Ownership  A control_stream. Nothing of the queues is held in between.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_answers.h"
#include "control/control_stream.h"
#include "shards.h"

/* Those with the most mail, at most so many. A row is a unit of work; a queue with many recipients counts for more. */
struct control_stream *control_listing_new(struct shards *shards, struct span pattern, unsigned most);

/* One queue's facts; the gate is asked once and serves `why` too. */
void control_listing_row(const struct queue *queue, const struct gate_answer *gates, mono_us_t now, struct control_row *out);
