/*
 * control_answers - what the operator sees, as JSON: structs in, a value out,
 * with the keys that CLI.md promises.
 *
 * Ownership  Values belong to the caller (json_decref). Structs are borrowed.
 * Time       Handed in. Spans of time are seconds, instants RFC 3339 in UTC.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "control/ceiling.h"
#include "queue/gate.h"
#include "queue/queue.h"
#include "util/buf.h"

/* A row of `queues`, and the part of `why` that is not the gate. */
struct control_row {
	const char *queue, *site, *vmta;
	const char *mode;
	const char *gate;               /* NULL: open */
	const char *last_error;         /* NULL: none yet */
	uint32_t    queued, ready, sessions;
	mono_us_t   oldest;             /* MONO_NEVER: nothing queued */
	mono_us_t   next_attempt;       /* MONO_NEVER: not known */
	double      pace_per_hour;      /* recipients that came to their end lately */
};

struct control_status {
	const char *version, *policy;
	uint32_t    generation;
	uint64_t    queued, deferred, queues;
	uint64_t    sessions_in, sessions_out;
	uint64_t    received, delivered, bounced;
	int64_t     uptime_us;
	uint64_t    spool_bytes, spool_messages;
	const char *refusing;           /* why new mail gets 452; NULL: it does not */
};

json_t *control_answer_row(const struct control_row *row, struct now now);
/* overlays: an array of control_answer_overlay(); taken. */
json_t *control_answer_why(const struct control_row *row, const struct gate_answer *gates, json_t *overlays,
			   const struct ceiling *ceiling, mono_us_t now);
json_t *control_answer_overlay(const struct overlay *overlay, mono_us_t now);
json_t *control_answer_status(const struct control_status *status);
json_t *control_answer_touched(unsigned queues, uint64_t recipients);

/* Seconds until, or since; never negative; MONO_NEVER: null. */
json_t *control_answer_until(mono_us_t at, mono_us_t now);
json_t *control_answer_age(mono_us_t since, mono_us_t now);

/* Text of any origin; bytes that are not UTF-8 become U+FFFD. NULL: null. */
json_t *control_answer_text(const char *text);

/* Onto *out, compact; takes the value. */
void control_answer_write(json_t *value, struct buf *out);
/* Whole lines. The result is taken. */
void control_answer_ok(json_t *result, struct buf *out);
void control_answer_error(const char *text, struct buf *out);
