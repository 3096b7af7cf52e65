/*
 * workers - the event loops of a node with their sockets and names: the first runs
 * on the thread that there is, each other on one of its own.
 *
 * Ownership  open/close. What is on a loop is gone before close.
 * Threads    The first one's. From workers_start() to workers_stop() loops 1 … n - 1 are
 *            their threads'; peers_halt() has them stand still.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/conn.h"
#include "net/peers.h"
#include "net/resolver.h"
#include "net/watchdog.h"

struct workers {
	unsigned       n;
	struct seat   *seats;           /* the workers' own */
	struct loop  **loops;
	struct net   **nets;
	struct resolver_source **names;
	struct peers  *peers;           /* NULL: there is one only */
};

struct workers *workers_open(unsigned n, const struct resolver_os_options *names, struct err *err);
void workers_close(struct workers *workers);    /* NULL is fine */

/* The watchdog has an eye on each; it outlives them. False: none runs. */
bool workers_start(struct workers *workers, struct watchdog *watchdog, struct err *err);
/* Each ends its turn; no mail is lost: who halts the peers afterwards delivers it. */
void workers_stop(struct workers *workers);

/* Of all; false: *err is of those that could not, which keep what they had. */
bool workers_set_servers(struct workers *workers, const struct endpoint *servers, unsigned n, struct err *err);
