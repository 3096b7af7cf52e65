/*
 * worker_sim - the simulated side of the worker door: jobs in virtual time, in
 * order, one at a time, on the loop's own thread.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/worker.h"

/* A job is worked in the turn after it was given, or when the one before it is
 * over; done() comes sync_us later, in a turn of its own. */
struct worker *worker_sim_new(struct loop *loop, mono_us_t sync_us);
/* Like worker_os_free(): what was given so far is worked and told here. */
void worker_sim_free(struct worker *worker);
/* The power is gone: what is not worked never will be, and nobody is told any more.
 * A job's memory is its giver's to find again; whoever still tears its node down
 * in order cuts the disk instead, and frees. */
void worker_sim_abandon(struct worker *worker);
