/*
 * world_node - the node's lives: it starts, gets another policy, stops, loses power.
 *
 * A life has a net and a worker of its own, which go with it. The disk, the names, the
 * receivers and the clock stay. Its shards share all of these, and the one loop; each
 * has a policy of its own, loaded from the same texts. One shard has no peers, so
 * that a world of one worker is played as if there were no others to think of.
 *
 * A crash mutes the node, makes its disk refuse everything and cuts its net; then it is
 * taken apart in the usual order, which by then reaches nobody.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "delivery/delivery.h"
#include "policy/coverage.h"
#include "policy/twins.h"
#include "sim/peers_sim.h"
#include "sim/world_own.h"

#define NEVER_US (3650 * INT64_C(86400) * US_PER_S)

static mono_us_t
now_of(const struct world *world)
{
	return loop_now(world->loop).mono;
}

/* ---- its policy ---- */

/* The first listener that somebody may send through, but without its clients and its TLS; or what a listener is. */
static void
make_listener(struct world *world, const struct ruleset *ruleset)
{
	static const struct cidr everybody = { .net = { .family = IP_V4 }, .bits = 0 };
	struct ruleset_listener *l = &world->listener;

	*l = (struct ruleset_listener){
		.name = "127.0.0.1:2525", .max_message_size = 25 << 20, .max_rcpt_per_message = 1000,
		.max_messages_per_connection = 10000, .max_errors = 10,
		.command_timeout = 300 * US_PER_S, .data_timeout = 600 * US_PER_S,
	};
	for (unsigned i = 0; i < ruleset->listeners_n; i++) {
		if (ruleset->listeners[i].relay_from_n == 0)
			continue;
		*l = ruleset->listeners[i];
		break;
	}
	snprintf(world->listener_name, sizeof world->listener_name, "%s", l->name);
	l->name = world->listener_name;
	l->at = (struct endpoint){ { IP_V4, { 127, 0, 0, 1 } }, 2525 };
	l->where = (struct where){ 0 };
	l->relay_from = &everybody;
	l->relay_from_n = 1;
	l->relay_to_n = 0;
	l->max_messages_per_connection = l->max_sessions = l->max_sessions_per_client = UNLIMITED;
	l->hostname = l->tls_certificate = l->tls_key = NULL;
	l->require_tls = false;
	/* Its client says nothing for days, and would not like to lose a message to that. */
	l->command_timeout = NEVER_US;
}

static void
free_policies(struct policy **policies, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		policy_free(policies[i]);
	free(policies);
}

static unsigned
workers_of(const struct world *world, const struct policy *policy)
{
	unsigned n = world->o.workers > 0 ? world->o.workers : policy_ruleset(policy)->node.workers;

	return n > 0 ? (unsigned)min_i64(n, PEERS_MAX) : 1;
}

/* The same texts once for each shard; *n_inout 0: as many as they say. NULL: the report says why. */
static struct policy **
load_all(struct world *world, const char *path, const char *text, unsigned *n_inout, struct policy_report *report)
{
	struct bundle *bundle = bundle_new(path, "");
	struct policy_env env = {
		.log = &world->log, .clock = &world->loop->clock, .seed = prng_u64(&world->prng), .bundle = bundle,
	};
	struct policy *first, **all = NULL;

	if (text != NULL)
		bundle_put(bundle, path, span_text(text));
	first = policy_load(path, &env, report);
	if (first != NULL) {
		if (*n_inout == 0)
			*n_inout = workers_of(world, first);
		all = mem_alloc(*n_inout * sizeof(struct policy *));
		all[0] = first;
	}
	if (first != NULL && !twins_load(all, *n_inout, path, &env, report)) {
		free_policies(all, 1);
		all = NULL;
	}
	bundle_free(bundle);
	return all;
}

static void
on_used(void *ctx, const struct where *where, const char *name)
{
	coverage_setting(ctx, where, name);
}

static void
cover(struct world *world)
{
	struct coverage *coverage = world->o.coverage;

	for (unsigned i = 0; coverage != NULL && i < world->shards->n; i++) {
		struct shard *shard = world->shards->all[i];

		coverage_declare(coverage, shard->policy);
		policy_cover(shard->policy, coverage);
		shard->coverage = coverage;
		shard->queues->o.on_used = on_used;
		shard->queues->o.used_ctx = coverage;
	}
}

/* ---- its life ---- */

static bool
on_bound(void *ctx, struct shards *shards, struct err *err)
{
	(void)err;
	shards->account = account_open_sink(world_on_record, ctx);
	return true;
}

/* The doors that go with the node. */
static void
close_life(struct world *world)
{
	peers_sim_free(world->peers);
	worker_sim_free(world->worker);
	net_sim_free(world->inside);
	world->peers = NULL;
	world->worker = NULL;
	world->inside = NULL;
}

static bool
open_shards(struct world *world, struct policy **policies, unsigned n, struct err *err)
{
	struct shard_options *each = mem_alloc(n * sizeof *each);
	struct shards_options options = { .each = each, .n = n, .on_bound = on_bound, .ctx = world };

	world->inside = net_sim_new(world->wire);
	world->worker = worker_sim_new(world->loop, 0);
	for (unsigned i = 0; i < n; i++) {
		each[i] = (struct shard_options){
			.loop = world->loop, .net = world->inside, .worker = world->worker, .disk = &world->disk->disk,
			.names = world->names, .log = &world->log, .policy = policies[i],
			.settings = policy_ruleset(policies[i])->node, .seed = prng_u64(&world->prng),
			.listeners = &world->listener, .listeners_n = 1,
		};
		each[i].settings.memory_limit = 0;
		each[i].settings.workers = n;
	}
	if (n > 1)
		options.peers = world->peers = peers_sim_new(world->loop, n, prng_u64(&world->prng));
	world->shards = shards_open(&options, err);
	free(each);
	return world->shards != NULL;
}

bool
world_open_node(struct world *world, struct policy_report *report, struct err *err)
{
	unsigned n = 0;
	struct policy **policies = load_all(world, world->policy, world->text, &n, report);
	bool ok;

	if (policies == NULL)
		return false;
	make_listener(world, policy_ruleset(policies[0]));
	world->muted = false;
	ok = open_shards(world, policies, n, err);
	free(policies);
	if (!ok) {
		close_life(world);
		disk_sim_revive(world->disk);           /* the process is gone, and its lock with it */
		return false;
	}
	cover(world);
	shards_start(world->shards);
	injector_node_is_up(world->injector);
	return true;
}

void
world_close_node(struct world *world)
{
	shards_close(world->shards);
	world->shards = NULL;
	close_life(world);
}

bool
world_crash(struct world *world, struct err *err)
{
	/* It may have gone while the node started. */
	if (world->shards == NULL && world->disk->dead) {
		disk_sim_crash(world->disk, &world->prng);
		return true;
	}
	if (world->shards == NULL)
		return err_set(err, ERR_PERM, "crash: the node is down already");
	world_note(world, "the power goes");
	world->muted = true;
	if (world->torn_write)
		world_tear(world);
	disk_sim_cut(world->disk);
	net_sim_cut_all(world->inside);
	world_close_node(world);
	disk_sim_crash(world->disk, &world->prng);
	return true;
}

/* Without a halt at every turn, which would leave the mail between shards no time. */
static bool
is_busy(const struct world *world, bool final_only)
{
	bool busy = false;

	for (unsigned i = 0; i < world->shards->n; i++) {
		const struct shard *shard = world->shards->all[i];

		busy |= final_only ? delivery_waiting_final(shard->delivery) > 0 : !shard_is_idle(shard);
	}
	return busy;
}

/* As a node that got SIGTERM: transactions in flight end, for a while. */
static void
stop(struct world *world)
{
	mono_us_t began = now_of(world);
	bool waits = true;

	shards_stop(world->shards);
	while (waits && is_busy(world, false) && world_turn(world, began + SHARDS_STOP_FINAL_US))
		waits = now_of(world) < began + SHARDS_STOP_US || is_busy(world, true);
	world_close_node(world);
	disk_sim_revive(world->disk);
}

bool
world_restart(struct world *world, unsigned workers, struct policy_report *report, struct err *err)
{
	mono_us_t now;

	if (!world_ok(world, err))
		return false;
	if (world->shards != NULL) {
		world_note(world, "the node stops");
		stop(world);
	}
	if (workers > 0)
		world->o.workers = workers;
	world_note(world, "the node starts");
	if (!world_open_node(world, report, err))
		return false;
	/* What it does at once belongs to this instant, as an injection's does: names are asked for, and answered. */
	now = now_of(world);
	while (world_turn(world, now))
		;
	return world_ok(world, err);
}

bool
world_swap(struct world *world, const char *path, const char *text, struct policy_report *report, struct err *err)
{
	struct policy **fresh;
	unsigned n;

	if (!world_ok(world, err))
		return false;
	if (world->shards == NULL)
		return err_set(err, ERR_PERM, "swap: the node is down: restart() it first");
	n = world->shards->n;
	fresh = load_all(world, path, text, &n, report);
	if (fresh == NULL)
		return false;
	if (!shards_swap(world->shards, fresh, false, err)) {
		free_policies(fresh, n);
		return false;
	}
	make_listener(world, policy_ruleset(fresh[0]));
	free(fresh);
	cover(world);
	world_note(world, "%s is in force", path);
	return true;
}
