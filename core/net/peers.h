/*
 * peers - the shards of one node as each sees the others: mail from one's loop to
 * another's, and moments at which all stand still. A door: peers_os is for
 * threads, a simulated one interleaves its mail by a seed.
 *
 * Mail is a struct loop_call that is embedded in what it brings. Between two
 * shards it arrives in the order it was posted, never within peers_post().
 *
 * Threads    peers_post(): any. peers_halt() and peers_resume(): the first shard's
 *            only. Between them every other shard's thread stands between two events
 *            of its loop, all mail has been delivered, and the first shard's thread may
 *            touch what belongs to any of them.
 * Limits     PEERS_MAX shards. What is halted is halted for all: be brief.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/loop.h"

#define PEERS_MAX 128u

struct peers;
struct peers_ops {
	void (*post)(struct peers *peers, unsigned from, unsigned to, struct loop_call *call);
	void (*halt)(struct peers *peers);
	void (*resume)(struct peers *peers);
};

struct peers {
	const struct peers_ops *ops;
	unsigned n;
};

static inline void
peers_post(struct peers *peers, unsigned from, unsigned to, struct loop_call *call)
{
	peers->ops->post(peers, from, to, call);
}

static inline void peers_halt(struct peers *peers) { peers->ops->halt(peers); }
static inline void peers_resume(struct peers *peers) { peers->ops->resume(peers); }

/* Shard i's loop is loops[i], which runs on a thread of its own, or not at all yet: peers_halt() waits for those that
 * are said to run. The loops outlive it. */
struct peers *peers_os_new(struct loop *const *loops, unsigned n);
void peers_os_free(struct peers *peers);        /* NULL is fine; nobody runs any more */
/* From now on until it is told otherwise shard i's loop runs. Called by the first shard's thread, not between halt and resume. */
void peers_os_running(struct peers *peers, unsigned i, bool running);
