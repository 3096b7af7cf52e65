/*
 * Let L be the virtual instant and D the depth, T + tolerance. At `now` there
 * are (now - max(L, now - D)) / T events left; n events move L to
 * max(L, now - D) + nT, if that is not past now.
 *
 * The bound: events whose instants lie in [s, s+W) leave L in (s - D, s+W), at
 * least T apart, whatever the order of the threads' clocks; so there are at
 * most 1 + tolerance/T + (W-1)/T, and T is rounded up.
 *
 * A change of spec. Old and new allow 1+k at once and one each T after it. If r
 * events were left, the old has let at most 1+k-r + x/T into the part x of a
 * window before the change; with r' left afterwards the new lets at most
 * r' + (W-x)/T' into the rest. For r' = r - max(0, k-k') the sum is linear in x
 * and at both ends within the bound of one of the two. r' may be negative: then
 * L lies ahead of now. It needs an instant with the old events on one side and
 * the new on the other, though threads read their clocks before they take: the
 * change is dated at the latest now of any event, and no event of the new spec
 * may be dated before the change.
 *
 * Time is counted in 1/64 us: finer than the clock, so that an interval of 1.05
 * us is not rounded to 2; coarse enough for the 1100 years that a burst of 400,000
 * refills at one a day.
 *
 * The common path reads the spec in force and swaps `last`. A change makes
 * `last` BUSY, writes the spec, and puts another `last`, always a different one,
 * so that a thread which read the old spec cannot swap. Who fails to swap rests
 * before he reads again (backoff.h).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "limit/backoff.h"
#include "limit/rate.h"

#define TICKS_PER_US INT64_C(64)
#define BUSY         INT64_MIN
#define DEPTH_MAX    (INT64_C(1) << 61)
#define SLACK_MAX_US INT64_C(50000)
/* Else a take hands the state on through memory, twice: a quarter of its time. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

struct pacing {
	int64_t interval, depth, since;
};

/* `last` and the spec it is counted in, read as one. */
struct state {
	int64_t          last;
	struct rate_spec spec;
	struct pacing    pacing;
};

static int64_t
ticks_of(mono_us_t now)
{
	check(now >= 0);
	check(now < INT64_C(1) << 55);
	return now * TICKS_PER_US;
}

static struct pacing
pacing_of(const struct rate_spec *spec)
{
	check(spec->window_us > 0);
	check(spec->window_us < INT64_C(1) << 50);
	int64_t slack = min_i64(spec->window_us / 40, SLACK_MAX_US);
	int64_t burst = min_i64(spec->burst, (int64_t)spec->count - 1);
	int64_t catchup = (int64_t)((uint64_t)spec->count * (uint64_t)slack / (uint64_t)spec->window_us);
	catchup = min_i64(catchup, spec->count - burst - 1);
	int64_t paced = spec->count - burst - catchup;
	int64_t interval = ((spec->window_us + slack) * TICKS_PER_US + paced - 1) / paced;
	int64_t at_once = 1 + (burst ? burst - 1 : 0) + catchup;
	return (struct pacing){ interval, interval * min_i64(at_once, DEPTH_MAX / interval), 0 };
}

/* Acquire and release on every field, so that whoever sees a part of a new spec
 * sees BUSY, or what came after it, when it looks at `last` again. */
static ALWAYS_INLINE struct state
load_state(const struct rate *rate)
{
	struct state s;
	int64_t again = atomic_load_explicit(&rate->last, memory_order_acquire);
	do {
		while ((s.last = again) == BUSY)
			again = atomic_load_explicit(&rate->last, memory_order_acquire);
		s.spec.count = atomic_load_explicit(&rate->count, memory_order_acquire);
		s.spec.burst = atomic_load_explicit(&rate->burst, memory_order_acquire);
		s.spec.window_us = atomic_load_explicit(&rate->window_us, memory_order_acquire);
		s.pacing.interval = atomic_load_explicit(&rate->interval, memory_order_acquire);
		s.pacing.depth = atomic_load_explicit(&rate->depth, memory_order_acquire);
		s.pacing.since = atomic_load_explicit(&rate->since, memory_order_acquire);
		again = atomic_load_explicit(&rate->last, memory_order_acquire);
	} while (again != s.last);
	return s;
}

static void
store_spec(struct rate *rate, const struct state *s)
{
	atomic_store_explicit(&rate->count, s->spec.count, memory_order_release);
	atomic_store_explicit(&rate->burst, s->spec.burst, memory_order_release);
	atomic_store_explicit(&rate->window_us, s->spec.window_us, memory_order_release);
	atomic_store_explicit(&rate->interval, s->pacing.interval, memory_order_release);
	atomic_store_explicit(&rate->depth, s->pacing.depth, memory_order_release);
	atomic_store_explicit(&rate->since, s->pacing.since, memory_order_release);
}

/* Before the event is swapped in, so that no change of spec can miss it. */
static void
raise_latest(struct rate *rate, int64_t now)
{
	int64_t latest = atomic_load_explicit(&rate->latest, memory_order_relaxed);
	while (latest < now && !atomic_compare_exchange_weak_explicit(&rate->latest, &latest, now, memory_order_relaxed,
								      memory_order_relaxed))
		;
}

/* 0 says "none yet", so an instant that is 0 is kept as the next one. */
static int64_t
encode(int64_t instant)
{
	return instant ? instant : 1;
}

/* Without branches: else the compiler joins two loaded fields in memory to compare them as one, and waits for them there. */
static bool
same_spec(const struct rate_spec *a, const struct rate_spec *b)
{
	return !((a->count ^ b->count) | (a->burst ^ b->burst) | (uint64_t)(a->window_us ^ b->window_us));
}

/* The virtual instant, no further behind than the depth. */
static int64_t
instant_of(const struct state *s, int64_t now)
{
	int64_t full = now - s->pacing.depth;
	return s->last ? max_i64(s->last, full) : full;
}

/* What the state is under another spec, by the rule above. */
static struct state
converted(const struct rate *rate, const struct state *old, const struct rate_spec *spec, int64_t now)
{
	struct state s = { .last = old->last, .spec = *spec, .pacing = pacing_of(spec) };
	s.pacing.since = old->pacing.since;
	if (!old->last || !old->spec.count)
		return s;
	now = max_i64(now, max_i64(old->pacing.since, atomic_load_explicit(&rate->latest, memory_order_relaxed)));
	s.pacing.since = now;
	__int128 interval = s.pacing.interval, old_interval = old->pacing.interval;
	int64_t at_once = s.pacing.depth / s.pacing.interval, old_at_once = old->pacing.depth / old->pacing.interval;
	__int128 left = now - instant_of(old, now);
	/* Rounded down: to the stricter side, also below zero. */
	__int128 product = left * interval;
	__int128 left_now = product / old_interval - (product % old_interval < 0);
	left_now -= interval * max_i64(0, old_at_once - at_once);
	/* After an idle window nothing is left to be strict about. */
	int64_t least = -(spec->window_us * TICKS_PER_US);
	int64_t clamped = left_now > s.pacing.depth ? s.pacing.depth : left_now < least ? least : (int64_t)left_now;
	s.last = encode(now - clamped);
	return s;
}

/* Puts the spec in place; false when another thread was quicker at anything. */
static bool
change_spec(struct rate *rate, const struct state *old, const struct rate_spec *spec, int64_t now)
{
	int64_t expected = old->last;
	if (!atomic_compare_exchange_strong_explicit(&rate->last, &expected, BUSY, memory_order_acq_rel, memory_order_relaxed))
		return false;
	struct state s = converted(rate, old, spec, now);
	if (!s.last)
		s.last = encode(now - s.pacing.depth - 1);
	if (s.last == old->last)
		s.last = encode(s.last + 1);
	store_spec(rate, &s);
	atomic_store_explicit(&rate->last, s.last, memory_order_release);
	return true;
}

/* The state, with `spec` in place. */
static ALWAYS_INLINE struct state
adopt(struct rate *rate, const struct rate_spec *spec, int64_t now)
{
	for (;;) {
		struct state s = load_state(rate);
		if (same_spec(&s.spec, spec))
			return s;
		change_spec(rate, &s, spec, now);
	}
}

static bool
swap_last(struct rate *rate, int64_t from, int64_t to)
{
	if (atomic_compare_exchange_strong_explicit(&rate->last, &from, encode(to), memory_order_acq_rel, memory_order_relaxed))
		return true;
	backoff_rest();
	return false;
}

bool
rate_take(struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now_us)
{
	check(n > 0);
	if (rate_unlimited(spec))
		return true;
	int64_t now = ticks_of(now_us);
	for (;;) {
		struct state s = adopt(rate, spec, now);
		int64_t instant = instant_of(&s, now), taken;
		if (__builtin_mul_overflow(s.pacing.interval, n, &taken) || taken > now - instant || now < s.pacing.since)
			return false;
		raise_latest(rate, now);
		if (swap_last(rate, s.last, instant + taken))
			return true;
	}
}

void
rate_give(struct rate *rate, const struct rate_spec *spec, uint32_t n)
{
	if (rate_unlimited(spec))
		return;
	for (;;) {
		struct state s = load_state(rate);
		if (!s.last || !s.spec.count)
			return;
		__int128 instant = s.last - (__int128)s.pacing.interval * n;
		int64_t floor = -DEPTH_MAX;
		if (swap_last(rate, s.last, instant < floor ? floor : (int64_t)instant))
			return;
	}
}

/* Without a trace: asking must not put a spec in place. */
static struct state
view(const struct rate *rate, const struct rate_spec *spec, int64_t now)
{
	struct state s = load_state(rate);
	return same_spec(&s.spec, spec) ? s : converted(rate, &s, spec, now);
}

uint32_t
rate_available(const struct rate *rate, const struct rate_spec *spec, mono_us_t now_us)
{
	if (rate_unlimited(spec))
		return UINT32_MAX;
	int64_t now = ticks_of(now_us);
	struct state s = view(rate, spec, now);
	int64_t left = now - instant_of(&s, now);
	return left > 0 && now >= s.pacing.since ? (uint32_t)min_i64(left / s.pacing.interval, UINT32_MAX - 1) : 0;
}

mono_us_t
rate_ready_at(const struct rate *rate, const struct rate_spec *spec, mono_us_t now_us)
{
	return rate_ready_for(rate, spec, 1, now_us);
}

mono_us_t
rate_ready_for(const struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now_us)
{
	check(n > 0);
	if (rate_unlimited(spec))
		return now_us;
	int64_t now = ticks_of(now_us);
	struct state s = view(rate, spec, now);
	if (n > s.pacing.depth / s.pacing.interval)
		return MONO_NEVER;
	int64_t ready = max_i64(instant_of(&s, now) + s.pacing.interval * (int64_t)n, s.pacing.since);
	return ready <= now ? now_us : (ready + TICKS_PER_US - 1) / TICKS_PER_US;
}

void
rate_adopt(struct rate *rate, const struct rate_spec *spec, mono_us_t now_us)
{
	if (!rate_unlimited(spec))
		(void)adopt(rate, spec, ticks_of(now_us));
}

int64_t
rate_save(const struct rate *rate, mono_us_t now_us)
{
	struct state s = load_state(rate);
	if (!s.last)
		return INT64_MIN;
	int64_t ahead = s.last - ticks_of(now_us);
	/* Rounded up: to the stricter side. */
	return ahead / TICKS_PER_US + (ahead % TICKS_PER_US > 0);
}

void
rate_restore(struct rate *rate, int64_t saved, mono_us_t now_us)
{
	int64_t now = ticks_of(now_us);
	int64_t bound = DEPTH_MAX / TICKS_PER_US;
	int64_t last = saved == INT64_MIN ? 0 : encode(now + min_i64(max_i64(saved, -bound), bound) * TICKS_PER_US);
	for (;;) {
		int64_t expected = load_state(rate).last;
		if (expected == last || atomic_compare_exchange_strong(&rate->last, &expected, last))
			return;
	}
}

void
rate_spend_all(struct rate *rate, const struct rate_spec *spec, mono_us_t now_us)
{
	int64_t now = ticks_of(now_us);
	for (;;) {
		struct state s = rate_unlimited(spec) ? load_state(rate) : adopt(rate, spec, now);
		if (s.last && s.last >= now)
			return;
		if (swap_last(rate, s.last, now))
			return;
	}
}
