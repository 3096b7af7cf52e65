/*
 * crowd - who is in, over all shards: sessions of the node, of a door, of a
 * client at a door; exact, whichever shard the connection came to.
 *
 * Ownership  Counted: new is the first pin, the last unpin frees. A door holds its
 *            crowd, who is in holds neither: leave before you unpin.
 * Threads    Any. One lock, touched when a session comes and when it goes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/ip.h"

struct crowd;
struct crowd_door;
struct crowd_client;

struct crowd *crowd_new(uint64_t seed);
void crowd_pin(struct crowd *crowd);
void crowd_unpin(struct crowd *crowd);

struct crowd_door *crowd_door_new(struct crowd *crowd);
void crowd_door_pin(struct crowd_door *door);
void crowd_door_unpin(struct crowd_door *door);

struct crowd_limits {
	uint32_t of_node, of_door, of_client;   /* sessions */
};

enum crowd_answer { CROWD_ENTERS, CROWD_FULL, CROWD_CLIENT_FULL };

/* Only who enters is counted, and leaves again. */
enum crowd_answer crowd_enter(struct crowd_door *door, const struct ip *ip, const struct crowd_limits *limits,
			      struct crowd_client **client_out);
void crowd_leave(struct crowd_door *door, struct crowd_client *client);
