/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/walk.h"

#include "policy/policy_fixture.h"

static void
add_queue(void *ctx, const struct walk_queue *queue)
{
	char *out = ctx;
	size_t used = strlen(out);
	snprintf(out + used, 2000 - used, "%s%.*s/%s x%u%s%s%s\n", queue->site->provider ? queue->site->provider->name : "",
		 queue->site->provider ? 0 : (int)queue->site->domain.n, queue->site->domain.p, queue->vmta->name, queue->alike,
		 queue->first ? " first" : "", queue->last ? " last" : "", queue->of_all ? "" : " own");
}

static void
assert_walk(const char *text, const char *expected)
{
	struct policy *policy = fixture_good(text);
	char queues[2000] = "";
	assert_true(walk_queues(policy_ruleset(policy), add_queue, queues));
	assert_string_equal(queues, expected);
	policy_free(policy);
}

static void
visits_each_sort_of_queue(void **state)
{
	assert_walk("vmta \"a\" { source = \"any\" } vmta \"b\" { source = \"any\" } vmta \"c\" { source = \"any\", max_smtp_out = 3 }\n"
		    "provider \"g\" { domains = { \"g.example\" } }\n"
		    "domain \"*.x.example\" { max_smtp_out = 1 }\n",
		    "/a x2 first\n/c x1 last\n"
		    "g/a x2 first\ng/c x1 last\n"
		    "-.x.example/a x2 first\n-.x.example/c x1 last\n");
}

static void
an_inner_block_is_visited_by_its_own_level_alone(void **state)
{
	assert_walk("vmta \"a\" { source = \"any\", domain = { [\"d.example\"] = { max_smtp_out = 1 } } }\n"
		    "vmta \"b\" { source = \"any\" }\n"
		    "pool \"p\" { \"b\", domain = { [\"e.example\"] = { max_smtp_out = 1 } } }\n",
		    "/a x1 first\n/b x1 last\n"
		    "d.example/a x1 first last own\n"
		    "e.example/b x1 first last own\n");
}

static void
a_provider_without_domains_has_no_queue(void **state)
{
	assert_walk("vmta \"a\" { source = \"any\" } provider \"g\" { max_smtp_out = 1 }", "/a x1 first last\n");
}

static void
says_when_there_are_too_many(void **state)
{
	struct policy *policy = fixture_good("for i = 1, 600 do vmta(\"v\" .. i) { source = \"any\", max_smtp_out = 1 } end\n"
					     "for i = 1, 600 do domain(\"d\" .. i .. \".example\") { max_smtp_out = 1 } end\n");
	char queues[2000] = "";
	assert_false(walk_queues(policy_ruleset(policy), add_queue, queues));
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(visits_each_sort_of_queue),
		cmocka_unit_test(an_inner_block_is_visited_by_its_own_level_alone),
		cmocka_unit_test(a_provider_without_domains_has_no_queue),
		cmocka_unit_test(says_when_there_are_too_many),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
