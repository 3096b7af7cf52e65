/*
 * trace - the dialogue of SMTP sessions for whoever listens, line by line, as it
 * is in clear; bodies are told by their size.
 *
 * Without a listener it costs a look at a list.
 *
 * Ownership  Listeners are the callers'; a session's names are borrowed for the call.
 * Threads    The shard's.
 * Limits     The listener's: it may drop what it cannot take, and must not block.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/list.h"
#include "util/span.h"

struct trace_session {
	uint64_t    number;             /* of this run */
	const char *queue;              /* outbound; else NULL */
	const char *domain;             /* outbound: of the recipient it is at; NULL: none yet */
	const char *listener;           /* inbound: as declared; else NULL */
	const char *peer;               /* "mx.example.com (192.0.2.1)" or an address */
};

enum trace_who { TRACE_WE, TRACE_THEY, TRACE_EVENT };

struct trace_listener {
	struct list node;
	void (*fn)(void *ctx, const struct trace_session *session, enum trace_who who, struct span line);
	void  *ctx;
};

struct trace {
	struct list listeners;
	uint64_t    next, step;         /* the next session's number; between two */
};

/* first, step: so that numbers differ though several traces of a run give them. */
void trace_init(struct trace *trace, uint64_t first, uint64_t step);
static inline uint64_t
trace_number(struct trace *trace)
{
	uint64_t number = trace->next;

	trace->next += trace->step;
	return number;
}
void trace_add(struct trace *trace, struct trace_listener *listener);
void trace_remove(struct trace_listener *listener);
static inline bool trace_on(const struct trace *trace) { return !list_empty(&trace->listeners); }

/* Each line of the bytes, without its end. What stands behind AUTH and its mechanism is left out. */
void trace_tell(struct trace *trace, const struct trace_session *session, enum trace_who who, struct span bytes);
