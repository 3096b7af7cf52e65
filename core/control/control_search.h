/*
 * control_search - where a message, or a recipient, waits and since when.
 *
 * A message by its id, as the 250 told it; a recipient by its address. What is
 * found: {message, recipient, sender, queue, state, since, due, attempts, job, gate},
 * most of it of that recipient, `gate` of its queue.
 *
 * Ownership  A control_stream; it holds the messages it will look at, so it must
 *            be freed before the queues.
 * Limits     CONTROL_FOUND_MAX are told.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_answers.h"
#include "control/control_stream.h"
#include "shards.h"

#define CONTROL_FOUND_MAX 1000

/* The argument is an address, or an id, and not a queue. */
bool control_search_fits(struct span what);
struct control_stream *control_search_new(struct shards *shards, struct span what);
