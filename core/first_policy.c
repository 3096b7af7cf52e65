/*
 * The last good policy lies in the spool, where the node's user may write: what the node kept there, or
 * whoever took it over. So it names no user of its own to a root that reads it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "first_policy.h"

#include "control/arithmetic.h"
#include "last_good.h"
#include "net/process.h"
#include "policy/twins.h"
#include "swap.h"

#define SPOOL_BUILT_IN "/var/spool/sluice"

/* --workers, or what the policy says, or the machine. */
static unsigned
workers_under(const struct node_options *options, const struct policy *policy)
{
	unsigned n = options->workers > 0 ? options->workers : policy_ruleset(policy)->node.workers;

	return n > 0 ? n : (unsigned)min_i64(process_cores(), PEERS_MAX);
}

static bool
load_twins(struct first_policy *first, const struct node_options *options, struct policy *policy, const struct policy_env *env,
	   struct policy_report *report)
{
	first->n = workers_under(options, policy);
	first->policies = mem_alloc(first->n * sizeof(struct policy *));
	first->policies[0] = policy;
	return twins_load(first->policies, first->n, first->bundle->policy, env, report);
}

/* The bundle. False: told. */
static bool
load(struct first_policy *first, const struct node_options *options, struct log *log, const struct clock *clock)
{
	struct policy_env env = { .log = log, .clock = clock, .seed = prng_entropy(), .bundle = first->bundle };
	struct policy_report report;
	struct policy *policy;
	bool ok;

	policy_report_init(&report);
	policy = policy_load(first->bundle->policy, &env, &report);
	ok = policy != NULL && load_twins(first, options, policy, &env, &report);
	if (ok)
		arithmetic_warn(policy_ruleset(policy), &report);
	swap_print_report(log, &report);
	policy_report_fini(&report);
	if (!ok) {
		policy_free(policy);
		free(first->policies);
		first->policies = NULL;
	}
	return ok;
}

static bool
note_writer(struct first_policy *first, uint32_t writer)
{
	if (!process_is_root() || writer == 0)
		return true;
	first->writer = process_user_name(writer);
	return first->writer != NULL;
}

/* False: told. */
static bool
load_last_good(struct first_policy *first, const struct node_options *options, struct log *log, const struct clock *clock)
{
	struct err err = { 0 };
	uint32_t writer;
	struct bundle *good = last_good_read(options->spool != NULL ? options->spool : SPOOL_BUILT_IN, &writer, &err);

	if (!options->last_good) {
		if (good != NULL)
			log_bare(log, LOG_ERROR, "sluice: it does not load; with --last-good the node would run the last one that was good");
		else if (err.sys == 0)          /* it is there, and is none */
			log_bare(log, LOG_ERROR, "sluice: %s", err.text);
		bundle_free(good);
		return false;
	}
	if (good != NULL && !note_writer(first, writer)) {
		err_set(&err, ERR_PERM, "the last good policy is of user %u, whom nobody knows here", writer);
		bundle_free(good);
		good = NULL;
	}
	if (good == NULL) {
		log_bare(log, LOG_ERROR, "sluice: %s", err.text);
		return false;
	}
	log_warning(log, "%s does not load; the last good policy runs instead", options->policy);
	bundle_free(first->bundle);
	first->bundle = good;
	return load(first, options, log, clock);
}

bool
first_policy_load(struct first_policy *first, const struct node_options *options, struct log *log, const struct clock *clock)
{
	first->bundle = bundle_new(options->policy, options->folder != NULL ? options->folder : "");
	return load(first, options, log, clock) || load_last_good(first, options, log, clock);
}

void
first_policy_fini(struct first_policy *first)
{
	for (unsigned i = 0; first->policies != NULL && i < first->n; i++)
		policy_free(first->policies[i]);
	free(first->policies);
	bundle_free(first->bundle);
	free(first->writer);
}
