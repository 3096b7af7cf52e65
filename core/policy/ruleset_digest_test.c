/* What a ruleset's digest tells apart, and what it does not. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"
#include "policy/ruleset.h"
#include "util/span.h"

#define V1 "vmta \"v1\" { source = \"192.0.2.1\" }\n"
#define V2 "vmta \"v2\" { source = \"192.0.2.2\" }\n"
#define G  "provider \"g\" { domains = { \"a.example\", \"b.example\" }, mx = { \"*.g.example\" } }\n"

static uint64_t
digest_of(const char *text)
{
	struct policy *policy = fixture_good(text);
	uint64_t digest = ruleset_digest(policy_ruleset(policy));

	policy_free(policy);
	return digest;
}

static void
what_counts_mail_elsewhere_or_limits_for_the_first_time_is_another_one(void **state)
{
	static const char *const all[] = {
		V1 V2 G,
		V1 G,
		V1 "vmta \"v3\" { source = \"192.0.2.2\" }\n" G,
		V1 "vmta \"v2\" { source = \"192.0.2.3\" }\n" G,
		V1 "vmta \"v2\" { source = \"192.0.2.2\", max_msg_rate = \"9/m\" }\n" G,
		V1 "vmta \"v2\" { source = \"192.0.2.2\", max_connect_rate = \"9/m\" }\n" G,
		V1 "vmta \"v2\" { source = \"192.0.2.2\", provider = { g = { max_msg_rate = \"9/m\" } } }\n" G,
		V1 V2 G "pool \"p\" { \"v1\", max_msg_rate = \"9/m\" }\n",
		V1 V2 G "pool \"p\" { \"v1\", \"v2\", max_msg_rate = \"9/m\" }\n",
		V1 V2 G "pool \"p\" { \"v1\", \"v2\", max_connect_rate = \"9/m\" }\n",
		V1 V2 G "pool \"p\" { \"v1\", \"v2\", provider = { g = { max_msg_rate = \"9/m\" } } }\n",
		V1 V2 G "node { max_msg_rate = \"9/m\" }\n",
		V1 V2 "provider \"h\" { domains = { \"a.example\", \"b.example\" }, mx = { \"*.g.example\" } }\n",
		V1 V2 "provider \"g\" { domains = { \"a.example\" }, mx = { \"*.g.example\" } }\n",
		V1 V2 "provider \"g\" { domains = { \"a.example\", \"b.example\" }, mx = { \"[*.]g.example\" } }\n",
		V1 V2 "provider \"g\" { domains = { \"a.example\", \"b.example\" } }\n",
		V1 V2 G "domain \"c.example\" { max_smtp_out = 3 }\n",
		V1 V2 G "domain \"*.c.example\" { max_smtp_out = 3 }\n",
		V1 V2 G "domain \"*\" { max_msg_rate = \"9/m\" }\n",
		V1 V2 G "domain \"*\" { total_max_msg_rate = \"9/m\" }\n",
		V1 V2 G "domain \"*\" { max_connect_rate = \"9/m\" }\n",
		V1 V2 G "domain \"*\" { max_connect_rate = \"unlimited\" }\n",
		V1 V2 G "domain \"*\" { rollup = false }\n",
		V1 V2 G "domain \"*\" { rollup = true }\n",
		"",
	};
	uint64_t digests[countof(all)];

	for (unsigned i = 0; i < countof(all); i++) {
		digests[i] = digest_of(all[i]);
		for (unsigned k = 0; k < i; k++)
			if (digests[k] == digests[i])
				fail_msg("these are one:\n%s\nand\n%s", all[k], all[i]);
	}
}

static void
amounts_and_the_order_of_declarations_make_no_difference(void **state)
{
	static const char *const pairs[][2] = {
		{ V1 V2 G, G V2 V1 },
		{ V1 G, V1 "provider \"g\" { mx = { \"*.g.example\" }, domains = { \"b.example\", \"a.example\" } }\n" },
		{ V1 "domain \"*\" { max_msg_rate = \"9/m\", max_smtp_out = 3 }\n", "domain \"*\" { max_smtp_out = 5, max_msg_rate = { \"8/h\", burst = 3 } }\n" V1 },
		{ V1 G "domain \"*\" { max_attempts = 2, max_smtp_out = 9 }\ndomain \"c.example\" { max_attempts = 3 }\n",
		  V1 "provider \"g\" { domains = { \"a.example\", \"b.example\" }, mx = { \"*.g.example\" }, max_smtp_out = 3 }\n" },
		{ "vmta \"v1\" { source = \"any\", max_msg_rate = \"9/m\" }\n", "vmta \"v1\" { source = \"any\", max_msg_rate = \"8/m\", max_smtp_out = 2 }\n" },
	};

	for (unsigned i = 0; i < countof(pairs); i++)
		assert_int_equal(digest_of(pairs[i][0]), digest_of(pairs[i][1]));
}

/* What another process has written down. */
static void
it_is_the_same_in_every_process(void **state)
{
	assert_int_equal(digest_of(V1 G "domain \"*\" { max_msg_rate = \"9/m\" }\n"), UINT64_C(0xd5de738b9a7b3280));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_counts_mail_elsewhere_or_limits_for_the_first_time_is_another_one),
		cmocka_unit_test(amounts_and_the_order_of_declarations_make_no_difference),
		cmocka_unit_test(it_is_the_same_in_every_process),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
