/*
 * What takes long is done on the worker: one load a shard (policy/twins.h), the
 * arithmetic, the comparison. So that it can compare queues without their owners,
 * the names of those that are there are noted before, under a halt.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "loading.h"

#include "control/arithmetic.h"
#include "policy/twins.h"
#include "queue/queue_hand.h"

#define LIVE_MAX 10000          /* queues that are compared */

struct live {                           /* a queue that is there */
	const char *queue, *site, *domain, *vmta;
};

/* A Lua state takes long to close: not on the loop, unless that has ended. */
static void
let_go(struct loading *loading, struct policy *policy)
{
	if (policy == NULL)
		return;
	if (loading->shards != NULL)
		shard_unpin(loading->shards->all[0], policy);
	else if (policy_unpin(policy))
		policy_free(policy);
}

void
loading_free(struct loading *loading)
{
	let_go(loading, loading->before);
	for (unsigned i = 0; i < loading->policies_n; i++)
		let_go(loading, loading->policies[i]);
	free(loading->policies);
	policy_report_fini(&loading->report);
	buf_fini(&loading->changed);
	arena_fini(&loading->arena);
	bundle_free(loading->bundle);
	free(loading->live);
	free(loading);
}

static void
note_live(void *ctx, struct queue *queue)
{
	struct loading *loading = ctx;
	struct arena *arena = &loading->arena;
	const char *domain = queue->site->name;

	if (loading->live_n == LIVE_MAX)
		return;
	if (loading->live_n == loading->live_cap) {
		loading->live_cap = loading->live_cap * 2 + 64;
		loading->live = mem_grow(loading->live, loading->live_cap * sizeof *loading->live);
	}
	if (!list_empty(&queue->routes))
		domain = list_first(&queue->routes, struct route, in_queue)->name;
	loading->live[loading->live_n++] = (struct live){
		arena_strdup(arena, queue->name), arena_strdup(arena, queue->site->name), arena_strdup(arena, domain),
		arena_strdup(arena, queue->vmta->name),
	};
}

static void
note_all_live(struct loading *loading)
{
	struct shards *shards = loading->shards;

	shards_halt(shards);
	for (unsigned i = 0; i < shards->n; i++)
		queues_match(shards->all[i]->queues, SPAN("*"), note_live, loading);
	shards_resume(shards);
}

static void
compare(struct loading *l)
{
	const struct ruleset *from = policy_ruleset(l->before), *to = policy_ruleset(l->policies[0]);
	struct differences all;

	differences_init(&all);
	differences_of(&all, from, to);
	for (unsigned i = 0; i < l->live_n; i++)
		differences_of_queue(&all, from, to, l->live[i].queue, l->live[i].site, l->live[i].domain, l->live[i].vmta);
	l->changes_n = all.n + all.left_out;
	l->left_out = all.left_out;
	control_answer_changed(&all, &l->changed);
	differences_fini(&all);
}

/* On the worker. */
static void
load(void *ctx)
{
	struct loading *l = ctx;

	l->policies[0] = policy_load(l->bundle->policy, &l->env, &l->report);
	if (l->policies[0] == NULL)
		return;
	arithmetic_warn(policy_ruleset(l->policies[0]), &l->report);
	compare(l);
	l->loaded = twins_load(l->policies, l->policies_n, l->bundle->policy, &l->env, &l->report);
}

struct loading *
loading_new(struct shards *shards, const struct clock *clock, struct bundle *bundle)
{
	struct shard *shard = shards->all[0];
	struct loading *l = mem_alloc(sizeof *l);

	l->job.work = load;
	l->shards = shards;
	l->bundle = bundle;
	l->env = (struct policy_env){ .log = shard->log, .bundle = bundle, .clock = clock, .seed = prng_u64(&shard->prng) };
	l->before = shard->policy;
	policy_pin(l->before);
	policy_report_init(&l->report);
	buf_init(&l->changed, 0);
	arena_init(&l->arena);
	l->policies_n = shards->n;
	l->policies = mem_alloc(l->policies_n * sizeof(struct policy *));
	note_all_live(l);
	return l;
}
