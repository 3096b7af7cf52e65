/*
 * world_ask - what a spec asks of the node: the control socket's answers, and
 * for a queue that holds nothing the same, with zeros.
 *
 * Such a queue is made for the question, by the engine itself, so that what
 * lies on its name (a pause, an overlay) is in the answer; it is reaped as any
 * empty one.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#include "control/control_commands.h"

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
	const struct ruleset *ruleset = world->shard->queues->o.ruleset;
	struct nearest nearest = { .name = name, .distance = UINT32_MAX };
	char text[400];

	for (unsigned i = 0; i < ruleset->providers_n; i++) {
		for (unsigned k = 0; k < ruleset->vmtas_n; k++) {
			snprintf(text, sizeof text, "%s/%s", ruleset->providers[i]->name, ruleset->vmtas[k]->name);
			nearer(&nearest, text);
		}
	}
	queues_match(world->shard->queues, SPAN("*"), nearer_queue, &nearest);
	if (nearest.distance == UINT32_MAX)
		return err_set(err, ERR_PERM, "no such queue: %.*s (%s)", SPAN_ARG(name), why);
	return err_set(err, ERR_PERM, "no such queue: %.*s (%s; nearest: %.100s)", SPAN_ARG(name), why, nearest.found);
}

static struct queue *
make(struct world *world, struct span name, struct err *err)
{
	const struct ruleset *ruleset = world->shard->queues->o.ruleset;
	size_t slash = span_find(name, '/');
	struct span site = slash == SIZE_MAX ? name : span_first(name, slash);
	const struct ruleset_vmta *vmta = slash == SIZE_MAX ? NULL : ruleset_vmta(ruleset, span_from(name, slash + 1));
	const struct ruleset_provider *provider = ruleset_provider_of_domain(ruleset, site);
	char domain[DOMAIN_MAX], why[200];

	if (slash == SIZE_MAX)
		return no_such_queue(world, name, "a queue is called SITE/VMTA", err), NULL;
	if (vmta == NULL)
		return no_such_queue(world, name, "no such virtual MTA", err), NULL;
	if (ruleset_provider(ruleset, site) != NULL)
		return queues_get(world->shard->queues, site, vmta);
	if (provider != NULL) {
		snprintf(why, sizeof why, "the domain belongs to the provider \"%.100s\"", provider->name);
		return no_such_queue(world, name, why, err), NULL;
	}
	if (span_find(site, '.') == SIZE_MAX || !domain_normalize(site, domain, NULL))
		return no_such_queue(world, name, "neither a provider nor a domain", err), NULL;
	return queues_get(world->shard->queues, span_text(domain), vmta);
}

static struct queue *
find(struct world *world, const char *name, struct err *err)
{
	struct queue *queue;

	if (world->shard == NULL)
		return err_set(err, ERR_PERM, "the node is down: restart() it first"), NULL;
	queue = queues_find(world->shard->queues, span_text(name));
	return queue != NULL ? queue : make(world, span_text(name), err);
}

json_t *
world_why(struct world *world, const char *name, struct err *err)
{
	const struct queue *queue = find(world, name, err);

	return queue != NULL ? control_why(queue, loop_now(world->loop).mono) : NULL;
}

json_t *
world_queue(struct world *world, const char *name, struct err *err)
{
	const struct queue *queue = find(world, name, err);
	struct now now = loop_now(world->loop);
	struct gate_answer gates;
	struct control_row row;

	if (queue == NULL)
		return NULL;
	gate_decide(queue, now.mono, &gates);
	control_listing_row(queue, &gates, now.mono, &row);
	return control_answer_row(&row, now);
}

json_t *
world_effective(struct world *world, const char *name, struct err *err)
{
	const struct queue *queue = find(world, name, err);

	return queue != NULL ? control_answer_settings(queue_settings_now(queue), false) : NULL;
}

json_t *
world_status(struct world *world, struct err *err)
{
	if (world->shard == NULL)
		return err_set(err, ERR_PERM, "the node is down: restart() it first"), NULL;
	return control_status(world->shards, loop_now(world->loop).mono);
}
