/*
 * Crashes and failing disks, by seed and at every step.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_model.h"
#include "spool/spool_stuck_fixture.h"

#define SEEDS 120u

static void
open_again(struct model *model)
{
	struct err err = { 0 };
	uint64_t permille = model->fake.fail_permille;

	model->fake.fail_permille = 0;
	if (!model_open(model, &err))
		fail_msg("%s: %s", model->context, err.text);
	if (model->spool->core->damages)
		fail_msg("%s: %llu damages", model->context, (unsigned long long)model->spool->core->damages);
	model_check_recovered(model);
	model->fake.fail_permille = (unsigned)permille;
}

/* Everything live can be read, and leaves when it is settled. */
static void
finish(struct model *model)
{
	model->fake.fail_permille = 0;
	model->faults = false;
	for (int i = 0; i < 3; i++) {
		hand_settle(&model->hand);
		hand_pass(&model->hand, 1100 * US_PER_MS);
	}
	hand_settle(&model->hand);
	if (model->spool->core->failing.kind)
		fail_msg("%s: still refuses: %s", model->context, model->spool->core->failing.text);
	for (unsigned i = 0; i < model->mails_n; i++) {
		struct mail *mail = &model->mails[i];
		if (mail->state != MAIL_LIVE)
			continue;
		model_read(model, mail);
		for (unsigned k = 0; k < mail->rcpts_n; k++)
			model_settle(model, mail, k, SPOOL_BOUNCED);
	}
	model_drop_users(model);
	for (int i = 0; i < 4; i++) {
		hand_settle(&model->hand);
		hand_pass(&model->hand, 1100 * US_PER_MS);
	}
	assert_int_equal(model->spool->core->live_messages, 0);
	assert_true(model->spool->core->segments_n <= 2);
}

static void
live(struct model *model, unsigned steps)
{
	for (unsigned i = 0; i < steps && !model->fake.dead; i++)
		model_step(model);
}

static uint64_t
run_lives(uint64_t seed, unsigned permille, int sys)
{
	struct model *model = mem_alloc(sizeof(*model));
	char context[64];
	uint64_t compacted;

	snprintf(context, sizeof(context), "%llu", (unsigned long long)seed);
	model_init(model, seed);
	model->context = context;
	model->fake.fail_permille = permille;
	model->fake.sys = sys;
	model->faults = true;
	for (int life = 0; life < 4; life++) {
		open_again(model);
		model->fake.cut_at = model->fake.calls + 1 + prng_below(&model->prng, 300);
		live(model, 250);
		model_crash(model, prng_below(&model->prng, 3) > 0);
	}
	open_again(model);
	live(model, 100);
	finish(model);
	compacted = model->compacted + model->spool->core->compacted;
	model_fini(model);
	free(model);
	return compacted;
}

static void
keeps_its_promises_through_crashes(void **state)
{
	uint64_t compacted = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		compacted += run_lives(seed, 0, EIO);
	assert_true(compacted > 0);
}

static void
keeps_its_promises_through_crashes_of_a_failing_disk(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run_lives(seed, seed % 3 ? 15 : 80, seed % 2 ? EIO : ENOSPC);
}

/* One of its journals or segments, or none. */
static void
stick(struct model *model, struct stuck *stuck)
{
	const struct fake_name *name = &model->fake.names[prng_below(&model->prng, 12)];

	stuck->inode = name->now && strchr(name->name, '.') ? name->now : NULL;
	stuck->syncs = prng_below(&model->prng, 2);
	stuck->writes = !stuck->syncs || prng_below(&model->prng, 2);
}

static unsigned
run_with_bad_files(uint64_t seed)
{
	struct model *model = mem_alloc(sizeof(*model));
	struct stuck stuck;
	unsigned aside = 0;
	char context[64];

	snprintf(context, sizeof(context), "bad files, %llu", (unsigned long long)seed);
	model_init(model, seed);
	stuck_init(&stuck, &model->fake);
	model->context = context;
	model->fake.fail_permille = seed % 2 ? 5 : 0;
	model->faults = true;
	for (unsigned life = 0; life < 3; life++) {
		stuck.inode = NULL;
		open_again(model);
		for (unsigned i = 0; i < 6; i++) {
			stick(model, &stuck);
			live(model, 100);
		}
		model_crash(model, seed % 3 > 0);
	}
	stuck.inode = NULL;
	open_again(model);
	finish(model);
	for (unsigned i = 0; i < FAKE_FILES; i++)
		aside += strstr(model->fake.names[i].name, SPOOL_DAMAGED) != NULL;
	stuck_fini(&stuck, &model->fake);
	model_fini(model);
	free(model);
	return aside;
}

static void
keeps_its_promises_when_files_go_bad_while_it_runs(void **state)
{
	unsigned aside = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		aside += run_with_bad_files(seed);
	assert_true(aside > SEEDS / 2);
}

/* For a while nothing works, or little, or one file does not; then it ends in order, or not. */
static void
run_with_outages(uint64_t seed)
{
	struct model *model = mem_alloc(sizeof(*model));
	struct stuck stuck;
	char context[64];

	snprintf(context, sizeof(context), "outages, %llu", (unsigned long long)seed);
	model_init(model, seed);
	stuck_init(&stuck, &model->fake);
	model->context = context;
	model->fake.sys = seed % 5 ? EIO : ENOSPC;
	model->faults = true;
	for (unsigned life = 0; life < 4; life++) {
		stuck.inode = NULL;
		model->fake.fail_permille = 0;
		open_again(model);
		for (unsigned i = 0; i < 8; i++) {
			model->fake.fail_permille = prng_below(&model->prng, 2) ? 0 : prng_below(&model->prng, 2) ? 300 : 1000;
			stuck.inode = NULL;
			if (prng_below(&model->prng, 3) == 0)
				stick(model, &stuck);
			live(model, 5 + (unsigned)prng_below(&model->prng, 60));
		}
		model->fake.fail_permille = 0;
		if (prng_below(&model->prng, 2))
			model_close(model);
		else
			model_crash(model, prng_below(&model->prng, 3) > 0);
	}
	stuck.inode = NULL;
	open_again(model);
	finish(model);
	stuck_fini(&stuck, &model->fake);
	model_fini(model);
	free(model);
}

static void
keeps_its_promises_through_outages_and_ends_in_order(void **state)
{
	for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++)
		run_with_outages(seed);
	/* A segment that could not be renamed, to be removed, still held what had been refused. */
	run_with_outages(1310);
}

/* The same run each time, cut at its n-th call. */
static void
survives_a_cut_at_every_call(void **state)
{
	bool reached = true;

	for (uint64_t n = 1; reached; n++) {
		struct model *model = mem_alloc(sizeof(*model));
		char context[64];

		snprintf(context, sizeof(context), "cut at %llu", (unsigned long long)n);
		model_init(model, 7);
		model->context = context;
		open_again(model);
		model->faults = true;
		model->fake.cut_at = model->fake.calls + n;
		live(model, 400);
		reached = model->fake.dead;
		model_crash(model, true);
		open_again(model);
		finish(model);
		model_fini(model);
		free(model);
	}
}

/* The same run each time; its n-th call fails, once. */
static void
survives_a_failure_of_every_call(void **state)
{
	uint64_t calls = 1;

	for (uint64_t n = 1; n <= calls; n++) {
		struct model *model = mem_alloc(sizeof(*model));
		struct err err = { 0 };
		char context[64];

		snprintf(context, sizeof(context), "failure of %llu", (unsigned long long)n);
		model_init(model, 11);
		model->context = context;
		model->faults = true;
		model->fake.fail_at = n;
		if (!model_open(model, &err))
			open_again(model);
		live(model, 300);
		calls = model->fake.calls;
		model_crash(model, true);
		model->fake.fail_at = model->fake.calls + n % 97;
		if (!model_open(model, &err)) {
			for (unsigned i = 0; i < model->mails_n; i++)
				model->mails[i].back = false;
			open_again(model);
		} else {
			model_check_recovered(model);
		}
		live(model, 50);
		finish(model);
		model_fini(model);
		free(model);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_its_promises_through_crashes),
		cmocka_unit_test(keeps_its_promises_through_crashes_of_a_failing_disk),
		cmocka_unit_test(keeps_its_promises_when_files_go_bad_while_it_runs),
		cmocka_unit_test(keeps_its_promises_through_outages_and_ends_in_order),
		cmocka_unit_test(survives_a_cut_at_every_call),
		cmocka_unit_test(survives_a_failure_of_every_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
