/*
 * world_own - what the files of a world share and nobody else includes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "shards.h"
#include "sim/disk_sim.h"
#include "sim/loop_sim.h"
#include "sim/net_sim.h"
#include "sim/receiver.h"
#include "sim/worker_sim.h"
#include "sim/world.h"
#include "util/table.h"

#define WORLD_START_US  (86400 * US_PER_S)              /* a machine that is up since a day: nothing is before 0 */
#define WORLD_WALL_MS   INT64_C(1767225600000)          /* 2026-01-01T00:00:00Z */

struct injector;

/* The last things that happened, written out only when they are told. */
struct world_event {
	mono_us_t at;
	size_t    record;               /* in the ledger; SIZE_MAX: text says it */
	char      text[240];
};

struct world {
	struct world_options o;
	char           *policy, *text;  /* NULL text: it is in the file */
	struct loop    *loop;
	struct wire    *wire;
	struct net     *inside, *outside;
	struct worker  *worker;
	struct disk_sim *disk;
	struct resolver_source *names;
	struct log      log;
	struct shards  *shards;         /* NULL: the node is down */
	struct peers   *peers;          /* NULL: one shard has none */
	struct prng     prng;
	struct ruleset_listener listener;       /* where the world's own client comes in */
	char            listener_name[256];
	struct table    hosts;          /* by address: struct world_host */
	struct injector *injector;
	struct ledger  *ledger;
	uint64_t        digest;
	struct world_event events[WORLD_EVENTS];
	uint64_t        events_n;       /* since the beginning */
	unsigned        turns;          /* since it was asked whether time is up */
	bool            muted;          /* the node has no power: what it still says is not heard */
	bool            torn_write;
	bool            failed;
	struct err      failure;
};

/* world.c */
void world_on_record(void *ctx, const struct account_record *record);   /* ctx is the world */

/* world_node.c */
bool world_open_node(struct world *world, struct policy_report *report, struct err *err);
void world_close_node(struct world *world);

/* world_time.c */
bool world_turn(struct world *world, mono_us_t until);  /* one instant; false: nothing is due by then, or it failed */
void world_look_at_the_time(struct world *world);       /* is there any left for who waits? */
bool world_ok(struct world *world, struct err *err);

/* world_fault.c */
void world_tear(struct world *world);                   /* a write is under way when the power goes */

/* world_inject.c */
struct injector *injector_new(struct world *world);
void injector_free(struct injector *injector);
void injector_node_is_up(struct injector *injector);
bool injector_is_idle(const struct injector *injector);

/* world_report.c */
void world_note(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
void world_note_record(struct world *world);            /* the ledger's last */
