/*
 * Here is only what Lua cannot do: clocks, folders, the terminal, and the limit.
 *
 * The limit. host.call() is lua_pcall() with a deadline. A count hook reads the
 * clock; from the deadline on it raises at every chance, and the pcall, xpcall and
 * coroutine.resume that specs see (lua/prelude.lua, as in policies) raise it again
 * instead of handing it to the spec. So a loop around a pcall ends too. LuaJIT's
 * hook is one for all coroutines. The JIT is off: a compiled loop asks no hook.
 * Patterns, which run in C, are policy/strpat.c's, and ask as they go.
 *
 * A second state for each round of --watch: nothing of the last round can stay.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/spec_host.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/clock.h"
#include "policy/embedded.h"
#include "policy/lua_api.h"
#include "policy/strpat.h"

#define STEP       1000         /* instructions between two looks at the clock */
#define PATTERN_STEP 100000    /* a pattern's steps between two looks */
#define RUN_AGAIN  (-1)         /* what the runner returns when a watched file changed */
#define WHY_MAX    700
#define TOO_LONG   "took longer than %g s"

struct spec_host {
	const struct spec_host_options *options;
	struct clock clock;
	uint64_t     bytes;
	mono_us_t    deadline;  /* MONO_NEVER: no limit now */
	double       limit_s;
	char         why[WHY_MAX];      /* where the limit was met first; "" not yet */
};

static struct spec_host *
host_of(lua_State *L)
{
	void *ctx;

	lua_getallocf(L, &ctx);
	return ctx;
}

static void *
allocate(void *ctx, void *p, size_t old, size_t n)
{
	struct spec_host *host = ctx;
	size_t had = p ? old : 0;
	void *moved;

	if (n == 0) {
		host->bytes -= had;
		free(p);
		return NULL;
	}
	if (n > had && host->bytes + (n - had) > SPEC_HOST_BYTES_MAX)
		return NULL;
	moved = realloc(p, n);
	if (moved)
		host->bytes += n - had;
	return moved;
}

bool
spec_host_expired(lua_State *L)
{
	const struct spec_host *host = host_of(L);

	return host->deadline != MONO_NEVER && clock_mono(&host->clock) >= host->deadline;
}

/* Raises, with the place that was being run when the limit was met first. */
static int
l_raise_expired(lua_State *L)
{
	struct spec_host *host = host_of(L);
	lua_Debug frame;

	for (int level = 0; !host->why[0] && level < 100 && lua_getstack(L, level, &frame); level++) {
		lua_getinfo(L, "Sl", &frame);
		if (frame.source[0] == '@' && frame.currentline > 0)
			snprintf(host->why, sizeof(host->why), "%.500s:%d: " TOO_LONG, frame.source + 1,
				 frame.currentline, host->limit_s);
	}
	if (!host->why[0])
		snprintf(host->why, sizeof(host->why), TOO_LONG, host->limit_s);
	lua_pushstring(L, host->why);
	return lua_error(L);
}

static void
l_on_count(lua_State *L, lua_Debug *unused)
{
	if (spec_host_expired(L))
		l_raise_expired(L);
}

/* call(seconds, fn, handler): whether it returned, what it returned or the handler made of its error, and
 * where it met the limit if it did. */
static int
l_call(lua_State *L)
{
	struct spec_host *host = host_of(L);
	double seconds = luaL_checknumber(L, 1);
	int status;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	if (host->deadline != MONO_NEVER)
		return luaL_error(L, "host.call inside host.call");
	lua_settop(L, 3);
	lua_insert(L, 2);
	host->limit_s = seconds;
	host->why[0] = '\0';
	host->deadline = clock_mono(&host->clock) + (mono_us_t)(seconds * (double)US_PER_S);
	lua_sethook(L, l_on_count, LUA_MASKCOUNT, STEP);
	status = lua_pcall(L, 0, 1, 2);
	lua_sethook(L, NULL, 0, 0);
	/* Where C came back too late, and nothing of Lua followed. */
	if (!host->why[0] && spec_host_expired(L))
		snprintf(host->why, sizeof(host->why), TOO_LONG, seconds);
	host->deadline = MONO_NEVER;
	lua_pushboolean(L, status == 0);
	lua_insert(L, -2);
	if (!host->why[0])
		return 2;
	lua_pushstring(L, host->why);
	return 3;
}

static uint64_t
l_pattern_left(lua_State *L)
{
	return PATTERN_STEP;
}

static void
l_pattern_charge(lua_State *L, uint64_t instructions)
{
	if (spec_host_expired(L))
		l_raise_expired(L);
}

static const struct strpat_meter pattern_meter = { l_pattern_left, l_pattern_charge };

/* The prelude asks after each protected call. */
static int
l_check(lua_State *L)
{
	return spec_host_expired(L) ? l_raise_expired(L) : 0;
}

static int
l_now(lua_State *L)
{
	lua_pushnumber(L, (double)clock_mono(&host_of(L)->clock) / (double)US_PER_S);
	return 1;
}

/* isatty(descriptor) */
static int
l_isatty(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* columns(): the width of the terminal at standard error */
static int
l_columns(lua_State *L)
{
	struct winsize size;
	bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;

	lua_pushinteger(L, known ? size.ws_col : 80);
	return 1;
}

/* list(folder): the names in it, in no order; nil: it can't be read */
static int
l_list(lua_State *L)
{
	DIR *folder = opendir(luaL_checkstring(L, 1));
	const struct dirent *entry;
	int n = 0;

	if (!folder)
		return 0;
	lua_newtable(L);
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		lua_pushstring(L, entry->d_name);
		lua_rawseti(L, -2, ++n);
	}
	closedir(folder);
	return 1;
}

/* stat(path): "file", "folder" or "link" to a folder, and a text that changes when the file does; nil: nothing there */
static int
l_stat(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct stat is, itself;
	const char *kind = "file";

	if (stat(path, &is) != 0)
		return 0;
	if (S_ISDIR(is.st_mode))
		kind = lstat(path, &itself) == 0 && S_ISLNK(itself.st_mode) ? "link" : "folder";
	lua_pushstring(L, kind);
	char stamp[100];
	snprintf(stamp, sizeof(stamp), "%" PRIu64 ".%ld.%ld %" PRIu64, (uint64_t)is.st_ino, (long)is.st_mtim.tv_sec,
		 is.st_mtim.tv_nsec, (uint64_t)is.st_size);
	lua_pushstring(L, stamp);
	return 2;
}

/* pause(seconds) */
static int
l_pause(lua_State *L)
{
	poll(NULL, 0, (int)(luaL_checknumber(L, 1) * (double)MS_PER_S));
	return 0;
}

/* embedded(module): its text; nil: there is none */
static int
l_embedded(lua_State *L)
{
	size_t n;
	const char *name = luaL_checklstring(L, 1, &n);
	struct span text = embedded_lua(span_make(name, n));

	if (!text.p)
		return 0;
	lua_pushlstring(L, text.p, text.n);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "call", l_call }, { "check", l_check }, { "now", l_now }, { "isatty", l_isatty }, { "columns", l_columns },
	{ "list", l_list }, { "stat", l_stat }, { "pause", l_pause }, { "embedded", l_embedded },
	{ NULL, NULL },
};

static void
put_text(lua_State *L, const char *name, const char *text)
{
	if (!text)
		return;
	lua_pushstring(L, text);
	lua_setfield(L, -2, name);
}

static void
put_flag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

static void
put_number(lua_State *L, const char *name, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, name);
}

static void
push_options(lua_State *L, const struct spec_host_options *options)
{
	lua_newtable(L);
	lua_newtable(L);
	for (unsigned i = 0; i < options->paths_n; i++) {
		lua_pushstring(L, options->paths[i]);
		lua_rawseti(L, -2, (int)i + 1);
	}
	lua_setfield(L, -2, "paths");
	put_text(L, "filter", options->filter);
	put_text(L, "tags", options->tags);
	put_text(L, "exclude_tags", options->exclude_tags);
	put_text(L, "output", options->output);
	put_number(L, "seed", (double)options->seed);
	put_number(L, "repeat_n", options->repeat);
	put_number(L, "timeout_s", options->timeout_s);
	put_flag(L, "list", options->list);
	put_flag(L, "shuffle", options->shuffle);
	put_flag(L, "fail_fast", options->fail_fast);
	put_flag(L, "watch", options->watch);
	put_flag(L, "coverage", options->coverage);
	put_flag(L, "no_color", options->no_color);
}

/* Protected: opens the libraries, then runs the runner, whose status it returns. */
static int
l_main(lua_State *L)
{
	const struct spec_host_options *options = host_of(L)->options;
	struct span boot = embedded_lua(SPAN("spec.boot"));

	luaL_openlibs(L);
	luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	lua_getglobal(L, "string");
	strpat_fill(L, &pattern_meter);
	luaL_findtable(L, LUA_REGISTRYINDEX, "_PRELOAD", 8);
	for (unsigned i = 0; i < options->modules_n; i++) {
		lua_pushcfunction(L, options->modules[i].open);
		lua_setfield(L, -2, options->modules[i].name);
	}
	lua_settop(L, 0);
	check(boot.p);
	if (luaL_loadbuffer(L, boot.p, boot.n, "=spec.boot") != 0)
		return lua_error(L);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	push_options(L, options);
	lua_call(L, 2, 1);
	return 1;
}

static int
l_trace(lua_State *L)
{
	luaL_traceback(L, L, lua_tostring(L, 1), 1);
	return 1;
}

static int
run_once(struct spec_host *host)
{
	lua_State *L = lua_newstate(allocate, host);
	int status = 1;

	if (!L) {
		fputs("sluice: no memory for a Lua state\n", stderr);
		return 1;
	}
	lua_pushcfunction(L, l_trace);
	lua_pushcfunction(L, l_main);
	if (lua_pcall(L, 0, 1, 1) == 0)
		status = (int)lua_tointeger(L, -1);
	else
		fprintf(stderr, "sluice: the runner itself failed: %s\n", lua_tostring(L, -1));
	lua_close(L);
	return status;
}

int
spec_host_run(const struct spec_host_options *options)
{
	struct spec_host host = { .options = options, .deadline = MONO_NEVER };
	int status;

	clock_os_init(&host.clock);
	do
		status = run_once(&host);
	while (status == RUN_AGAIN);
	return status;
}
