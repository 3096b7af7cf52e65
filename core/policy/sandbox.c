/*
 * The budget. LuaJIT's compiler is off, since a compiled loop asks no hook
 * (lua_sethook does not reach into traces); the interpreter calls count_hook()
 * every STEP instructions. Memory is counted by the allocator in two steps: over
 * the soft limit the next instruction calls the hook, which collects garbage and,
 * if that did not help, raises with a traceback; over the hard one the allocator
 * refuses, and LuaJIT raises without. Allocation costs instructions as well, so
 * that a loop of long strings is not cheap.
 *
 * What an instruction costs is not the same for all: a comparison, a sum reads strings of any length, and no
 * hook can be between. So the hook looks at the processor's time as well, and comes sooner once something large
 * was allocated. This one limit is not the same in each run, but so far off that only what runs away meets it.
 *
 * LuaJIT bounds its own stack and not C's. Coroutines that resume coroutines, functions of C that call back
 * (load, print, sort, gsub) nest there: how deep is looked at in the hook and wherever such a function charges.
 *
 * Globals. The table of globals is an empty one whose metatable reads from `lib`
 * and refuses to write; so a script finds what was exported, changes nothing,
 * and a misspelt assignment is an error.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/sandbox.h"

#include <stdio.h>

#include "policy/embedded.h"
#include "policy/lua_api.h"
#include "policy/sandbox_lib.h"
#include "policy/setting.h"

#define PROTECTED_CALL_COST 100
#define STEP            1000
#define STEP_LARGE      16              /* once LARGE bytes came in one piece */
#define LARGE           (256u << 10)
#define LOOK_NS         20000000        /* between two looks at the processor's time, which is a system call */
#define C_STACK_MAX     (256u << 10)
#define INSTRUCTIONS_PER_SECOND 10000000u       /* far slower than any machine is */
#define BYTES_PER_STEP  1024            /* allocated: one instruction */
#define GC_BYTES_PER_INSTRUCTION 256    /* a full collection walks what is held */

struct sandbox {
	lua_State *L;
	struct sandbox_options options;
	size_t   bytes;
	bool     limited;
	bool     pressed;               /* over the soft limit, the hook has been called for */
	uint64_t soft, hard;
	uint64_t used, max;             /* instructions */
	bool     large;                 /* something was, ever: it may still be held */
	int64_t  cpu_end_ns;            /* of this thread */
	int64_t  looked_ns;             /* monotonic */
	const char *stack;              /* of C, at the call */
	bool     exceeded;
	char     why[80];
	struct sandbox_failure *failure;
};

static char lib_key;                    /* its address is the key in the registry */

static void count_hook(lua_State *L, lua_Debug *unused);

static int64_t
ns_of(clockid_t clock)
{
	struct timespec t;
	return clock_gettime(clock, &t) == 0 ? (int64_t)t.tv_sec * 1000000000 + t.tv_nsec : 0;
}

static bool
out_of_time(struct sandbox *sandbox)
{
	int64_t now = ns_of(CLOCK_MONOTONIC);
	if (now - sandbox->looked_ns < LOOK_NS)
		return false;
	sandbox->looked_ns = now;
	return ns_of(CLOCK_THREAD_CPUTIME_ID) > sandbox->cpu_end_ns;
}

static uint64_t
seconds_for(uint64_t instructions)
{
	return 1 + instructions / INSTRUCTIONS_PER_SECOND;
}

static int
step_of(const struct sandbox *sandbox)
{
	return sandbox->large ? STEP_LARGE : STEP;
}

static void
exceed(struct sandbox *sandbox, const char *what, uint64_t amount)
{
	if (sandbox->exceeded)
		return;
	sandbox->exceeded = true;
	snprintf(sandbox->why, sizeof(sandbox->why), "ran over its budget of %llu %s", (unsigned long long)amount, what);
}

static void *
allocate(void *ctx, void *p, size_t old, size_t n)
{
	struct sandbox *sandbox = ctx;
	if (n == 0) {
		sandbox->bytes -= p ? old : 0;
		free(p);
		return NULL;
	}
	size_t had = p ? old : 0;
	if (sandbox->limited && n > had) {
		sandbox->used += (n - had) / BYTES_PER_STEP;
		if (sandbox->bytes + (n - had) > sandbox->hard) {
			exceed(sandbox, "MiB of memory", sandbox->soft >> 20);
			return NULL;
		}
	}
	void *moved = realloc(p, n);
	if (!moved)
		return NULL;
	sandbox->bytes += n - had;
	if (n >= LARGE && !sandbox->large) {
		sandbox->large = true;
		if (sandbox->limited && !sandbox->pressed)
			lua_sethook(sandbox->L, count_hook, LUA_MASKCOUNT, STEP_LARGE);
	}
	if (sandbox->limited && sandbox->bytes > sandbox->soft && !sandbox->pressed) {
		sandbox->pressed = true;
		lua_sethook(sandbox->L, count_hook, LUA_MASKCOUNT, 1);
	}
	return moved;
}

struct sandbox *
sandbox_of(lua_State *L)
{
	void *ctx;
	lua_getallocf(L, &ctx);
	return ctx;
}

static void
one_line(char *text)
{
	char *to = text;
	for (const char *from = text; *from; from++) {
		if (*from == '\t')
			continue;
		*to++ = *from;
		if (*from == '\n')
			to[-1] = '|';
	}
	*to = '\0';
}

static void
take_trace(lua_State *L, struct sandbox_failure *failure)
{
	luaL_traceback(L, L, NULL, 1);
	snprintf(failure->trace, sizeof(failure->trace), "%s", lua_tostring(L, -1));
	lua_pop(L, 1);
	one_line(failure->trace);
}

/* If `text` begins with the position of a chunk that is being run, that is the place. */
static const char *
cut_position(const char *text, const lua_Debug *frame, int *line_out)
{
	size_t n = strlen(frame->short_src);
	if (strncmp(text, frame->short_src, n) != 0 || text[n] != ':')
		return NULL;
	char *end;
	long line = strtol(text + n + 1, &end, 10);
	if (end == text + n + 1 || end[0] != ':' || end[1] != ' ')
		return NULL;
	*line_out = (int)line;
	return end + 2;
}

/* The innermost frame of a file; of the message's own position, if it names one. What the
 * prelude or a load()ed text did is put to the file that called it. */
static void
take_place(lua_State *L, const char *text, struct sandbox_failure *failure)
{
	lua_Debug frame;
	failure->source[0] = '\0';
	for (int level = 0; level < 100 && lua_getstack(L, level, &frame); level++) {
		lua_getinfo(L, "Sl", &frame);
		if (frame.currentline < 0)
			continue;
		int line = 0;
		const char *rest = cut_position(text, &frame, &line);
		bool is_file = frame.source[0] == '@';
		if (rest && !is_file && strcmp(frame.source, "=prelude") == 0)
			text = rest;
		if (!is_file || (!rest && failure->source[0]))
			continue;
		snprintf(failure->source, sizeof(failure->source), "%s", frame.source);
		failure->line = rest ? line : frame.currentline;
		if (!rest)
			continue;
		/* coroutine.wrap() puts its caller's position before the first one. */
		for (text = rest; (rest = cut_position(text, &frame, &failure->line)) != NULL; text = rest)
			;
		break;
	}
	snprintf(failure->text, sizeof(failure->text), "%s", text);
}

static int
raise(lua_State *L)
{
	struct sandbox *sandbox = sandbox_of(L);
	struct sandbox_failure *failure = sandbox->failure;
	if (failure && !failure->over_budget) {
		sandbox->limited = false;
		failure->over_budget = true;
		take_place(L, sandbox->why, failure);
		take_trace(L, failure);
		sandbox->limited = true;
	}
	return luaL_error(L, "%s", sandbox->why);
}

static void
check_depth(lua_State *L)
{
	ptrdiff_t deep = sandbox_of(L)->stack - (const char *)__builtin_frame_address(0);
	if (deep > (ptrdiff_t)C_STACK_MAX)
		luaL_error(L, "C stack overflow: calls nest too deep");
}

static void
count_hook(lua_State *L, lua_Debug *unused)
{
	struct sandbox *sandbox = sandbox_of(L);
	if (!sandbox->limited)
		return;
	sandbox->used += sandbox->pressed ? 1 : (uint64_t)step_of(sandbox);
	if (sandbox->pressed && !sandbox->exceeded) {
		lua_gc(L, LUA_GCCOLLECT, 0);
		sandbox->used += sandbox->bytes / GC_BYTES_PER_INSTRUCTION;
		if (sandbox->bytes > sandbox->soft)
			exceed(sandbox, "MiB of memory", sandbox->soft >> 20);
		sandbox->pressed = false;
		lua_sethook(sandbox->L, count_hook, LUA_MASKCOUNT, step_of(sandbox));
	}
	if (sandbox->used > sandbox->max)
		exceed(sandbox, "instructions", sandbox->max);
	else if (out_of_time(sandbox))
		exceed(sandbox, "seconds", seconds_for(sandbox->max));
	if (sandbox->exceeded)
		raise(L);
	check_depth(L);
}

void
sandbox_charge(lua_State *L, uint64_t instructions)
{
	struct sandbox *sandbox = sandbox_of(L);
	if (!sandbox->limited)
		return;
	sandbox->used += instructions;
	if (sandbox->used > sandbox->max)
		exceed(sandbox, "instructions", sandbox->max);
	if (sandbox->exceeded)
		raise(L);
	check_depth(L);
}

uint64_t
sandbox_left(lua_State *L)
{
	const struct sandbox *sandbox = sandbox_of(L);
	if (!sandbox->limited)
		return UINT64_MAX;
	return sandbox->used < sandbox->max ? sandbox->max - sandbox->used : 0;
}

/* "attempt to call global 'providr' (a nil value)": says which word was meant. */
static void
add_nearest(lua_State *L, struct sandbox_failure *failure)
{
	struct span text = span_text(failure->text);
	size_t at = span_find_text(text, SPAN(" global '"));
	if (at == SIZE_MAX || !span_ends_nocase(text, SPAN("(a nil value)")))
		return;
	struct span name = span_from(text, at + 9);
	name = span_first(name, span_find(name, '\''));
	const char *near = sandbox_nearest_global(L, name);
	if (near)
		snprintf(failure->text + text.n, sizeof(failure->text) - text.n, " (%s?)", near);
}

static int
on_error(lua_State *L)
{
	struct sandbox *sandbox = sandbox_of(L);
	struct sandbox_failure *failure = sandbox->failure;
	if (!failure || failure->over_budget)
		return 1;
	sandbox->limited = false;
	const char *text = lua_tostring(L, 1);
	char other[80];
	if (!text) {
		snprintf(other, sizeof(other), "error with a %s for a message", luaL_typename(L, 1));
		text = other;
	}
	take_place(L, text, failure);
	take_trace(L, failure);
	add_nearest(L, failure);
	return 1;
}

bool
sandbox_call(struct sandbox *sandbox, int args_n, int results_n, const struct sandbox_budget *budget,
	     struct sandbox_failure *failure)
{
	lua_State *L = sandbox->L;
	int base = lua_gettop(L) - args_n;
	*failure = (struct sandbox_failure){ .line = 0 };
	/* A call inside a call would leave the outer one without a budget. */
	if (sandbox->limited) {
		snprintf(failure->text, sizeof(failure->text), "cannot run while another hook runs");
		lua_settop(L, base - 1);
		return false;
	}
	lua_pushcfunction(L, on_error);
	lua_insert(L, base);
	sandbox->failure = failure;
	sandbox->used = 0;
	sandbox->max = budget->instructions;
	sandbox->soft = budget->bytes;
	sandbox->hard = budget->bytes + budget->bytes / 4;
	sandbox->exceeded = sandbox->pressed = false;
	sandbox->stack = __builtin_frame_address(0);
	sandbox->looked_ns = ns_of(CLOCK_MONOTONIC);
	sandbox->cpu_end_ns = ns_of(CLOCK_THREAD_CPUTIME_ID) + (int64_t)seconds_for(budget->instructions) * 1000000000;
	sandbox->limited = true;
	lua_sethook(L, count_hook, LUA_MASKCOUNT, step_of(sandbox));
	int status = lua_pcall(L, args_n, results_n, base);
	sandbox->limited = false;
	lua_sethook(L, NULL, 0, 0);
	sandbox->failure = NULL;
	if (status == 0 && !sandbox->exceeded) {
		lua_remove(L, base);
		return true;
	}
	if (sandbox->exceeded)
		failure->over_budget = true;
	if (failure->text[0] == '\0') {
		const char *text = status ? lua_tostring(L, -1) : NULL;
		snprintf(failure->text, sizeof(failure->text), "%s", sandbox->exceeded ? sandbox->why : text ? text : "error");
	}
	lua_settop(L, base - 1);
	return false;
}

void
sandbox_tidy(struct sandbox *sandbox)
{
	lua_gc(sandbox->L, LUA_GCCOLLECT, 0);
}

lua_State *
sandbox_lua(struct sandbox *sandbox)
{
	return sandbox->L;
}

size_t
sandbox_bytes(const struct sandbox *sandbox)
{
	return sandbox->bytes;
}

static int
l_check(lua_State *L)
{
	/* A protected call that fails costs what a hundred instructions do. */
	sandbox_charge(L, PROTECTED_CALL_COST);
	return sandbox_of(L)->exceeded ? raise(L) : 0;
}

void
sandbox_export(lua_State *L, const char *name)
{
	lua_pushlightuserdata(L, &lib_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_insert(L, -2);
	lua_setfield(L, -2, name);
	lua_pop(L, 1);
}

const char *
sandbox_nearest_global(lua_State *L, struct span name)
{
	const char *words[128];
	unsigned n = 0;
	lua_pushlightuserdata(L, &lib_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
		if (n < countof(words) && lua_type(L, -2) == LUA_TSTRING && lua_tostring(L, -2)[0] != '_')
			words[n++] = lua_tostring(L, -2);
	lua_pop(L, 1);
	return setting_nearest(name, words, n);
}

static int
on_panic(lua_State *L)
{
	check(!"a Lua error outside of sandbox_call");
	return 0;
}

/* The functions of the prelude take their places in `lib`, which is at the top. */
static void
run_prelude(lua_State *L)
{
	static const char *const raw[] = { "pcall", "xpcall" };
	struct span text = embedded_lua(SPAN("prelude"));
	check(luaL_loadbuffer(L, text.p, text.n, "=prelude") == 0);
	lua_pushcfunction(L, l_check);
	for (size_t i = 0; i < countof(raw); i++)
		lua_getglobal(L, raw[i]);
	lua_getglobal(L, "coroutine");
	lua_getfield(L, -1, "resume");
	lua_remove(L, -2);
	lua_getglobal(L, "table");
	lua_getfield(L, -1, "sort");
	lua_remove(L, -2);
	lua_call(L, 5, 1);
}

struct sandbox *
sandbox_new(const struct sandbox_options *options)
{
	struct sandbox *sandbox = mem_alloc(sizeof(*sandbox));
	sandbox->options = *options;
	sandbox->L = lua_newstate(allocate, sandbox);
	check(sandbox->L);
	lua_State *L = sandbox->L;
	lua_atpanic(L, on_panic);
	sandbox_lib_open(L);
	luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	run_prelude(L);
	lua_newtable(L);
	lua_pushlightuserdata(L, &lib_key);
	lua_pushvalue(L, -2);
	lua_rawset(L, LUA_REGISTRYINDEX);
	sandbox_lib_fill(L, &sandbox->options);
	lua_settop(L, 0);
	return sandbox;
}

void
sandbox_seed(struct sandbox *sandbox, uint64_t seed)
{
	sandbox_lib_seed(sandbox->L, seed);
}

void
sandbox_free(struct sandbox *sandbox)
{
	if (!sandbox)
		return;
	lua_close(sandbox->L);
	free(sandbox);
}
