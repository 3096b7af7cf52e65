/*
 * spec_host - the Lua state in which specs run, and the runner (lua/spec/) that
 * runs in it.
 *
 * Specs are the operator's own programs: they have Lua's full libraries, and no
 * wall around them but a limit on time and on memory. A limit can't be swallowed
 * by pcall.
 *
 * Limits   SPEC_HOST_BYTES_MAX of Lua memory; beyond it Lua says "not enough memory".
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/lua_api.h"
#include "util/base.h"

#define SPEC_HOST_BYTES_MAX (UINT64_C(1) << 30)

/* What `require` finds besides the embedded files and those beside the spec. */
struct spec_module {
	const char *name;
	int       (*open)(lua_State *L);
};

struct spec_host_options {
	const char *const *paths;       /* files, and folders that are searched; none: "spec" */
	unsigned    paths_n;
	const char *filter, *tags, *exclude_tags, *output;      /* NULL: not given */
	uint64_t    seed;
	uint32_t    repeat;
	double      timeout_s;          /* of each `it` */
	bool        list, shuffle, fail_fast, watch, coverage, no_color;
	const struct spec_module *modules;
	unsigned    modules_n;
};

/* The exit status: 0 all passed, 1 something failed, 2 misused (told on standard error). */
int spec_host_run(const struct spec_host_options *options);

/* For C that a spec calls and that works long: the running `it` is over its time; stop, and the
 * runner says so. */
bool spec_host_expired(lua_State *L);
