/*
 * sink_script - what a test receiver answers, as told by a Lua file:
 *
 *   answer { to = "RCPT", with = "450 4.2.1 busy", times = 2 }
 *   answer { to = ".", fn = function(event) … return "250 2.0.0 ok" end, every = 10 }
 *
 * to    connect, EHLO, MAIL, RCPT, DATA or "." (the end of the body)
 * with  the reply; or fn, which is asked for it: nil passes on
 * when  a function of the event: the rule is asked only where it is true
 * times so often, then no more · every  only each N-th of what it matches
 *
 * The newest rule is asked first; one that passes on leaves it to the next older;
 * in the end the receiver accepts. An event is { verb, line, at, source }: at
 * is seconds since the receiver began.
 *
 * Ownership  load/free.
 * Limits     A function may use SINK_SCRIPT_INSTRUCTIONS_MAX instructions a call. One
 *            that errs or overruns answers 451 4.3.0, and the error is handed out.
 * Errors     Of a file: FILE:LINE: what is wrong.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_reply.h"
#include "util/err.h"

#define SINK_SCRIPT_INSTRUCTIONS_MAX 10000000
#define SINK_SCRIPT_RULES_MAX        1000

enum sink_stage { SINK_CONNECT, SINK_EHLO, SINK_MAIL, SINK_RCPT, SINK_DATA, SINK_END, SINK_STAGES_N };

struct sink_event {
	enum sink_stage stage;
	struct span     line;           /* the command as it was said; empty at connect */
	double          at_s;
	const char     *source;         /* the peer's address */
};

struct sink_script;

struct sink_script *sink_script_load(const char *path, struct err *err);
void sink_script_free(struct sink_script *script);

/* Whether any rule is for this stage: no rule, no event needs to be made. */
bool sink_script_has(const struct sink_script *script, enum sink_stage stage);
/* False: no rule has an answer. err->kind is set where a function erred (and *reply_out is the 451). */
bool sink_script_answer(struct sink_script *script, const struct sink_event *event,
			struct smtp_reply *reply_out, struct err *err);
