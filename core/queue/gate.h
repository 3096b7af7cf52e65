/*
 * gate - the one place that decides whether a queue may send, and says why not.
 *
 * A gate is one reason that can hold a queue back. The answer is: open, or the
 * closed gate that opens last; one with no known end counts as later than any
 * time, and between equals the first in this list (CLI.md's) is named. The
 * scheduler, `why`, `queues` and the monitor read this same answer.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "queue/scope.h"

struct queue;

#define GATES(X) \
	X(PAUSED,                  "paused") \
	X(SUSPENDED,               "suspended") \
	X(RETRY_AFTER,             "retry_after") \
	X(RETRY_RECIPIENTS_AFTER,  "retry_recipients_after") \
	X(MAX_SMTP_OUT,            "max_smtp_out") \
	X(TOTAL_MAX_SMTP_OUT,      "total_max_smtp_out") \
	X(MAX_CONNECT_RATE,        "max_connect_rate") \
	X(TOTAL_MAX_CONNECT_RATE,  "total_max_connect_rate") \
	X(MAX_MSG_RATE,            "max_msg_rate") \
	X(TOTAL_MAX_MSG_RATE,      "total_max_msg_rate") \
	X(VMTA_MAX_SMTP_OUT,       "vmta.max_smtp_out") \
	X(VMTA_MAX_CONNECT_RATE,   "vmta.max_connect_rate") \
	X(VMTA_MAX_MSG_RATE,       "vmta.max_msg_rate") \
	X(POOL_MAX_SMTP_OUT,       "pool.max_smtp_out") \
	X(POOL_MAX_CONNECT_RATE,   "pool.max_connect_rate") \
	X(POOL_MAX_MSG_RATE,       "pool.max_msg_rate") \
	X(NODE_MAX_SMTP_OUT,       "node.max_smtp_out") \
	X(NODE_MAX_MSG_RATE,       "node.max_msg_rate") \
	X(DNS,                     "dns") \
	X(SOURCE_DISABLED,         "source_disabled") \
	X(MEMORY,                  "memory") \
	X(SPOOL,                   "spool") \
	X(EMPTY,                   "empty")

enum gate {
#define X(id, name) GATE_##id,
	GATES(X)
#undef X
	GATES_N
};

const char *gate_name(enum gate gate);

struct gate_state {
	enum gate gate;
	bool      open;
	mono_us_t until;                /* closed: opens then; MONO_NEVER: no known end */
	enum { GATE_LIMIT_NONE, GATE_LIMIT_COUNT, GATE_LIMIT_RATE } kind;
	uint32_t  limit, in_use;        /* a cap */
	struct rate_spec rate;          /* a rate */
	struct where where;             /* file NULL: built in, or by hand */
};

struct gate_answer {
	bool              open;
	struct gate_state binding;      /* when closed */
	unsigned          n;            /* gates that have a limit or are closed; paused, suspended, */
	struct gate_state all[GATES_N]; /* retry_after and max_smtp_out always */
};

/* Could the queue start a session now, for a message that leaves at once? Changes nothing. */
void gate_decide(const struct queue *queue, mono_us_t now, struct gate_answer *out);

/* Which gate holds, and in whose line to stand for it. */
struct gate_wait {
	enum gate       gate;           /* GATES_N: open */
	int             scope;          /* enum scope_level; SCOPES_N: of no scope */
	enum scope_line line;
};

/* The scheduler's two questions, the same gates without the report: when it opens; <= now: it is open. */
mono_us_t gate_session(const struct queue *queue, mono_us_t now, struct gate_wait *wait_out);   /* to start one */
mono_us_t gate_message(const struct queue *queue, mono_us_t now, struct gate_wait *wait_out);   /* on an open one */
