/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/peers_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "sim/loop_sim.h"

#define SHARDS  3u
#define LETTERS 200u

struct fixture {
	struct loop  *loop;
	struct peers *peers;
	unsigned      next[SHARDS][SHARDS];
	unsigned      arrived;
	bool          wrong;
	mono_us_t     earliest, latest;
	char          story[8000];
};

struct letter {
	struct loop_call call;
	struct fixture  *f;
	struct letter   *answer;        /* posted when this one arrives */
	unsigned         from, to, number;
};

static void
on_letter(void *ctx)
{
	struct letter *letter = ctx;
	struct fixture *f = letter->f;
	size_t n = strlen(f->story);
	mono_us_t now = loop_now(f->loop).mono;

	f->wrong |= f->next[letter->from][letter->to]++ != letter->number;
	f->arrived++;
	f->earliest = min_i64(f->earliest, now);
	f->latest = max_i64(f->latest, now);
	snprintf(f->story + n, sizeof f->story - n, "%u>%u@%lld ", letter->from, letter->to, (long long)now);
	if (letter->answer != NULL)
		peers_post(f->peers, letter->to, letter->from, &letter->answer->call);
}

static void
set_up(struct fixture *f, uint64_t seed)
{
	*f = (struct fixture){ .loop = loop_sim_new(1000, (wall_ms_t){ 0 }), .earliest = MONO_NEVER };
	f->peers = peers_sim_new(f->loop, SHARDS, seed);
}

static void
tear_down(struct fixture *f)
{
	peers_sim_free(f->peers);
	loop_sim_free(f->loop);
}

static void
post(struct fixture *f, struct letter *letter, unsigned from, unsigned to, unsigned number)
{
	*letter = (struct letter){ .f = f, .from = from, .to = to, .number = number };
	letter->call = (struct loop_call){ .fn = on_letter, .ctx = letter };
	peers_post(f->peers, from, to, &letter->call);
}

/* From everybody to everybody, themselves too. */
static void
post_all(struct fixture *f, struct letter *letters)
{
	for (unsigned i = 0; i < LETTERS; i++)
		post(f, &letters[i], i / SHARDS % SHARDS, i % SHARDS, i / (SHARDS * SHARDS));
}

static void
keeps_the_order_of_each_pair_within_its_time(void **state)
{
	struct fixture f;
	struct letter letters[LETTERS];

	set_up(&f, 1);
	post_all(&f, letters);
	assert_int_equal(f.arrived, 0);
	assert_false(peers_sim_is_quiet(f.peers));
	loop_run(f.loop);
	assert_true(peers_sim_is_quiet(f.peers));
	assert_int_equal(f.arrived, LETTERS);
	assert_false(f.wrong);
	assert_true(f.earliest == 1000);                /* some take no time */
	assert_true(f.latest > 1000 + PEERS_SIM_DELAY_US / 2 && f.latest <= 1000 + PEERS_SIM_DELAY_US);
	tear_down(&f);
}

/* Else shards would take turns as if they were one. */
static void
lets_pairs_overtake_each_other(void **state)
{
	struct fixture f;
	struct letter letters[2];
	unsigned overtaken = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		set_up(&f, seed);
		post(&f, &letters[0], 0, 1, 0);
		post(&f, &letters[1], 2, 1, 0);
		loop_run(f.loop);
		overtaken += strncmp(f.story, "2>1", 3) == 0;
		tear_down(&f);
	}
	assert_in_range(overtaken, 20, 60);
}

static void
plays_the_same_by_the_same_seed(void **state)
{
	struct fixture a, b, c;
	struct letter letters[LETTERS];

	set_up(&a, 7);
	post_all(&a, letters);
	loop_run(a.loop);
	set_up(&b, 7);
	post_all(&b, letters);
	loop_run(b.loop);
	set_up(&c, 8);
	post_all(&c, letters);
	loop_run(c.loop);
	assert_string_equal(a.story, b.story);
	assert_string_not_equal(a.story, c.story);
	tear_down(&a);
	tear_down(&b);
	tear_down(&c);
}

static void
delivers_everything_in_order_at_a_halt_and_what_that_posts(void **state)
{
	struct fixture f;
	struct letter letters[LETTERS], answer;

	set_up(&f, 1);
	post_all(&f, letters);
	answer = (struct letter){ .f = &f, .from = 2, .to = 1, .number = LETTERS / (SHARDS * SHARDS) };
	answer.call = (struct loop_call){ .fn = on_letter, .ctx = &answer };
	letters[5].answer = &answer;                    /* of 1 to 2: it answers from 2 to 1 */
	peers_halt(f.peers);
	assert_int_equal(f.arrived, LETTERS + 1);
	assert_false(f.wrong);
	assert_true(f.latest == 1000);
	peers_resume(f.peers);
	loop_run(f.loop);
	assert_int_equal(f.arrived, LETTERS + 1);
	tear_down(&f);
}

static void
forgets_what_is_under_way_when_it_goes(void **state)
{
	struct fixture f;
	struct letter letters[LETTERS];

	set_up(&f, 1);
	post_all(&f, letters);
	peers_sim_free(f.peers);
	f.peers = NULL;
	loop_run(f.loop);
	assert_int_equal(f.arrived, 0);
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_order_of_each_pair_within_its_time),
		cmocka_unit_test(lets_pairs_overtake_each_other),
		cmocka_unit_test(plays_the_same_by_the_same_seed),
		cmocka_unit_test(delivers_everything_in_order_at_a_halt_and_what_that_posts),
		cmocka_unit_test(forgets_what_is_under_way_when_it_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
