/*
 * loading - a policy on its way in: read and built once a shard, compared with
 * the one in force.
 *
 * Ownership  Whoever puts the policies in force sets them to NULL here.
 * Threads    `job.work` runs on the worker, all else on the first shard's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/control_swap.h"
#include "policy/bundle.h"
#include "shards.h"

struct live;

struct loading {
	struct worker_job job;
	struct swap      *swap;         /* its owner's; NULL: it has ended meanwhile */
	struct shards    *shards;       /* NULL: likewise */
	struct bundle    *bundle;
	struct policy_env env;
	struct policy   **policies;     /* one for each shard; theirs, and NULL here, once they hold */
	unsigned          policies_n;
	bool              loaded;       /* all of them */
	struct policy    *before;       /* the first shard's; pinned, to compare with */
	struct policy_report report;
	unsigned          changes_n, left_out;
	struct buf        changed;      /* as JSON */
	struct arena      arena;        /* of the live */
	struct live      *live;
	unsigned          live_n, live_cap;
	const char       *cause;        /* "by command": in the log */
	bool              dry_run, back;
	struct control_later *later;    /* NULL: nobody waits for it */
	mono_us_t         asked_at;
};

/* Ready for the worker but for job.done and job.ctx; bundle is taken. The queues that are there are noted now. */
struct loading *loading_new(struct shards *shards, const struct clock *clock, struct bundle *bundle);
void loading_free(struct loading *loading);
