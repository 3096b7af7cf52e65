/*
 * `explain`: what a policy says of one queue, without a node.
 *
 * Names are asked for only with --dns: an operator who compares two policies wants
 * the same answer twice. Then the engine's own rules say whose site the hosts make.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_explain.h"

#include "cmd/cmd.h"
#include "cmd/cmd_policy.h"
#include "cmd/cmd_print.h"
#include "control/control_answers.h"
#include "control/explain.h"
#include "net/resolver.h"
#include "policy/setting.h"

#define DNS_DEADLINE_US (10 * US_PER_S)
#define WORDS_MAX       500

struct lookup {
	struct loop  *loop;
	struct timer  deadline;
	bool          answered;
	enum resolver_status status;
	char          detail[200];
	unsigned      n;
	struct resolver_mx mx[RESOLVER_RECORDS_MAX];
};

/* ---- names ---- */

static void
on_deadline(void *ctx, struct now now)
{
	loop_stop(((struct lookup *)ctx)->loop);
}

static void
on_answer(void *ctx, const struct resolver_answer *answer)
{
	struct lookup *lookup = ctx;

	lookup->answered = true;
	lookup->status = answer->status;
	snprintf(lookup->detail, sizeof(lookup->detail), "%s", answer->detail ? answer->detail : "no answer");
	lookup->n = answer->status == RESOLVER_OK ? answer->n : 0;
	for (unsigned i = 0; i < lookup->n; i++)
		lookup->mx[i] = answer->mx[i];
	loop_stop(lookup->loop);
}

static bool
ask(struct lookup *lookup, const struct ruleset_node *node, const char *domain, struct err *err)
{
	const struct resolver_os_options options = { .servers = node->resolver, .servers_n = node->resolver_n };
	struct resolver_source *source;
	struct resolver *resolver = NULL;
	struct resolver_query *query;

	lookup->loop = loop_os_new(err);
	source = lookup->loop ? resolver_os_new(lookup->loop, &options, err) : NULL;
	if (source) {
		resolver = resolver_new(lookup->loop, source, 1);
		timer_init(&lookup->deadline, on_deadline, lookup);
		timer_start(&lookup->loop->timers, &lookup->deadline, loop_now(lookup->loop).mono + DNS_DEADLINE_US);
		query = resolver_ask(resolver, domain, RESOLVE_MX, on_answer, lookup);
		loop_run(lookup->loop);
		if (!lookup->answered && query)
			resolver_cancel(query);
		timer_stop(&lookup->loop->timers, &lookup->deadline);
		resolver_free(resolver);
	}
	resolver_os_free(source);
	loop_os_free(lookup->loop);
	if (!source)
		return false;
	if (!lookup->answered)
		return err_set(err, ERR_TEMP, "the resolver does not answer");
	if (lookup->status == RESOLVER_SERVFAIL || lookup->status == RESOLVER_TIMEOUT || lookup->status == RESOLVER_REFUSED)
		return err_set(err, ERR_TEMP, "%s", lookup->detail);
	return true;
}

static bool
is_null_mx(const struct lookup *lookup)
{
	return lookup->n == 1 && lookup->mx[0].host[0] == '\0';
}

static json_t *
lookup_json(const struct lookup *lookup)
{
	const char *status = lookup->status == RESOLVER_NXDOMAIN ? "no such domain" : lookup->status == RESOLVER_NODATA ?
			     "none: mail goes to the domain's address" : is_null_mx(lookup) ? "null MX: the domain accepts no mail" : "found";
	json_t *mx = json_array();

	for (unsigned i = 0; i < lookup->n && !is_null_mx(lookup); i++)
		json_array_append_new(mx, json_pack("{s:o, s:i}", "host", control_answer_text(lookup->mx[i].host),
						    "preference", (int)lookup->mx[i].preference));
	return json_pack("{s:s, s:o}", "status", status, "mx", mx);
}

/* ---- who ---- */

/* A word without a dot may be a provider's name. */
static bool
find_site(struct explain *question, const char *word, char domain[DOMAIN_MAX], struct err *err)
{
	question->provider = strchr(word, '.') ? NULL : ruleset_provider(question->ruleset, span_text(word));
	if (question->provider) {
		domain[0] = '\0';
	} else if (!domain_normalize(span_text(word), domain, err)) {
		return false;
	} else {
		question->provider = ruleset_provider_of_domain(question->ruleset, span_text(domain));
	}
	question->domain = domain;
	question->site = question->provider ? question->provider->name : domain;
	return true;
}

/* NULL: said why. */
static const struct ruleset_vmta *
find_vmta(const struct ruleset *ruleset, const char *name)
{
	const struct ruleset_vmta *vmta = name ? ruleset_vmta(ruleset, span_text(name)) : explain_default_vmta(ruleset);
	const char *words[WORDS_MAX], *near;
	unsigned n = 0;

	if (vmta)
		return vmta;
	if (!name) {
		cmd_failed("the policy declares no virtual MTA");
		return NULL;
	}
	if (ruleset_pool(ruleset, span_text(name))) {
		cmd_failed("%s is a pool: name one of its virtual MTAs, such as %s", name,
			   ruleset_pool(ruleset, span_text(name))->members[0].vmta->name);
		return NULL;
	}
	for (unsigned i = 0; i < ruleset->vmtas_n && n < WORDS_MAX; i++)
		words[n++] = ruleset->vmtas[i]->name;
	near = setting_nearest(span_text(name), words, n);
	if (near)
		cmd_failed("no such virtual MTA: %s (%s?)", name, near);
	else
		cmd_failed("no such virtual MTA: %s", name);
	return NULL;
}

/* By the engine's own rules: what has smtp_hosts is not looked up, and neither is an address. */
static bool
look_up(struct explain *question, char site[DOMAIN_MAX], json_t **dns_out, struct err *err)
{
	const char *hosts[RESOLVER_RECORDS_MAX];
	struct queue_settings settings;
	struct lookup *lookup;
	unsigned n = 0;
	bool ok;

	ruleset_resolve(question->ruleset, question->provider, span_text(question->domain), question->vmta, &settings);
	if (!*question->domain || question->domain[0] == '[' || settings.smtp_hosts)
		return true;
	lookup = mem_alloc(sizeof(*lookup));
	ok = ask(lookup, &question->ruleset->node, question->domain, err);
	if (ok) {
		*dns_out = lookup_json(lookup);
		while (!is_null_mx(lookup) && n < lookup->n && lookup->mx[n].preference == lookup->mx[0].preference) {
			hosts[n] = lookup->mx[n].host;
			n++;
		}
		struct span name = ruleset_site(question->ruleset, span_text(question->domain), hosts, n, &question->provider);
		snprintf(site, DOMAIN_MAX, "%.*s", SPAN_ARG(name));
		if (!question->provider)
			question->site = site;
		else
			question->site = question->provider->name;
	}
	free(lookup);
	return ok;
}

/* ---- the command ---- */

enum { JSON, VMTA, DNS };

static int
show(const struct cmd_policy *loaded, const char *word, const struct cmd_option *options)
{
	struct explain question = { .ruleset = policy_ruleset(loaded->policy), .loaded = &loaded->report };
	char domain[DOMAIN_MAX], site[DOMAIN_MAX];
	json_t *dns = NULL, *answer;
	struct err err = { 0 };
	struct buf out;

	if (!find_site(&question, word, domain, &err))
		return cmd_failed("%s", err.text);
	question.vmta = find_vmta(question.ruleset, options[VMTA].value);
	if (!question.vmta)
		return EXIT_FAILED;
	if (options[DNS].value && !look_up(&question, site, &dns, &err))
		return cmd_failed("%s: %s", domain, err.text);
	answer = explain(&question);
	json_object_set_new(answer, "dns", dns ? dns : json_null());
	json_object_set_new(answer, "warmup", explain_warmup(&question, clock_now(&loaded->clock).wall));
	if (options[JSON].value) {
		cmd_print_json(answer);
	} else {
		buf_init(&out, 0);
		cmd_explain_view(answer, cmd_has_colour(), &out);
		cmd_print_text(&out);
		buf_fini(&out);
	}
	json_decref(answer);
	return EXIT_DONE;
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = {
		[JSON] = { "json", false, NULL }, [VMTA] = { "vmta", true, NULL }, [DNS] = { "dns", false, NULL },
	};
	struct cmd_policy loaded;
	int status;

	if (!cmd_parse(&cmd_explain, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 3)
		return cmd_misused(&cmd_explain, argc < 3 ? "explain needs a policy and a domain" : "explain takes one policy and one domain");
	cmd_policy_open(&loaded, argv[1]);
	cmd_policy_print_notes(loaded.report.errors, loaded.report.errors_n, "");
	status = loaded.policy ? show(&loaded, argv[2], options) : EXIT_FAILED;
	cmd_policy_close(&loaded);
	return status;
}

const struct cmd cmd_explain = {
	.name = "explain",
	.arguments = "POLICY DOMAIN [--vmta NAME] [--dns] [--json]",
	.summary = "which settings a policy gives to a domain, and where each is declared",
	.help =
	"Says what holds for the domain's queue under the policy, without running it:\n"
	"each setting with its value and the line that declares it, what that line\n"
	"beats, the caps of virtual MTA, pool and node, and how many messages an hour\n"
	"come of it at most.\n"
	"\n"
	"  --vmta NAME   by that virtual MTA; else by `default`, the first member of the\n"
	"                pool `default`, or the first that is declared\n"
	"  --dns         ask for the MX: roll-up and providers by mx come from it\n"
	"  --json        one JSON object: site, vmta, settings{name: {value,\n"
	"                declared_at, scope}}, overridden[], wider[], ceiling, warnings[],\n"
	"                warmup {day, per_day, overflow, declared_at} or null\n"
	"\n"
	"example:\n"
	"  $ sluice explain policies/x.lua gmail.com\n"
	"  google/mta-1\n"
	"\n"
	"  setting       value  declared at        scope\n"
	"  max_smtp_out  20     policies/x.lua:14  provider \"google\"\n",
	.run = run,
};
