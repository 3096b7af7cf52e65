/*
 * twins_test - what each shard loads is the same, or nothing is.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/twins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "net/clock.h"
#include "policy/ruleset.h"

#define N 3

struct rig {
	struct policy_env env;
	struct policy_report report;
	struct policy *all[N];
};

static bool
load(struct rig *rig, const char *text)
{
	*rig = (struct rig){ .env = { .seed = 7, .bundle = bundle_new("policy.lua", "") } };
	policy_report_init(&rig->report);
	bundle_put(rig->env.bundle, "policy.lua", span_text(text));
	rig->all[0] = policy_load("policy.lua", &rig->env, &rig->report);
	assert_non_null(rig->all[0]);
	return twins_load(rig->all, N, "policy.lua", &rig->env, &rig->report);
}

static void
done(struct rig *rig)
{
	for (unsigned i = 0; i < N; i++)
		policy_free(rig->all[i]);
	policy_report_fini(&rig->report);
	bundle_free(rig->env.bundle);
}

static void
each_shard_gets_the_same_texts_and_says_them_once(void **state)
{
	struct rig rig;

	assert_true(load(&rig, "vmta \"v\" { source = \"any\", max_smtp_out = 7 }\n"));
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(policy_ruleset(rig.all[i])->vmtas_n, 1);
	assert_ptr_not_equal(rig.all[1], rig.all[2]);
	assert_int_equal(rig.report.errors_n, 0);
	done(&rig);
}

static void
what_a_load_draws_is_the_same_for_all(void **state)
{
	struct rig rig;
	uint32_t drawn;

	assert_true(load(&rig, "vmta \"v\" { source = \"any\", max_smtp_out = math.random(1000000) }\n"));
	drawn = policy_ruleset(rig.all[0])->vmtas[0]->max_smtp_out;
	for (unsigned i = 1; i < N; i++)
		assert_int_equal(policy_ruleset(rig.all[i])->vmtas[0]->max_smtp_out, drawn);
	done(&rig);
}

static void
virtual_mtas_have_the_same_index_in_all_whatever_order_a_table_gives(void **state)
{
	struct rig rig;

	assert_true(load(&rig, "local names = {}\nfor i = 1, 40 do names[\"v\" .. i * 7919] = i end\n"
			       "for name in next, names do vmta(name) { source = \"any\" } end\n"
			       "for name in next, names do pool(name .. \"p\") { name } end\n"));
	for (unsigned i = 1; i < N; i++) {
		const struct ruleset *first = policy_ruleset(rig.all[0]), *twin = policy_ruleset(rig.all[i]);

		for (unsigned v = 0; v < 40; v++) {
			assert_string_equal(twin->vmtas[v]->name, first->vmtas[v]->name);
			assert_int_equal(twin->vmtas[v]->index, v);
			assert_ptr_equal(ruleset_vmta(twin, span_text(first->vmtas[v]->name)), twin->vmtas[v]);
			assert_string_equal(twin->pools[v]->name, first->pools[v]->name);
			assert_int_equal(twin->pools[v]->index, v);
		}
	}
	done(&rig);
}

/* A clock that each reading moves on. */
static struct now
later_and_later(void *ctx)
{
	int64_t *s = ctx;

	return (struct now){ .mono = ++*s * US_PER_S, .wall = { *s * MS_PER_S } };
}

static void
a_policy_that_says_something_else_each_time_is_refused(void **state)
{
	const char *text = "vmta \"v\" { source = \"any\", max_smtp_out = 1 + os.time() }\n";
	int64_t s = 1000;
	struct clock clock = { .now = later_and_later, .ctx = &s };
	struct rig rig = { .env = { .seed = 7, .bundle = bundle_new("policy.lua", ""), .clock = &clock } };

	policy_report_init(&rig.report);
	bundle_put(rig.env.bundle, "policy.lua", span_text(text));
	rig.all[0] = policy_load("policy.lua", &rig.env, &rig.report);
	assert_non_null(rig.all[0]);
	assert_false(twins_load(rig.all, N, "policy.lua", &rig.env, &rig.report));
	assert_int_equal(rig.report.errors_n, 1);
	assert_non_null(strstr(rig.report.errors[0].text, "something else each time it is loaded (vmta \"v\": max_smtp_out)"));
	assert_null(rig.all[1]);
	done(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_shard_gets_the_same_texts_and_says_them_once),
		cmocka_unit_test(what_a_load_draws_is_the_same_for_all),
		cmocka_unit_test(virtual_mtas_have_the_same_index_in_all_whatever_order_a_table_gives),
		cmocka_unit_test(a_policy_that_says_something_else_each_time_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
