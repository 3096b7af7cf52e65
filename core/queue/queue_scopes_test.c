/* Queues of several shards under one node's limits: never above them, in turn, saved and restored once. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#include "queue/shards_fixture.h"

#define V1 "vmta \"v1\" { source = \"any\" }\n"

struct town {
	struct shards shards;           /* first: cast back */
	struct scopes_shared *shared;
	struct world *worlds[SHARDS_MAX];
};

static void
set_clock(struct shards *shards, unsigned shard)
{
	((struct town *)shards)->worlds[shard]->loop.now = shards->now;
}

static struct town *
town_new(unsigned n, const char *policy, uint64_t seed)
{
	struct town *town = mem_alloc(sizeof *town);

	shards_init(&town->shards, n, seed);
	town->shards.before_turn = set_clock;
	town->shared = scopes_shared_new(&town->shards.peers);
	for (unsigned i = 0; i < n; i++) {
		struct world *w = town->worlds[i] = world_new(policy);

		world_close_queues(w);
		w->shared = town->shared;
		w->me = i;
		town->shards.now = w->loop.now;
		town->shards.timers[i] = &w->loop.timers;
		world_open_queues(w);
	}
	return town;
}

static void
town_free(struct town *town)
{
	for (unsigned i = 0; i < town->shards.peers.n; i++) {
		set_clock(&town->shards, i);
		world_close_queues(town->worlds[i]);
	}
	for (unsigned i = 0; i < town->shards.peers.n; i++)
		town->shards.timers[i] = &town->shards.own[i];
	shards_run(&town->shards, US_PER_S);
	scopes_shared_free(town->shared);
	for (unsigned i = 0; i < town->shards.peers.n; i++) {
		town->worlds[i]->shared = NULL;
		world_open_queues(town->worlds[i]);
		world_free(town->worlds[i]);
	}
	shards_fini(&town->shards);
	free(town);
}

static struct world *
world_of(struct town *town, unsigned i)
{
	set_clock(&town->shards, i);
	return town->worlds[i];
}

static unsigned
delivered(const struct town *town)
{
	unsigned n = 0;

	for (unsigned i = 0; i < town->shards.peers.n; i++)
		n += town->worlds[i]->delivered;
	return n;
}

static uint64_t
sessions(const struct town *town)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < town->shards.peers.n; i++)
		n += town->worlds[i]->queues->sessions_n;
	return n;
}

/* ---- caps ---- */

static void
a_cap_of_the_node_holds_over_all_shards_and_is_used(void **state)
{
	for (unsigned n = 1; n <= SHARDS_MAX; n++) {
		struct town *town = town_new(n, "node { max_smtp_out = 5 }\nvmta \"v1\" { source = \"any\", max_smtp_out = 4 }\n", n);
		mono_us_t until = town->shards.now.mono + MINS(30);
		uint64_t most = 0;

		for (unsigned i = 0; i < n; i++) {
			world_of(town, i)->play.spread = true;
			for (unsigned site = 0; site < 6; site++) {
				char name[32];

				snprintf(name, sizeof name, "s%u-%u.example", i, site);
				put(world_of(town, i), name, .messages = 30);
			}
		}
		while (delivered(town) < n * 180 && shards_turn(&town->shards, until)) {
			assert_true(sessions(town) <= 4);
			assert_int_equal(gauge_in_use(&town->worlds[0]->queues->node.use->sessions), sessions(town));
			most = sessions(town) > most ? sessions(town) : most;
		}
		assert_int_equal(delivered(town), n * 180);
		assert_int_equal(most, 4);
		shards_run(&town->shards, MINS(1));
		for (unsigned i = 0; i < 2; i++) {
			const struct scope_use *use = (i == 0 ? &town->worlds[0]->queues->node : town->worlds[n - 1]->queues->vmtas[0])->use;

			assert_int_equal(use->connecting, 0);
			assert_int_equal(use->closing, 0);
			assert_int_equal(gauge_in_use(&use->sessions), 0);
		}
		town_free(town);
	}
}

static void
a_session_gives_way_to_who_waits_in_another_shard(void **state)
{
	struct town *town = town_new(2, "node { max_smtp_out = 1 }\n" V1, 7);
	struct world *busy = town->worlds[0], *late = town->worlds[1];

	put(world_of(town, 0), "a.example", .messages = 1000);
	shards_run(&town->shards, SEC(1));
	assert_in_range(busy->delivered, 10, 100);
	put(world_of(town, 1), "b.example", .messages = 1);
	while (late->delivered == 0 && busy->delivered < 1000)
		shards_turn(&town->shards, MONO_NEVER - 1);
	assert_int_equal(late->delivered, 1);
	assert_true(busy->delivered < 130);
	shards_run(&town->shards, MINS(10));
	assert_int_equal(busy->delivered, 1000);
	town_free(town);
}

/* ---- rates ---- */

static void
a_rate_of_the_node_is_shared_in_turn(void **state)
{
	struct town *town = town_new(3, "node { max_msg_rate = \"600/m\" }\n" V1, 11);
	unsigned before;

	put(world_of(town, 0), "a.example", .messages = 6000);
	put(world_of(town, 1), "b.example", .messages = 6000);
	put(world_of(town, 2), "c.example", .messages = 6000);
	put(world_of(town, 2), "d.example", .messages = 6000);
	shards_run(&town->shards, SEC(30));
	for (unsigned minute = 0; minute < 5; minute++) {
		before = delivered(town);
		shards_run(&town->shards, MINS(1));
		assert_in_range(delivered(town) - before, 570, 600);
	}
	before = delivered(town) / 4;
	assert_in_range(town->worlds[0]->delivered, before * 95 / 100, before * 105 / 100);
	assert_in_range(town->worlds[1]->delivered, before * 95 / 100, before * 105 / 100);
	assert_in_range(town->worlds[2]->delivered, before * 190 / 100, before * 210 / 100);
	town_free(town);
}

/* ---- over a restart and a swap ---- */

#define RATES "node { max_msg_rate = \"3300/h\" }\nvmta \"v1\" { source = \"any\", max_msg_rate = \"3500/h\" }\n"

static mono_us_t
next_of(struct town *town, const struct scope *scope)
{
	return rate_ready_at(&scope->use->messages, &scope->limits.max_msg_rate, town->shards.now.mono) - town->shards.now.mono;
}

static void
a_restart_restores_what_all_have_once(void **state)
{
	for (unsigned clean = 0; clean < 2; clean++) {
		struct town *town = town_new(2, RATES, 13);
		mono_us_t node, vmta;
		struct buf saved[2];

		put(world_of(town, 0), "a.example", .messages = 100);
		put(world_of(town, 1), "b.example", .messages = 100);
		shards_run(&town->shards, SEC(20) + MS(321));
		node = next_of(town, &town->worlds[0]->queues->node);
		vmta = next_of(town, town->worlds[0]->queues->vmtas[0]);
		assert_true(node > 0 && vmta > 0);
		for (unsigned i = 0; i < 2; i++) {
			buf_init(&saved[i], 0);
			queues_save(world_of(town, i)->queues, town->shards.now, &saved[i]);
			world_close_queues(town->worlds[i]);
			resolver_forget(town->worlds[i]->resolver);
		}
		assert_true(span_find_text(buf_span(&saved[0]), SPAN("node ")) != SIZE_MAX);
		assert_true(span_find_text(buf_span(&saved[1]), SPAN("node ")) == SIZE_MAX);
		assert_true(span_find_text(buf_span(&saved[1]), SPAN("vmta v1")) == SIZE_MAX);
		for (unsigned i = 0; i < 2; i++)
			world_open_queues(town->worlds[i]);
		for (unsigned i = 0; i < 2; i++)
			queues_load(town->worlds[i]->queues, buf_span(&saved[0]), clean, town->shards.now);
		for (unsigned i = 0; i < 2; i++) {
			const struct queues *queues = town->worlds[i]->queues;

			assert_in_range(next_of(town, &queues->node), node - 2, clean ? node + 2 : SEC(2));
			assert_in_range(next_of(town, queues->vmtas[0]), vmta - 2, clean ? vmta + 2 : SEC(2));
			assert_null(table_get(&queues->saved, SPAN("node ")));
			buf_fini(&saved[i]);
		}
		town_free(town);
	}
}

static void
swap_to(struct town *town, const char *policy)
{
	for (unsigned i = 0; i < town->shards.peers.n; i++) {
		struct err err = { 0 };

		if (!world_swap(world_of(town, i), policy, &err))
			fail_msg("refused: %s", err.text);
	}
}

static void
a_swap_keeps_what_has_a_name_and_lets_go_of_the_rest(void **state)
{
	struct town *town = town_new(2, RATES "vmta \"v2\" { source = \"any\" }\npool \"p\" { \"v1\", \"v2\", max_smtp_out = 3 }\n", 17);
	const struct scope_use *v1 = town->worlds[1]->queues->vmtas[0]->use, *node = town->worlds[1]->queues->node.use;
	mono_us_t next;

	put(world_of(town, 0), "a.example", .messages = 100);
	put(world_of(town, 1), "b.example", .messages = 100);
	shards_run(&town->shards, SEC(10) + MS(5));
	next = next_of(town, &town->worlds[1]->queues->node);
	assert_int_equal(gauge_in_use(&town->worlds[0]->queues->pools[0]->use->sessions), sessions(town));
	swap_to(town, RATES "vmta \"v3\" { source = \"any\", max_msg_rate = \"60/h\" }\n");
	assert_ptr_equal(town->worlds[0]->queues->vmtas[0]->use, v1);
	assert_ptr_equal(town->worlds[0]->queues->node.use, node);
	assert_int_equal(next_of(town, &town->worlds[0]->queues->node), next);
	for (unsigned i = 0; i < 2; i++)
		assert_in_range(next_of(town, town->worlds[i]->queues->vmtas[1]), SEC(60), SEC(65));
	swap_to(town, RATES "vmta \"v3\" { source = \"any\" }\npool \"p\" { \"v1\", max_smtp_out = 1 }\n");
	assert_int_equal(gauge_in_use(&town->worlds[0]->queues->pools[0]->use->sessions), sessions(town));
	shards_run(&town->shards, SEC(10));
	assert_true(sessions(town) <= 1);
	shards_run(&town->shards, MINS(5));
	assert_int_equal(delivered(town), 200);
	town_free(town);
}

/* A place that only one of two swaps frees: who waits in the other shard is woken. */
static void
a_raised_cap_wakes_whoever_waits(void **state)
{
	struct town *town = town_new(2, "node { max_smtp_out = 1 }\n" V1, 19);

	for (unsigned i = 0; i < 2; i++)
		world_of(town, i)->play.reply_us = HOUR(1);
	put(world_of(town, 0), "a.example", .messages = 5);
	shards_run(&town->shards, SEC(1));
	put(world_of(town, 1), "b.example", .messages = 5);
	shards_run(&town->shards, SEC(1));
	assert_int_equal(sessions(town), 1);
	swap_to(town, "node { max_smtp_out = 4 }\n" V1);
	shards_run(&town->shards, SEC(1));
	assert_int_equal(sessions(town), 4);
	assert_true(town->worlds[0]->queues->sessions_n >= 2 && town->worlds[1]->queues->sessions_n >= 1);
	for (unsigned i = 0; i < 2; i++)
		world_of(town, i)->play.reply_us = MS(20);
	shards_run(&town->shards, HOUR(2));
	assert_int_equal(delivered(town), 10);
	town_free(town);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cap_of_the_node_holds_over_all_shards_and_is_used),
		cmocka_unit_test(a_session_gives_way_to_who_waits_in_another_shard),
		cmocka_unit_test(a_rate_of_the_node_is_shared_in_turn),
		cmocka_unit_test(a_restart_restores_what_all_have_once),
		cmocka_unit_test(a_swap_keeps_what_has_a_name_and_lets_go_of_the_rest),
		cmocka_unit_test(a_raised_cap_wakes_whoever_waits),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
