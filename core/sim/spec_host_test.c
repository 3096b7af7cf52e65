/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lua_api.h"
#include "sim/spec_host.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LIMIT_S 0.2

/* What stands in for the simulated world: it notes how the runner calls it. */
static const char world[] =
	"local host = require 'sluice.host'\n"
	"local seen = { 'asked ' .. host.seed }\n"
	"local function note(word) return function(n) seen[#seen + 1] = word .. (n and ' ' .. n or '') end end\n"
	"local report = note 'report'\n"
	"return { seen = seen, _runner = {\n"
	"  seed = note 'seed', begin = note 'begin', finish = note 'finish',\n"
	"  report = function() report() return { 'queue a/b: gate max_smtp_out' } end,\n"
	"  coverage = function() return {\n"
	"    { kind = 'setting', name = 'max_smtp_out', file = 'p.lua', line = 3, state = 'exercised' },\n"
	"    { kind = 'reaction', name = 'RP-001', file = 'p.lua', line = 9, state = 'cannot', why = 'shadowed by p.lua:8' } } end,\n"
	"} }\n";

static int
l_open_world(lua_State *L)
{
	if (luaL_loadstring(L, world) != 0)
		return lua_error(L);
	lua_call(L, 0, 1);
	return 1;
}

/* Works until it is told to stop. */
static int
l_work(lua_State *L)
{
	while (!spec_host_expired(L))
		;
	return lua_toboolean(L, 1) ? luaL_error(L, "stopped") : 0;
}

static int
l_open_work(lua_State *L)
{
	lua_pushcfunction(L, l_work);
	return 1;
}

static const struct spec_module modules[] = { { "sluice.sim", l_open_world }, { "work", l_open_work } };

struct ran {
	int  status;
	char said[8000];
};

/* Runs a spec; what it wrote is caught in a file. */
static void
run(struct ran *ran, const char *spec, struct spec_host_options options)
{
	char path[] = "/tmp/spec_host_XXXXXX", out_path[] = "/tmp/spec_host_XXXXXX";
	const char *const paths[] = { path };
	int file = mkstemp(path), out = mkstemp(out_path), real = dup(STDOUT_FILENO);

	assert_true(file >= 0 && out >= 0 && real >= 0);
	assert_int_equal(write(file, spec, strlen(spec)), strlen(spec));
	close(file);
	options.paths = paths;
	options.paths_n = 1;
	options.repeat = options.repeat ? options.repeat : 1;
	options.timeout_s = LIMIT_S;
	options.modules = modules;
	options.modules_n = countof(modules);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	ran->status = spec_host_run(&options);
	fflush(stdout);
	dup2(real, STDOUT_FILENO);
	close(real);
	ssize_t n = pread(out, ran->said, sizeof(ran->said) - 1, 0);
	ran->said[n > 0 ? n : 0] = '\0';
	close(out);
	unlink(path);
	unlink(out_path);
}

static void
worlds_are_seeded_begun_reported_and_ended(void **state)
{
	struct ran ran;

	run(&ran,
	    "local sim = require 'sluice.sim'\n"
	    "it('fails', function() assert.equal(1, 2) end)\n"
	    "it('sees', function() assert.equal('asked 5, begin, report, finish, begin', table.concat(sim.seen, ', ')) end)\n",
	    (struct spec_host_options){ .output = "tap", .seed = 5 });
	assert_int_equal(ran.status, 1);
	assert_non_null(strstr(ran.said, ":2: expected 1, got 2\n# again: sluice spec --seed 5 /tmp/"));
	assert_non_null(strstr(ran.said, "\n#   queue a/b: gate max_smtp_out\nok 2 - sees\n1..2\n"));
}

static void
a_repeated_run_gives_worlds_the_next_seed(void **state)
{
	struct ran ran;

	run(&ran,
	    "local sim = require 'sluice.sim'\n"
	    "it('sees', function()\n"
	    "  if require('sluice.host').seed == 6 then assert.equal('seed 6', sim.seen[4]) end\n"
	    "end)\n",
	    (struct spec_host_options){ .output = "tap", .seed = 5, .repeat = 2 });
	assert_int_equal(ran.status, 0);
}

static void
coverage_is_a_line_for_each_row(void **state)
{
	static const char spec[] = "local sim = require 'sluice.sim'\nit('x', function() end)\n";
	struct ran ran;

	run(&ran, spec, (struct spec_host_options){ .output = "pretty", .coverage = true });
	assert_int_equal(ran.status, 0);
	assert_non_null(strstr(ran.said, "\np.lua:3: setting max_smtp_out: exercised\n"
					 "p.lua:9: reaction RP-001: cannot match: shadowed by p.lua:8\n"));
	run(&ran, spec, (struct spec_host_options){ .output = "json", .coverage = true });
	assert_non_null(strstr(ran.said, "\"coverage\": [{\"file\": \"p.lua\", \"kind\": \"setting\", \"line\": 3, "
					 "\"name\": \"max_smtp_out\", \"state\": \"exercised\", \"why\": null}, "));
}

static void
a_c_function_that_works_long_is_told_to_stop(void **state)
{
	struct ran ran;

	run(&ran, "local work = require 'work'\nit('x', function()\n work(true) end)\nit('y', function() end)\n",
	    (struct spec_host_options){ .output = "tap", .seed = 1 });
	assert_int_equal(ran.status, 1);
	assert_non_null(strstr(ran.said, "not ok 1 - x\n"));
	assert_non_null(strstr(ran.said, ":3: took longer than 0.2 s\n"));
	assert_non_null(strstr(ran.said, "\nok 2 - y\n"));
}

static void
a_c_function_that_comes_back_late_fails_its_test(void **state)
{
	struct ran ran;

	run(&ran, "local work = require 'work'\nit('x', function() work() end)\n", (struct spec_host_options){ .output = "tap", .seed = 1 });
	assert_int_equal(ran.status, 1);
	assert_non_null(strstr(ran.said, ":2: took longer than 0.2 s\n"));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(worlds_are_seeded_begun_reported_and_ended),
		cmocka_unit_test(a_repeated_run_gives_worlds_the_next_seed),
		cmocka_unit_test(coverage_is_a_line_for_each_row),
		cmocka_unit_test(a_c_function_that_works_long_is_told_to_stop),
		cmocka_unit_test(a_c_function_that_comes_back_late_fails_its_test),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
