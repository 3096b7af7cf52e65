/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>

#include "net/peers.h"

#define SHARDS 4
#define LETTERS 2000

struct letter {
	struct loop_call call;
	struct fixture  *f;
	unsigned         from, to, number;
};

struct fixture {
	struct loop   *loops[SHARDS];
	pthread_t      threads[SHARDS];
	struct peers  *peers;
	unsigned       next[SHARDS][SHARDS];    /* the receiver's; the first shard's in a halt */
	bool           wrong[SHARDS];          /* the receiver's */
	struct letter  letters[SHARDS][LETTERS];
	struct letter  kicks[SHARDS];
	struct loop_call stop[SHARDS];
};

static void
on_letter(void *ctx)
{
	struct letter *letter = ctx;
	struct fixture *f = letter->f;

	f->wrong[letter->to] |= f->next[letter->to][letter->from]++ != letter->number;
}

/* In its own thread: writes to everybody. */
static void
on_kick(void *ctx)
{
	struct letter *kick = ctx;
	struct fixture *f = kick->f;

	for (unsigned i = 0; i < LETTERS; i++) {
		struct letter *letter = &f->letters[kick->to][i];

		*letter = (struct letter){ .f = f, .from = kick->to, .to = i % SHARDS, .number = i / SHARDS };
		letter->call = (struct loop_call){ .fn = on_letter, .ctx = letter };
		peers_post(f->peers, letter->from, letter->to, &letter->call);
	}
}

static void
on_stop(void *ctx)
{
	loop_stop(ctx);
}

static void *
thread(void *arg)
{
	loop_run(arg);
	return NULL;
}

static struct fixture *
set_up(void)
{
	struct fixture *f = mem_alloc(sizeof *f);
	struct err err;

	for (unsigned i = 0; i < SHARDS; i++) {
		f->loops[i] = loop_os_new(&err);
		assert_non_null(f->loops[i]);
		f->kicks[i] = (struct letter){ .f = f, .to = i, .call = { .fn = on_kick, .ctx = &f->kicks[i] } };
		f->stop[i] = (struct loop_call){ .fn = on_stop, .ctx = f->loops[i] };
	}
	f->peers = peers_os_new(f->loops, SHARDS);
	return f;
}

static void
run(struct fixture *f)
{
	for (unsigned i = 1; i < SHARDS; i++) {
		assert_int_equal(pthread_create(&f->threads[i], NULL, thread, f->loops[i]), 0);
		peers_os_running(f->peers, i, true);
	}
}

static void
tear_down(struct fixture *f)
{
	for (unsigned i = 1; i < SHARDS; i++) {
		if (f->threads[i]) {
			loop_post(f->loops[i], &f->stop[i]);
			assert_int_equal(pthread_join(f->threads[i], NULL), 0);
		}
	}
	peers_os_free(f->peers);
	for (unsigned i = 0; i < SHARDS; i++)
		loop_os_free(f->loops[i]);
	free(f);
}

static unsigned
arrived(const struct fixture *f)
{
	unsigned n = 0;

	for (unsigned to = 0; to < SHARDS; to++)
		for (unsigned from = 0; from < SHARDS; from++)
			n += f->next[to][from];
	return n;
}

/* Everybody writes to everybody; a halt finds all of it there, in order. */
static void
delivers_all_mail_in_order_before_a_halt_is_complete(void **state)
{
	struct fixture *f = set_up();

	run(f);
	for (unsigned i = 0; i < SHARDS; i++)
		peers_post(f->peers, 0, i, &f->kicks[i].call);
	peers_halt(f->peers);
	assert_int_equal(arrived(f), SHARDS * LETTERS);
	for (unsigned i = 0; i < SHARDS; i++)
		assert_false(f->wrong[i]);
	peers_resume(f->peers);
	tear_down(f);
}

static void
nobody_moves_between_halt_and_resume(void **state)
{
	struct fixture *f = set_up();

	run(f);
	for (unsigned round = 0; round < 200; round++) {
		unsigned before;

		memset(f->next, 0, sizeof f->next);     /* unguarded: the thread sanitizer looks on */
		peers_halt(f->peers);
		before = arrived(f);
		for (unsigned i = 0; i < SHARDS; i++)
			f->next[i][i] = before + 1;
		memset(f->next, 0, sizeof f->next);
		peers_resume(f->peers);
		peers_post(f->peers, 0, 1 + round % (SHARDS - 1), &f->kicks[1 + round % (SHARDS - 1)].call);
		peers_halt(f->peers);
		assert_int_equal(arrived(f), LETTERS);
		peers_resume(f->peers);
	}
	for (unsigned i = 0; i < SHARDS; i++)
		assert_false(f->wrong[i]);
	tear_down(f);
}

/* As while a node opens and closes: one thread does it all. */
static void
does_without_threads_that_do_not_run_yet(void **state)
{
	struct fixture *f = set_up();

	for (unsigned i = 0; i < SHARDS; i++)
		peers_post(f->peers, 0, i, &f->kicks[i].call);
	peers_halt(f->peers);
	assert_int_equal(arrived(f), SHARDS * LETTERS);
	peers_resume(f->peers);
	tear_down(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivers_all_mail_in_order_before_a_halt_is_complete),
		cmocka_unit_test(nobody_moves_between_halt_and_resume),
		cmocka_unit_test(does_without_threads_that_do_not_run_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
