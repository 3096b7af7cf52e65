/*
 * overlay - what one reaction (or a hand, or a function of the policy) laid on
 * a queue, a site or a virtual MTA: tighter values, a suspension, another
 * virtual MTA, a source that is not used; since when, until when, and why.
 *
 * Overlays of a target stack, each with an end of its own, and the tightest
 * value holds. They are kept by the target's name, so they outlive an empty
 * queue and a restart, and hold for queues that are made later. What is lapsed
 * is gone at its time.
 *
 * Ownership  struct overlays owns all; an overlay lives until overlays_run() or overlays_lift()
 *            takes it. What on_change reads of one that goes is there until it returns.
 * Threads    One shard's.
 * Time       Monotonic, handed in; saved by the wall clock.
 * Limits     OVERLAYS_PER_TARGET_MAX, OVERLAYS_MAX; a further one is refused.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/reaction.h"
#include "util/buf.h"
#include "util/heap.h"
#include "util/list.h"

#define OVERLAYS_PER_TARGET_MAX 1024
#define OVERLAYS_MAX            100000  /* all; by pattern there may be more */
#define OVERLAY_REPLY_MAX       300     /* bytes kept of the reply */

/* PATTERN: laid by hand on queues that come later, by a name with '*'. */
enum overlay_scope { OVERLAY_QUEUE, OVERLAY_SITE, OVERLAY_VMTA, OVERLAY_PATTERN, OVERLAY_SCOPES_N };

const char *overlay_scope_name(enum overlay_scope scope);

/* One setting of an overlay. */
struct overlay_change {
	struct tightening to;           /* never a percent: what it came to at the match */
	uint32_t          declared_count;       /* what a COUNT recovers to; UNLIMITED: at once */
	struct rate_spec  declared_rate;        /* what a RATE recovers to */
};

struct overlay_target {
	char              *key;
	const char        *name;        /* of the queue, the site, the virtual MTA */
	enum overlay_scope scope;
	struct list        overlays;    /* struct overlay */
	unsigned           n;
	struct list        in_patterns; /* overlays->patterns, where it is one */
};

struct overlay {
	struct list      node;
	struct heap_node due;           /* when time alone changes it next */
	struct overlay_target *target;
	char            *name;
	char            *pattern, *reply;       /* NULL: by hand, or by a function */
	struct where     where;         /* file NULL: by hand */
	mono_us_t        since;
	mono_us_t        cut_at;        /* when its values were last made: older sessions' replies don't cut again */
	mono_us_t        until;         /* the end of `lasts`; MONO_NEVER: lifted by hand only */
	mono_us_t        ends;          /* the end of recovery; until: there is none */
	uint32_t         recover_step;
	double           recover_percent;
	int64_t          recover_every_us;
	bool             suspend;
	char            *reroute;       /* NULL: none */
	struct ip        source;        /* that is not to be used; family IP_NONE: none */
	unsigned         changes_n;
	struct overlay_change *changes;
};

struct overlays {
	struct table targets;
	struct list  patterns;          /* targets of scope PATTERN */
	struct heap  due;
	uint32_t     n;
};

/* What is to be laid; borrowed. */
struct overlay_spec {
	const char  *name, *pattern, *reply;
	struct where where;
	int64_t      lasts_us;          /* DURATION_NEVER: until lifted */
	const struct tightening *tightenings;
	unsigned     tightenings_n;
	uint32_t     recover_step;
	double       recover_percent;
	int64_t      recover_every_us;  /* 0: lifts at once */
	bool         suspend;
	const char  *reroute;
	const struct ip *source;        /* NULL: none */
};

/* What holds at the target: percents are taken of in_force, recovery leads to declared. */
struct overlay_ground {
	const struct queue_settings *in_force, *declared;
};

void overlays_init(struct overlays *overlays, uint64_t seed);
void overlays_fini(struct overlays *overlays);

/* Lays it, or renews the one that the same rule has laid there; `opened`: when the session that got
 * the reply began. NULL: too many lie there, or in all. ground NULL where nothing is a percent or recovers. */
struct overlay *overlays_lay(struct overlays *overlays, enum overlay_scope scope, const char *name,
			     const struct overlay_spec *spec, const struct overlay_ground *ground,
			     mono_us_t opened, mono_us_t now);

/* NULL: nothing lies there. */
struct overlay_target *overlays_of(const struct overlays *overlays, enum overlay_scope scope, const char *name);

/* Does it lie on the target with all it has, or only recovers (its values, stepped up)? */
static inline bool overlay_lasts(const struct overlay *overlay, mono_us_t now) { return now < overlay->until; }

/* Makes *value, of that setting, tighter if the overlay asks for it; then *where is the overlay's. True: it did.
 * A scope's cap is asked for by the queue's setting. */
bool overlay_tighten(const struct overlay *overlay, enum setting_id setting, void *value, struct where *where, mono_us_t now);
/* The change as it stands now: a recovering value stepped up. False: this change is over. */
bool overlay_change_now(const struct overlay *overlay, const struct overlay_change *change, mono_us_t now, struct tightening *out);

/* Which member of a tightening a setting uses. */
enum overlay_kind { OVERLAY_COUNT, OVERLAY_RATE, OVERLAY_DURATION, OVERLAY_DURATIONS };
enum overlay_kind overlay_kind_of(enum setting_id setting);
/* Where a setting stands in struct queue_settings. */
void *overlay_setting(struct queue_settings *settings, enum setting_id setting);

/* The next instant at which time changes one; MONO_NEVER: none. */
mono_us_t overlays_next(const struct overlays *overlays);
typedef void overlay_change_fn(void *ctx, const struct overlay_target *target);
/* Takes away what has ended and tells of every target where something changed. */
void overlays_run(struct overlays *overlays, mono_us_t now, overlay_change_fn *on_change, void *ctx);
/* NULL name: all of the target's. How many. The target may be gone afterwards. */
unsigned overlays_lift(struct overlays *overlays, struct overlay_target *target, const char *name,
		       overlay_change_fn *on_change, void *ctx);

/* Each as a `kind` byte and its fields; of_sites: those on sites and their queues only. */
void overlays_save(const struct overlays *overlays, uint8_t kind, bool of_sites, struct now now, struct buf *out);
/* One, behind its kind. False: damaged. */
bool overlays_load(struct overlays *overlays, struct span *in, struct now now);

struct overlay *overlay_dup(const struct overlay *overlay);     /* on no target */
/* Takes a copy of what another shard has laid on the same name. With one of the same rule it becomes one: the values of
 * the later cut hold, until the later end. The target; NULL: it is over, or there is no room, or it says nothing new. *news_out:
 * something else holds now than before. */
struct overlay_target *overlays_join(struct overlays *overlays, enum overlay_scope scope, const char *name, struct overlay *copy,
				     mono_us_t now, bool *news_out);

/* What lies on another name, maybe at another shard (NULL: nothing does), lies on this one as well, with the same ends. */
void overlays_copy(struct overlays *overlays, enum overlay_scope scope, const char *name, const struct overlay_target *from, mono_us_t now);

/* overlay_save.c's way in: takes one that was read; what has ended meanwhile is dropped. */
void overlays_put(struct overlays *overlays, enum overlay_scope scope, const char *name, struct overlay *overlay, mono_us_t now);
void overlay_free(struct overlay *overlay);

/* overlay_value.c's, for overlay.c */
mono_us_t overlay_end_of(const struct overlay *overlay);        /* the end of its recovery, by its values */
int64_t overlay_steps_done(const struct overlay *overlay, mono_us_t now);
/* The value that a percent comes to now. False: of nothing, there is no part. */
bool overlay_resolve_percent(struct tightening *tightening, const struct queue_settings *in_force);
void overlay_note_declared(struct overlay_change *change, const struct queue_settings *declared);       /* what it recovers to */
