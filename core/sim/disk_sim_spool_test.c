/*
 * The real spool on the simulated doors: the power goes at every call to the
 * disk in turn, and what was acknowledged is there afterwards.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sim/disk_sim.h"
#include "sim/loop_sim.h"
#include "sim/worker_sim.h"
#include "spool/spool.h"

#define MAILS 24u
#define BODY  3000u

struct mail {
	struct world        *world;
	struct spool_message message;
	bool acked, settled, back;
};

struct world {
	struct disk_sim *disk;
	struct loop     *loop;
	struct worker   *worker;
	struct spool    *spool;
	struct mail      mails[MAILS + 1];      /* by id */
	unsigned         given, acked;
};

static struct spool_message *
on_recovered(void *ctx, const struct spool_recovered *recovered)
{
	struct world *w = ctx;
	struct mail *mail;

	assert_in_range(recovered->id, 1, MAILS);
	mail = &w->mails[recovered->id];
	mail->message = (struct spool_message){ .id = recovered->id };
	mail->back = true;
	return &mail->message;
}

static void
on_states(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts)
{
	rcpts[0] = (struct spool_rcpt_state){ .outcome = SPOOL_WAITING };
}

static void
on_commit(void *ctx, const struct err *err)
{
	static const struct spool_rcpt_state delivered = { .outcome = SPOOL_DELIVERED };
	struct mail *mail = ctx;

	if (err)
		return;
	mail->acked = true;
	mail->world->acked++;
	if (mail->message.id % 3)
		return;
	mail->settled = true;
	spool_settle(mail->world->spool, &mail->message, 0, &delivered);
}

static bool
world_open(struct world *w)
{
	struct spool_options options = { .segment_bytes = 32 * 1024 };
	struct spool_owner owner = { on_recovered, on_states, w };

	w->loop = loop_sim_new(US_PER_S, (wall_ms_t){ 0 });
	w->worker = worker_sim_new(w->loop, 200);
	w->spool = spool_open(&w->disk->disk, w->worker, w->loop, &options, &owner, NULL);
	return w->spool != NULL;
}

static void
world_close(struct world *w)
{
	spool_close(w->spool);
	worker_sim_free(w->worker);
	loop_sim_free(w->loop);
}

static void
give_one(struct world *w)
{
	struct spool_writer *writer = spool_begin(w->spool, NULL);
	char body[BODY];
	struct mail *mail;
	uint64_t id;

	if (!writer)
		return;
	id = spool_next_id(w->spool);
	if (id > MAILS) {
		spool_abort(writer);
		return;
	}
	mail = &w->mails[id];
	*mail = (struct mail){ .world = w, .message = { .id = id } };
	memset(body, 'a' + (int)(id % 26), sizeof(body));
	spool_write(writer, span_make(body, sizeof(body)), NULL);
	spool_commit(writer, &mail->message, 1, SPAN("meta"), SPAN("Subject: x\r\n\r\n"), on_commit, mail);
	w->given++;
}

static void
live(struct world *w)
{
	for (unsigned i = 0; i < MAILS; i++) {
		mono_us_t until = loop_now(w->loop).mono + 150;

		give_one(w);
		while (loop_sim_turn(w->loop, until))
			;
	}
	for (mono_us_t until = loop_now(w->loop).mono + US_PER_S; loop_sim_turn(w->loop, until); )
		;
}

static void
check_body(struct world *w, struct mail *mail)
{
	struct spool_reader reader;
	struct buf got;
	bool done = false;

	buf_init(&got, 0);
	assert_true(spool_read_open(w->spool, &mail->message, &reader, NULL));
	while (!done)
		assert_true(spool_read(&reader, 1000, &got, &done, NULL));
	spool_read_close(&reader);
	assert_int_equal(buf_len(&got), BODY + strlen("Subject: x\r\n\r\n"));
	assert_int_equal(got.p[buf_len(&got) - 1], 'a' + (int)(mail->message.id % 26));
	buf_fini(&got);
}

/* True: the power went before all was done. */
static bool
one_life(uint64_t cut_after, uint64_t seed)
{
	struct world *w = mem_alloc(sizeof(*w));
	struct prng prng;
	bool cut;

	prng_seed(&prng, seed);
	w->disk = disk_sim_new(seed);
	w->disk->cut_at = cut_after;
	if (world_open(w))
		live(w);
	cut = w->disk->dead;
	if (!cut)
		assert_int_equal(w->acked, MAILS);
	disk_sim_cut(w->disk);
	world_close(w);
	disk_sim_crash(w->disk, &prng);
	assert_true(world_open(w));
	for (unsigned id = 1; id <= MAILS; id++) {
		struct mail *mail = &w->mails[id];

		if (mail->acked && !mail->settled)
			assert_true(mail->back);
		if (mail->back)
			check_body(w, mail);
	}
	world_close(w);
	disk_sim_free(w->disk);
	free(w);
	return cut;
}

static void
loses_nothing_acknowledged_wherever_the_power_goes(void **state)
{
	uint64_t n = 1;

	while (one_life(n, n))
		n++;
	assert_true(n > 50);
}

/* Mail is lost, or the spool sees the damage and refuses; else the test above proves nothing. */
static void
cannot_keep_it_on_a_disk_that_lies(void **state)
{
	unsigned lost = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct world *w = mem_alloc(sizeof(*w));
		struct prng prng;

		prng_seed(&prng, seed);
		w->disk = disk_sim_new(seed);
		w->disk->lying = true;
		assert_true(world_open(w));
		live(w);
		disk_sim_cut(w->disk);
		world_close(w);
		disk_sim_crash(w->disk, &prng);
		lost += !world_open(w);
		for (unsigned id = 1; id <= MAILS && w->spool; id++)
			lost += w->mails[id].acked && !w->mails[id].settled && !w->mails[id].back;
		world_close(w);
		disk_sim_free(w->disk);
		free(w);
	}
	assert_true(lost > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loses_nothing_acknowledged_wherever_the_power_goes),
		cmocka_unit_test(cannot_keep_it_on_a_disk_that_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
