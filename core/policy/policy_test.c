/* Loading: each error's text and line, what warns, and what may stand in a policy. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "policy/policy_fixture.h"

/* One each: a policy, and the whole of what is wrong with it. */
static const struct { const char *text, *errors; } wrong[] = {
	/* names */
	{ "provider \"google\" { max_smtp_uot = 4 }", "1: provider \"google\": max_smtp_uot: no such setting (max_smtp_out?)\n" },
	{ "provider \"google\" { ['max-smtp-out'] = 4 }", "1: provider \"google\": max-smtp-out: no such setting (max_smtp_out?)\n" },
	{ "domain \"a.example\" { frobnicate = 4 }", "1: domain \"a.example\": frobnicate: no such setting\n" },
	{ "domain \"a.example\" { 4 }", "1: domain \"a.example\": 4 stands alone: write name = value\n" },
	{ "domain \"a.example\" { [{}] = 4 }", "1: domain \"a.example\": [a table]: no such setting\n" },
	{ "node { spol = \"x\" }", "1: node: spol: no such setting (spool?)\n" },
	{ "listener \"127.0.0.1:25\" { relay_form = \"::1\" }", "1: listener \"127.0.0.1:25\": relay_form: no such setting (relay_from?)\n" },
	{ "vmta \"a\" { source = \"any\", retry_after = 5 }",
	  "1: vmta \"a\": retry_after: no such setting here: it belongs into provider or domain\n" },
	{ "pool \"p\" { \"a\", max_smtp_out = 4, retry = 1 } vmta \"a\" { source = \"any\" }", "1: pool \"p\": retry: no such setting\n" },
	{ "\nprovidr \"google\" {}", "2: attempt to call global 'providr' (a nil value) (provider?)\n" },
	{ "domain \"a.example\" { max_smtp_out = 0 }\n\nlimit = 3\n",
	  "1: domain \"a.example\": max_smtp_out: 0 could mean none or no limit: write \"unlimited\", or paused = true\n"
	  "3: limit: no such global: write local limit\n" },
	/* syntax */
	{ "provider \"google\" {\n  max_smtp_out = = 4\n}", "2: unexpected symbol near '='\n" },
	{ "local t = {\n", "2: unexpected symbol near '<eof>'\n" },
	/* kinds */
	{ "domain \"a.b\" {\n max_smtp_out = \"20\",\n max_msg_rate = 400,\n retry_after = true,\n retry_jitter = 5,\n smtp_port = 70000,\n paused = 1,\n"
	  " smtp_hosts = 5,\n tls_ca = 7,\n bounce_after = \"never\",\n max_attempts = 1.5,\n}",
	  "2: domain \"a.b\": max_smtp_out: \"20\" will not do: write a whole number, or \"unlimited\"\n"
	  "3: domain \"a.b\": max_msg_rate: 400 will not do: write a rate such as \"400/h\", or \"unlimited\"\n"
	  "4: domain \"a.b\": retry_after: true will not do: write a duration such as \"30m\" or \"4d12h\", or a number of seconds\n"
	  "5: domain \"a.b\": retry_jitter: 5 will not do: write a percent such as \"5%\"\n"
	  "6: domain \"a.b\": smtp_port: 70000 will not do: write a port from 1 to 65535\n"
	  "7: domain \"a.b\": paused: 1 will not do: write true or false\n"
	  "8: domain \"a.b\": smtp_hosts: 5 will not do: write \"host\", \"host:port\", \"[address]:port\" or a list of them\n"
	  "9: domain \"a.b\": tls_ca: 7 will not do: write the path of a file\n"
	  "10: domain \"a.b\": bounce_after: \"never\" is not a duration here: write a duration such as \"30m\", \"1h30m\" or \"4d12h\"\n"
	  "11: domain \"a.b\": max_attempts: 1.5 will not do: write a whole number, or \"unlimited\"\n" },
	/* zero */
	{ "domain \"a.b\" {\n max_smtp_out = 0,\n max_msg_rate = \"0/h\",\n max_connect_rate = 0,\n idle_timeout = 0,\n max_msg_per_connection = 0 }",
	  "2: domain \"a.b\": max_smtp_out: 0 could mean none or no limit: write \"unlimited\", or paused = true\n"
	  "3: domain \"a.b\": max_msg_rate: 0 could mean none or no limit: write \"unlimited\", or paused = true\n"
	  "4: domain \"a.b\": max_connect_rate: 0 could mean none or no limit: write \"unlimited\", or paused = true\n"
	  "5: domain \"a.b\": idle_timeout: 0 will not do: write a duration such as \"30m\", longer than 0 and at most 10 years\n"
	  "6: domain \"a.b\": max_msg_per_connection: 0 could mean none or no limit: write \"unlimited\", or paused = true\n" },
	{ "node { max_smtp_out = 0 }", "1: node: max_smtp_out: 0 could mean none or no limit: write \"unlimited\", or at least 1\n" },
	{ "domain \"a.b\" { retry_jitter = \"101%\" }", "1: domain \"a.b\": retry_jitter: \"101%\" is not a percentage: write one such as \"50%\", from 0% to 100%\n" },
	/* rates with bursts */
	{ "domain \"a.b\" {\n max_msg_rate = { \"400/h\", burst = 400 },\n max_connect_rate = { \"unlimited\", burst = 5 },\n"
	  " total_max_msg_rate = { \"4/h\", brust = 2 },\n total_max_connect_rate = { burst = 2 } }",
	  "2: domain \"a.b\": max_msg_rate: burst: 400 is not below the rate's 400: write less\n"
	  "3: domain \"a.b\": max_connect_rate: \"unlimited\" has no burst\n"
	  "4: domain \"a.b\": total_max_msg_rate: a rate with a burst is { \"400/h\", burst = 50 }\n"
	  "5: domain \"a.b\": total_max_connect_rate: a nil will not do: write a rate such as \"400/h\", or \"unlimited\"\n" },
	/* lists */
	{ "domain \"a.b\" {\n retry_after = {},\n retry_recipients_after = { \"5m\", \"x\" } }",
	  "2: domain \"a.b\": retry_after: write a list of durations, such as { \"10m\", \"20m\", \"1h\" }\n"
	  "3: domain \"a.b\": retry_recipients_after: \"x\" is not a duration: write a duration such as \"30m\", \"1h30m\" or \"4d12h\"\n" },
	{ "domain \"a.b\" {\n smtp_hosts = \"[1.2.3]:25\" }", "2: domain \"a.b\": smtp_hosts: \"1.2.3\" is no address\n" },
	{ "domain \"a.b\" { smtp_hosts = \"a:0\" }", "1: domain \"a.b\": smtp_hosts: \"a:0\": write a port from 1 to 65535\n" },
	{ "domain \"a.b\" { smtp_hosts = \"a,,b\" }",
	  "1: domain \"a.b\": smtp_hosts: has a host missing: write \"host\", \"host:port\" or \"[address]:port\"\n" },
	{ "domain \"a.b\" { tls_ca = \"no/such.pem\" }",
	  "1: domain \"a.b\": tls_ca: no/such.pem cannot be read: No such file or directory\n" },
	/* duplicates name both places */
	{ "vmta \"a\" { source = \"any\" }\nvmta \"a\" { source = \"any\" }", "2: vmta \"a\": the name is taken: vmta \"a\" at policy.lua:1\n" },
	{ "vmta \"a\" { source = \"any\" }\npool \"a\" { \"a\" }", "2: pool \"a\": the name is taken: vmta \"a\" at policy.lua:1\n" },
	{ "provider \"g\" { mx = \"*.g.example\" }\n\nprovider \"g\" { mx = \"*.h.example\" }", "3: provider \"g\": declared twice; first at policy.lua:1\n" },
	{ "domain \"A.example\" { }\ndomain { \"b.example\", \"a.example.\" } { }", "2: domain \"a.example.\": declared twice; first at policy.lua:1\n" },
	{ "node { }\nnode { }", "2: node: declared twice; first at policy.lua:1\n" },
	{ "vmta \"a\" { source = \"any\",\n domain = { ['x.example'] = {},\n ['X.example'] = {} } }",
	  "3: vmta \"a\" domain \"X.example\": declared twice; first at policy.lua:2\n" },
	{ "provider \"a\" { domains = { \"x.example\" } }\nprovider \"b\" { domains = { \"y.example\",\n \"X.example\" } }",
	  "3: provider \"b\": x.example belongs to provider \"a\" at policy.lua:1 already\n" },
	{ "provider \"a\" { domains = \"x.example,x.example\" }", "1: provider \"a\": x.example is there twice\n" },
	/* names of others */
	{ "vmta \"mta-1\" { source = \"any\" }\npool \"p\" {\n \"mta-1\",\n \"mta-2\" }", "4: pool \"p\": mta-2: no such virtual MTA (mta-1?)\n" },
	{ "vmta \"mta-1\" { source = \"any\" }\npool \"p\" { \"mta-1\" }\npool \"q\" { \"p\" }", "3: pool \"q\": p is a pool: members are virtual MTAs\n" },
	{ "vmta \"a\" { source = \"any\" }\npool \"p\" { \"a\", { \"a\", weight = 2 } }",
	  "2: pool \"p\": a is there twice: write { \"a\", weight = 2 }\n" },
	{ "vmta \"a\" { source = \"any\" }\npool \"p\" { \"a\", max_smtp_out = 5 }\npool \"q\" { \"a\", domain = { [\"*\"] = { paused = true } } }",
	  "3: pool \"q\": a is in pool \"p\" (policy.lua:2) too: only one of its pools may have caps or settings\n" },
	{ "pool \"p\" { }", "1: pool \"p\": has no members: write the names of virtual MTAs: pool \"p\" { \"mta-1\" }\n" },
	{ "vmta \"a\" { source = \"any\" }\npool \"p\" { { weight = 2 }, 5, { \"a\", weight = 0 }, { \"a\", wieght = 2 } }",
	  "2: pool \"p\": a is there twice: write { \"a\", weight = 2 }\n"
	  "2: pool \"p\": a member is \"name\", or { \"name\", weight = 2 }\n"
	  "2: pool \"p\": a member is \"name\", or { \"name\", weight = 2 }\n"
	  "2: pool \"p\": weight: 0 will not do: write at least 1\n"
	  "2: pool \"p\": wieght: no such setting (weight?)\n" },
	{ "provider \"google\" { mx = \"*.google.com\" }\nvmta \"a\" { source = \"any\", provider = {\n gogle = { max_smtp_out = 4 } } }",
	  "3: vmta \"a\" provider \"gogle\": no such provider (google?)\n" },
	{ "vmta \"a\" { source = \"any\" }\npool \"p\" { \"a\", provider = { x = { } } }", "2: pool \"p\" provider \"x\": no such provider\n" },
	/* vmta */
	{ "vmta \"a\" { max_smtp_out = 5 }",
	  "1: vmta \"a\": source is missing: write source = \"203.0.113.10\", or source = \"any\" for the system's choice\n" },
	{ "vmta \"a\" { source = { \"10.0.0.1\",\n \"x\" } }",
	  "2: vmta \"a\": \"x\" is no address: write \"203.0.113.10\", \"2001:db8::1\", a list, or \"any\"\n" },
	{ "vmta \"a\" { source = \"10.0.0.1,10.0.0.1\" }", "1: vmta \"a\": source: \"10.0.0.1\" is there twice\n" },
	{ "vmta \"a\" { source = \"0.0.0.0\" }",
	  "1: vmta \"a\": source: \"0.0.0.0\" is no address of this machine: write \"any\" for the system's choice\n" },
	{ "vmta \"a/b\" { source = \"any\" }", "1: vmta: \"a/b\" is no name: write vmta \"name\" { … }, without blanks, '/' and '*'\n" },
	{ "vmta(5) { source = \"any\" }", "1: vmta: 5 is no name: write vmta \"name\" { … }, without blanks, '/' and '*'\n" },
	{ "\nvmta \"a\"", "2: vmta \"a\": its table is missing: write vmta \"a\" { … }\n" },
	{ "provider \"g\" (5)", "1: provider \"g\": 5 will not do: write a table { … }\n" },
	{ "domain {} {}", "1: domain: names none: write domain \"example.com\" { … }\n" },
	/* listener */
	{ "listener \"127.0.0.1:25\" {}\nlistener \"127.0.0.1:25\" {}", "2: listener \"127.0.0.1:25\": listens where listener \"127.0.0.1:25\" at policy.lua:1 does\n" },
	{ "listener \"0.0.0.0:25\" {}\nlistener \"127.0.0.1:25\" {}", "2: listener \"127.0.0.1:25\": listens where listener \"0.0.0.0:25\" at policy.lua:1 does\n" },
	{ "listener \"127.0.0.1:25\" { tls = { certificate = \"no.pem\",\n kee = \"k.pem\" } }",
	  "1: listener \"127.0.0.1:25\": tls: certificate: no.pem cannot be read: No such file or directory\n"
	  "1: listener \"127.0.0.1:25\": tls: key is missing: write tls = { certificate = \"cert.pem\", key = \"key.pem\" }\n"
	  "2: listener \"127.0.0.1:25\": tls: kee: no such setting (key?)\n" },
	{ "listener \"127.0.0.1:25\" { require_tls = true }",
	  "1: listener \"127.0.0.1:25\": require_tls needs a certificate: write tls = { certificate = \"cert.pem\", key = \"key.pem\" }\n" },
	/* node */
	{ "node { accounting = { records = { \"d\", \"x\" } } }",
	  "1: node: accounting: \"x\" is no type of record: write d, b, t, tq or r\n"
	  "1: node: accounting: file is missing: write accounting = { file = \"accounting.csv\" }\n" },
	{ "node { memory_limit = \"0%\" }", "1: node: memory_limit: \"0%\" will not do: write a share such as \"75%\"\n" },
	{ "node { seed = 0 }", "1: node: seed: write a whole number from 1 to 2^53, or nothing for the system's\n" },
	/* later */
	{ "node { workers = 129 }", "1: node: workers: 129 is too many: write a number from 1 to 128\n" },
	{ "node { workers = 0 }", "1: node: workers: 0 will not do: write at least 1\n" },
	{ "node { http = \"127.0.0.1:80\" }", "1: node: http: the HTTP API is not there yet\n" },
	{ "domain \"*\" {\n\n dkim_sign = true }", "3: domain \"*\": dkim_sign: DKIM signing is not there yet\n" },
	{ "listener \"127.0.0.1:25\" { auth = {} }", "1: listener \"127.0.0.1:25\": auth: inbound AUTH is not there yet\n" },
	{ "on.message(function(msg)\n  msg:sign { selector = 's1' }\nend)", "2: msg:sign is not there yet\n" },
	/* in a coroutine, which has a stack of its own */
	{ "coroutine.wrap(function() domain \"a.example\" { max_smtp_out = 1 } end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() local of = domain \"a.example\" end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() listener \"127.0.0.1:25\" {} end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() node {} end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() on.message(function() end) end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() on.every(\"5m\", function() end) end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() on.mesage(function() end) end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "coroutine.wrap(function() require 'circle' end)()",
	  "1: a policy declares, and requires, outside of coroutines only\n" },
	{ "local of = vmta \"a\"\ncoroutine.wrap(function()\nof { source = \"any\" } end)()", "3: a policy declares, and requires, outside of coroutines only\n" },
	/* hooks */
	{ "on.mesage(function() end)", "1: on.mesage: no such hook (on.message?)\n" },
	{ "on.message { }", "1: on.message: write on.message(function(msg) … end)\n" },
	{ "on.reply()", "1: on.reply: write on.reply(function(reply, queue) … end)\n" },
	{ "on.delivered(5)\non.bounced(5)", "1: on.delivered: write on.delivered(function(attempt) … end)\n"
	  "2: on.bounced: write on.bounced(function(attempt) … end)\n" },
	{ "on.every(function() end)", "1: on.every: write on.every(\"5m\", function() … end)\n" },
	{ "on.every('5 m', function() end)\non.every(0.5, function() end)",
	  "1: on.every: \"5 m\" has a blank in it: write it without, such as \"30m\"\n"
	  "2: on.every: more often than once a second: write at least \"1s\"\n" },
	{ "on.evry('5m', function() end)", "1: on.evry: no such hook (on.every?)\n" },
	/* the sandbox at load */
	{ "require '../x'", "1: require \"../x\": write the name of a module beside the policy, such as \"lib.limits\" for lib/limits.lua\n" },
	{ "require '.x'", "1: require \".x\": write the name of a module beside the policy, such as \"lib.limits\" for lib/limits.lua\n" },
	{ "require 'a..b'", "1: require \"a..b\": write the name of a module beside the policy, such as \"lib.limits\" for lib/limits.lua\n" },
	{ "require '/etc/passwd'", "1: require \"/etc/passwd\": write the name of a module beside the policy, such as \"lib.limits\" for lib/limits.lua\n" },
	{ "\nrequire 'none'", "2: require \"none\": none.lua cannot be read: No such file or directory\n" },
	{ "require 'sluice.none'", "1: require: there is no sluice.none in the standard library\n" },
	{ "require 'circle'", "circle.lua:1: require \"circle\": it is being loaded: two modules require each other\n" },
	{ "require 'broken'", "broken.lua:2: unexpected symbol near '='\n" },
	{ "require 'wrong'", "wrong.lua:3: domain \"a.b\": max_smtp_uot: no such setting (max_smtp_out?)\n" },
	{ "while true do end", "1: ran over its budget of 100000000 instructions\n" },
	{ "local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end", "1: ran over its budget of 256 MiB of memory\n" },
	{ "error('stop')", "1: stop\n" },
	{ "\033LJ", "0: is bytecode: a policy is text\n" },
	{ "require 'bytes'", "bytes.lua:0: is bytecode: a policy is text\n" },
};

static void
each_wrong_policy_is_refused_with_all_its_errors(void **state)
{
	fixture_write("circle.lua", "require 'circle'");
	fixture_write("bytes.lua", "\033LJ\002");
	fixture_write("broken.lua", "local x\n= = 4");
	fixture_write("wrong.lua", "\ndomain \"a.b\" {\n  max_smtp_uot = 4,\n}");
	bool failed = false;
	for (size_t i = 0; i < countof(wrong); i++) {
		char errors[4000], warnings[4000];
		struct policy_env env = { 0 };
		struct policy *policy = fixture_load(wrong[i].text, &env, errors, warnings, sizeof(errors));
		if (policy || strcmp(errors, wrong[i].errors) != 0) {
			failed = true;
			print_error("%s\n-- expected\n%s-- got\n%s\n", wrong[i].text, wrong[i].errors, errors);
		}
		policy_free(policy);
	}
	assert_false(failed);
}

static void
a_file_that_is_not_there_is_an_error_of_the_whole_file(void **state)
{
	struct policy_report report;
	policy_report_init(&report);
	assert_null(policy_load("nowhere/x.lua", &(struct policy_env){ 0 }, &report));
	assert_int_equal(report.errors_n, 1);
	assert_string_equal(report.errors[0].file, "nowhere/x.lua");
	assert_int_equal(report.errors[0].line, 0);
	assert_string_equal(report.errors[0].text, "cannot be read: No such file or directory");
	policy_report_fini(&report);
}

#define RECEIVES "listener \"127.0.0.1:2525\" { relay_from = \"::1\" } "
#define SENDS    "vmta \"default\" { source = \"any\" } "

static void
what_has_no_effect_warns(void **state)
{
	static const struct { const char *text, *warnings; } cases[] = {
		{ RECEIVES SENDS, "" },
		{ SENDS, "0: no listener is declared: the node takes no mail\n" },
		{ SENDS "listener \"127.0.0.1:25\" { }", "1: listener \"127.0.0.1:25\": has neither relay_from nor relay_to: it takes no mail\n" },
		{ RECEIVES "vmta \"a\" { source = \"any\" }",
		  "0: no virtual MTA or pool is called \"default\" and no on.message chooses one: all mail is refused\n" },
		{ RECEIVES "vmta \"a\" { source = \"any\" } on.message(function(msg) msg.vmta = 'a' end)", "" },
		{ RECEIVES SENDS "\nprovider \"google\" { domains = \"gmail.com\" }\ndomain \"gmail.com\" {\n max_smtp_out = 4,\n bounce_after = \"1d\" }",
		  "4: domain \"gmail.com\": max_smtp_out: has no effect: the domain belongs to provider \"google\" (policy.lua:2)\n" },
		{ RECEIVES SENDS "domain \"a.b\" {\n max_smtp_out = 4,\n paused = true, max_smtp_out = 5 }",
		  "2: domain \"a.b\": max_smtp_out: has no effect: it is written again on line 3\n" },
		{ RECEIVES SENDS "provider \"x\" { }", "1: provider \"x\": has neither domains nor mx: no mail goes there\n" },
		{ RECEIVES "vmta \"default\" { source = \"any\", domain = {\n [\"*\"] = { max_smtp_out = 4,\n paused = true } } }\n"
		  "provider \"g\" { mx = \"*.g.example\",\n max_smtp_out = 2 }\ndomain \"a.b\" { max_smtp_out = 3 }",
		  "2: vmta \"default\" domain \"*\": max_smtp_out: a named site beats \"*\": provider \"g\" (policy.lua:5) and 1 more keeps its own\n" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char errors[4000], warnings[4000];
		struct policy_env env = { 0 };
		struct policy *policy = fixture_load(cases[i].text, &env, errors, warnings, sizeof(errors));
		assert_string_equal(errors, "");
		assert_string_equal(warnings, cases[i].warnings);
		policy_free(policy);
	}
}

static void
node_and_listeners_hold_what_was_written(void **state)
{
	fixture_write("cert.pem", "");
	struct policy *policy = fixture_good(
		"node { hostname = \"MTA.Example.com\", spool = \"spool\", control = \"/run/x.sock\", workers = \"auto\", user = \"mail\",\n"
		" resolver = { \"127.0.0.1:5353\", \"::1\" }, accounting = { file = \"a.csv\", records = { \"d\", \"tq\" } },\n"
		" max_smtp_out = 50, max_smtp_in = 60, max_msg_rate = \"100/m\", memory_limit = 10 * MB, min_free_space = 0, seed = 7 }\n"
		"listener \"[::1]:2525\" { relay_from = { \"10.0.0.0/8\", \"::1\" }, relay_to = \"example.com, *.example.org\", max_sessions_per_client = 3,\n"
		" max_message_size = \"1M\", tls = { certificate = \"cert.pem\", key = \"cert.pem\" }, require_tls = true, data_timeout = \"1m\" }\n" SENDS);
	const struct ruleset_node *node = &policy_ruleset(policy)->node;
	assert_string_equal(node->hostname, "mta.example.com");
	assert_string_equal(node->spool, "spool");
	assert_string_equal(node->control, "/run/x.sock");
	assert_string_equal(node->user, "mail");
	assert_int_equal(node->workers, 0);
	assert_int_equal(node->resolver_n, 2);
	assert_int_equal(node->resolver[0].port, 5353);
	assert_int_equal(node->resolver[1].port, 53);
	assert_string_equal(node->accounting_file, "a.csv");
	assert_int_equal(node->accounting_records, 1 << 0 | 1 << 3);
	assert_int_equal(node->max_smtp_out, 50);
	assert_int_equal(node->max_smtp_out_where.line, 3);
	assert_int_equal(node->max_msg_rate.count, 100);
	assert_int_equal(node->memory_limit, 10 << 20);
	assert_int_equal(node->min_free_space, 0);
	assert_int_equal(node->seed, 7);
	const struct ruleset_listener *listener = &policy_ruleset(policy)->listeners[0];
	assert_int_equal(policy_ruleset(policy)->listeners_n, 1);
	assert_int_equal(listener->at.port, 2525);
	assert_int_equal(listener->relay_from_n, 2);
	assert_int_equal(listener->relay_to_n, 2);
	assert_int_equal(listener->relay_to[1].kind, DOMAIN_SUBDOMAINS);
	assert_int_equal(listener->max_message_size, 1 << 20);
	assert_int_equal(listener->max_sessions, 60);
	assert_int_equal(listener->max_sessions_per_client, 3);
	assert_int_equal(listener->data_timeout, 60 * US_PER_S);
	assert_string_equal(listener->tls_key, "cert.pem");
	assert_true(listener->require_tls);
	policy_free(policy);
}

static void
no_free_space_may_be_asked_for_as_a_percent_too(void **state)
{
	struct policy *policy = fixture_good("node { min_free_space = \"0%\" }\n" RECEIVES SENDS);

	assert_int_equal(policy_ruleset(policy)->node.min_free_space, 0);
	policy_free(policy);
}

static void
what_is_not_written_has_its_default(void **state)
{
	struct policy *policy = fixture_good(RECEIVES SENDS);
	const struct ruleset_node *node = &policy_ruleset(policy)->node;
	assert_true(strlen(node->hostname) > 0);
	assert_string_equal(node->spool, "/var/spool/sluice");
	assert_null(node->control);
	assert_null(node->accounting_file);
	assert_int_equal(node->accounting_records, 0x1f);
	assert_int_equal(node->max_smtp_out, 5000);
	assert_int_equal(node->max_smtp_in, 1000);
	assert_true(rate_unlimited(&node->max_msg_rate));
	assert_true(node->memory_limit > 1 << 20);
	assert_int_equal(node->min_free_space, 1 << 30);
	const struct ruleset_listener *listener = &policy_ruleset(policy)->listeners[0];
	assert_int_equal(listener->max_message_size, 25 << 20);
	assert_int_equal(listener->max_rcpt_per_message, 1000);
	assert_int_equal(listener->max_messages_per_connection, 10000);
	assert_int_equal(listener->max_sessions, 1000);
	assert_int_equal(listener->max_sessions_per_client, UNLIMITED);
	assert_int_equal(listener->max_errors, 10);
	assert_int_equal(listener->command_timeout, 300 * US_PER_S);
	assert_int_equal(listener->data_timeout, 600 * US_PER_S);
	const struct ruleset_vmta *vmta = policy_ruleset(policy)->vmtas[0];
	assert_int_equal(vmta->sources_n, 0);
	assert_int_equal(vmta->max_smtp_out, UNLIMITED);
	assert_null(vmta->max_smtp_out_where.file);
	policy_free(policy);
}

static void
relative_paths_are_taken_from_the_policys_folder(void **state)
{
	assert_int_equal(mkdir("sub", 0700), 0);
	fixture_write("sub/x.lua", "node { spool = 'spool', accounting = { file = 'a.csv' } } local m = require 'lib.m' " RECEIVES SENDS);
	assert_int_equal(mkdir("sub/lib", 0700), 0);
	fixture_write("sub/lib/m.lua", "\nprovider 'm' { mx = '*.m.example',\n max_smtp_out = 3 }\nreturn { }");
	struct policy_report report;
	policy_report_init(&report);
	struct policy *policy = policy_load("sub/x.lua", &(struct policy_env){ 0 }, &report);
	assert_non_null(policy);
	assert_string_equal(policy_ruleset(policy)->node.spool, "sub/spool");
	assert_string_equal(policy_ruleset(policy)->node.accounting_file, "sub/a.csv");
	struct queue_settings settings;
	ruleset_resolve(policy_ruleset(policy), policy_ruleset(policy)->providers[0], SPAN(""), NULL, &settings);
	assert_string_equal(settings.where[SETTING_max_smtp_out].file, "sub/lib/m.lua");
	assert_int_equal(settings.where[SETTING_max_smtp_out].line, 3);
	policy_free(policy);
	policy_report_fini(&report);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_wrong_policy_is_refused_with_all_its_errors),
		cmocka_unit_test(a_file_that_is_not_there_is_an_error_of_the_whole_file),
		cmocka_unit_test(what_has_no_effect_warns),
		cmocka_unit_test(node_and_listeners_hold_what_was_written),
		cmocka_unit_test(no_free_space_may_be_asked_for_as_a_percent_too),
		cmocka_unit_test(what_is_not_written_has_its_default),
		cmocka_unit_test(relative_paths_are_taken_from_the_policys_folder),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
