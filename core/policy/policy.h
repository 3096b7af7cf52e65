/*
 * policy - the Lua bridge: a file becomes a ruleset, and hooks are questions
 * with answers.
 *
 * A hook that errs, overruns its budget of instructions or memory, or answers
 * nonsense gives its default decision (inbound: 451 4.3.0) and a log line with a
 * traceback; the node goes on.
 *
 * Ownership  policy_load() gives a policy with its ruleset and its Lua state, pinned once;
 *            policy_free() ends all three, whoever has it pinned. Reports belong to the caller.
 * Threads    One shard's; loaded, and ended when nobody has it any more, on any.
 * Errors     A policy that does not load is NULL, and the report holds every
 *            error of the file, each with its place.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/clock.h"
#include "policy/bundle.h"
#include "policy/reaction.h"
#include "util/buf.h"
#include "util/log.h"

struct policy_note {
	const char *file;               /* as given on the command line; modules beside it likewise */
	int         line;               /* 0: the file as a whole */
	const char *text;
};

struct policy_report {
	struct arena arena;
	struct policy_note *errors;   unsigned errors_n;
	struct policy_note *warnings; unsigned warnings_n;
};

void policy_report_init(struct policy_report *report);
void policy_report_fini(struct policy_report *report);

struct policy_env {
	struct log         *log;
	struct bundle      *bundle;     /* where its files are read from, and put; NULL: from the disk, and forgotten */
	const struct clock *clock;      /* os.time and os.clock answer from it */
	uint64_t            seed;       /* math.random */
	/* A budget a call: instructions of the VM, and bytes over what the state held when loaded. 0: the defaults. */
	uint64_t            instructions_max, memory_max;
};

struct policy;

struct policy *policy_load(const char *path, const struct policy_env *env, struct policy_report *report);
void policy_free(struct policy *policy);
/* Its virtual MTAs and pools get the order, and so the indexes, that they have in the other, which declares the same. Before
 * it holds anywhere. */
void policy_order_as(struct policy *policy, const struct policy *other);
void policy_seed(struct policy *policy, uint64_t seed);         /* what its hooks draw from now on */
/* Who still needs one that is not in force any more keeps it. unpin: true when that was the last, who frees it. */
void policy_pin(struct policy *policy);
bool policy_unpin(struct policy *policy);
const struct ruleset *policy_ruleset(const struct policy *policy);
/* The handlers of hooks, on.every among them, with the place of their declaration. */
void policy_each_hook(const struct policy *policy, void (*fn)(void *ctx, const char *name, const struct where *where), void *ctx);
/* From now on it is told of each that is called. NULL: nobody. */
struct coverage;
void policy_cover(struct policy *policy, struct coverage *coverage);

/* What the hooks see of an inbound session. */
struct policy_session {
	const char *address;            /* "192.0.2.1" */
	const char *local_address;
	const char *listener;           /* as declared */
	const char *helo;               /* "" before */
	const char *tls;                /* "TLSv1.2"; NULL in clear */
	const char *auth;               /* NULL: nobody signed in */
};

/* What on.message sees and may change. */
struct policy_message {
	const struct policy_session *session;
	uint64_t    id;
	struct span sender;
	const struct span *recipients;
	unsigned    recipients_n;
	uint64_t    size_bytes;         /* as received */
	struct buf *headers;            /* the block, changed in place (mail/header.h) */
	/* choices; in: the defaults */
	char        pool[128], vmta[128];       /* at most one is not "" */
	char        job[128];
	char        envid[128];
	uint8_t     priority;
};

enum policy_hook { HOOK_CONNECT, HOOK_MAIL, HOOK_RCPT, HOOK_MESSAGE, HOOK_REPLY, HOOK_DELIVERED, HOOK_BOUNCED, HOOKS_N };

struct policy_decision {
	bool     refused;
	unsigned code;                  /* then: 4xx or 5xx */
	char     text[512];             /* what follows the code: "5.3.4 too big for you" */
};

/* Calls of hooks and reactions' functions so far, and how many of them went wrong. */
void policy_counts(const struct policy *policy, uint64_t *calls_out, uint64_t *errors_out);

bool policy_has_hook(const struct policy *policy, enum policy_hook hook);       /* no hook, no Lua call */
void policy_on_connect(struct policy *policy, const struct policy_session *session, struct policy_decision *out);
void policy_on_mail(struct policy *policy, const struct policy_session *session, struct span sender, struct policy_decision *out);
void policy_on_rcpt(struct policy *policy, const struct policy_session *session, struct span rcpt, struct policy_decision *out);
void policy_on_message(struct policy *policy, struct policy_message *message, struct policy_decision *out);

/* ---- outbound ---- */

/* What a function in `backoff`, and on.reply, may ask of and do to a queue. */
struct policy_queue_ops {
	void (*limit)(void *ctx, const struct tightening *tightenings, unsigned n, int64_t lasts_us, const struct where *where);
	void (*suspend)(void *ctx, int64_t lasts_us, const struct where *where);
	void (*defer)(void *ctx);
	unsigned (*recent)(void *ctx, const char *name, int64_t window_us);     /* matches of that rule, this one included */
	unsigned (*lift)(void *ctx, const char *name);  /* NULL: all; how many */
};

struct policy_queue {
	const char *name, *site, *vmta;
	const struct policy_queue_ops *ops;
	void *ctx;
};

struct policy_reply {
	const struct smtp_reply *reply;
	enum smtp_stage stage;
};

/* Runs the function of a rule. Its errors are logged; then it had no opinion. */
void policy_react(struct policy *policy, const struct reaction *reaction, const struct policy_reply *reply,
		  const struct policy_queue *queue);

/* on.reply: every reply of a receiver that is not 2xx or 3xx, and local failures. */
void policy_on_reply(struct policy *policy, const struct policy_reply *reply, const struct policy_queue *queue);

struct policy_attempt {                 /* on.delivered, on.bounced */
	struct span sender, recipient, job, envid;
	uint64_t    id, size_bytes;
	const char *queue, *site, *vmta, *pool, *remote_host, *remote_address, *local_address;
	unsigned    attempts;
	const struct smtp_reply *reply;
};
void policy_on_delivered(struct policy *policy, const struct policy_attempt *attempt);
void policy_on_bounced(struct policy *policy, const struct policy_attempt *attempt);

/* on.every: how many, the interval of each, and running one. */
unsigned policy_every_n(const struct policy *policy);
int64_t policy_every_us(const struct policy *policy, unsigned i);
void policy_run_every(struct policy *policy, unsigned i);
