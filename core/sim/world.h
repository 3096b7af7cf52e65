/*
 * world - a simulated everything around the real node: network, names, disk,
 * receivers and time. The policy is loaded, the mail is spoken, the spool is
 * written as the shipped binary does it; only the doors differ.
 *
 * A seed replays a world byte for byte: world_digest() of equal runs is equal.
 * The clock moves in world_run_until() and its like alone, and while a node
 * that restarts ends its sessions.
 *
 * What a policy says about the machine is not a world's: the control socket,
 * http, user, memory_limit (none), the spool's folder and where accounting
 * goes. Its workers are ("auto" is one): shards that take turns in one thread, as
 * the seed says. A client of the world's own injects, whatever the listeners.
 *
 * Ownership  new/free. What it hands out is borrowed until it next runs.
 * Threads    The caller's.
 * Time       Microseconds since the world began; the wall clock begins at
 *            2026-01-01T00:00:00Z.
 * Limits     The disk holds 1 TiB. The last WORLD_EVENTS events are told.
 * Errors     Wrong use, and what stops a run: a function of the spec that failed,
 *            or no more time. A world that has failed stays as it is.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "policy/policy.h"
#include "sim/ledger.h"
#include "sim/resolver_sim.h"

#define WORLD_EVENTS 64

struct coverage;
struct receiver;
struct shard;
struct shards;
struct world;

struct world_options {
	const char *policy;
	const char *text;               /* what the policy holds; copied. NULL: the file is read */
	uint64_t    seed;
	unsigned    workers;            /* 0: as the policy says */
	/* Asked every few thousand instants: true: whoever waits has waited enough. NULL: never. */
	bool      (*expired)(void *ctx);
	void       *ctx;
	struct coverage *coverage;      /* of its policies; must outlive it. NULL: nobody asks */
	bool        unrecorded;         /* accounting records are not kept: for benches */
};

/* NULL: the report says what is wrong with the policy, or *err what else. */
struct world *world_new(const struct world_options *options, struct policy_report *report, struct err *err);
void world_free(struct world *world);

mono_us_t world_now(const struct world *world);
uint64_t world_seed(const struct world *world);
/* The first one. NULL: the node is down. */
struct shard *world_shard(const struct world *world);
struct shards *world_shards(const struct world *world);

/* ---- time ---- */

bool world_run_until(struct world *world, mono_us_t at, struct err *err);
/* Nothing queued, no session, nothing more to inject. An error after 60 days that it is not. */
bool world_run_until_idle(struct world *world, struct err *err);
/* Until it says so; asked before, and after each instant at which something happened. <0: it failed, as world_fail() said. */
bool world_run_while(struct world *world, int (*go_on)(void *ctx), void *ctx, struct err *err);
/* For callbacks: what is under way stops at the end of the instant with this text. The first one counts. */
void world_fail(struct world *world, const char *text);

/* ---- mail ---- */

struct world_header { const char *name, *value; };

struct world_injection {
	uint64_t     count;                     /* messages */
	const char *const *to;                  /* each message's recipients; n 0: to_of is asked */
	unsigned     to_n;
	/* The i-th message's recipient (from 1), borrowed until the next call; NULL: it failed. */
	const char *(*to_of)(void *ctx, uint64_t i);
	void       (*free_ctx)(void *ctx);      /* may be NULL */
	void        *ctx;
	const char  *from;                      /* NULL: sender@example.com */
	const char  *vmta, *pool, *job;         /* NULL: none */
	uint8_t      priority;
	uint64_t     size_bytes;                /* at least; 0: as it comes */
	const struct world_header *headers;
	unsigned     headers_n;
	int64_t      over_us;                   /* spread evenly over that long; 0: all now */
};

struct world_injected {
	uint64_t accepted, refused;             /* messages, up to now */
	char     refusal[1001];                  /* the first; "" none */
};

/* Sends what is for now and returns with the answers: no time passes. What comes later is sent as time goes by. The
 * injection's texts are copied; ctx is freed when it is over. */
bool world_inject(struct world *world, const struct world_injection *injection, struct world_injected *out, struct err *err);

/* ---- the outside ---- */

/* The host of that name (or address); made when it is first asked for. */
struct receiver *world_receiver(struct world *world, const char *host, struct err *err);
/* What DNS says of a name, felt by the next question: nothing older is remembered. */
void world_set_name(struct world *world, const char *name, const struct resolver_sim_zone *zone);

/* ---- the node ---- */

/* Power goes; what was not synced is lost. */
bool world_crash(struct world *world, struct err *err);
/* Ends it in order if it runs, and starts it with the policy file as it is now; workers 0: as many as it was told last. */
bool world_restart(struct world *world, unsigned workers, struct policy_report *report, struct err *err);
/* text NULL: the file is read. */
bool world_swap(struct world *world, const char *policy, const char *text, struct policy_report *report, struct err *err);

enum world_dns_fault { WORLD_DNS_FINE, WORLD_DNS_SERVFAIL, WORLD_DNS_TIMEOUT };
void world_fault_torn_write(struct world *world, bool on);      /* at the next crash */
void world_fault_lying_sync(struct world *world, bool on);
void world_fault_disk_full(struct world *world, bool on);
void world_fault_disk_error(struct world *world, uint64_t n);   /* the n-th operation from now fails */
void world_fault_disk_cut(struct world *world, uint64_t n);     /* the power goes in the n-th call from now, until the next crash */
void world_fault_disk_says(struct world *world, int sys);       /* what fails, fails with this; 0: EIO */
void world_fault_bit_flip(struct world *world);                 /* one bit of one file of the spool, at once */
void world_fault_bad_sector(struct world *world);               /* of one file of the spool, from now on */
uint64_t world_disk_calls(const struct world *world);           /* so far */
void world_fault_clock_jump(struct world *world, int64_t by_ms);
void world_fault_dns(struct world *world, enum world_dns_fault fault);

/* ---- what can be seen ---- */

/* By the code that answers the control socket. NULL: *err names the nearest queue. */
json_t *world_why(struct world *world, const char *queue, struct err *err);
json_t *world_queue(struct world *world, const char *queue, struct err *err);
json_t *world_effective(struct world *world, const char *queue, struct err *err);
json_t *world_status(struct world *world, struct err *err);
const struct ledger *world_ledger(const struct world *world);
uint64_t world_digest(const struct world *world);       /* of the records, the log and the receivers' traffic */
/* For a failure: now, what waits and why, and the last events; a line each. */
void world_report(struct world *world, void (*line)(void *ctx, const char *text), void *ctx);
