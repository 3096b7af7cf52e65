/*
 * peers_sim - a letter a piece of mail: an event of the loop, and a place in the row
 * of all that is under way.
 *
 * The delay of a letter is drawn when it is posted. One that would overtake what
 * is under way between the same two arrives with it, and behind it, since the loop
 * keeps equal instants in order. Every fourth takes no time: threads that are not
 * busy answer each other faster than any clock of ours tells.
 *
 * A halt delivers in the order of posting, which keeps every pair's order too. What
 * arrives may post more; that is delivered as well.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/peers_sim.h"

#include <stdlib.h>

#include "sim/loop_sim.h"
#include "util/pool.h"
#include "util/prng.h"

#define LETTERS_SPARE 1024u

struct letter {
	struct list       link;
	struct sim_event  arrival;
	struct peers_sim *peers;
	struct loop_call *call;
};

struct peers_sim {
	struct peers  peers;
	struct loop  *loop;
	struct prng   prng;
	struct pool   letters;
	struct list   under_way;        /* as posted */
	mono_us_t    *last;             /* of each pair, from by to: when its newest letter arrives */
};

static struct peers_sim *
sim_of(struct peers *peers)
{
	return container_of(peers, struct peers_sim, peers);
}

static struct loop_call *
open_letter(struct letter *letter)
{
	struct loop_call *call = letter->call;

	loop_sim_cancel(letter->peers->loop, &letter->arrival);
	list_remove(&letter->link);
	pool_give(&letter->peers->letters, letter, sizeof *letter);
	return call;
}

static void
on_arrival(void *ctx)
{
	struct loop_call *call = open_letter(ctx);

	call->fn(call->ctx);
}

static mono_us_t
delay(struct peers_sim *p)
{
	return prng_below(&p->prng, 4) == 0 ? 0 : (mono_us_t)prng_below(&p->prng, PEERS_SIM_DELAY_US + 1);
}

static void
sim_post(struct peers *peers, unsigned from, unsigned to, struct loop_call *call)
{
	struct peers_sim *p = sim_of(peers);
	struct letter *letter = pool_take(&p->letters, sizeof *letter);
	mono_us_t *last = &p->last[from * peers->n + to];

	check(from < peers->n);
	check(to < peers->n);
	*last = max_i64(*last, loop_now(p->loop).mono + delay(p));
	*letter = (struct letter){ .peers = p, .call = call, .arrival = { .fn = on_arrival, .ctx = letter } };
	list_add_tail(&p->under_way, &letter->link);
	loop_sim_at(p->loop, &letter->arrival, *last);
}

static void
sim_halt(struct peers *peers)
{
	struct peers_sim *p = sim_of(peers);

	while (!list_empty(&p->under_way))
		on_arrival(list_first(&p->under_way, struct letter, link));
}

/* Nobody else has moved meanwhile anyway. */
static void
sim_resume(struct peers *peers)
{
	(void)peers;
}

static const struct peers_ops peers_sim_ops = { .post = sim_post, .halt = sim_halt, .resume = sim_resume };

struct peers *
peers_sim_new(struct loop *loop, unsigned n, uint64_t seed)
{
	struct peers_sim *p = mem_alloc(sizeof *p);

	check(n >= 1 && n <= PEERS_MAX);
	p->peers = (struct peers){ &peers_sim_ops, n };
	p->loop = loop;
	p->last = mem_alloc((size_t)n * n * sizeof *p->last);
	list_init(&p->under_way);
	pool_init(&p->letters, sizeof(struct letter), LETTERS_SPARE);
	prng_seed(&p->prng, seed);
	return &p->peers;
}

void
peers_sim_free(struct peers *peers)
{
	struct peers_sim *p = peers != NULL ? sim_of(peers) : NULL;

	if (p == NULL)
		return;
	while (!list_empty(&p->under_way))
		open_letter(list_first(&p->under_way, struct letter, link));
	pool_fini(&p->letters);
	free(p->last);
	free(p);
}

bool
peers_sim_is_quiet(const struct peers *peers)
{
	return list_empty(&container_of(peers, const struct peers_sim, peers)->under_way);
}
