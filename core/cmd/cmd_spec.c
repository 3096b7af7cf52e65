/*
 * `spec`: runs specs. Here only the command line; the runner is Lua (lua/spec/),
 * in a state of its own (sim/spec_host.c).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include "sim/spec_host.h"
#include "sim/world_lua.h"
#include "util/span.h"
#include "util/units.h"

#define SEED_MAX      ((UINT64_C(1) << 53) - 1)         /* what a number of Lua's holds exactly */
#define REPEAT_MAX    1000000000
#define TIMEOUT_MAX_S (24 * 3600)

enum {
	OPTION_FILTER, OPTION_TAGS, OPTION_EXCLUDE_TAGS, OPTION_LIST, OPTION_SHUFFLE, OPTION_SEED, OPTION_REPEAT,
	OPTION_FAIL_FAST, OPTION_WATCH, OPTION_OUTPUT, OPTION_JSON, OPTION_COVERAGE, OPTION_TIMEOUT, OPTION_NO_COLOR,
	OPTIONS_N
};

static int
run_specs(const struct cmd_option *given, struct spec_host_options *options)
{
	static const char *const outputs[] = { "pretty", "tap", "junit", "json" };
	const char *seed = given[OPTION_SEED].value, *repeat = given[OPTION_REPEAT].value, *timeout = given[OPTION_TIMEOUT].value;
	uint64_t repeat_n = 1;
	bool known = false;

	if (given[OPTION_JSON].value)
		options->output = "json";
	for (size_t i = 0; i < countof(outputs); i++)
		known |= !strcmp(options->output, outputs[i]);
	if (!known)
		return cmd_misused(&cmd_spec, "--output: pretty, tap, junit or json, not %s", options->output);
	if (seed && !span_u64(span_text(seed), SEED_MAX, &options->seed))
		return cmd_misused(&cmd_spec, "--seed: a whole number, not %s", seed);
	if (repeat && (!span_u64(span_text(repeat), REPEAT_MAX, &repeat_n) || repeat_n == 0))
		return cmd_misused(&cmd_spec, "--repeat: a whole number from 1, not %s", repeat);
	options->repeat = (uint32_t)repeat_n;
	if (timeout) {
		char *end;
		options->timeout_s = strtod(timeout, &end);
		if (*end || end == timeout || !(options->timeout_s > 0 && options->timeout_s <= TIMEOUT_MAX_S))
			return cmd_misused(&cmd_spec, "--timeout: seconds, more than none, not %s", timeout);
	}
	return spec_host_run(options);
}

static const struct spec_module modules[] = {
	{ "sluice.world", l_open_world },
};

static int
run(int argc, char **argv)
{
	struct cmd_option given[OPTIONS_N] = {
		[OPTION_FILTER] = { "filter", true, NULL },
		[OPTION_TAGS] = { "tags", true, NULL },
		[OPTION_EXCLUDE_TAGS] = { "exclude-tags", true, NULL },
		[OPTION_LIST] = { "list", false, NULL },
		[OPTION_SHUFFLE] = { "shuffle", false, NULL },
		[OPTION_SEED] = { "seed", true, NULL },
		[OPTION_REPEAT] = { "repeat", true, NULL },
		[OPTION_FAIL_FAST] = { "fail-fast", false, NULL },
		[OPTION_WATCH] = { "watch", false, NULL },
		[OPTION_OUTPUT] = { "output", true, NULL },
		[OPTION_JSON] = { "json", false, NULL },
		[OPTION_COVERAGE] = { "coverage", false, NULL },
		[OPTION_TIMEOUT] = { "timeout", true, NULL },
		[OPTION_NO_COLOR] = { "no-color", false, NULL },
	};
	int status;

	if (!cmd_parse(&cmd_spec, given, countof(given), &argc, argv, &status))
		return status;
	return run_specs(given, &(struct spec_host_options){
		.paths = (const char *const *)argv + 1,
		.paths_n = (unsigned)argc - 1,
		.filter = given[OPTION_FILTER].value,
		.tags = given[OPTION_TAGS].value,
		.exclude_tags = given[OPTION_EXCLUDE_TAGS].value,
		.output = given[OPTION_OUTPUT].value ? given[OPTION_OUTPUT].value : "pretty",
		.seed = 1,
		.timeout_s = 10,
		.list = given[OPTION_LIST].value,
		.shuffle = given[OPTION_SHUFFLE].value,
		.fail_fast = given[OPTION_FAIL_FAST].value,
		.watch = given[OPTION_WATCH].value,
		.coverage = given[OPTION_COVERAGE].value,
		.no_color = given[OPTION_NO_COLOR].value,
		.modules = modules, .modules_n = countof(modules),
	});
}

const struct cmd cmd_spec = {
	.name = "spec",
	.arguments = "[PATH…] [--filter PATTERN] [--tags A,B] [--seed N] [--output FORMAT] …",
	.summary = "run specs: prove a policy before it runs",
	.help =
	"Runs spec files, and *_spec.lua in folders (spec, unless given). They have\n"
	"busted's words: describe, it, before_each, assert.equal, … Exit status 0: all\n"
	"passed; 1: something failed, or there was nothing to run; 2: misused.\n"
	"\n"
	"  --filter PATTERN   only tests whose full name matches the Lua pattern\n"
	"  --tags A,B         only tests with #A or #B in their full name\n"
	"  --exclude-tags A   not those with #A\n"
	"  --list             print FILE:LINE: name of what would run\n"
	"  --seed N           of worlds that name none, and of --shuffle (1)\n"
	"  --shuffle          files and tests in an order drawn by the seed\n"
	"  --repeat N         N runs, with seed N, N+1, …\n"
	"  --fail-fast        stop at the first failure\n"
	"  --timeout S        wall time that a test may take, in seconds (10)\n"
	"  --watch            run again when a spec or a policy changes\n"
	"  --output FORMAT    pretty, tap, junit or json; --json is --output json\n"
	"  --coverage         what of the policies was exercised\n"
	"  --no-color         no colours, also on a terminal\n"
	"\n"
	"example:\n"
	"  $ sluice spec --filter Microsoft spec/providers\n"
	"  2 passed, 0 failed, 0 pending (0.41 s)\n",
	.run = run,
};
