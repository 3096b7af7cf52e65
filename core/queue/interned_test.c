/* Settings are one where they come from the same declarations, and what the ruleset resolves wherever they come from. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

#include "queue/interned.h"

#define POLICY \
	"vmta 'a' { source = 'any', domain = { ['own.example'] = { max_smtp_out = 7 } } }\n" \
	"vmta 'b' { source = 'any' }\n" \
	"pool 'p' { 'b', provider = { big = { max_smtp_out = 9 } } }\n" \
	"provider 'big' { domains = { 'big.example' }, max_smtp_out = 20 }\n" \
	"domain 'own.example' { max_smtp_out = 3 }\n" \
	"domain '*.below.example' { max_smtp_out = 4 }\n" \
	"domain '*' { max_smtp_out = 5 }\n"

static struct policy *
load(void)
{
	const struct policy_env env = { 0 };
	char errors[1000], warnings[1000];
	struct policy *policy = fixture_load(POLICY, &env, errors, warnings, sizeof errors);

	if (policy == NULL)
		fail_msg("%s", errors);
	return policy;
}

static void
all_are_what_the_ruleset_resolves_whoever_asked_before(void **state)
{
	static const char *const domains[] = { "x.example", "own.example", "y.example", "a.below.example", "below.example", "big.example", "b.a.below.example", "" };
	struct policy *policy = load();
	const struct ruleset *ruleset = policy_ruleset(policy);
	struct interned interned;
	struct queue_settings expected;

	interned_init(&interned, 1);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned v = 0; v < ruleset->vmtas_n; v++)
			for (unsigned p = 0; p <= ruleset->providers_n; p++)
				for (unsigned d = 0; d < countof(domains); d++) {
					const struct ruleset_provider *provider = p < ruleset->providers_n ? ruleset->providers[p] : NULL;
					const struct queue_settings *got =
						interned_get(&interned, ruleset, provider, span_text(domains[d]), ruleset->vmtas[v]);

					interned_lay(ruleset, provider, span_text(domains[d]), ruleset->vmtas[v], &expected);
					assert_memory_equal(got, &expected, sizeof expected);
				}
	interned_fini(&interned);
	policy_free(policy);
}

static void
domains_that_nothing_tells_apart_share_theirs_without_being_laid_anew(void **state)
{
	struct policy *policy = load();
	const struct ruleset *ruleset = policy_ruleset(policy);
	const struct ruleset_vmta *vmta = ruleset_vmta(ruleset, SPAN("a"));
	struct interned interned;
	const struct queue_settings *first;

	interned_init(&interned, 1);
	first = interned_get(&interned, ruleset, NULL, SPAN("x.example"), vmta);
	assert_int_equal(interned.by_source.n, 1);
	assert_ptr_equal(interned_get(&interned, ruleset, NULL, SPAN("y.example"), vmta), first);
	assert_int_equal(interned.by_source.n, 1);
	/* Another virtual MTA without blocks of its own: asked anew, and the same. */
	assert_ptr_equal(interned_get(&interned, ruleset, NULL, SPAN("x.example"), ruleset_vmta(ruleset, SPAN("b"))), first);
	assert_int_equal(interned.by_source.n, 2);
	assert_ptr_not_equal(interned_get(&interned, ruleset, NULL, SPAN("own.example"), vmta), first);
	interned_fini(&interned);
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_what_the_ruleset_resolves_whoever_asked_before),
		cmocka_unit_test(domains_that_nothing_tells_apart_share_theirs_without_being_laid_anew),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
