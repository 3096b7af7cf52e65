/*
 * world - holds the doors, and the node between them.
 *
 * The client's link takes no time, so that mail which is injected is there at
 * the same instant. Every receiver's takes some, or no delivery would.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_own.h"

#include <stdlib.h>

#include "util/crc.h"

#define DISK_BYTES      (UINT64_C(1) << 40)
#define LATENCY_MIN_US  INT64_C(2)                      /* of a receiver, there and back */

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

void
world_on_record(void *ctx, const struct account_record *record)
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
static void
forget_names(struct shard *shard)
{
	struct route *route;
	uint32_t pos = 0;

	resolver_forget(shard->resolver);
	while ((route = table_next(&shard->queues->routes, &pos)) != NULL)
		route->expires = loop_now(shard->loop).mono;
}

void
world_set_name(struct world *world, const char *name, const struct resolver_sim_zone *zone)
{
	resolver_sim_set(world->names, name, zone);
	for (unsigned i = 0; world->shards != NULL && i < world->shards->n; i++)
		forget_names(world->shards->all[i]);
}

static void
open_outside(struct world *world)
{
	const struct net_sim_host unnamed = {
		.latency_us = LATENCY_MIN_US / 2, .behaviour = NET_SIM_UP, .on_accept = on_unnamed, .ctx = world,
	};

	world->wire = wire_new(world->loop);
	wire_latency(world->wire, 0);
	wire_seed(world->wire, world->o.seed);
	wire_tap(world->wire, on_wire, world);
	world->outside = net_sim_new(world->wire);
	net_sim_default_host(world->outside, &unnamed);
	world->names = resolver_sim_new(world->loop);
	table_init(&world->hosts, 1);
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
	world->log = (struct log){ .level = LOG_INFO, .wall = wall_now, .wall_ctx = world, .sink = on_log, .sink_ctx = world };
	world->ledger = ledger_new();
	open_outside(world);
	world->disk = disk_sim_new(prng_u64(&world->prng));
	world->disk->capacity = DISK_BYTES;
	world->injector = injector_new(world);
	if (!world_open_node(world, report, err)) {
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
	if (world->shards != NULL)
		world_close_node(world);
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
struct shard *world_shard(const struct world *world) { return world->shards != NULL ? world->shards->all[0] : NULL; }
struct shards *world_shards(const struct world *world) { return world->shards; }
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
