/*
 * Clock and log lie beside the policy, for its Lua state points to them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_policy.h"

#include "control/control_answers.h"

static wall_ms_t
wall(void *ctx)
{
	return clock_now(ctx).wall;
}

void
cmd_policy_open(struct cmd_policy *it, const char *path)
{
	clock_os_init(&it->clock);
	it->log = (struct log){ .level = LOG_WARNING, .wall = wall, .wall_ctx = &it->clock, .sink = log_sink_stderr };
	policy_report_init(&it->report);
	it->policy = policy_load(path, &(struct policy_env){ .log = &it->log, .clock = &it->clock, .seed = 1 }, &it->report);
}

void
cmd_policy_close(struct cmd_policy *it)
{
	policy_free(it->policy);
	policy_report_fini(&it->report);
}

void
cmd_policy_print_notes(const struct policy_note *notes, unsigned n, const char *kind)
{
	for (unsigned i = 0; i < n; i++) {
		if (notes[i].line)
			fprintf(stderr, "%s:%d: %s%s\n", notes[i].file, notes[i].line, kind, notes[i].text);
		else
			fprintf(stderr, "%s: %s%s\n", notes[i].file, kind, notes[i].text);
	}
}

json_t *
cmd_policy_notes(const struct policy_note *notes, unsigned n)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(all, json_pack("{s:o, s:o, s:o}",
						     "file", control_answer_text(notes[i].file),
						     "line", notes[i].line ? json_integer(notes[i].line) : json_null(),
						     "text", control_answer_text(notes[i].text)));
	return all;
}
