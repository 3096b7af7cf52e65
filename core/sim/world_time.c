/*
 * world_time - lets time pass, an instant at a go, until something is so, and no
 * longer than who waits has patience.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery.h"
#include "sim/peers_sim.h"
#include "sim/world_own.h"

#define IDLE_US         (60 * INT64_C(86400) * US_PER_S)
#define EXPIRED_TURNS   500u

static mono_us_t
now_of(const struct world *world)
{
	return loop_now(world->loop).mono;
}

/* ---- trouble ---- */

void
world_fail(struct world *world, const char *text)
{
	if (world->failed)
		return;
	world->failed = true;
	err_set(&world->failure, ERR_PERM, "%s", text);
}

/* A function of the spec that failed stops one run, not the world. */
bool
world_ok(struct world *world, struct err *err)
{
	if (!world->failed)
		return true;
	world->failed = loop_sim_stuck(world->loop);
	*err = world->failure;
	return false;
}

/* ---- time ---- */

void
world_look_at_the_time(struct world *world)
{
	world->turns = 0;
	if (world->o.expired != NULL && world->o.expired(world->o.ctx))
		world_fail(world, "the time for this test is up");
}

bool
world_turn(struct world *world, mono_us_t until)
{
	if (world->failed || !loop_sim_turn(world->loop, until)) {
		if (loop_sim_stuck(world->loop))
			world_fail(world, "time stands still: a million turns of the loop at one instant");
		return false;
	}
	if (++world->turns >= EXPIRED_TURNS)
		world_look_at_the_time(world);
	return true;
}

bool
world_run_until(struct world *world, mono_us_t at, struct err *err)
{
	if (!world_ok(world, err))
		return false;
	while (world_turn(world, at + WORLD_START_US))
		;
	return world_ok(world, err);
}

/* What is on its way from shard to shard is counted by none of them. */
static bool
is_idle(const struct world *world)
{
	for (unsigned i = 0; i < world->shards->n; i++) {
		const struct shard *shard = world->shards->all[i];

		if (shard->queues->rcpts_n > 0 || delivery_sessions(shard->delivery) > 0)
			return false;
	}
	return injector_is_idle(world->injector) && (world->peers == NULL || peers_sim_is_quiet(world->peers));
}

bool
world_run_until_idle(struct world *world, struct err *err)
{
	mono_us_t end = now_of(world) + IDLE_US;

	if (!world_ok(world, err))
		return false;
	if (world->shards == NULL)
		return err_set(err, ERR_PERM, "run_until_idle: the node is down: restart() it first");
	while (!is_idle(world)) {
		if (world_turn(world, end))
			continue;
		return world_ok(world, err) && err_set(err, ERR_PERM, "run_until_idle: after 60 days it still is not");
	}
	return world_ok(world, err);
}

bool
world_run_while(struct world *world, int (*go_on)(void *ctx), void *ctx, struct err *err)
{
	mono_us_t end = now_of(world) + IDLE_US;

	if (!world_ok(world, err))
		return false;
	while (go_on(ctx) > 0) {
		if (world_turn(world, end))
			continue;
		return world_ok(world, err) && err_set(err, ERR_PERM, "run_until: after 60 days it still is not so");
	}
	return world_ok(world, err);
}
