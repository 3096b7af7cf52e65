/* Precedence and provenance: which value holds, and where it says it was written. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

#define V "vmta \"v\" { source = \"any\", "
#define P "provider \"g\" { domains = \"g.example\" } "

/* Each rule of POLICY.md's "Precedence", a row or two. `site` "g" is the provider; a domain else. */
static const struct {
	const char *rule, *text, *site, *domain, *setting;
	uint32_t    value;
	const char *scope;
} rows[] = {
	{ "nothing declared: the built-in", "", "", "a.b", "max_smtp_out", 20, "built-in" },
	{ "domain \"*\" before the built-in", "domain '*' { max_smtp_out = 1 }", "", "a.b", "max_smtp_out", 1, "domain \"*\"" },
	{ "a wildcard before \"*\"", "domain '*' { max_smtp_out = 1 } domain '*.b' { max_smtp_out = 2 }", "", "a.b", "max_smtp_out", 2, "domain \"*.b\"" },
	{ "subdomains only", "domain '*.b' { max_smtp_out = 2 }", "", "b", "max_smtp_out", 20, "built-in" },
	{ "both", "domain '[*.]b' { max_smtp_out = 2 }", "", "b", "max_smtp_out", 2, "domain \"[*.]b\"" },
	{ "both, below", "domain '[*.]b' { max_smtp_out = 2 }", "", "x.a.b", "max_smtp_out", 2, "domain \"[*.]b\"" },
	{ "the longest wildcard", "domain '*.c' { max_smtp_out = 2 } domain '*.b.c' { max_smtp_out = 3 }", "", "a.b.c", "max_smtp_out", 3, "domain \"*.b.c\"" },
	{ "the longest, declared first", "domain '*.b.c' { max_smtp_out = 3 } domain '*.c' { max_smtp_out = 2 }", "", "a.b.c", "max_smtp_out", 3, "domain \"*.b.c\"" },
	{ "the narrower of two as long", "domain '[*.]b' { max_smtp_out = 2 } domain '*.b' { max_smtp_out = 3 }", "", "a.b", "max_smtp_out", 3, "domain \"*.b\"" },
	{ "exact before wildcards", "domain 'a.b' { max_smtp_out = 4 } domain '*.b' { max_smtp_out = 3 }", "", "a.b", "max_smtp_out", 4, "domain \"a.b\"" },
	{ "a provider before \"*\"", "provider 'g' { max_smtp_out = 5 } domain '*' { max_smtp_out = 1 }", "g", "", "max_smtp_out", 5, "provider \"g\"" },
	{ "\"*\" for a provider that is silent", P "domain '*' { max_smtp_out = 1 }", "g", "", "max_smtp_out", 1, "domain \"*\"" },
	{ "each setting by itself", "provider 'g' { max_smtp_out = 5 } domain '*' { max_attempts = 9 }", "g", "", "max_attempts", 9, "domain \"*\"" },
	{ "the pool before the provider", V "} pool 'p' { 'v', provider = { g = { max_smtp_out = 6 } } } provider 'g' { max_smtp_out = 5 }",
	  "g", "", "max_smtp_out", 6, "pool \"p\" provider \"g\"" },
	{ "the virtual MTA before the pool",
	  V "provider = { g = { max_smtp_out = 7 } } } pool 'p' { 'v', provider = { g = { max_smtp_out = 6 } } } provider 'g' { max_smtp_out = 5 }",
	  "g", "", "max_smtp_out", 7, "vmta \"v\" provider \"g\"" },
	{ "a virtual MTA's wildcard before the pool's exact",
	  V "domain = { ['*.b'] = { max_smtp_out = 7 } } } pool 'p' { 'v', domain = { ['a.b'] = { max_smtp_out = 6 } } }",
	  "", "a.b", "max_smtp_out", 7, "vmta \"v\" domain \"*.b\"" },
	{ "a named site outside beats \"*\" inside", V "domain = { ['*'] = { max_smtp_out = 7 } } } provider 'g' { max_smtp_out = 5 }",
	  "g", "", "max_smtp_out", 5, "provider \"g\"" },
	{ "a wildcard outside beats \"*\" inside", V "domain = { ['*'] = { max_smtp_out = 7 } } } domain '*.b' { max_smtp_out = 5 }",
	  "", "a.b", "max_smtp_out", 5, "domain \"*.b\"" },
	{ "a pool's named site beats the virtual MTA's \"*\"",
	  V "domain = { ['*'] = { max_smtp_out = 7 } } } pool 'p' { 'v', domain = { ['a.b'] = { max_smtp_out = 6 } } }",
	  "", "a.b", "max_smtp_out", 6, "pool \"p\" domain \"a.b\"" },
	{ "\"*\" inside beats \"*\" outside",
	  V "domain = { ['*'] = { max_smtp_out = 7 } } } pool 'p' { 'v', domain = { ['*'] = { max_smtp_out = 6 } } } domain '*' { max_smtp_out = 1 }",
	  "", "a.b", "max_smtp_out", 7, "vmta \"v\" domain \"*\"" },
	{ "a pool's \"*\" beats the global one", V "} pool 'p' { 'v', domain = { ['*'] = { max_smtp_out = 6 } } } domain '*' { max_smtp_out = 1 }",
	  "", "a.b", "max_smtp_out", 6, "pool \"p\" domain \"*\"" },
	{ "a domain within a provider has no say in the queue", "provider 'g' { domains = 'g.example', max_smtp_out = 5 } domain 'g.example' { max_smtp_out = 4 }",
	  "g", "g.example", "max_smtp_out", 5, "provider \"g\"" },
	{ "nor has it where the provider is silent", P "domain 'g.example' { max_smtp_out = 4 }", "g", "g.example", "max_smtp_out", 20, "built-in" },
	{ "but in what concerns its recipients", "provider 'g' { domains = 'g.example', max_attempts = 5 } domain 'g.example' { max_attempts = 4 }",
	  "g", "g.example", "max_attempts", 4, "domain \"g.example\"" },
	{ "a wildcard is behind the provider there", "provider 'g' { domains = 'g.example', max_attempts = 5 } domain '*.example' { max_attempts = 4 }",
	  "g", "g.example", "max_attempts", 5, "provider \"g\"" },
	{ "and before \"*\"", P "domain '*.example' { max_attempts = 4 } domain '*' { max_attempts = 3 }", "g", "g.example", "max_attempts", 4, "domain \"*.example\"" },
	{ "a virtual MTA's provider beats the domain outside",
	  V "provider = { g = { max_attempts = 7 } } } " P "domain 'g.example' { max_attempts = 4 }", "g", "g.example", "max_attempts", 7,
	  "vmta \"v\" provider \"g\"" },
	{ "upper case and a final dot are one name", "domain 'A.B.' { max_smtp_out = 4 }", "", "a.b", "max_smtp_out", 4, "domain \"A.B.\"" },
};

static enum setting_id
find(const char *name)
{
	enum setting_id id = 0;
	while (strcmp(setting_name(id), name) != 0)
		id++;
	return id;
}

static void
the_nearest_declaration_holds(void **state)
{
	bool failed = false;
	for (size_t i = 0; i < countof(rows); i++) {
		struct policy *policy = fixture_good(rows[i].text);
		const struct ruleset *ruleset = policy_ruleset(policy);
		struct queue_settings settings;
		ruleset_resolve(ruleset, ruleset_provider(ruleset, span_text(rows[i].site)), span_text(rows[i].domain),
				ruleset_vmta(ruleset, SPAN("v")), &settings);
		enum setting_id id = find(rows[i].setting);
		uint32_t value = id == SETTING_max_attempts ? settings.max_attempts : settings.max_smtp_out;
		if (value != rows[i].value || strcmp(settings.where[id].scope, rows[i].scope) != 0) {
			failed = true;
			print_error("%s: %u of %s\n", rows[i].rule, value, settings.where[id].scope);
		}
		policy_free(policy);
	}
	assert_false(failed);
}

static void
without_a_virtual_mta_only_what_is_said_of_all_holds(void **state)
{
	struct policy *policy = fixture_good(V "domain = { ['a.b'] = { max_smtp_out = 7 } } } domain 'a.b' { max_smtp_out = 3 }");
	struct queue_settings settings;
	ruleset_resolve(policy_ruleset(policy), NULL, SPAN("a.b"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 3);
	policy_free(policy);
}

static void
every_setting_takes_its_kind_and_is_handed_out(void **state)
{
	fixture_write("ca.pem", "");
	struct policy *policy = fixture_good(
		"domain 'a.b' { max_smtp_out = 'unlimited', total_max_smtp_out = 2, max_connect_rate = '50/h', total_max_connect_rate = { '60/h', burst = 6 },\n"
		"max_msg_rate = 'unlimited', total_max_msg_rate = '100/15m', max_msg_per_connection = 3, max_rcpt_per_message = 4,\n"
		"max_errors_per_connection = 5, retry_after = { '1m', 120, '1h' }, retry_recipients_after = '5m,6m', retry_after_dns_error = 30,\n"
		"retry_jitter = '0%', bounce_after = '1d12h', max_attempts = 6, smtp_hosts = { 'a.example', '[::1]:2525'; 'b.example:26,192.0.2.1' }, smtp_port = 587,\n"
		"mx_connection_attempts = 7, use_starttls = false, require_starttls = true, verify_tls = true, tls_ca = 'ca.pem',\n"
		"connect_timeout = '1s', greeting_timeout = '2s', command_timeout = '3s', data_timeout = '4s', final_timeout = '5s', idle_timeout = 0.5,\n"
		"bounce_upon_no_mx = true, rollup = false, paused = true, backoff = { { '421', defer = true } } }");
	struct queue_settings s;
	ruleset_resolve(policy_ruleset(policy), NULL, SPAN("a.b"), NULL, &s);
	assert_int_equal(s.max_smtp_out, UNLIMITED);
	assert_int_equal(s.total_max_smtp_out, 2);
	assert_int_equal(s.max_connect_rate.count, 50);
	assert_int_equal(s.total_max_connect_rate.burst, 6);
	assert_true(rate_unlimited(&s.max_msg_rate));
	assert_true(s.total_max_msg_rate.window_us == 900 * US_PER_S);
	assert_int_equal(s.max_msg_per_connection, 3);
	assert_int_equal(s.max_rcpt_per_message, 4);
	assert_int_equal(s.max_errors_per_connection, 5);
	assert_int_equal(s.retry_after.n, 3);
	assert_true(duration_list_at(&s.retry_after, 1) == 120 * US_PER_S && duration_list_at(&s.retry_after, 9) == 3600 * US_PER_S);
	assert_true(s.retry_recipients_after.n == 2 && s.retry_recipients_after.us[1] == 360 * US_PER_S);
	assert_true(s.retry_after_dns_error == 30 * US_PER_S);
	assert_true(s.retry_jitter == 0);
	assert_true(s.bounce_after == 36 * 3600 * US_PER_S);
	assert_int_equal(s.max_attempts, 6);
	assert_int_equal(s.smtp_hosts->n, 4);
	assert_string_equal(s.smtp_hosts->hosts[0].name, "a.example");
	assert_int_equal(s.smtp_hosts->hosts[1].ip.family, IP_V6);
	assert_int_equal(s.smtp_hosts->hosts[1].port, 2525);
	assert_int_equal(s.smtp_hosts->hosts[1].group, 0);
	assert_int_equal(s.smtp_hosts->hosts[2].port, 26);
	assert_int_equal(s.smtp_hosts->hosts[2].group, 1);
	assert_int_equal(s.smtp_hosts->hosts[3].group, 1);
	assert_int_equal(s.smtp_hosts->hosts[3].ip.family, IP_V4);
	assert_int_equal(s.smtp_port, 587);
	assert_int_equal(s.mx_connection_attempts, 7);
	assert_true(!s.use_starttls && s.require_starttls && s.verify_tls);
	assert_string_equal(s.tls_ca, "ca.pem");
	assert_true(s.connect_timeout == 1 * US_PER_S && s.greeting_timeout == 2 * US_PER_S && s.command_timeout == 3 * US_PER_S);
	assert_true(s.data_timeout == 4 * US_PER_S && s.final_timeout == 5 * US_PER_S && s.idle_timeout == US_PER_S / 2);
	assert_true(s.bounce_upon_no_mx && !s.rollup && s.paused);
	assert_int_equal(reaction_list_n(s.backoff), 1);
	for (unsigned id = 0; id < SETTINGS_N; id++) {
		assert_string_equal(s.where[id].file, "policy.lua");
		assert_string_equal(s.where[id].scope, "domain \"a.b\"");
	}
	policy_free(policy);
}

static void
built_in_values_are_those_of_the_manual(void **state)
{
	struct policy *policy = fixture_good("");
	struct queue_settings s;
	ruleset_resolve(policy_ruleset(policy), NULL, SPAN("a.b"), NULL, &s);
	assert_int_equal(s.max_rcpt_per_message, 100);
	assert_int_equal(s.max_msg_per_connection, UNLIMITED);
	assert_true(rate_unlimited(&s.max_msg_rate));
	assert_true(s.retry_after.n == 1 && s.retry_after.us[0] == 600 * US_PER_S);
	assert_true(s.retry_recipients_after.us[0] == 600 * US_PER_S && s.retry_after_dns_error == 60 * US_PER_S);
	assert_true(s.retry_jitter == 5 && s.bounce_after == 108 * 3600 * US_PER_S);
	assert_null(s.smtp_hosts);
	assert_null(s.tls_ca);
	assert_int_equal(s.smtp_port, 25);
	assert_int_equal(s.mx_connection_attempts, 10);
	assert_true(s.use_starttls && !s.require_starttls && !s.verify_tls && s.rollup && !s.paused && !s.bounce_upon_no_mx);
	assert_true(s.connect_timeout == 60 * US_PER_S && s.greeting_timeout == 300 * US_PER_S && s.command_timeout == 300 * US_PER_S);
	assert_true(s.data_timeout == 180 * US_PER_S && s.final_timeout == 600 * US_PER_S && s.idle_timeout == 5 * US_PER_S);
	policy_free(policy);
}

/* The line of domain "a.b"'s max_smtp_out. */
static const struct { const char *what, *text; int line; } places[] = {
	{ "its own line in a long table", "domain 'a.b' {\n paused = true,\n\n max_smtp_out = 4,\n}", 4 },
	{ "a table on the next line", "domain 'a.b'\n{\n max_smtp_out = 4 }", 3 },
	{ "with parentheses", "domain('a.b')({\n max_smtp_out = 4 })", 2 },
	{ "a local table", "local t = {\n max_smtp_out = 4 }\n\ndomain 'a.b'(t)", 2 },
	{ "a local table, changed: computed", "local t = {\n max_smtp_out = 4 }\nt.max_smtp_out = 5\ndomain 'a.b'(t)", 4 },
	{ "assigned: computed", "local t = {}\nt.max_smtp_out = 5\n\ndomain 'a.b'(t)", 4 },
	{ "a helper's argument: computed", "local function f(n)\n return {\n max_smtp_out = n } end\n\ndomain 'a.b'(f(4))", 5 },
	{ "a helper's literal", "local function f()\n return {\n max_smtp_out = 4 } end\n\ndomain 'a.b'(f())", 3 },
	{ "a variable in the declaration itself", "local n = 4\ndomain 'a.b' {\n max_smtp_out = n }", 3 },
	{ "a loop", "for _, d in ipairs { 'x.y', 'a.b' } do\n domain(d) {\n max_smtp_out = 4 }\nend", 3 },
	{ "a comment with a brace", "-- {\ndomain 'a.b' { -- }\n --[[ } \n ]] max_smtp_out = 4 }", 4 },
	{ "a string with a brace", "local s = '}' .. \"{\\\"\" .. [[\n}]]\ndomain 'a.b' { smtp_hosts = 'x',\n max_smtp_out = 4 }", 4 },
	{ "a long comment", "--[==[ ]] \n]==] domain 'a.b' {\n max_smtp_out = 4 }", 3 },
	{ "a key in brackets", "domain 'a.b' {\n ['max_smtp_out'] = 4 }", 2 },
	{ "the last of two", "domain 'a.b' {\n max_smtp_out = 3,\n max_smtp_out = 4 }", 3 },
	{ "a function's commas before it", "local t = { f = function(a, b)\n local x, y = 1, 2\n for i = 1, 2 do end\n if x then end\n return x, y end,\n max_smtp_out = 4 }\n"
	  "t.f = nil\ndomain 'a.b'(t)", 6 },
	{ "a method call's table", "local o = { set = function(_, t) domain 'a.b'(t) end }\no:set {\n max_smtp_out = 4 }", 3 },
	{ "behind a shebang", "#!/usr/bin/sluice\ndomain 'a.b' {\n max_smtp_out = 4 }", 3 },
	{ "lines that end in CRLF", "domain 'a.b' {\r\n paused = false,\r\n max_smtp_out = 4 }", 3 },
	{ "a loaded text: the declaration", "\nload('domain \"a.b\" {\\n max_smtp_out = 4 }')()", 2 },
};

static void
a_value_remembers_its_own_line(void **state)
{
	bool failed = false;
	for (size_t i = 0; i < countof(places); i++) {
		struct policy *policy = fixture_good(places[i].text);
		struct queue_settings settings;
		ruleset_resolve(policy_ruleset(policy), NULL, SPAN("a.b"), NULL, &settings);
		const struct where *where = &settings.where[SETTING_max_smtp_out];
		if (where->line != places[i].line || strcmp(where->file, "policy.lua") != 0) {
			failed = true;
			print_error("%s: %s:%d\n", places[i].what, where->file, where->line);
		}
		policy_free(policy);
	}
	assert_false(failed);
}

static void
nested_values_have_lines_of_their_own(void **state)
{
	struct policy *policy = fixture_good(
		"vmta \"v\" {\n source = \"any\",\n max_smtp_out = 9,\n provider = {\n  g = {\n   max_smtp_out = 4 } } }\n"
		"pool \"p\" { \"v\",\n max_smtp_out = 8,\n domain = { [\"*\"] = {\n  max_attempts = 3 } } }\n" P);
	const struct ruleset *ruleset = policy_ruleset(policy);
	const struct ruleset_vmta *vmta = ruleset_vmta(ruleset, SPAN("v"));
	struct queue_settings settings;
	assert_int_equal(vmta->where.line, 1);
	assert_int_equal(vmta->max_smtp_out_where.line, 3);
	assert_string_equal(vmta->max_smtp_out_where.scope, "vmta \"v\"");
	assert_int_equal(vmta->limit_pool->max_smtp_out_where.line, 8);
	ruleset_resolve(ruleset, ruleset->providers[0], SPAN(""), vmta, &settings);
	assert_int_equal(settings.where[SETTING_max_smtp_out].line, 6);
	assert_int_equal(settings.where[SETTING_max_attempts].line, 10);
	assert_string_equal(settings.where[SETTING_max_attempts].scope, "pool \"p\" domain \"*\"");
	policy_free(policy);
}

static void
a_domain_is_alone_where_something_singles_it_out(void **state)
{
	static const struct { const char *text, *domain; bool alone; } cases[] = {
		{ "", "a.b", false },
		{ "domain 'a.b' { max_smtp_out = 1 }", "a.b", true },
		{ "domain 'a.b' { max_smtp_out = 1 }", "c.b", false },
		{ "domain '*.b' { max_msg_rate = '1/h' }", "a.b", true },
		{ "domain 'a.b' { bounce_after = '1d', retry_recipients_after = '1h' }", "a.b", false },
		{ "domain 'a.b' { rollup = false }", "a.b", true },
		{ "domain 'a.b' { rollup = true }", "a.b", false },
		{ "domain 'a.b' { smtp_hosts = 'x' }", "a.b", true },
		{ "domain '*' { max_smtp_out = 1 }", "a.b", false },
		{ "domain '*' { smtp_hosts = 'x' }", "a.b", true },
		{ "domain '*' { rollup = false }", "a.b", true },
		{ "domain '*' { rollup = false } domain 'a.b' { rollup = true }", "a.b", false },
		{ V "domain = { ['a.b'] = { max_smtp_out = 1 } } }", "a.b", true },
		{ V "} pool 'p' { 'v', domain = { ['a.b'] = { idle_timeout = 1 } } }", "a.b", true },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct policy *policy = fixture_good(cases[i].text);
		if (ruleset_domain_is_alone(policy_ruleset(policy), span_text(cases[i].domain)) != cases[i].alone)
			fail_msg("%s", cases[i].text);
		policy_free(policy);
	}
}

static void
providers_are_found_by_domain_and_by_all_of_their_hosts(void **state)
{
	struct policy *policy = fixture_good("provider 'g' { domains = { 'Gmail.com' }, mx = { '*.google.com', '*.googlemail.com' } }\n"
					     "provider 'o' { mx = '*.outlook.com' }");
	const struct ruleset *ruleset = policy_ruleset(policy);
	const char *all[] = { "aspmx.l.google.com", "x.googlemail.com" }, *some[] = { "aspmx.l.google.com", "mx.other.example" };
	assert_string_equal(ruleset_provider_of_domain(ruleset, SPAN("gmail.com"))->name, "g");
	assert_null(ruleset_provider_of_domain(ruleset, SPAN("x.gmail.com")));
	assert_string_equal(ruleset_provider_of_mx(ruleset, all, 2)->name, "g");
	assert_null(ruleset_provider_of_mx(ruleset, some, 2));
	assert_null(ruleset_provider_of_mx(ruleset, all, 0));
	assert_string_equal(ruleset_provider(ruleset, SPAN("o"))->name, "o");
	assert_null(ruleset_provider(ruleset, SPAN("x")));
	policy_free(policy);
}

static void
a_pool_picks_its_members_by_weight(void **state)
{
	struct policy *policy = fixture_good("vmta 'a' { source = { '10.0.0.1', '::1' } } vmta 'b' { source = 'any' } pool 'p' { 'a', { 'b', weight = 3 } }");
	const struct ruleset *ruleset = policy_ruleset(policy);
	const struct ruleset_pool *pool;
	struct prng prng;
	unsigned picked[2] = { 0 };
	prng_seed(&prng, 1);
	for (int i = 0; i < 4000; i++)
		picked[ruleset_choose(ruleset, SPAN("p"), &prng, &pool)->index]++;
	assert_ptr_equal(pool, ruleset_pool(ruleset, SPAN("p")));
	assert_in_range(picked[0], 900, 1100);
	assert_string_equal(ruleset_choose(ruleset, SPAN("a"), &prng, &pool)->name, "a");
	assert_null(pool);
	assert_null(ruleset_choose(ruleset, SPAN("x"), &prng, &pool));
	assert_int_equal(ruleset_vmta(ruleset, SPAN("a"))->sources_n, 2);
	assert_null(ruleset_vmta(ruleset, SPAN("a"))->limit_pool);
	policy_free(policy);
}

static void
a_hundred_thousand_domains_load_and_resolve(void **state)
{
	struct policy *policy = fixture_good("for i = 1, 100000 do domain('d' .. i .. '.example') { max_smtp_out = i } end");
	struct queue_settings settings;
	ruleset_resolve(policy_ruleset(policy), NULL, SPAN("d99999.example"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 99999);
	policy_free(policy);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nearest_declaration_holds),
		cmocka_unit_test(without_a_virtual_mta_only_what_is_said_of_all_holds),
		cmocka_unit_test(every_setting_takes_its_kind_and_is_handed_out),
		cmocka_unit_test(built_in_values_are_those_of_the_manual),
		cmocka_unit_test(a_value_remembers_its_own_line),
		cmocka_unit_test(nested_values_have_lines_of_their_own),
		cmocka_unit_test(a_domain_is_alone_where_something_singles_it_out),
		cmocka_unit_test(providers_are_found_by_domain_and_by_all_of_their_hosts),
		cmocka_unit_test(a_pool_picks_its_members_by_weight),
		cmocka_unit_test(a_hundred_thousand_domains_load_and_resolve),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
