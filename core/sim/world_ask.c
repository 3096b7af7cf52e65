/*
 * world_ask - what a spec asks of the node: the control socket's answers, and
 * for a queue that holds nothing the same, with zeros.
 *
 * Such a queue is made for the question, by the engine itself, so that what
 * lies on its name (a pause, an overlay) is in the answer; it is reaped as any
 * empty one.
 *
 * All shards stand still for a question, as for a command on the socket: what is on
 * its way between them arrives first.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#include "control/control_commands.h"
#include "queue/queue_hand.h"

struct nearest {
	struct span name;
	unsigned    distance;
	char        found[400];
};

static void
nearer(struct nearest *nearest, const char *name)
{
	unsigned distance = span_distance(nearest->name, span_text(name));

	if (distance >= nearest->distance)
		return;
	nearest->distance = distance;
	snprintf(nearest->found, sizeof nearest->found, "%s", name);
}

static void
nearer_queue(void *ctx, struct queue *queue)
{
	nearer(ctx, queue->name);
}

/* Of the queues that are there, and of providers by virtual MTAs. */
static bool
no_such_queue(struct world *world, struct span name, const char *why, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(world_shard(world)->policy);
	struct nearest nearest = { .name = name, .distance = UINT32_MAX };
	char text[400];

	for (unsigned i = 0; i < ruleset->providers_n; i++) {
		for (unsigned k = 0; k < ruleset->vmtas_n; k++) {
			snprintf(text, sizeof text, "%s/%s", ruleset->providers[i]->name, ruleset->vmtas[k]->name);
			nearer(&nearest, text);
		}
	}
	for (unsigned i = 0; i < world->shards->n; i++)
		queues_match(world->shards->all[i]->queues, SPAN("*"), nearer_queue, &nearest);
	if (nearest.distance == UINT32_MAX)
		return err_set(err, ERR_PERM, "no such queue: %.*s (%s)", SPAN_ARG(name), why);
	return err_set(err, ERR_PERM, "no such queue: %.*s (%s; nearest: %.100s)", SPAN_ARG(name), why, nearest.found);
}

/* By the shard that such a site belongs to. */
static struct queue *
make_queue(struct world *world, struct span site, struct span vmta)
{
	struct queues *queues = world_shard(world)->queues;

	queues = world->shards->queues[queues_owner(queues, site)];
	return queues_get(queues, site, ruleset_vmta(queues->o.ruleset, vmta));
}

static struct queue *
make(struct world *world, struct span name, struct err *err)
{
	const struct ruleset *ruleset = policy_ruleset(world_shard(world)->policy);
	size_t slash = span_find(name, '/');
	struct span site = slash == SIZE_MAX ? name : span_first(name, slash);
	struct span vmta = slash == SIZE_MAX ? SPAN("") : span_from(name, slash + 1);
	const struct ruleset_provider *provider = ruleset_provider_of_domain(ruleset, site);
	char domain[DOMAIN_MAX], why[200];

	if (slash == SIZE_MAX)
		return no_such_queue(world, name, "a queue is called SITE/VMTA", err), NULL;
	if (ruleset_vmta(ruleset, vmta) == NULL)
		return no_such_queue(world, name, "no such virtual MTA", err), NULL;
	if (ruleset_provider(ruleset, site) != NULL)
		return make_queue(world, site, vmta);
	if (provider != NULL) {
		snprintf(why, sizeof why, "the domain belongs to the provider \"%.100s\"", provider->name);
		return no_such_queue(world, name, why, err), NULL;
	}
	if (span_find(site, '.') == SIZE_MAX || !domain_normalize(site, domain, NULL))
		return no_such_queue(world, name, "neither a provider nor a domain", err), NULL;
	return make_queue(world, span_text(domain), vmta);
}

static struct queue *
find(struct world *world, const char *name, struct err *err)
{
	struct queue *queue = shards_find_queue(world->shards, span_text(name));

	return queue != NULL ? queue : make(world, span_text(name), err);
}

static json_t *
answer_why(struct world *world, const struct queue *queue)
{
	return control_why(queue, loop_now(world->loop).mono);
}

static json_t *
answer_queue(struct world *world, const struct queue *queue)
{
	struct now now = loop_now(world->loop);
	struct gate_answer gates;
	struct control_row row;

	gate_decide(queue, now.mono, &gates);
	control_listing_row(queue, &gates, now.mono, &row);
	return control_answer_row(&row, now);
}

static json_t *
answer_effective(struct world *world, const struct queue *queue)
{
	struct queue_settings settings = *queue_settings_now(queue);

	(void)world;
	queue_totals_now(queue, &settings);
	return control_answer_settings(&settings, false);
}

static json_t *
ask(struct world *world, const char *name, json_t *(*answer)(struct world *world, const struct queue *queue), struct err *err)
{
	const struct queue *queue;
	json_t *value = NULL;

	if (world->shards == NULL)
		return err_set(err, ERR_PERM, "the node is down: restart() it first"), NULL;
	shards_halt(world->shards);
	queue = find(world, name, err);
	if (queue != NULL)
		value = answer(world, queue);
	shards_resume(world->shards);
	return value;
}

json_t *
world_why(struct world *world, const char *queue, struct err *err)
{
	return ask(world, queue, answer_why, err);
}

json_t *
world_queue(struct world *world, const char *queue, struct err *err)
{
	return ask(world, queue, answer_queue, err);
}

json_t *
world_effective(struct world *world, const char *queue, struct err *err)
{
	return ask(world, queue, answer_effective, err);
}

json_t *
world_status(struct world *world, struct err *err)
{
	json_t *value;

	if (world->shards == NULL)
		return err_set(err, ERR_PERM, "the node is down: restart() it first"), NULL;
	shards_halt(world->shards);
	value = control_status(world->shards, loop_now(world->loop).mono);
	shards_resume(world->shards);
	return value;
}
