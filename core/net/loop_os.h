/*
 * loop_os - what the real doors (connections, resolver, worker) share of the
 * real loop: libev underneath, and the end of a turn.
 *
 * A turn: wait for events · read the clock · call what the events and other
 * threads asked for · run the timers that are due · call the ends of the turn.
 * What happens in a callback is therefore gathered, and leaves at the end.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <ev.h>

#include "net/loop.h"
#include "util/list.h"

struct ev_loop *loop_os_ev(struct loop *loop);

/* Called at the end of each turn, in the order added. True: there is more to
 * do, so the next turn must not wait for events. */
struct loop_turn_end {
	struct list link;
	bool      (*fn)(void *ctx);
	void       *ctx;
};
void loop_os_add_turn_end(struct loop *loop, struct loop_turn_end *end);
void loop_os_remove_turn_end(struct loop_turn_end *end);
