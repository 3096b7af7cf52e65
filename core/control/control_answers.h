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
	double      pace_per_hour;      /* recipients that came to their end lately, and not by `drop` */
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
	const char *accounting_trouble; /* why no record is written; NULL: they are, or none is asked for */
	uint64_t    accounting_lost;    /* records */
};

json_t *control_answer_row(const struct control_row *row, struct now now);
/* overlays: an array of control_answer_overlay(); taken. */
json_t *control_answer_why(const struct control_row *row, const struct gate_answer *gates, json_t *overlays,
			   const struct ceiling *ceiling, mono_us_t now);
json_t *control_answer_overlay(const struct overlay *overlay, mono_us_t now);
json_t *control_answer_status(const struct control_status *status);
json_t *control_answer_touched(unsigned queues, uint64_t recipients);

/* null where nothing bounds it. */
json_t *control_answer_ceiling(const struct ceiling *ceiling);
/* "policies/x.lua:14"; null where it is built in. */
json_t *control_answer_where(const struct where *where);

/* A queue's settings by name: what `explain` prints, and what a spec's world:effective() holds.
 *   a count    20, "unlimited"                 a rate      "50/h", "unlimited"
 *   a duration 600 (seconds), "never"          a list      [600, 1200]; one duration alone is no list
 *   a percent  "5%"                            yes or no   true
 *   smtp_hosts ["host", "[192.0.2.1]:2525"], as they are tried; null: by MX
 *   tls_ca     a path; null: the system's
 *   backoff    [{"name", "declared_at"}], in the order of matching; of all levels if settings->backoff
 *              is what ruleset_reactions() answered
 * with_where: {"value", "declared_at", "scope"} of each, instead of the value alone. */
json_t *control_answer_settings(const struct queue_settings *settings, bool with_where);
json_t *control_answer_setting(const struct queue_settings *settings, enum setting_id id);

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
