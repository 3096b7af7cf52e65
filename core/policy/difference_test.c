/* What one ruleset says otherwise than another. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/difference.h"

#include "policy/policy_fixture.h"

#define V1 "vmta \"v1\" { source = \"any\" }\n"

static const char *
text_of(const struct difference_value *value)
{
	return value->text ? value->text : "-";
}

/* "place: setting: from -> to" a line. */
static void
assert_differences(const struct differences *d, const char *expected)
{
	char out[8000] = "";
	size_t n = 0;
	for (unsigned i = 0; i < d->n; i++)
		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s: %s: %s -> %s\n", d->all[i].place, d->all[i].setting, text_of(&d->all[i].from),
				      text_of(&d->all[i].to));
	assert_string_equal(out, expected);
}

static void
compare(const char *from, const char *to, const char *expected)
{
	struct policy *a = fixture_good(from), *b = fixture_good(to);
	struct differences d;
	differences_init(&d);
	differences_of(&d, policy_ruleset(a), policy_ruleset(b));
	assert_differences(&d, expected);
	differences_fini(&d);
	policy_free(a);
	policy_free(b);
}

static void
the_same_has_none_wherever_it_is_written(void **state)
{
	compare(V1 "domain \"a.example\" { max_smtp_out = 3, backoff = { { \"x\", lasts = \"1h\", max_smtp_out = 1 } } }\n",
		V1 "\n\ndomain \"a.example\" { backoff = { { \"x\", lasts = \"60m\", max_smtp_out = 1 } },\n max_smtp_out = 3 }\n", "");
}

static void
each_kind_of_value_is_told_as_a_policy_writes_it(void **state)
{
	compare(V1 "domain \"a.example\" { max_smtp_out = 3, max_msg_rate = { \"60/m\", burst = 5 }, retry_after = \"10m,1h\", bounce_after = \"2d\" }\n",
		V1 "domain \"a.example\" { max_msg_rate = \"60/m\", retry_after = \"10m\", use_starttls = false, smtp_port = 26, "
		   "smtp_hosts = \"[192.0.2.1]:2525;mx.example\" }\n",
		"domain \"a.example\": max_smtp_out: 3 -> 20\n"
		"domain \"a.example\": max_msg_rate: 60/m, burst = 5 -> 60/m\n"
		"domain \"a.example\": retry_after: 10m,1h -> 10m\n"
		"domain \"a.example\": bounce_after: 2d -> 4d12h\n"
		"domain \"a.example\": smtp_hosts: - -> [192.0.2.1]:2525; mx.example\n"
		"domain \"a.example\": smtp_port: 25 -> 26\n"
		"domain \"a.example\": use_starttls: true -> false\n");
}

static void
scopes_come_go_and_change(void **state)
{
	compare("node { hostname = \"a\", max_smtp_out = 7 }\nlistener \"127.0.0.1:25\" { relay_from = { \"192.0.2.0/24\" } }\n"
		"vmta \"v1\" { source = \"192.0.2.1\" }\nvmta \"v2\" { source = \"any\" }\npool \"p\" { \"v1\" }\nprovider \"g\" { domains = { \"g.example\" } }\n",
		"node { hostname = \"a\", max_smtp_out = 8 }\nlistener \"127.0.0.1:26\" {}\n"
		"vmta \"v1\" { source = { \"192.0.2.1\", \"192.0.2.2\" }, max_smtp_out = 3 }\nvmta \"v3\" { source = \"any\" }\n"
		"pool \"p\" { \"v1\", { \"v3\", weight = 2 } }\nprovider \"g\" { domains = { \"g.example\", \"h.example\" } }\n",
		"node: max_smtp_out: 7 -> 8\n"
		"listener \"127.0.0.1:25\": : declared -> -\n"
		"vmta \"v1\": source: 192.0.2.1 -> 192.0.2.1, 192.0.2.2\n"
		"vmta \"v1\": max_smtp_out: unlimited -> 3\n"
		"vmta \"v2\": : declared -> -\n"
		"pool \"p\": members: v1 -> v1, v3 (2)\n"
		"provider \"g\": domains: 1 domains, 0 mx -> 2 domains, 0 mx\n"
		"listener \"127.0.0.1:26\": : - -> declared\n"
		"vmta \"v3\": : - -> declared\n");
}

static void
what_holds_counts_at_each_declared_place(void **state)
{
	compare(V1 "provider \"g\" { domains = { \"g.example\" } }\n",
		"vmta \"v1\" { source = \"any\", provider = { g = { max_smtp_out = 2 } } }\nprovider \"g\" { domains = { \"g.example\" } }\ndomain \"*\" { max_smtp_out = 9 }\n",
		"provider \"g\": max_smtp_out: 20 -> 9\n"
		"domain \"*\": max_smtp_out: 20 -> 9\n"
		"vmta \"v1\" provider \"g\": max_smtp_out: 20 -> 2\n");
}

static void
a_changed_rule_is_a_changed_list(void **state)
{
	compare(V1 "domain \"*\" {\nbackoff = { { \"x\", lasts = \"1h\", max_smtp_out = 1 } } }\n",
		V1 "domain \"*\" {\nbackoff = { { \"x\", lasts = \"2h\", max_smtp_out = 1 } } }\n",
		"domain \"*\": backoff: x (policy.lua:3): max_smtp_out 1, lasts 1h -> x (policy.lua:3): max_smtp_out 1, lasts 2h\n");
}

static void
a_queue_is_compared_as_it_will_be(void **state)
{
	struct policy *a = fixture_good(V1 "domain \"a.example\" { max_smtp_out = 3 }\n");
	struct policy *b = fixture_good(V1 "provider \"p\" { domains = { \"a.example\" }, max_smtp_out = 4 }\n");
	struct differences d;
	differences_init(&d);
	differences_of_queue(&d, policy_ruleset(a), policy_ruleset(b), "a.example/v1", "a.example", "a.example", "v1");
	assert_differences(&d, "a.example/v1: site: a.example -> p\na.example/v1: max_smtp_out: 3 -> 4\n");
	assert_true(d.all[0].of_queue);
	differences_fini(&d);
	policy_free(a);
	policy_free(b);
}

static void
there_is_a_most(void **state)
{
	const char *head = V1;
	size_t n = 0, size = 12000 * 60;
	char *from = mem_alloc(size), *to = mem_alloc(size);
	n = (size_t)snprintf(from, size, "%s", head);
	for (unsigned i = 0; i < 12000; i++)
		n += (size_t)snprintf(from + n, size - n, "domain \"d%u.example\" { max_smtp_out = 3 }\n", i);
	for (size_t i = 0; i < n; i++)
		to[i] = i > strlen(head) && from[i] == '3' && from[i + 1] == ' ' ? '4' : from[i];
	struct policy *a = fixture_good(from), *b = fixture_good(to);
	struct differences d;
	differences_init(&d);
	differences_of(&d, policy_ruleset(a), policy_ruleset(b));
	assert_int_equal(d.n, DIFFERENCES_MAX);
	assert_int_equal(d.left_out, 12000 - DIFFERENCES_MAX);
	differences_fini(&d);
	policy_free(a);
	policy_free(b);
	free(from);
	free(to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_has_none_wherever_it_is_written),
		cmocka_unit_test(each_kind_of_value_is_told_as_a_policy_writes_it),
		cmocka_unit_test(scopes_come_go_and_change),
		cmocka_unit_test(what_holds_counts_at_each_declared_place),
		cmocka_unit_test(a_changed_rule_is_a_changed_list),
		cmocka_unit_test(a_queue_is_compared_as_it_will_be),
		cmocka_unit_test(there_is_a_most),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
