/*
 * shard_swap - another policy for a shard that runs.
 *
 * First everything that may fail: what is not to change, mail whose virtual MTA is
 * gone, listeners and their certificates. Then, between the same two events of every
 * shard, everything else, which cannot fail: queues, delivery, listeners. No Lua runs in it.
 *
 * The policy before stays as long as somebody has it pinned: sessions that came in
 * by its listeners, transactions that it has seen the MAIL of. Its Lua state is closed
 * where nobody waits for that.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include "delivery/delivery.h"
#include "reception/reception.h"

/* ---- the old one's end ---- */

struct closing {
	struct worker_job job;
	struct policy    *policy;
};

static void
close_policy(void *ctx)
{
	policy_free(((struct closing *)ctx)->policy);
}

void
shard_unpin(struct shard *shard, struct policy *policy)
{
	struct closing *closing;

	if (!policy_unpin(policy))
		return;
	if (shard->closing) {
		policy_free(policy);
		return;
	}
	closing = mem_alloc(sizeof *closing);
	closing->policy = policy;
	closing->job = (struct worker_job){ .work = close_policy, .done = free, .ctx = closing };
	worker_run(shard->aside, &closing->job);
}

/* ---- the node's settings ---- */

struct ruleset_node
shard_settings_under(const struct shard *shard, const struct policy *fresh)
{
	const struct ruleset_node *declared = &policy_ruleset(shard->policy)->node, *now = &shard->settings;
	struct ruleset_node settings = policy_ruleset(fresh)->node;

	/* What is not the policy's own was put over it. */
	if (now->spool != declared->spool)
		settings.spool = now->spool;
	if (now->control != declared->control)
		settings.control = now->control;
	if (now->accounting_file != declared->accounting_file)
		settings.accounting_file = now->accounting_file;
	if (now->workers != declared->workers)
		settings.workers = now->workers;
	if (now->resolver != declared->resolver) {
		settings.resolver = now->resolver;
		settings.resolver_n = now->resolver_n;
	}
	return settings;
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
may_change(const struct shard *shard, const struct ruleset_node *settings, const char *file, struct err *err)
{
	const struct ruleset_node *now = &shard->settings;

	if (!same(settings->spool, now->spool))
		return err_set(err, ERR_PERM, "%s: node: spool: it is \"%.200s\" as long as the node runs, not \"%.200s\"", file,
			       now->spool, settings->spool);
	if (settings->workers != now->workers)
		return err_set(err, ERR_PERM, "%s: node: workers: their number changes by a restart only", file);
	if (!same(settings->user, now->user))
		return err_set(err, ERR_PERM, "%s: node: user: a node that runs stays whose it is", file);
	return true;
}

/* ---- the swap ---- */

struct shard_change {
	struct shard     *shard;
	struct policy    *fresh;
	struct ruleset_node settings;
	struct reception_change *reception;
};

struct shard_change *
shard_prepare(struct shard *shard, struct policy *fresh, const struct shard_change *first, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(fresh);
	struct shard_change *change = mem_alloc(sizeof *change);

	*change = (struct shard_change){ .shard = shard, .fresh = fresh, .settings = shard_settings_under(shard, fresh) };
	if (may_change(shard, &change->settings, ruleset->file, err) && queues_may_swap(shard->queues, ruleset, err))
		change->reception = reception_prepare(shard->reception, fresh, first != NULL ? first->reception : NULL, err);
	if (change->reception != NULL)
		return change;
	free(change);
	return NULL;
}

void
shard_commit(struct shard_change *change)
{
	struct shard *shard = change->shard;
	struct policy *before = shard->policy;

	shard->policy = change->fresh;
	shard->settings = change->settings;
	shard->generation++;
	queues_swap(shard->queues, policy_ruleset(shard->policy), loop_now(shard->loop));
	delivery_take_policy(shard->delivery, policy_ruleset(before));
	reception_commit(change->reception);
	shard_unpin(shard, before);
	free(change);
}

void
shard_abandon(struct shard_change *change)
{
	reception_abandon(change->reception);
	free(change);
}
