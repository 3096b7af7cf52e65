/*
 * policy_fixture - for tests: a folder of its own to write policies into, and
 * what a load, and the log, says as text.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/policy.h"

static inline void
fixture_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* Tests write "policy.lua" and the like into a folder that goes away with the machine's temporary files. */
static inline int
fixture_folder(void **state)
{
	static char dir[] = "/tmp/sluice-policy-XXXXXX";
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static inline int
fixture_folder_gone(void **state)
{
	char dir[200];
	if (!getcwd(dir, sizeof(dir)) || strncmp(dir, "/tmp/sluice-policy-", 19) != 0)
		return -1;
	char command[300];
	snprintf(command, sizeof(command), "rm -r '%s'", dir);
	return chdir("/") == 0 ? system(command) : -1;
}

static inline void
fixture_notes(const struct policy_note *notes, unsigned n, char *out, size_t size)
{
	size_t used = 0;
	out[0] = '\0';
	for (unsigned i = 0; i < n && used < size; i++) {
		const char *file = strcmp(notes[i].file, "policy.lua") == 0 ? "" : notes[i].file;
		used += (size_t)snprintf(out + used, size - used, "%s%s%d: %s\n", file, *file ? ":" : "", notes[i].line, notes[i].text);
	}
}

/* Loads policy.lua with this text; errors and warnings as "LINE: text\n…". */
static inline struct policy *
fixture_load(const char *text, const struct policy_env *env, char *errors, char *warnings, size_t size)
{
	struct policy_report report;
	fixture_write("policy.lua", text);
	policy_report_init(&report);
	struct policy *policy = policy_load("policy.lua", env, &report);
	fixture_notes(report.errors, report.errors_n, errors, size);
	fixture_notes(report.warnings, report.warnings_n, warnings, size);
	policy_report_fini(&report);
	return policy;
}

static inline struct policy *
fixture_good(const char *text)
{
	char errors[4000], warnings[4000];
	struct policy_env env = { 0 };
	struct policy *policy = fixture_load(text, &env, errors, warnings, sizeof(errors));
	if (!policy)
		fail_msg("%s\n%s", text, errors);
	return policy;
}

/* What was logged. */
struct logged { char text[8000]; size_t n; };

static inline void
fixture_line(void *ctx, const char *line, size_t n)
{
	struct logged *logged = ctx;
	if (logged->n + n < sizeof(logged->text)) {
		memcpy(logged->text + logged->n, line, n);
		logged->n += n;
		logged->text[logged->n] = '\0';
	}
}

static inline wall_ms_t
fixture_wall(void *ctx)
{
	return (wall_ms_t){ 0 };
}

static inline struct log
fixture_log(struct logged *logged)
{
	return (struct log){ .level = LOG_INFO, .wall = fixture_wall, .sink = fixture_line, .sink_ctx = logged };
}
