/*
 * sink_script - what a test receiver answers, as told by a Lua file:
 *
 *   answer { to = "RCPT", with = "450 4.2.1 busy", times = 2 }
 *   answer { to = ".", fn = function(event) … return "250 2.0.0 ok" end, every = 10 }
 *
 * to    connect, EHLO, MAIL, RCPT, DATA or "." (the end of the body)
 * with  the reply, or "reset", "hang" (nothing is said ever again), "close" (without a
 *       word); or fn, which is asked for it: nil passes on
 * when  a function of the event: the rule is asked only where it is true
 * times so often, then no more · every  only each N-th of what it matches
 *
 * The rules go to a book (answers.h), which says who is asked when. An event is
 * { verb, line, at, source }: at is seconds since the receiver began.
 *
 * Ownership  load/free; the book's rules go first.
 * Limits     A function may use SINK_SCRIPT_INSTRUCTIONS_MAX instructions a call.
 * Errors     Of a file, and of what a function raised: FILE:LINE: what is wrong.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "sim/answers.h"

#define SINK_SCRIPT_INSTRUCTIONS_MAX 10000000

struct sink_script;

/* NULL: the book is empty. */
struct sink_script *sink_script_load(const char *path, struct answers *answers, struct err *err);
void sink_script_free(struct sink_script *script);
