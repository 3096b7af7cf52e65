/*
 * wheel - coarse timer wheel for what is many and rarely fires: expiry.
 *
 * Adding and removing cost two pointer writes. A node's turn comes at the
 * first tick at or after its time; a time beyond one turn of the wheel stays
 * in its slot and is passed by.
 *
 * Ownership  Nodes are the caller's, embedded. Unlinked: list_init state.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/list.h"

#define WHEEL_SLOTS 4096

struct wheel_node {
	struct list link;
	mono_us_t   at;
};

struct wheel {
	mono_us_t   tick_us;
	int64_t     done;               /* the last tick that was run */
	struct list slots[WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, mono_us_t tick_us, mono_us_t now);
void wheel_node_init(struct wheel_node *node);
void wheel_add(struct wheel *wheel, struct wheel_node *node, mono_us_t at);
void wheel_remove(struct wheel_node *node);
/* Unlinks and hands over each node whose time has come. */
void wheel_run(struct wheel *wheel, mono_us_t now,
	       void (*fn)(void *ctx, struct wheel_node *node), void *ctx);
