/* The node's swap in a simulated world: what is watched, what comes back, what is kept, and who closes what. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "last_good.h"
#include "sim/world_fixture.h"
#include "swap.h"

/* A spool of its own: whether there is a last good policy is asked of the real folder. */
#define BASE "node { spool = 'spool' } vmta 'v' { source = 'any' }\npool 'default' { 'v' }\n"
#define BAD  "on.message(function(msg) error('oh') end)\n"
#define CAP(n) BASE "domain '*' { max_smtp_out = " #n " }\n"

/* Its jobs wait until the test lets them. */
struct hand {
	struct worker      worker;
	struct worker_job *first, **end;
};

struct rig {
	struct world *world;
	struct swap  *swap;
	struct hand   hand;
};

static void
hand_run(struct worker *worker, struct worker_job *job)
{
	struct hand *hand = container_of(worker, struct hand, worker);

	job->next = NULL;
	*hand->end = job;
	hand->end = &job->next;
}

static struct worker_job *
hand_take(struct hand *hand)
{
	struct worker_job *job = hand->first;

	if (job == NULL)
		return NULL;
	hand->first = job->next;
	if (hand->first == NULL)
		hand->end = &hand->first;
	return job;
}

static unsigned
let_work(struct rig *rig)
{
	struct worker_job *job;
	unsigned n = 0;

	while ((job = hand_take(&rig->hand)) != NULL) {
		job->work(job->ctx);
		job->done(job->ctx);
		n++;
	}
	return n;
}

static bool
prepare(void *ctx, const struct ruleset_node *settings, struct err *err)
{
	return true;
}

static void
nothing(void *ctx)
{
}

static void
begin(struct rig *rig, const char *text, bool watch)
{
	const struct world_options options = { .policy = "policy.lua", .seed = 1 };
	struct bundle *bundle = bundle_new("policy.lua", "");
	struct span read;
	struct err err = { 0 };
	struct shard *shard;

	fixture_write("policy.lua", text);
	rig->world = fixture_world(&options);
	assert_true(bundle_read(bundle, "policy.lua", &read, &err));
	rig->hand = (struct hand){ .worker.run = hand_run };
	rig->hand.end = &rig->hand.first;
	shard = world_shard(rig->world);
	shard->aside = &rig->hand.worker;
	shard->settings.spool = "spool";        /* the policy of the last run is looked for on the real disk */
	rig->swap = swap_new(&(struct swap_options){ .shards = world_shards(rig->world), .worker = &rig->hand.worker, .bundle = bundle, .watch = watch,
						     .prepare = prepare, .commit = nothing, .abandon = nothing });
	let_work(rig);
}

static void
end(struct rig *rig, bool clean)
{
	swap_free(rig->swap, clean);
	let_work(rig);
	world_shard(rig->world)->closing = true;
	world_free(rig->world);
}

static void
run_for(struct rig *rig, unsigned seconds)
{
	struct err err = { 0 };

	for (unsigned i = 0; i < seconds; i++) {
		assert_true(world_run_until(rig->world, world_now(rig->world) + US_PER_S, &err));
		let_work(rig);
	}
}

static void
swap_to(struct rig *rig, const char *text)
{
	fixture_write("policy.lua", text);
	swap_again(rig->swap);
	let_work(rig);
}

static void
mail(struct rig *rig, unsigned count)
{
	static const char *const to[] = { "u@a.example" };
	const struct world_injection injection = { .count = count, .to = to, .to_n = 1 };
	struct world_injected injected;
	struct err err = { 0 };

	assert_true(world_inject(rig->world, &injection, &injected, &err));
	run_for(rig, 2);
}

static unsigned
generation(struct rig *rig)
{
	return world_shard(rig->world)->generation;
}

static uint32_t
cap(struct rig *rig)
{
	const struct ruleset *ruleset = policy_ruleset(world_shard(rig->world)->policy);
	struct queue_settings settings;

	ruleset_resolve(ruleset, NULL, SPAN("a.example"), ruleset_vmta(ruleset, SPAN("v")), &settings);
	return settings.max_smtp_out;
}

/* ---- who closes ---- */

static void
what_is_not_taken_is_closed_by_the_worker(void **state)
{
	struct control_swap asked = { .policy = "policy.lua", .base = "", .dry_run = true };
	struct worker_job *load;
	struct rig rig;

	begin(&rig, CAP(1), false);
	swap_ask(rig.swap, &asked, NULL);
	load = hand_take(&rig.hand);
	load->work(load->ctx);
	assert_null(rig.hand.first);
	load->done(load->ctx);
	assert_non_null(rig.hand.first);
	assert_int_equal(let_work(&rig), 1);
	assert_int_equal(generation(&rig), 1);
	end(&rig, true);
}

/* ---- watching ---- */

static void
a_change_between_the_reading_and_the_step_is_seen(void **state)
{
	struct worker_job *load;
	struct rig rig;

	begin(&rig, CAP(1), true);
	fixture_write("policy.lua", CAP(2) "-- another\n");
	swap_again(rig.swap);
	load = hand_take(&rig.hand);
	load->work(load->ctx);
	fixture_write("policy.lua", CAP(3) "-- and more\n");
	load->done(load->ctx);
	assert_int_equal(cap(&rig), 2);
	run_for(&rig, 5);
	assert_int_equal(cap(&rig), 3);
	run_for(&rig, 5);
	assert_int_equal(generation(&rig), 3);
	end(&rig, true);
}

static void
a_mend_in_a_file_that_only_the_refused_policy_has_is_seen(void **state)
{
	struct rig rig;

	begin(&rig, CAP(1), true);
	fixture_write("part.lua", "domain {\n");
	fixture_write("policy.lua", "require 'part'\n" BASE);
	run_for(&rig, 5);
	assert_int_equal(generation(&rig), 1);
	fixture_write("part.lua", "domain '*' { max_smtp_out = 4 }\n");
	run_for(&rig, 5);
	assert_int_equal(cap(&rig), 4);
	end(&rig, true);
	unlink("part.lua");
}

static void
so_is_one_that_was_not_there(void **state)
{
	struct rig rig;

	begin(&rig, CAP(1), true);
	fixture_write("policy.lua", "require 'late'\n" BASE);
	run_for(&rig, 5);
	assert_int_equal(generation(&rig), 1);
	fixture_write("late.lua", "domain '*' { max_smtp_out = 5 }\n");
	run_for(&rig, 5);
	assert_int_equal(cap(&rig), 5);
	run_for(&rig, 5);
	assert_int_equal(generation(&rig), 2);
	end(&rig, true);
	unlink("late.lua");
}

/* ---- probation ---- */

static void
errors_lead_back_past_what_has_not_proved_itself(void **state)
{
	struct rig rig;

	begin(&rig, CAP(1), false);
	swap_to(&rig, CAP(2) BAD);
	swap_to(&rig, CAP(3) BAD);
	mail(&rig, 10);
	run_for(&rig, 3);
	assert_int_equal(generation(&rig), 4);
	assert_int_equal(cap(&rig), 1);
	end(&rig, true);
}

static void
what_has_passed_its_minute_is_what_comes_back(void **state)
{
	struct rig rig;

	begin(&rig, CAP(1), false);
	swap_to(&rig, CAP(2));
	run_for(&rig, 70);
	swap_to(&rig, CAP(3) BAD);
	mail(&rig, 10);
	run_for(&rig, 3);
	assert_int_equal(cap(&rig), 2);
	end(&rig, true);
}

static uint64_t
kept(struct rig *rig)
{
	struct disk *disk = world_shard(rig->world)->disk;
	struct disk_file *file = disk->ops->open(disk, LAST_GOOD_FILE, false, NULL);
	static char bytes[4000];
	size_t n = 0;

	if (file == NULL)
		return 0;
	memset(bytes, 0, sizeof bytes);
	assert_true(disk->ops->read(file, 0, bytes, sizeof bytes, &n, NULL));
	disk->ops->close(file);
	return hash_bytes(span_make(bytes, n), 1);
}

static void
what_errs_is_never_the_last_good_one(void **state)
{
	struct control_swap back = { .back = true };
	struct rig rig;
	uint64_t good;

	begin(&rig, CAP(1), false);
	good = kept(&rig);
	assert_true(good != 0);
	swap_to(&rig, CAP(2) BAD);
	mail(&rig, 10);
	run_for(&rig, 3);
	assert_int_equal(cap(&rig), 1);
	/* By hand to what was taken back: nobody takes that back again, but it is not good. */
	swap_ask(rig.swap, &back, NULL);
	let_work(&rig);
	assert_int_equal(cap(&rig), 2);
	mail(&rig, 10);
	run_for(&rig, 70);
	assert_int_equal(cap(&rig), 2);
	assert_true(kept(&rig) == good);
	end(&rig, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_taken_is_closed_by_the_worker),
		cmocka_unit_test(a_change_between_the_reading_and_the_step_is_seen),
		cmocka_unit_test(a_mend_in_a_file_that_only_the_refused_policy_has_is_seen),
		cmocka_unit_test(so_is_one_that_was_not_there),
		cmocka_unit_test(errors_lead_back_past_what_has_not_proved_itself),
		cmocka_unit_test(what_has_passed_its_minute_is_what_comes_back),
		cmocka_unit_test(what_errs_is_never_the_last_good_one),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
