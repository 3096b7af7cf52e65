/*
 * world - holds the doors, and the node between them.
 *
 * A life of the node has a net and a worker of its own, which go with it. The
 * disk, the names, the receivers and the clock stay. A crash mutes the node,
 * makes its disk refuse everything and cuts its net; then it is taken apart in
 * the usual order, which by then reaches nobody.
 *
 * The client's link takes no time, so that mail which is injected is there at
 * the same instant. Every receiver's takes some, or no delivery would.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#include <stdlib.h>

#include "delivery/delivery.h"
#include "policy/coverage.h"
#include "util/crc.h"

#define DISK_BYTES      (UINT64_C(1) << 40)
#define LATENCY_MIN_US  INT64_C(2)                      /* of a receiver, there and back */
#define NEVER_US        (3650 * INT64_C(86400) * US_PER_S)
#define STOP_US         (8 * US_PER_S)                  /* as in node.c */
#define STOP_FINAL_US   (30 * US_PER_S)

struct world_host {
	struct ip        ip;
	struct receiver *receiver;
};

static mono_us_t
now_of(const struct world *world)
{
	return loop_now(world->loop).mono;
}

/* ---- what the node says ---- */

static wall_ms_t
wall_now(void *ctx)
{
	const struct world *world = ctx;

	return loop_now(world->loop).wall;
}

static uint64_t
digest_add(uint64_t digest, struct span bytes)
{
	return (digest ^ (uint64_t)bytes.n << 32 ^ crc32c((uint32_t)digest, bytes)) * UINT64_C(0x9e3779b97f4a7c15);
}

static void
on_log(void *ctx, const char *line, size_t n)
{
	struct world *world = ctx;
	struct span text = span_make(line, n);
	size_t blank = span_find(text, ' ');

	if (world->muted)
		return;
	world->digest = digest_add(world->digest, text);
	if (blank != SIZE_MAX && n > 0)
		world_note(world, "%.*s", (int)(n - blank - 2), line + blank + 1);
}

static void
on_record(void *ctx, const struct account_record *record)
{
	struct world *world = ctx;

	if (world->muted || world->o.unrecorded)
		return;
	ledger_add(world->ledger, record);
	if (record->type != ACCOUNT_DELIVERED && record->type != ACCOUNT_RECEIVED)
		world_note_record(world);
}

/* ---- the outside ---- */

static void
on_failure(void *ctx, const struct err *err)
{
	world_fail(ctx, err->text);
}

static void
on_wire(void *ctx, struct span bytes)
{
	struct world *world = ctx;

	world->digest = digest_add(world->digest, bytes);
}

static struct receiver *
receiver_at(struct world *world, struct ip ip, const char *name)
{
	struct world_host *host = table_get(&world->hosts, span_make(&ip, sizeof ip));
	struct receiver_options options = {
		.loop = world->loop, .host = name, .epoch = WORLD_START_US,
		.watch = { .on_failure = on_failure, .ctx = world }, .net = world->outside, .ip = ip,
	};

	if (host != NULL)
		return host->receiver;
	host = mem_alloc(sizeof *host);
	host->ip = ip;
	host->receiver = receiver_new(&options);
	receiver_set_latency(host->receiver, LATENCY_MIN_US);
	table_put(&world->hosts, span_make(&host->ip, sizeof host->ip), host);
	return host->receiver;
}

/* A host that no spec has named: it is there all the same, and takes everything. */
static void
on_unnamed(void *ctx, struct conn *conn)
{
	char name[IP_TEXT_MAX];

	ip_format(&conn->local.ip, name);
	receiver_accept(receiver_at(ctx, conn->local.ip, name), conn);
}

struct receiver *
world_receiver(struct world *world, const char *host, struct err *err)
{
	struct ip ip = { 0 };
	char name[DOMAIN_MAX];

	if (ip_parse(span_text(host), &ip))
		return receiver_at(world, ip, host);
	if (!domain_normalize(span_text(host), name, NULL))
		return err_set(err, ERR_PERM, "receiver: no name of a host: %s", host), NULL;
	return receiver_at(world, resolver_sim_address_of(world->names, name), name);
}

/* What the node has learned has another TTL than a spec's patience: it asks again for all of it. */
void
world_set_name(struct world *world, const char *name, const struct resolver_sim_zone *zone)
{
	struct route *route;
	uint32_t pos = 0;

	resolver_sim_set(world->names, name, zone);
	if (world->shard == NULL)
		return;
	resolver_forget(world->shard->resolver);
	while ((route = table_next(&world->shard->queues->routes, &pos)) != NULL)
		route->expires = now_of(world);
}

static void
open_outside(struct world *world)
{
	const struct net_sim_host unnamed = {
		.latency_us = LATENCY_MIN_US / 2, .behaviour = NET_SIM_UP, .on_accept = on_unnamed, .ctx = world,
	};

	world->wire = wire_new(world->loop);
	wire_latency(world->wire, 0);
	wire_tap(world->wire, on_wire, world);
	world->outside = net_sim_new(world->wire);
	net_sim_default_host(world->outside, &unnamed);
	world->names = resolver_sim_new(world->loop);
	table_init(&world->hosts, 1);
}

/* ---- the node ---- */

static bool
on_bound(void *ctx, struct shard *shard, struct err *err)
{
	(void)err;
	shard->account = account_open_sink(on_record, ctx);
	return true;
}

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

static struct policy *
load(struct world *world, const char *path, const char *text, struct policy_report *report)
{
	struct bundle *bundle = bundle_new(path, "");
	struct policy_env env = {
		.log = &world->log, .clock = &world->loop->clock, .seed = prng_u64(&world->prng), .bundle = bundle,
	};
	struct policy *policy;

	if (text != NULL)
		bundle_put(bundle, path, span_text(text));
	policy = policy_load(path, &env, report);
	bundle_free(bundle);
	return policy;
}

/* The doors that go with the node. */
static void
close_life(struct world *world)
{
	worker_sim_free(world->worker);
	net_sim_free(world->inside);
	world->worker = NULL;
	world->inside = NULL;
}

static void
on_used(void *ctx, const struct where *where, const char *name)
{
	coverage_setting(ctx, where, name);
}

static void
cover(struct world *world)
{
	struct shard *shard = world->shard;
	struct coverage *coverage = world->o.coverage;

	if (coverage == NULL)
		return;
	coverage_declare(coverage, shard->policy);
	policy_cover(shard->policy, coverage);
	shard->coverage = coverage;
	shard->queues->o.on_used = on_used;
	shard->queues->o.used_ctx = coverage;
}

static bool
open_node(struct world *world, struct policy_report *report, struct err *err)
{
	struct policy *policy = load(world, world->policy, world->text, report);
	struct shard_options options = {
		.loop = world->loop, .disk = &world->disk->disk, .names = world->names, .log = &world->log, .policy = policy,
		.seed = prng_u64(&world->prng), .listeners = &world->listener, .listeners_n = 1,
		.on_bound = on_bound, .ctx = world,
	};

	if (policy == NULL)
		return false;
	options.settings = policy_ruleset(policy)->node;
	options.settings.memory_limit = 0;
	make_listener(world, policy_ruleset(policy));
	options.net = world->inside = net_sim_new(world->wire);
	options.worker = world->worker = worker_sim_new(world->loop, 0);
	world->muted = false;
	world->shard = shard_open(&options, err);
	if (world->shard == NULL) {
		close_life(world);
		disk_sim_revive(world->disk);           /* the process is gone, and its lock with it */
		return false;
	}
	cover(world);
	shard_start(world->shard);
	injector_node_is_up(world->injector);
	return true;
}

static void
close_node(struct world *world)
{
	shard_close(world->shard);
	world->shard = NULL;
	close_life(world);
}

bool
world_crash(struct world *world, struct err *err)
{
	/* It may have gone while the node started. */
	if (world->shard == NULL && world->disk->dead) {
		disk_sim_crash(world->disk, &world->prng);
		return true;
	}
	if (world->shard == NULL)
		return err_set(err, ERR_PERM, "crash: the node is down already");
	world_note(world, "the power goes");
	world->muted = true;
	if (world->torn_write)
		world_tear(world);
	disk_sim_cut(world->disk);
	net_sim_cut_all(world->inside);
	close_node(world);
	disk_sim_crash(world->disk, &world->prng);
	return true;
}

/* As a node that got SIGTERM: transactions in flight end, for a while. */
static void
stop(struct world *world)
{
	mono_us_t began = now_of(world);
	bool waits = true;

	shard_stop(world->shard);
	while (waits && !shard_is_idle(world->shard) && world_turn(world, began + STOP_FINAL_US))
		waits = now_of(world) < began + STOP_US || delivery_waiting_final(world->shard->delivery) > 0;
	close_node(world);
	disk_sim_revive(world->disk);
}

bool
world_restart(struct world *world, struct policy_report *report, struct err *err)
{
	if (!world_ok(world, err))
		return false;
	if (world->shard != NULL) {
		world_note(world, "the node stops");
		stop(world);
	}
	world_note(world, "the node starts");
	return open_node(world, report, err) && world_ok(world, err);
}

bool
world_swap(struct world *world, const char *path, const char *text, struct policy_report *report, struct err *err)
{
	struct policy *fresh;

	if (!world_ok(world, err))
		return false;
	if (world->shard == NULL)
		return err_set(err, ERR_PERM, "swap: the node is down: restart() it first");
	fresh = load(world, path, text, report);
	if (fresh == NULL)
		return false;
	if (!shard_swap(world->shard, fresh, false, err)) {
		policy_free(fresh);
		return false;
	}
	make_listener(world, policy_ruleset(fresh));
	cover(world);
	world_note(world, "%s is in force", path);
	return true;
}

/* ---- a world ---- */

struct world *
world_new(const struct world_options *options, struct policy_report *report, struct err *err)
{
	struct world *world = mem_alloc(sizeof *world);

	world->o = *options;
	world->policy = mem_strdup(options->policy);
	world->text = options->text != NULL ? mem_strdup(options->text) : NULL;
	world->o.policy = world->policy;
	prng_seed(&world->prng, options->seed);
	world->loop = loop_sim_new(WORLD_START_US, (wall_ms_t){ WORLD_WALL_MS });
	world->log = (struct log){ LOG_INFO, wall_now, world, on_log, world };
	world->ledger = ledger_new();
	open_outside(world);
	world->disk = disk_sim_new(prng_u64(&world->prng));
	world->disk->capacity = DISK_BYTES;
	world->injector = injector_new(world);
	if (!open_node(world, report, err)) {
		world_free(world);
		return NULL;
	}
	return world;
}

void
world_free(struct world *world)
{
	struct world_host *host;
	uint32_t pos = 0;

	if (world == NULL)
		return;
	world->muted = true;
	injector_free(world->injector);
	if (world->shard != NULL)
		close_node(world);
	while ((host = table_next(&world->hosts, &pos)) != NULL) {
		receiver_free(host->receiver);
		free(host);
	}
	table_fini(&world->hosts);
	net_sim_free(world->outside);
	wire_free(world->wire);
	resolver_sim_free(world->names);
	disk_sim_free(world->disk);
	loop_sim_free(world->loop);
	ledger_free(world->ledger);
	free(world->policy);
	free(world->text);
	free(world);
}

mono_us_t world_now(const struct world *world) { return now_of(world) - WORLD_START_US; }
uint64_t world_seed(const struct world *world) { return world->o.seed; }
struct shard *world_shard(const struct world *world) { return world->shard; }
const struct ledger *world_ledger(const struct world *world) { return world->ledger; }

uint64_t
world_digest(const struct world *world)
{
	struct buf line;
	uint64_t sum = world->digest;
	struct account_record record;

	buf_init(&line, 0);
	for (size_t i = 0; i < ledger_n(world->ledger); i++) {
		ledger_read(world->ledger, i, &record);
		buf_clear(&line);
		account_format(&record, &line);
		sum = digest_add(sum, buf_span(&line));
	}
	buf_fini(&line);
	return sum;
}
