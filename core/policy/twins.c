/*
 * twins - each is loaded with the seed of the first, so that what a policy draws
 * while it is loaded comes out the same; then its hooks get a seed of their own.
 * What a load has to say the first one has said. next() goes through a table in
 * another order in each Lua state, so what is declared in such a loop is put into
 * the first one's order: shards tell each other virtual MTAs by their index.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/twins.h"

#include "policy/difference.h"
#include "policy/notes.h"
#include "policy/ruleset.h"
#include "util/prng.h"

static bool
is_alike(const struct policy *first, const struct policy *twin, struct policy_report *report)
{
	const struct ruleset *ruleset = policy_ruleset(first);
	struct differences found;
	bool alike;

	differences_init(&found);
	differences_of(&found, ruleset, policy_ruleset(twin));
	alike = found.n == 0;
	if (!alike)
		notes_error(report, ruleset->file, 0, "it says something else each time it is loaded (%s%s%s): with several workers each "
			    "loads it, and all must agree", found.all[0].place, found.all[0].setting[0] ? ": " : "", found.all[0].setting);
	differences_fini(&found);
	return alike;
}

static void
keep_errors(struct policy_report *report, const struct policy_report *again)
{
	for (unsigned i = 0; i < again->errors_n; i++)
		notes_error(report, again->errors[i].file, again->errors[i].line, "%s", again->errors[i].text);
}

static struct policy *
load_one(const struct policy *first, const char *path, const struct policy_env *env, struct policy_report *report)
{
	struct policy_report again;
	struct policy *twin;

	policy_report_init(&again);
	twin = policy_load(path, env, &again);
	keep_errors(report, &again);
	policy_report_fini(&again);
	if (twin != NULL && !is_alike(first, twin, report)) {
		policy_free(twin);
		twin = NULL;
	}
	return twin;
}

bool
twins_load(struct policy **all, unsigned n, const char *path, const struct policy_env *env, struct policy_report *report)
{
	uint64_t seed = policy_ruleset(all[0])->node.seed;
	struct prng prng;
	unsigned loaded = 1;

	prng_seed(&prng, seed ? seed : env->seed);
	for (; loaded < n; loaded++) {
		all[loaded] = load_one(all[0], path, env, report);
		if (all[loaded] == NULL)
			break;
		policy_order_as(all[loaded], all[0]);
		policy_seed(all[loaded], prng_u64(&prng));
	}
	if (loaded == n)
		return true;
	while (loaded-- > 1) {
		policy_free(all[loaded]);
		all[loaded] = NULL;
	}
	return false;
}
