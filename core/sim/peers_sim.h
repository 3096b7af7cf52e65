/*
 * peers_sim - the simulated side of the peers door: shards that share one loop and
 * one thread, whose mail takes 0 to 300 us, as a seed says.
 *
 * Threads    One.
 * Time       Mail never arrives within the turn it was posted in, and may in the
 *            next one of the same instant.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/peers.h"

#define PEERS_SIM_DELAY_US 300

struct peers *peers_sim_new(struct loop *loop, unsigned n, uint64_t seed);
/* NULL is fine. What is under way never arrives. */
void peers_sim_free(struct peers *peers);
/* Nothing is under way. */
bool peers_sim_is_quiet(const struct peers *peers);
