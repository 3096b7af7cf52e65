/*
 * A block of no one is looked at by every virtual MTA; one within a virtual MTA or
 * pool only by those it is of, for to the others its domain is like any other.
 * Virtual MTAs without caps and blocks of their own, and of the same pool, are
 * looked at once: a thousand of them are one.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/walk.h"

#include "policy/block.h"

struct walk {
	const struct ruleset *ruleset;
	unsigned *alike;                /* of each virtual MTA; 0: an earlier one stands for it */
	unsigned  left;
	void    (*fn)(void *ctx, const struct walk_queue *queue);
	void     *ctx;
};

bool
walk_site_of(const struct ruleset *ruleset, const struct ruleset_block *block, struct walk_site *out)
{
	out->provider = NULL;
	out->domain = span_make("", 0);
	if (block->provider) {
		out->provider = ruleset_provider(ruleset, span_text(block->provider));
		return out->provider != NULL;
	}
	if (block->kind == DOMAIN_SUBDOMAINS) {
		snprintf(out->below, sizeof(out->below), "-.%s", block->domain);
		out->domain = span_text(out->below);
	} else if (block->kind != DOMAIN_ALL) {
		out->domain = span_text(block->domain);
	}
	out->provider = ruleset_provider_of_domain(ruleset, out->domain);
	return true;
}

static bool
gets_mail(const struct ruleset_provider *provider)
{
	return !provider || provider->domains_n || provider->mx_n;
}

static bool
is_plain(const struct ruleset_vmta *vmta)
{
	return !vmta->blocks_n && vmta->max_smtp_out == UNLIMITED && rate_unlimited(&vmta->max_connect_rate) &&
	       rate_unlimited(&vmta->max_msg_rate);
}

/* Plain ones are counted at the first of their pool. */
static unsigned *
count_alike(const struct ruleset *ruleset)
{
	unsigned *alike = mem_alloc((ruleset->vmtas_n + 1) * sizeof(*alike));
	unsigned *first_of = mem_alloc((ruleset->pools_n + 1) * sizeof(*first_of));     /* index + 1; the last: of no pool */
	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		const struct ruleset_vmta *vmta = ruleset->vmtas[i];
		unsigned *first = &first_of[vmta->limit_pool ? vmta->limit_pool->index : ruleset->pools_n];
		if (is_plain(vmta) && *first) {
			alike[*first - 1]++;
			continue;
		}
		alike[i] = 1;
		if (is_plain(vmta))
			*first = i + 1;
	}
	free(first_of);
	return alike;
}

static bool
is_of(const struct ruleset_vmta *vmta, const struct ruleset_vmta *one, const struct ruleset_pool *pool)
{
	return (!one || vmta == one) && (!pool || vmta->limit_pool == pool);
}

/* By every virtual MTA, by one, or by those of a pool. */
static bool
walk_site(struct walk *walk, const struct walk_site *site, const struct ruleset_vmta *one, const struct ruleset_pool *pool)
{
	const struct ruleset *ruleset = walk->ruleset;
	struct walk_queue queue = { .site = site, .first = true, .of_all = !one && !pool };
	if (!gets_mail(site->provider))
		return true;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++) {
		if (!walk->alike[i] || !is_of(ruleset->vmtas[i], one, pool))
			continue;
		if (walk->left-- == 0)
			return false;
		if (queue.vmta) {
			walk->fn(walk->ctx, &queue);
			queue.first = false;
		}
		queue.vmta = ruleset->vmtas[i];
		queue.alike = walk->alike[i];
	}
	queue.last = true;
	if (queue.vmta)
		walk->fn(walk->ctx, &queue);
	return true;
}

static bool
walk_blocks(struct walk *walk, const struct ruleset_block *const *blocks, unsigned n, const struct ruleset_vmta *one,
	    const struct ruleset_pool *pool)
{
	struct walk_site site;
	for (unsigned i = 0; i < n; i++)
		if (walk_site_of(walk->ruleset, blocks[i], &site) && !walk_site(walk, &site, one, pool))
			return false;
	return true;
}

static bool
walk_all(struct walk *walk)
{
	const struct ruleset *ruleset = walk->ruleset;
	const struct walk_site any = { .domain = SPAN("") };
	if (!walk_site(walk, &any, NULL, NULL) || !walk_blocks(walk, ruleset->blocks, ruleset->blocks_n, NULL, NULL))
		return false;
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		if (!walk_blocks(walk, ruleset->vmtas[i]->blocks, ruleset->vmtas[i]->blocks_n, ruleset->vmtas[i], NULL))
			return false;
	for (unsigned i = 0; i < ruleset->pools_n; i++)
		if (!walk_blocks(walk, ruleset->pools[i]->blocks, ruleset->pools[i]->blocks_n, NULL, ruleset->pools[i]))
			return false;
	return true;
}

bool
walk_queues(const struct ruleset *ruleset, void (*fn)(void *ctx, const struct walk_queue *queue), void *ctx)
{
	struct walk walk = { .ruleset = ruleset, .left = WALK_QUEUES_MAX, .fn = fn, .ctx = ctx };
	walk.alike = count_alike(ruleset);
	bool whole = walk_all(&walk);
	free(walk.alike);
	return whole;
}
