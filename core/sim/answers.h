/*
 * answers - which rule answers what a client did: a test receiver's book of
 * rules, without Lua.
 *
 * The newest rule is asked first. One passes on, and leaves it to the next
 * older, where its `when` says no, where it is not the `every`-th time, and
 * where its fn says so. In the end nobody has an answer. A rule that has answered
 * `times` often is dropped.
 *
 * Ownership  init/fini on memory of the caller's. A rule's ctx is the book's from
 *            answers_add(): release(ctx) is called when the rule goes.
 * Limits     ANSWERS_RULES_MAX rules at a time.
 * Errors     A function that fails answers 451 4.3.0, and its error is handed out; it
 *            does not use the rule up.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_reply.h"
#include "util/err.h"
#include "util/list.h"

#define ANSWERS_RULES_MAX 1000

enum answer_stage { ANSWER_CONNECT, ANSWER_EHLO, ANSWER_MAIL, ANSWER_RCPT, ANSWER_DATA, ANSWER_END, ANSWER_STAGES_N };

struct answer_event {
	enum answer_stage stage;
	struct span       line;         /* the command as it was said; empty at connect */
	double            at_s;         /* since the receiver, or its world, began */
	const char       *source;       /* the peer's address */
	uint64_t          connection;   /* which of the receiver's, from 1 */
};

enum answer_act {
	ANSWER_REPLY,
	ANSWER_RESET,                   /* the connection is reset */
	ANSWER_HANG,                    /* nothing is said ever again */
	ANSWER_CLOSE,                   /* the connection is closed without a word */
};

struct answer {
	enum answer_act   act;
	struct smtp_reply reply;        /* of ANSWER_REPLY */
};

enum answer_verdict { ANSWER_GIVEN, ANSWER_PASSED_ON, ANSWER_FAILED };

struct answer_rule {
	enum answer_stage stage;
	struct answer     fixed;        /* where fn is NULL */
	enum answer_verdict (*fn)(void *ctx, const struct answer_event *event, struct answer *out, struct err *err);
	/* Given: the rule is asked. NULL: always. */
	enum answer_verdict (*when)(void *ctx, const struct answer_event *event, struct err *err);
	void             (*release)(void *ctx);
	void              *ctx;
	uint32_t           times;       /* 0: no end */
	uint32_t           every;       /* 0 and 1: each time */
};

struct answers {
	struct list of_stage[ANSWER_STAGES_N];  /* newest first */
	unsigned    n;
};

void answers_init(struct answers *answers);
void answers_fini(struct answers *answers);      /* it is empty then, and may be used */
/* False where there are too many; the ctx is released then too. */
bool answers_add(struct answers *answers, const struct answer_rule *rule, struct err *err);
/* Whether any rule is for this stage: no rule, no event needs to be made. */
static inline bool answers_has(const struct answers *answers, enum answer_stage stage) { return !list_empty(&answers->of_stage[stage]); }
/* False: no rule has an answer. err->kind is set where a function failed (and *out is the 451).
 * A function may add rules; it must not ask. */
bool answers_ask(struct answers *answers, const struct answer_event *event, struct answer *out, struct err *err);

const char *answer_stage_name(enum answer_stage stage);                         /* "RCPT", "." */
bool answer_stage_parse(struct span name, enum answer_stage *out);
/* "450 4.2.1 busy", or "reset", "hang", "close". */
bool answer_parse(struct span text, struct answer *out);
