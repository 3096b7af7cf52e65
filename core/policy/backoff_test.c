/* `backoff`: each field, each error with its text and line, what warns, and which rules hold for a queue. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

#define SENDS "listener \"127.0.0.1:2525\" { relay_from = \"::1\" } vmta \"default\" { source = \"any\" } "
#define A_RULE "{ \"421 RP-001\", lasts = \"1h\", max_smtp_out = 5 }"

/* One rule in provider "g", at line 2; and all that is wrong with it. */
static const struct { const char *rule, *errors; } wrong[] = {
	/* what a rule is */
	{ "'421'", "2: provider \"g\": backoff: \"421\" is no reaction: write " A_RULE "\n" },
	{ "{ lasts = '1h', max_smtp_out = 5 }", "2: provider \"g\": backoff: a reaction begins with its pattern: write " A_RULE "\n" },
	{ "{ 421, defer = true }", "2: provider \"g\": backoff: 421 will not do: write a pattern such as \"421 RP-001\"\n" },
	{ "{ '', defer = true }", "2: provider \"g\": backoff: \"\" will not do: write a pattern such as \"421 RP-001\"\n" },
	{ "{ '421', 'x', defer = true }",
	  "2: provider \"g\": backoff: \"x\" will not do: behind the pattern stands a function, or name = value\n" },
	{ "{ '421', function() end, 5 }", "2: provider \"g\": backoff: 5 stands alone: write name = value\n" },
	{ "{ '421', [{}] = 1 }", "2: provider \"g\": backoff: [a table]: no such field of a reaction\n" },
	/* patterns */
	{ "{ '421 (x',\n\n lasts = '1h' }",
	  "2: provider \"g\": backoff: \"421 (x\" is no pattern: at offset 6: missing closing parenthesis; to mean a character itself, write \\\\ before it\n" },
	{ "{ '*', defer = true }",
	  "2: provider \"g\": backoff: \"*\" is no pattern: at offset 0: quantifier does not follow a repeatable item; to mean a character itself, "
	  "write \\\\ before it\n" },
	/* names */
	{ "{ '421',\n defr = true }", "3: provider \"g\": backoff: defr: no such field of a reaction (defer?)\n" },
	{ "{ '421',\n max_smtp_uot = 5 }", "3: provider \"g\": backoff: max_smtp_uot: no such field of a reaction (max_smtp_out?)\n" },
	{ "{ '421',\n pattern = 5 }", "3: provider \"g\": backoff: pattern: no such field of a reaction\n" },
	{ "{ '421', lasts = '1h',\n smtp_port = 5 }",
	  "3: provider \"g\": backoff: smtp_port: is nothing that can be tightened: write a cap, a rate or a retry setting, such as max_smtp_out\n" },
	{ "{ '421', lasts = '1h',\n bounce_after = '1h' }",
	  "3: provider \"g\": backoff: bounce_after: is nothing that can be tightened: write a cap, a rate or a retry setting, such as max_smtp_out\n" },
	/* stages */
	{ "{ '421', defer = true,\n at = 'mial' }",
	  "3: provider \"g\": backoff: at: \"mial\" is no stage (mail?): write connect, greeting, ehlo, starttls, auth, mail, rcpt, data or final\n" },
	{ "{ '421', defer = true, at = {\n 'mail',\n 'banner' } }",
	  "4: provider \"g\": \"banner\" is no stage: write connect, greeting, ehlo, starttls, auth, mail, rcpt, data or final\n" },
	{ "{ '421', defer = true, at = 5 }",
	  "2: provider \"g\": backoff: at: 5 will not do: write connect, greeting, ehlo, starttls, auth, mail, rcpt, data or final\n" },
	{ "{ '421', defer = true, at = {} }",
	  "2: provider \"g\": backoff: at: the list is empty: write connect, greeting, ehlo, starttls, auth, mail, rcpt, data or final\n" },
	/* thresholds */
	{ "{ '421', defer = true,\n after = '2' }", "3: provider \"g\": backoff: after: \"2\" has no window: write \"2/1h\"\n" },
	{ "{ '421', defer = true,\n after = 3 }", "3: provider \"g\": backoff: after: 3 has no window: write \"3/1h\"\n" },
	{ "{ '421', defer = true,\n after = 'often' }",
	  "3: provider \"g\": backoff: after: \"often\" is no threshold: write how many in which time, such as \"2/1h\"\n" },
	{ "{ '421', defer = true,\n after = '0/1h' }",
	  "3: provider \"g\": backoff: after: \"0/1h\" is no threshold: write how many in which time, such as \"2/1h\"\n" },
	{ "{ '421', defer = true,\n after = 'unlimited' }",
	  "3: provider \"g\": backoff: after: \"unlimited\" is no threshold: write how many in which time, such as \"2/1h\"\n" },
	{ "{ '421', defer = true,\n after = '1h' }",
	  "3: provider \"g\": backoff: after: \"1h\" is no threshold: write how many in which time, such as \"2/1h\"\n" },
	/* lasts */
	{ "{ '421', max_smtp_out = 5 }",
	  "2: provider \"g\": backoff: lasts is missing: write how long max_smtp_out is to hold, such as lasts = \"1h\" or \"forever\"\n" },
	{ "{ '421', suspend = true }",
	  "2: provider \"g\": backoff: lasts is missing: write how long suspend is to hold, such as lasts = \"1h\" or \"forever\"\n" },
	{ "{ '421', reroute = 'other' }",
	  "2: provider \"g\": backoff: lasts is missing: write how long reroute is to hold, such as lasts = \"1h\" or \"forever\"\n" },
	{ "{ '421', disable_source = true }",
	  "2: provider \"g\": backoff: lasts is missing: write how long disable_source is to hold, such as lasts = \"1h\" or \"forever\"\n" },
	{ "{ '421', suspend = true,\n lasts = 'never' }", "3: provider \"g\": backoff: lasts: \"never\" will not do: write a duration such as \"1h\", or \"forever\"\n" },
	{ "{ '421', suspend = true,\n lasts = 0 }",
	  "3: provider \"g\": backoff: lasts: 0 will not do: write a duration such as \"30m\", longer than 0 and at most 10 years\n" },
	/* values */
	{ "{ '421', lasts = '1h',\n max_smtp_out = '101%' }",
	  "3: provider \"g\": backoff: max_smtp_out: \"101%\" is not a percentage: write one such as \"50%\", from 0% to 100%\n" },
	{ "{ '421', lasts = '1h',\n max_msg_rate = '150%' }",
	  "3: provider \"g\": backoff: max_msg_rate: \"150%\" is not a percentage: write one such as \"50%\", from 0% to 100%\n" },
	{ "{ '421', lasts = '1h',\n max_smtp_out = 'unlimited' }", "3: provider \"g\": backoff: max_smtp_out: \"unlimited\" tightens nothing: write a number\n" },
	{ "{ '421', lasts = '1h',\n max_msg_rate = 'unlimited' }", "3: provider \"g\": backoff: max_msg_rate: \"unlimited\" tightens nothing: write a rate\n" },
	{ "{ '421', lasts = '1h',\n max_smtp_out = 0 }", "3: provider \"g\": backoff: max_smtp_out: 0 will not do: write at least 1, or suspend\n" },
	{ "{ '421', lasts = '1h',\n max_smtp_out = '5' }", "3: provider \"g\": backoff: max_smtp_out: write a whole number, or a percent such as \"50%\"\n" },
	{ "{ '421', lasts = '1h',\n max_msg_rate = 0 }", "3: provider \"g\": backoff: max_msg_rate: 0 will not do: write a rate such as \"400/h\", or suspend\n" },
	{ "{ '421', lasts = '1h',\n retry_after = '50%' }",
	  "3: provider \"g\": backoff: retry_after: a percent is for caps and rates: write a duration such as \"30m\"\n" },
	/* floor and recover */
	{ "{ '421', lasts = '1h', max_smtp_out = 5,\n floor = 2 }",
	  "3: provider \"g\": backoff: floor: belongs to a percent: write max_smtp_out = \"50%\", floor = 2\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = '50%',\n floor = 0 }", "3: provider \"g\": backoff: floor: 0 will not do: write at least 1\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = 5,\n recover = '1/10m' }",
	  "3: provider \"g\": backoff: recover: \"1/10m\" is no way back: write a step and how often, such as \"+1/10m\" or \"10%/h\"\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = 5,\n recover = '+0/h' }",
	  "3: provider \"g\": backoff: recover: \"+0/h\" is no way back: write a step and how often, such as \"+1/10m\" or \"10%/h\"\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = 5,\n recover = '0%/h' }",
	  "3: provider \"g\": backoff: recover: \"0%/h\" is no way back: write a step and how often, such as \"+1/10m\" or \"10%/h\"\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = 5,\n recover = '101%/h' }",
	  "3: provider \"g\": backoff: recover: \"101%/h\" is no way back: write a step and how often, such as \"+1/10m\" or \"10%/h\"\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = 5,\n recover = '+1' }",
	  "3: provider \"g\": backoff: recover: \"+1\" is no way back: write a step and how often, such as \"+1/10m\" or \"10%/h\"\n" },
	{ "{ '421', lasts = '1h', suspend = true,\n recover = '+1/h' }",
	  "3: provider \"g\": backoff: recover: gives back caps and rates, and there is none: write max_smtp_out = 5\n" },
	/* words and flags */
	{ "{ '421',\n bounce = 'rcpt' }", "3: provider \"g\": backoff: bounce: \"rcpt\" is no answer: write \"recipient\" or \"queue\"\n" },
	{ "{ '421',\n bounce = 'recipients' }", "3: provider \"g\": backoff: bounce: \"recipients\" is no answer (recipient?): write \"recipient\" or \"queue\"\n" },
	{ "{ '421',\n bounce = true }", "3: provider \"g\": backoff: bounce: true will not do: write \"recipient\" or \"queue\"\n" },
	{ "{ '421', defer = true,\n scope = 'quue' }",
	  "3: provider \"g\": backoff: scope: \"quue\" is no scope (queue?): write \"queue\", \"site\", \"vmta\" or \"recipient\"\n" },
	{ "{ '421', defer = true,\n scope = 5 }", "3: provider \"g\": backoff: scope: 5 will not do: write \"queue\", \"site\", \"vmta\" or \"recipient\"\n" },
	{ "{ '421',\n suspend = 'yes' }", "3: provider \"g\": backoff: suspend: \"yes\" will not do: write true or false\n" },
	{ "{ '421',\n name = 5, defer = true }", "3: provider \"g\": backoff: name: 5 will not do: write a text\n" },
	{ "{ '421', lasts = '1h',\n reroute = true }", "3: provider \"g\": backoff: reroute: true will not do: write the name of a virtual MTA or pool\n" },
	/* what makes no sense */
	{ "{ '421', lasts = '1h' }", "2: provider \"g\": backoff: \"421\" does nothing: write what it is to do, as in " A_RULE "\n" },
	{ "{ '421', suspend = false, name = 'x' }", "2: provider \"g\": backoff: \"421\" does nothing: write what it is to do, as in " A_RULE "\n" },
	{ "{ '421', scope = 'recipient',\n max_smtp_out = 5 }",
	  "3: provider \"g\": backoff: max_smtp_out: lies on no recipient: write scope = \"queue\", or retry_recipients_after\n" },
	{ "{ '421', scope = 'recipient', lasts = '1h',\n suspend = true }",
	  "2: provider \"g\": backoff: suspend: lies on no recipient: write scope = \"queue\", or retry_recipients_after\n" },
	/* names of others */
	{ "{ '421', lasts = '1h',\n reroute = 'clean-poool' }", "3: provider \"g\": backoff: reroute: \"clean-poool\": no such virtual MTA or pool (clean-pool?)\n" },
	{ "{ '421', lasts = '1h',\n reroute = 'nowhere' }", "3: provider \"g\": backoff: reroute: \"nowhere\": no such virtual MTA or pool\n" },
};

static void
each_wrong_rule_is_refused_with_its_line_and_what_to_write(void **state)
{
	bool failed = false;
	for (size_t i = 0; i < countof(wrong); i++) {
		char text[1000], errors[4000], warnings[4000];
		struct policy_env env = { 0 };
		snprintf(text, sizeof(text), SENDS "vmta 'other' { source = 'any' } pool 'clean-pool' { 'other' } provider 'g' { mx = '*.g', backoff = {\n%s } }",
			 wrong[i].rule);
		struct policy *policy = fixture_load(text, &env, errors, warnings, sizeof(errors));
		if (policy || strcmp(errors, wrong[i].errors) != 0) {
			failed = true;
			print_error("%s\n-- expected\n%s-- got\n%s\n", wrong[i].rule, wrong[i].errors, errors);
		}
		policy_free(policy);
	}
	assert_false(failed);
}

#define ABC "vmta 'a' { source = 'any' } vmta 'b' { source = 'any' } vmta 'c' { source = 'any' }\n"
#define TO(to) "backoff = { { '421', lasts = '1h', reroute = '" to "' } }"

static const struct { const char *text, *errors; } wrong_policies[] = {
	{ "provider 'g' { backoff = '421' }",
	  "1: provider \"g\": backoff: \"421\" will not do: write a list of reactions: { " A_RULE " }\n" },
	{ "provider 'g' { backoff = {\n inherti = true } }",
	  "2: provider \"g\": backoff: inherti: the list has reactions, and inherit = true: write { " A_RULE " }\n" },
	{ "provider 'g' { backoff = {\n inherit = 'yes' } }", "2: provider \"g\": backoff: inherit: \"yes\" will not do: write true or false\n" },
	{ "provider 'g' { backoff = { '421',\n lasts = '1h' } }",
	  "1: provider \"g\": backoff: \"421\" is no reaction: write " A_RULE "\n"
	  "2: provider \"g\": backoff: lasts: the list has reactions, and inherit = true: write { " A_RULE " }\n" },
	{ "vmta 'a' { source = 'any', backoff = {} }",
	  "1: vmta \"a\": backoff: no such setting here: it belongs into provider or domain\n" },
	{ "node { backoff = {} }", "1: node: backoff: no such setting here: it belongs into provider or domain\n" },
	/* all errors of a list, each with its line */
	{ "domain '*' { backoff = {\n { '421', lasts = 'x', suspend = true },\n { '(', defer = true },\n { '5', stop = 1 },\n} }",
	  "2: domain \"*\": backoff: lasts: \"x\" is not a duration: write a duration such as \"30m\", \"1h30m\" or \"4d12h\"\n"
	  "3: domain \"*\": backoff: \"(\" is no pattern: at offset 1: missing closing parenthesis; to mean a character itself, write \\\\ before it\n"
	  "4: domain \"*\": backoff: stop: 1 will not do: write true or false\n" },
	/* reroutes */
	{ ABC "vmta 'x' { source = 'any', provider = { g = { " TO("x") " } } } provider 'g' { mx = '*.g' }",
	  "2: vmta \"x\" provider \"g\": backoff: reroute: \"x\" is what the mail leaves by already: write another\n" },
	{ ABC "vmta 'x' { source = 'any', provider = { g = { " TO("y") " } } }\nvmta 'y' { source = 'any', provider = { g = { " TO("x") " } } }\n"
	  "provider 'g' { mx = '*.g' }",
	  "3: vmta \"y\" provider \"g\": backoff: reroute: \"x\": the mail would go round: x -> y -> x\n" },
	{ ABC "provider 'g' { mx = '*.g', backoff = {\n { '421', lasts = '1h', reroute = 'b' },\n { '422', lasts = '1h', reroute = 'c' } } }",
	  "3: provider \"g\": backoff: reroute: \"b\": the mail would go round: b -> c -> b\n" },
	{ ABC "pool 'bc' { 'b', 'c' }\ndomain '*.x' { backoff = {\n { '421', lasts = '1h', reroute = 'bc' } } }\n"
	  "vmta 'z' { source = 'any', domain = { ['y.x'] = { backoff = { inherit = true } } } }\n"
	  "pool 'p' { 'c', domain = { ['*.x'] = { backoff = { { '421', lasts = '1h', reroute = 'z' } } } } }",
	  "4: domain \"*.x\": backoff: reroute: \"bc\": the mail would go round: c -> z -> c\n" },
};

static void
each_wrong_list_and_way_is_refused(void **state)
{
	bool failed = false;
	for (size_t i = 0; i < countof(wrong_policies); i++) {
		char errors[4000], warnings[4000];
		struct policy_env env = { 0 };
		struct policy *policy = fixture_load(wrong_policies[i].text, &env, errors, warnings, sizeof(errors));
		if (policy || strcmp(errors, wrong_policies[i].errors) != 0) {
			failed = true;
			print_error("%s\n-- expected\n%s-- got\n%s\n", wrong_policies[i].text, wrong_policies[i].errors, errors);
		}
		policy_free(policy);
	}
	assert_false(failed);
}

static void
ways_that_end_are_taken(void **state)
{
	static const char *const good[] = {
		ABC "provider 'g' { mx = '*.g', " TO("b") " }",
		ABC "pool 'bc' { 'b', 'c' } provider 'g' { mx = '*.g', " TO("bc") " }",
		"vmta 'x' { source = 'any' } vmta 'y' { source = 'any' } pool 'xy' { 'x', 'y' } provider 'g' { mx = '*.g', " TO("xy") " }",
		ABC "provider 'g' { mx = '*.g', " TO("b") " } vmta 'x' { source = 'any', provider = { g = { " TO("a") " } } }",
		/* another site's circle is none here */
		"vmta 'x' { source = 'any', provider = { g = { " TO("y") " } } } vmta 'y' { source = 'any', provider = { h = { " TO("x") " } } }\n"
		"provider 'g' { mx = '*.g' } provider 'h' { mx = '*.h' }",
		/* the second list keeps the first from being asked */
		"vmta 'x' { source = 'any' } vmta 'y' { source = 'any', provider = { g = { backoff = {} } } } vmta 'z' { source = 'any' }\n"
		
		"provider 'g' { mx = '*.g', backoff = { { '421', lasts = '1h', reroute = 'x' }, { '422', lasts = '1h', reroute = 'y' } } }",
	};
	for (size_t i = 0; i < countof(good); i++)
		policy_free(fixture_good(good[i]));
}

/* What stands behind "can never match: ", or a whole warning. */
static const struct { const char *rules, *warnings; } doubtful[] = {
	{ "{ '421', defer = true }", "" },
	{ "{ '421 RP%-001', defer = true }",
	  "2: provider \"g\": backoff: \"421 RP%-001\" asks for a percent sign in the reply, for it is no Lua pattern: write \"421 RP-001\"\n" },
	{ "{ '^4%.7%.%d+ .*\\\\d', defer = true }",
	  "2: provider \"g\": backoff: \"^4%.7%.%d+ .*\\d\" asks for a percent sign in the reply, for it is no Lua pattern: "
	  "write \"^4\\\\.7\\\\.\\\\d+ .*\\\\d\"\n"
	  "2: provider \"g\": backoff: \"^4%.7%.%d+ .*\\d\" can never match: no reply begins so: they begin with a code from 400 to 599 and a blank\n" },
	{ "{ 'over 80%. Wait', defer = true },\n{ '(\\\\d+%)', defer = true }", "" },
	{ "{ '^[a-z]', defer = true }",
	  "2: provider \"g\": backoff: \"^[a-z]\" can never match: no reply begins so: they begin with a code from 400 to 599 and a blank\n" },
	{ "{ '^2\\\\d\\\\d', defer = true }",
	  "2: provider \"g\": backoff: \"^2\\d\\d\" can never match: no reply begins so: they begin with a code from 400 to 599 and a blank\n" },
	{ "{ '421 4\\\\\\\\.7', defer = true }",
	  "2: provider \"g\": backoff: \"421 4\\\\.7\" can never match: it asks for a backslash in the reply: write one backslash less\n" },
	{ "{ '550-5\\\\.7\\\\.1', defer = true }",
	  "2: provider \"g\": backoff: \"550-5\\.7\\.1\" can never match: a reply is one line here, with a blank behind the code: write \"550 5.7.1\", "
	  "not \"550-5.7.1\"\n" },
	{ "{ '421', stop = true },\n{ '421', defer = true }",
	  "3: provider \"g\": backoff: \"421\" can never match: \"421\" (policy.lua:2) matches all that it does, and stops\n" },
	{ "{ '421', stop = true },\n{ 'x|421 RP-001', defer = true },\n{ '421 RP-001', defer = true }",
	  "4: provider \"g\": backoff: \"421 RP-001\" can never match: \"421\" (policy.lua:2) matches all that it does, and stops\n" },
	{ "{ '.', stop = true },\n{ 'x', defer = true }",
	  "3: provider \"g\": backoff: \"x\" can never match: \".\" (policy.lua:2) matches all that it does, and stops\n" },
	{ "{ '421', stop = true, after = '5/1h' },\n{ '421 RP-001', defer = true }", "" },
	{ "{ '421', stop = true, at = 'mail' },\n{ '421', defer = true }", "" },
	{ "{ '421', stop = true },\n{ '421', defer = true, at = 'connect' }", "" },
	{ "{ '421', stop = true },\n{ '421', defer = true, at = 'rcpt' }",
	  "3: provider \"g\": backoff: \"421\" can never match: \"421\" (policy.lua:2) matches all that it does, and stops\n" },
	{ "{ '421', defer = true },\n{ '421', notify = true }", "3: provider \"g\": backoff: \"421\" stands at policy.lua:2 too: both will apply\n" },
	{ "{ '421', defer = true },\n{ '421', after = '5/1h', lasts = '1h', suspend = true }", "" },
	{ "{ '421', defer = true,\n lasts = '1h' }", "3: provider \"g\": backoff: lasts: has no effect: nothing of this rule stays\n" },
	{ "{ '421', lasts = 'forever', max_smtp_out = 5,\n recover = '+1/h' }",
	  "3: provider \"g\": backoff: recover: has no effect: it begins when lasts is over\n" },
	{ "{ '421', lasts = '1h',\n max_msg_rate = '50%' }",
	  "2: provider \"g\": backoff: max_msg_rate: a percent of \"unlimited\" is unlimited: nothing declares max_msg_rate\n" },
	{ "{ '421', lasts = '1h', max_smtp_out = '50%' }", "" },
	{ "{ '421', lasts = '1h', scope = 'site', max_smtp_out = '50%' }",
	  "2: provider \"g\": backoff: max_smtp_out: a percent of \"unlimited\" is unlimited: nothing declares total_max_smtp_out\n" },
	{ "{ '421', lasts = '1h', scope = 'vmta', max_smtp_out = '50%' }",
	  "2: provider \"g\": backoff: max_smtp_out: a percent of \"unlimited\" is unlimited: no vmta declares max_smtp_out\n" },
	{ "{ '421', lasts = '1h', scope = 'site', max_smtp_out = '50%' } } }\ndomain 'x' { total_max_smtp_out = 9, backoff = {", "" },
	{ "{ '421', lasts = '1h', scope = 'vmta', max_smtp_out = '50%' } } }\nvmta 'x' { source = 'any', max_smtp_out = 9 } domain 'x' { backoff = {", "" },
};

static void
what_can_never_match_warns(void **state)
{
	bool failed = false;
	for (size_t i = 0; i < countof(doubtful); i++) {
		char text[1000], errors[4000], warnings[4000];
		struct policy_env env = { 0 };
		snprintf(text, sizeof(text), SENDS "provider 'g' { mx = '*.g', backoff = {\n%s } }", doubtful[i].rules);
		struct policy *policy = fixture_load(text, &env, errors, warnings, sizeof(errors));
		if (!policy || strcmp(warnings, doubtful[i].warnings) != 0) {
			failed = true;
			print_error("%s\n%s-- expected\n%s-- got\n%s\n", doubtful[i].rules, errors, doubtful[i].warnings, warnings);
		} else if (strstr(warnings, "can never")) {
			struct queue_settings settings;
			ruleset_resolve(policy_ruleset(policy), policy_ruleset(policy)->providers[0], SPAN(""), NULL, &settings);
			const struct reaction *last = reaction_list_at(settings.backoff, reaction_list_n(settings.backoff) - 1);
			assert_non_null(last->cannot);
			assert_non_null(strstr(warnings, last->cannot));
		}
		policy_free(policy);
	}
	assert_false(failed);
}

static const struct reaction *
rule_of(struct policy *policy, unsigned i)
{
	const struct ruleset *ruleset = policy_ruleset(policy);
	return reaction_list_at(ruleset_reactions(ruleset, NULL, SPAN("x.y"), ruleset_vmta(ruleset, SPAN("default"))), i);
}

static void
each_field_is_handed_out(void **state)
{
	struct policy *policy = fixture_good(SENDS "vmta 'other' { source = 'any' }\ndomain '*' { backoff = {\n"
		" { '421 RP-001', lasts = '1h', max_smtp_out = 5, max_msg_rate = '1000/h' },\n"
		" { \"TSS0[45]\", name = 'tss', at = 'mail,final', after = '2/90m', lasts = 'forever', suspend = true, scope = 'site', notify = true },\n"
		" {\n  'rate', lasts = '30m',\n  max_smtp_out = '50%', total_max_msg_rate = '0%', floor = 3, recover = '+1/10m', scope = 'vmta' },\n"
		" { 'full', retry_recipients_after = '6h', scope = 'recipient', bounce = 'recipient', stop = true },\n"
		" { at = 'connect', 'many', lasts = '15m', retry_after = { '1m', '2m' }, retry_after_dns_error = 90, recover = '2.5%/h', max_smtp_out = 1 },\n"
		" { 'spam', lasts = '4h', reroute = 'other', disable_source = true, bounce = 'queue', skip_mx = true, close = true, defer = true },\n"
		" { 'S3140', function(reply, queue) end, at = { 'greeting', 'rcpt' } },\n} }");
	const struct reaction *r = rule_of(policy, 0);
	assert_string_equal(r->name, "421 RP-001");
	assert_string_equal(r->pattern, "421 RP-001");
	assert_string_equal(r->where.file, "policy.lua");
	assert_string_equal(r->where.scope, "domain \"*\"");
	assert_int_equal(r->where.line, 3);
	assert_int_equal(r->tightenings_n, 2);
	assert_int_equal(r->tightenings[0].setting, SETTING_max_smtp_out);
	assert_int_equal(r->tightenings[0].count, 5);
	assert_false(r->tightenings[0].is_percent);
	assert_int_equal(r->tightenings[1].rate.count, 1000);
	assert_true(r->lasts_us == 3600 * US_PER_S && r->stages == 0 && r->after_n == 0 && r->scope == REACTION_QUEUE && r->function == 0);
	assert_null(r->cannot);
	assert_null(r->reroute);
	r = rule_of(policy, 1);
	assert_string_equal(r->name, "tss");
	assert_int_equal(r->stages, 1 << SMTP_STAGE_MAIL | 1 << SMTP_STAGE_FINAL);
	assert_true(r->after_n == 2 && r->after_window_us == 5400 * US_PER_S && r->lasts_us == DURATION_NEVER);
	assert_true(r->suspend && r->notify && !r->defer && !r->stop && r->scope == REACTION_SITE);
	r = rule_of(policy, 2);
	assert_int_equal(r->where.line, 6);
	assert_true(r->tightenings[0].is_percent && r->tightenings[0].percent == 50 && r->tightenings[0].floor == 3);
	assert_true(r->tightenings[1].is_percent && r->tightenings[1].percent == 0 && r->tightenings[1].setting == SETTING_total_max_msg_rate);
	assert_true(r->recover_step == 1 && r->recover_percent == 0 && r->recover_every_us == 600 * US_PER_S && r->scope == REACTION_VMTA);
	r = rule_of(policy, 3);
	assert_true(r->scope == REACTION_RCPT && r->bounce == REACTION_BOUNCE_RCPT && r->stop && r->lasts_us == 0);
	assert_true(r->tightenings[0].durations.us[0] == 6 * 3600 * US_PER_S);
	r = rule_of(policy, 4);
	assert_int_equal(r->stages, 1 << SMTP_STAGE_CONNECT | 1 << SMTP_STAGE_GREETING);
	assert_true(r->recover_percent == 2.5 && r->recover_step == 0 && r->recover_every_us == 3600 * US_PER_S);
	assert_int_equal(r->tightenings_n, 3);
	assert_int_equal(r->tightenings[1].durations.n, 2);
	assert_true(r->tightenings[2].duration_us == 90 * US_PER_S && r->tightenings[2].floor == 1);
	r = rule_of(policy, 5);
	assert_string_equal(r->reroute, "other");
	assert_true(r->disable_source && r->bounce == REACTION_BOUNCE_QUEUE && r->skip_mx && r->close && r->defer);
	r = rule_of(policy, 6);
	assert_true(r->function != 0);
	assert_int_equal(r->stages, 1 << SMTP_STAGE_GREETING | 1 << SMTP_STAGE_RCPT);
	policy_free(policy);
}

/* The names of the rules that hold for the queue of virtual MTA v. */
static const struct { const char *rule, *text, *provider, *domain, *names; } chains[] = {
	{ "none", "", "", "a.b", "" },
	{ "an empty list is one", "domain '*' { backoff = { { 'x', stop = true } } } domain 'a.b' { backoff = {} }", "", "a.b", "" },
	{ "the nearest alone", "domain '*' { backoff = { { 'x', stop = true } } } domain 'a.b' { backoff = { { 'y', stop = true } } }", "", "a.b", "y " },
	{ "with inherit the next as well",
	  "domain '*' { backoff = { { 'x', stop = true } } } domain '*.b' { backoff = { { 'y', stop = true } } }\n"
	  "domain 'a.b' { backoff = { { 'z', stop = true }, inherit = true } }", "", "a.b", "z y " },
	{ "and on", "domain '*' { backoff = { { 'x', stop = true } } } domain '*.b' { backoff = { { 'y', stop = true }, inherit = true } }\n"
	  "domain 'a.b' { backoff = { { 'z', stop = true }, inherit = true } }", "", "a.b", "z y x " },
	{ "inherit = false is the rule", "domain '*' { backoff = { { 'x', stop = true } } } domain 'a.b' { backoff = { inherit = false } }", "", "a.b", "" },
	{ "virtual MTA, pool, provider, \"*\" of each",
	  "vmta 'w' { source = 'any', provider = { g = { backoff = { { '1', stop = true }, inherit = true } } }, domain = { ['*'] = { backoff = { { '4', stop = true }, inherit = true } } } }\n"
	  "pool 'p' { 'w', provider = { g = { backoff = { { '2', stop = true }, inherit = true } } }, domain = { ['*'] = { backoff = { { '5', stop = true }, inherit = true } } } }\n"
	  "provider 'g' { mx = '*.g', backoff = { { '3', stop = true }, inherit = true } } domain '*' { backoff = { { '6', stop = true } } }",
	  "g", "", "1 2 3 4 5 6 " },
	{ "at a provider a domain has no say", "provider 'g' { domains = 'a.b' } domain 'a.b' { backoff = { { 'x', stop = true } } } domain '*' { backoff = { { 'y', stop = true } } }",
	  "g", "a.b", "y " },
};

static void
rules_come_from_the_nearest_level(void **state)
{
	for (size_t i = 0; i < countof(chains); i++) {
		char text[2000], names[100] = "";
		snprintf(text, sizeof(text), "%s%s", strstr(chains[i].text, "vmta 'w'") ? "" : "vmta 'w' { source = 'any' } ", chains[i].text);
		struct policy *policy = fixture_good(text);
		const struct ruleset *ruleset = policy_ruleset(policy);
		const struct ruleset_provider *provider = ruleset_provider(ruleset, span_text(chains[i].provider));
		const struct ruleset_vmta *vmta = ruleset_vmta(ruleset, SPAN("w"));
		const struct reaction_list *list = ruleset_reactions(ruleset, provider, span_text(chains[i].domain), vmta);
		for (unsigned r = 0; r < reaction_list_n(list); r++) {
			size_t used = strlen(names);
			snprintf(names + used, sizeof(names) - used, "%s ", reaction_list_at(list, r)->name);
		}
		if (strcmp(names, chains[i].names) != 0)
			fail_msg("%s: %s", chains[i].rule, names);
		assert_ptr_equal(list, ruleset_reactions(ruleset, provider, span_text(chains[i].domain), vmta));
		policy_free(policy);
	}
}

static void
the_setting_has_its_place_and_singles_a_domain_out(void **state)
{
	struct policy *policy = fixture_good("domain 'a.b' {\n backoff = { { 'x', stop = true } } }");
	struct queue_settings settings;
	ruleset_resolve(policy_ruleset(policy), NULL, SPAN("a.b"), NULL, &settings);
	assert_int_equal(settings.where[SETTING_backoff].line, 2);
	assert_string_equal(settings.where[SETTING_backoff].scope, "domain \"a.b\"");
	assert_int_equal(reaction_list_n(settings.backoff), 1);
	assert_true(ruleset_domain_is_alone(policy_ruleset(policy), SPAN("a.b")));
	assert_false(ruleset_domain_is_alone(policy_ruleset(policy), SPAN("c.b")));
	policy_free(policy);
}

static void
the_line_of_a_rule_is_that_of_its_pattern(void **state)
{
	static const struct { const char *text; int line; } places[] = {
		{ "domain '*' { backoff = {\n {\n  lasts = '1h',\n  '421',\n  suspend = true } } }", 4 },
		{ "local rule = {\n '421', defer = true }\n\ndomain '*' { backoff = { rule } }", 2 },
		{ "local function slow(p)\n return { p, defer = true } end\ndomain '*' { backoff = {\n slow '421' } }", 4 },
		{ "local list = {}\nlist[1] = {\n '421', defer = true }\ndomain '*' {\n backoff = list }", 3 },
		{ "for i = 1, 1 do\n domain '*' { backoff = {\n { '42' .. i, defer = true } } } end", 3 },
	};
	for (size_t i = 0; i < countof(places); i++) {
		struct policy *policy = fixture_good(places[i].text);
		const struct reaction_list *list = ruleset_reactions(policy_ruleset(policy), NULL, SPAN("x.y"), NULL);
		if (reaction_list_at(list, 0)->where.line != places[i].line)
			fail_msg("%s: %d", places[i].text, reaction_list_at(list, 0)->where.line);
		policy_free(policy);
	}
}

static void
a_list_written_for_many_domains_costs_little(void **state)
{
	struct policy *policy = fixture_good("for i = 1, 3000 do domain('d' .. i .. '.example') { backoff = {\n"
					     " { '421 RP-001', lasts = '1h', max_smtp_out = 5 }, { '(?:too many|slow down)', defer = true } } } end");
	assert_int_equal(reaction_list_n(ruleset_reactions(policy_ruleset(policy), NULL, SPAN("d3000.example"), NULL)), 2);
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_wrong_rule_is_refused_with_its_line_and_what_to_write),
		cmocka_unit_test(each_wrong_list_and_way_is_refused),
		cmocka_unit_test(ways_that_end_are_taken),
		cmocka_unit_test(what_can_never_match_warns),
		cmocka_unit_test(each_field_is_handed_out),
		cmocka_unit_test(rules_come_from_the_nearest_level),
		cmocka_unit_test(the_setting_has_its_place_and_singles_a_domain_out),
		cmocka_unit_test(the_line_of_a_rule_is_that_of_its_pattern),
		cmocka_unit_test(a_list_written_for_many_domains_costs_little),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
