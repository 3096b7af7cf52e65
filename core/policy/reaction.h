/*
 * reaction - rules that match a receiver's reply and what they lay on a queue.
 * Plain data, compiled at load (POLICY.md, "Reactions"); no Lua in it.
 *
 * Ownership  Part of the ruleset.
 * Threads    Read-only but for the counters and the match scratch of the caller.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/ruleset.h"
#include "smtp/smtp_client.h"

enum reaction_scope { REACTION_QUEUE, REACTION_SITE, REACTION_VMTA, REACTION_RCPT };
enum reaction_bounce { REACTION_BOUNCE_NONE, REACTION_BOUNCE_RCPT, REACTION_BOUNCE_QUEUE };

/* One setting that an overlay tightens: a value, or a percent of what is in force at the match. */
struct tightening {
	enum setting_id setting;        /* a COUNT, RATE, DURATION or DURATIONS setting */
	bool     is_percent;
	double   percent;               /* COUNT and RATE only; 0 … 100 */
	uint32_t floor;                 /* of a percent; 1 unless `floor` says otherwise */
	uint32_t count;
	struct rate_spec rate;
	int64_t  duration_us;
	struct duration_list durations;
};

struct reaction {
	const char *name;               /* `name`, else the pattern */
	const char *pattern;
	struct where where;             /* the line of the pattern */
	uint32_t    stages;             /* bits 1 << enum smtp_stage; 0: any but SMTP_STAGE_CONNECT */
	uint32_t    after_n;            /* 0: at the first match */
	int64_t     after_window_us;
	int64_t     lasts_us;           /* DURATION_NEVER: until lifted by hand; 0: it lays nothing */
	const struct tightening *tightenings;
	unsigned    tightenings_n;
	/* recover: 0, 0.0: at once */
	uint32_t    recover_step;       /* "+1/10m" */
	double      recover_percent;    /* "10%/h": of the declared value */
	int64_t     recover_every_us;
	bool        suspend, defer, skip_mx, close, notify, stop, disable_source;
	enum reaction_bounce bounce;
	enum reaction_scope  scope;
	const char *reroute;            /* a virtual MTA or pool; NULL */
	int         function;           /* for policy_react(); 0: none */
	const char *cannot;             /* why it can never match (shadowed, nonsense); NULL */
};

struct reaction_scratch;                /* a shard's: match data, marks, the count of patterns cut off */
struct reaction_list;                   /* what one level declared, compiled */

/* The rules that hold for a queue, most specific level first, `inherit` followed; NULL: none. Interned: the
 * same answer for equal queues. */
const struct reaction_list *ruleset_reactions(const struct ruleset *ruleset, const struct ruleset_provider *provider,
					      struct span domain, const struct ruleset_vmta *vmta);

/* In the order of matching. NULL has none. */
unsigned reaction_list_n(const struct reaction_list *list);
const struct reaction *reaction_list_at(const struct reaction_list *list, unsigned i);

/* In order, calls fn for every rule of the list whose pattern and stage match the line, until one with `stop`
 * applied: fn answers whether the rule did, for one under its threshold must not hide those behind it. One combined pass says which rules are worth trying, so that 500 rules
 * cost what 5 do. A pattern that passes its match limit does not match and is counted. Rules without `at` see no
 * local failures: nothing at SMTP_STAGE_CONNECT. fn must not match with the same scratch. */
void reaction_match(const struct reaction_list *list, struct reaction_scratch *scratch, enum smtp_stage stage, struct span line,
		    bool (*fn)(void *ctx, const struct reaction *reaction), void *ctx);

struct reaction_scratch *reaction_scratch_new(void);
void reaction_scratch_free(struct reaction_scratch *scratch);
uint64_t reaction_cut_off(const struct reaction_scratch *scratch);
