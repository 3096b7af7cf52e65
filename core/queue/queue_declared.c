/*
 * queue_declared - the scopes that a ruleset declares by name: the node, its virtual
 * MTAs and its pools; how they begin, and what becomes of them when another one holds.
 *
 * Each shard has all of them. Where there are several shards they have what is in use
 * in common (scopes_shared.h), and the first shard alone looks after it: what happens
 * once to a limiter, over a restart or a swap, must not happen once a shard.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

bool
queues_keep_scopes(const struct queues *queues)
{
	return queues->o.shared == NULL || queues->o.me == 0;
}

static void
restore(struct queues *queues, const char *kind, const char *name, struct scope *scope, struct now now)
{
	if (queues_keep_scopes(queues))
		scope_restore(queues, kind, name, scope, now);
}

/* ---- one ---- */

static void
begin(struct queues *queues, const char *kind, const char *name, struct scope *scope, struct scope_limits limits)
{
	scope_init(scope, &queues->o.loop->timers);
	scope->limits = scope->declared = limits;
	if (queues->o.shared != NULL)
		scopes_shared_join(queues->o.shared, queues->o.me, kind, name, scope);
}

static void
end(struct queues *queues, struct scope *scope)
{
	if (queues->o.shared != NULL)
		scopes_shared_leave(queues->o.shared, scope);
	else
		scope_fini(scope);
}

static struct scope *
scope_new(struct queues *queues, const char *kind, const char *name, struct scope_limits limits, struct now now)
{
	struct scope *scope = mem_alloc(sizeof *scope);

	begin(queues, kind, name, scope, limits);
	restore(queues, kind, name, scope, now);
	return scope;
}

static void
scopes_free(struct queues *queues, struct scope **scopes, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (scopes[i] == NULL)
			continue;
		end(queues, scopes[i]);
		free(scopes[i]);
	}
	free(scopes);
}

/* ---- all ---- */

void
queues_scopes_init(struct queues *queues, struct now now)
{
	const struct ruleset *ruleset = queues->o.ruleset;

	queues->vmtas = mem_alloc((ruleset->vmtas_n + 1) * sizeof(struct scope *));
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		queues->vmtas[i] = scope_new(queues, "vmta", ruleset->vmtas[i]->name, scope_limits_of_vmta(ruleset->vmtas[i]), now);
	queues->pools = mem_alloc((ruleset->pools_n + 1) * sizeof(struct scope *));
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		queues->pools[i] = scope_new(queues, "pool", ruleset->pools[i]->name, scope_limits_of_pool(ruleset->pools[i]), now);
	begin(queues, "node", "", &queues->node, scope_limits_of_node(&ruleset->node));
}

void
queues_scopes_fini(struct queues *queues)
{
	scopes_free(queues, queues->vmtas, queues->o.ruleset->vmtas_n);
	scopes_free(queues, queues->pools, queues->o.ruleset->pools_n);
	end(queues, &queues->node);
}

void
queues_scopes_save(const struct queues *queues, struct now now, struct buf *out)
{
	const struct ruleset *ruleset = queues->o.ruleset;

	if (!queues_keep_scopes(queues))
		return;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		scope_save(out, "vmta", ruleset->vmtas[i]->name, queues->vmtas[i], now.mono);
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		scope_save(out, "pool", ruleset->pools[i]->name, queues->pools[i], now.mono);
	scope_save(out, "node", "", &queues->node, now.mono);
}

void
queues_scopes_restore(struct queues *queues, struct now now)
{
	const struct ruleset *ruleset = queues->o.ruleset;

	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		restore(queues, "vmta", ruleset->vmtas[i]->name, queues->vmtas[i], now);
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		restore(queues, "pool", ruleset->pools[i]->name, queues->pools[i], now);
	restore(queues, "node", "", &queues->node, now);
}

/* ---- another ruleset ---- */

/* It limits for the first time: what went out before was not counted. */
static void
spend_if_new(struct rate *rate, const struct rate_spec *before, const struct rate_spec *after, mono_us_t now)
{
	if (rate_unlimited(before) && !rate_unlimited(after))
		rate_spend_all(rate, after, now);
}

void
scope_declared(struct scope *scope, const struct scope_limits *before, bool spends, struct now now)
{
	if (spends) {
		spend_if_new(&scope->use->connects, &before->max_connect_rate, &scope->declared.max_connect_rate, now.mono);
		spend_if_new(&scope->use->messages, &before->max_msg_rate, &scope->declared.max_msg_rate, now.mono);
	}
	scope->limits = scope->declared;
	scope_wake_soon(scope, now.mono);
}

void
scope_spend(struct scope *scope, mono_us_t now)
{
	rate_spend_all(&scope->use->connects, &scope->limits.max_connect_rate, now);
	rate_spend_all(&scope->use->messages, &scope->limits.max_msg_rate, now);
}

static void
redeclare(const struct queues *queues, struct scope *scope, struct scope_limits limits, struct now now)
{
	struct scope_limits before = scope->declared;

	scope->declared = limits;
	scope_declared(scope, &before, queues_keep_scopes(queues), now);
}

static void
keep_vmtas(struct queues *queues, struct scopes_before *old, struct now now)
{
	const struct ruleset *fresh = queues->o.ruleset;

	queues->vmtas = mem_alloc((fresh->vmtas_n + 1) * sizeof(struct scope *));
	for (unsigned i = 0; i < fresh->vmtas_n; i++) {
		const struct ruleset_vmta *v = fresh->vmtas[i], *before = ruleset_vmta(old->ruleset, span_text(v->name));

		if (before == NULL) {
			queues->vmtas[i] = scope_new(queues, "vmta", v->name, scope_limits_of_vmta(v), now);
			continue;
		}
		queues->vmtas[i] = old->vmtas[before->index];
		old->vmtas[before->index] = NULL;
		redeclare(queues, queues->vmtas[i], scope_limits_of_vmta(v), now);
	}
}

static void
keep_pools(struct queues *queues, struct scopes_before *old, struct now now)
{
	const struct ruleset *fresh = queues->o.ruleset;

	queues->pools = mem_alloc((fresh->pools_n + 1) * sizeof(struct scope *));
	for (unsigned i = 0; i < fresh->pools_n; i++) {
		const struct ruleset_pool *p = fresh->pools[i], *before = ruleset_pool(old->ruleset, span_text(p->name));

		if (before == NULL) {
			queues->pools[i] = scope_new(queues, "pool", p->name, scope_limits_of_pool(p), now);
			continue;
		}
		queues->pools[i] = old->pools[before->index];
		old->pools[before->index] = NULL;
		redeclare(queues, queues->pools[i], scope_limits_of_pool(p), now);
	}
}

void
queues_scopes_redeclare(struct queues *queues, struct scopes_before *before, struct now now)
{
	keep_vmtas(queues, before, now);
	keep_pools(queues, before, now);
	redeclare(queues, &queues->node, scope_limits_of_node(&queues->o.ruleset->node), now);
}

static void
remember(struct queues *queues, const struct scopes_before *old, struct now now)
{
	for (unsigned i = 0; i < old->ruleset->vmtas_n; i++)
		if (old->vmtas[i] != NULL)
			scope_remember(queues, "vmta", old->ruleset->vmtas[i]->name, old->vmtas[i], now);
	for (unsigned i = 0; i < old->ruleset->pools_n; i++)
		if (old->pools[i] != NULL)
			scope_remember(queues, "pool", old->ruleset->pools[i]->name, old->pools[i], now);
}

void
queues_scopes_drop(struct queues *queues, struct scopes_before *before, struct now now)
{
	if (queues_keep_scopes(queues))
		remember(queues, before, now);
	scopes_free(queues, before->vmtas, before->ruleset->vmtas_n);
	scopes_free(queues, before->pools, before->ruleset->pools_n);
}
