/*
 * The grammar (no blanks inside, units in lower case):
 *
 *   duration  = 1*( digits unit ) | digits           s m h d w, largest first
 *   list      = duration *( "," duration )           blanks around the commas
 *   rate      = digits "/" [ digits ] unit | "unlimited"
 *   size      = digits [ "K" | "M" | "G" | "T" ]
 *   percent   = digits [ "." digits ] "%"
 *
 * An error quotes what was written and says what to write. The text comes from
 * a policy, or over the control socket, so it is cut and made printable first.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/units.h"

#include <inttypes.h>
#include <stdio.h>

#define SECONDS_MAX (UINT64_C(10) * 365 * 86400 + 3 * 86400)     /* ten years and their leap days */

struct unit {
	const char *name;
	uint32_t    seconds;
};

/* Largest first. */
static const struct unit duration_units[] = {
	{ "w", 604800 }, { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 },
};

static const struct unit rate_units[] = {
	{ "s", 1 }, { "sec", 1 }, { "m", 60 }, { "min", 60 }, { "h", 3600 }, { "hr", 3600 }, { "hour", 3600 },
	{ "d", 86400 }, { "day", 86400 }, { "w", 604800 },
};

struct quote { char text[48]; };

static struct quote
quote(struct span text)
{
	struct quote q;
	size_t n = text.n < 40 ? text.n : 40;
	size_t used = 0;
	q.text[used++] = '"';
	for (size_t i = 0; i < n; i++)
		q.text[used++] = text.p[i] >= ' ' && text.p[i] < 0x7f ? text.p[i] : '?';
	if (n < text.n) {
		memcpy(q.text + used, "...", 3);
		used += 3;
	}
	q.text[used++] = '"';
	q.text[used] = '\0';
	return q;
}

#define FAIL(err, text, ...) fail(err, quote(text), __VA_ARGS__)

static bool
fail(struct err *err, struct quote what, const char *why, const char *instead)
{
	return err_set(err, ERR_PERM, "%s %s: write %s", what.text, why, instead);
}

static struct span
take_digits(struct span *rest)
{
	size_t n = 0;
	while (n < rest->n && rest->p[n] >= '0' && rest->p[n] <= '9')
		n++;
	struct span digits = span_first(*rest, n);
	*rest = span_from(*rest, n);
	return digits;
}

static struct span
take_letters(struct span *rest)
{
	size_t n = 0;
	while (n < rest->n && (rest->p[n] < '0' || rest->p[n] > '9'))
		n++;
	struct span letters = span_first(*rest, n);
	*rest = span_from(*rest, n);
	return letters;
}

static bool
has_blank(struct span text)
{
	return span_find(text, ' ') != SIZE_MAX || span_find(text, '\t') != SIZE_MAX;
}

static const struct unit *
find_unit(const struct unit *units, size_t n, struct span name)
{
	for (size_t i = 0; i < n; i++)
		if (span_eq(span_text(units[i].name), name))
			return &units[i];
	return NULL;
}

/* Prefers a unit with the same first letter: "week" means "w", not "sec". */
static const struct unit *
nearest_unit(const struct unit *units, size_t n, struct span name)
{
	const struct unit *best = &units[0];
	unsigned least = UINT32_MAX;
	for (size_t i = 0; i < n; i++) {
		struct span candidate = span_text(units[i].name);
		unsigned distance = span_distance(candidate, name);
		distance += span_starts_nocase(name, span_first(candidate, 1)) ? 0 : 1000;
		if (distance < least) {
			least = distance;
			best = &units[i];
		}
	}
	return best;
}

static const char *const duration_example = "a duration such as \"30m\", \"1h30m\" or \"4d12h\"";

static bool
duration_unit_fail(struct span text, struct span letters, struct err *err)
{
	if (has_blank(letters))
		return FAIL(err, text, "has a blank in it", "it without, such as \"30m\"");
	if (span_eq_nocase(letters, SPAN("ms")))
		return FAIL(err, text, "is finer than a second", "whole seconds, such as \"1s\"");
	if (letters.n && (letters.p[0] == '.' || letters.p[0] == ','))
		return FAIL(err, text, "is not a whole number", "\"1h30m\" for one and a half hours");
	bool known = letters.n && strchr("smhdwSMHDW", letters.p[0]);
	if (!known)
		return FAIL(err, text, "has no such unit", "one of s, m, h, d, w");
	const struct unit *near = nearest_unit(duration_units, countof(duration_units), letters);
	return err_set(err, ERR_PERM, "%s: %s is no unit: write \"%s\" (units: s, m, h, d, w)",
		       quote(text).text, quote(letters).text, near->name);
}

static bool
duration_seconds(struct span text, uint64_t *seconds_out, struct err *err)
{
	struct span rest = text;
	uint64_t total = 0;
	uint32_t last_unit = UINT32_MAX;
	while (rest.n) {
		struct span digits = take_digits(&rest);
		uint64_t value;
		if (digits.n == 0)
			return FAIL(err, text, "is not a duration", duration_example);
		if (!span_u64(digits, SECONDS_MAX, &value))
			return FAIL(err, text, "is too long", "at most 10 years, such as \"520w\"");
		struct span letters = take_letters(&rest);
		if (letters.n == 0 && digits.n == text.n) {
			*seconds_out = value;
			return true;
		}
		const struct unit *unit = find_unit(duration_units, countof(duration_units), letters);
		if (!unit)
			return letters.n ? duration_unit_fail(text, letters, err)
					 : FAIL(err, text, "ends without a unit", "one of s, m, h, d, w behind the last number");
		if (unit->seconds >= last_unit)
			return FAIL(err, text, "has its units out of order", "each once, the largest first, such as \"1h30m\"");
		last_unit = unit->seconds;
		if (value > (SECONDS_MAX - total) / unit->seconds)
			return FAIL(err, text, "is too long", "at most 10 years, such as \"520w\"");
		total += value * unit->seconds;
	}
	*seconds_out = total;
	return true;
}

bool
duration_parse(struct span text, bool zero_ok, int64_t *us_out, struct err *err)
{
	if (text.n == 0)
		return FAIL(err, text, "is not a duration", duration_example);
	if (text.p[0] == '-')
		return FAIL(err, text, "is negative", duration_example);
	if (span_eq_nocase(text, SPAN("never")) || span_eq_nocase(text, SPAN("unlimited")))
		return FAIL(err, text, "is not a duration here", duration_example);
	uint64_t seconds = 0;
	if (!duration_seconds(text, &seconds, err))
		return false;
	if (seconds == 0 && !zero_ok)
		return FAIL(err, text, "is not a duration here", duration_example);
	*us_out = (int64_t)seconds * US_PER_S;
	return true;
}

void
duration_format(int64_t us, char out[32])
{
	if (us == DURATION_NEVER || us == 0) {
		snprintf(out, 32, "%s", us ? "never" : "0s");
		return;
	}
	uint64_t left = us < 0 ? -(uint64_t)us : (uint64_t)us;
	size_t used = us < 0;
	out[0] = '-';
	for (size_t i = 0; i < countof(duration_units); i++) {
		uint64_t unit_us = duration_units[i].seconds * (uint64_t)US_PER_S;
		uint64_t whole = left / unit_us;
		bool fraction = duration_units[i].seconds == 1 && left % unit_us != 0;
		if (!whole && !fraction)
			continue;
		used += (size_t)snprintf(out + used, 32 - used, "%" PRIu64, whole);
		left %= unit_us;
		if (fraction) {
			used += (size_t)snprintf(out + used, 32 - used, ".%06" PRIu64, left);
			while (out[used - 1] == '0')
				used--;
		}
		used += (size_t)snprintf(out + used, 32 - used, "%s", duration_units[i].name);
	}
}

bool
duration_list_parse(struct span text, struct duration_list *out, struct err *err)
{
	struct duration_list list = { 0 };
	struct span rest = text;
	for (bool more = true; more; ) {
		size_t comma = span_find(rest, ',');
		more = comma != SIZE_MAX;
		struct span part = span_trim(more ? span_first(rest, comma) : rest);
		rest = span_from(rest, more ? comma + 1 : rest.n);
		if (list.n == DURATION_LIST_MAX)
			return FAIL(err, text, "is too long a list", "at most 30 durations; the last repeats");
		if (part.n == 0)
			return FAIL(err, text, "has an empty place", "durations with one comma between, such as \"10m,20m,1h\"");
		if (!duration_parse(part, false, &list.us[list.n], err))
			return false;
		list.n++;
	}
	*out = list;
	return true;
}

static bool
rate_window(struct span text, struct span part, uint32_t count, int64_t *window_us_out, struct err *err)
{
	struct span rest = part;
	struct span digits = take_digits(&rest);
	uint64_t times = 1;
	if (rest.n == 0)
		return FAIL(err, text, "has no unit", "one of s, m, h, d, w behind the slash, such as \"400/h\" or \"100/15m\"");
	const struct unit *unit = find_unit(rate_units, countof(rate_units), rest);
	if (!unit) {
		unit = nearest_unit(rate_units, countof(rate_units), rest);
		return err_set(err, ERR_PERM, "%s: %s is no unit: write \"%" PRIu32 "/%.*s%s\" (units: s, m, h, d, w)", quote(text).text,
			       quote(rest).text, count, digits.n < 10 ? (int)digits.n : 0, digits.p, unit->name);
	}
	if (digits.n && (!span_u64(digits, SECONDS_MAX, &times) || times > SECONDS_MAX / unit->seconds))
		return FAIL(err, text, "has too long a window", "at most 10 years, better \"400/h\"");
	if (times == 0)
		return FAIL(err, text, "has a window of nothing", "one such as \"400/h\" or \"100/15m\"");
	*window_us_out = (int64_t)(times * unit->seconds) * US_PER_S;
	return true;
}

bool
rate_parse(struct span text, struct rate_spec *out, struct err *err)
{
	if (span_eq(text, SPAN("unlimited"))) {
		*out = (struct rate_spec){ 0 };
		return true;
	}
	if (has_blank(text))
		return FAIL(err, text, "has a blank in it", "it without, such as \"400/h\"");
	struct span rest = text;
	struct span digits = take_digits(&rest);
	uint64_t count;
	if (digits.n == 0 || (rest.n && rest.p[0] != '/'))
		return FAIL(err, text, "is not a rate", "one such as \"400/h\", \"100/15m\" or \"unlimited\"");
	if (!span_u64(digits, UINT32_MAX, &count))
		return FAIL(err, text, "is too many", "at most 4294967295, or \"unlimited\"");
	if (count == 0)
		return FAIL(err, text, "would let nothing through", "\"unlimited\" for no limit, or paused = true to hold the mail");
	if (rest.n == 0)
		return err_set(err, ERR_PERM, "%s has no unit: write \"%" PRIu64 "/h\", \"%" PRIu64 "/m\" or \"%" PRIu64 "/s\"",
			       quote(text).text, count, count, count);
	struct rate_spec spec = { .count = (uint32_t)count };
	if (!rate_window(text, span_from(rest, 1), spec.count, &spec.window_us, err))
		return false;
	*out = spec;
	return true;
}

void
rate_format(const struct rate_spec *spec, char out[48])
{
	if (rate_unlimited(spec)) {
		snprintf(out, 48, "unlimited");
		return;
	}
	for (size_t i = 0; i < countof(duration_units); i++) {
		int64_t unit_us = duration_units[i].seconds * US_PER_S;
		if (spec->window_us < unit_us || spec->window_us % unit_us)
			continue;
		if (spec->window_us == unit_us)
			snprintf(out, 48, "%" PRIu32 "/%s", spec->count, duration_units[i].name);
		else
			snprintf(out, 48, "%" PRIu32 "/%" PRId64 "%s", spec->count, spec->window_us / unit_us, duration_units[i].name);
		return;
	}
	char window[32];
	duration_format(spec->window_us, window);
	snprintf(out, 48, "%" PRIu32 "/%s", spec->count, window);
}

static const char size_letters[] = "KMGT";

bool
size_parse(struct span text, uint64_t *bytes_out, struct err *err)
{
	struct span rest = text;
	struct span digits = take_digits(&rest);
	if (digits.n == 0)
		return FAIL(err, text, "is not a size", "one such as \"512K\", \"25M\", \"10G\", or bytes");
	unsigned shift = 0;
	if (rest.n) {
		char upper = rest.p[0] >= 'a' && rest.p[0] <= 'z' ? (char)(rest.p[0] & ~0x20) : rest.p[0];
		const char *letter = upper ? strchr(size_letters, upper) : NULL;
		if (letter && (rest.n > 1 || rest.p[0] != *letter))
			return err_set(err, ERR_PERM, "%s is not a size: write \"%.*s%c\"", quote(text).text,
				       digits.n < 20 ? (int)digits.n : 0, digits.p, *letter);
		if (!letter)
			return FAIL(err, text, "has no such unit", "K, M, G or T behind the number, or bytes");
		shift = 10 * (unsigned)(letter - size_letters + 1);
	}
	uint64_t value;
	if (!span_u64(digits, (uint64_t)INT64_MAX >> shift, &value))
		return FAIL(err, text, "is too large", "a size below 8 million T");
	*bytes_out = value << shift;
	return true;
}

void
size_format(uint64_t bytes, char out[32])
{
	size_t i = countof(size_letters) - 1;
	while (i && bytes >> (10 * i) == 0)
		i--;
	uint64_t unit = UINT64_C(1) << (10 * i);
	uint64_t tenths = (uint64_t)((unsigned __int128)(bytes % unit) * 10 / unit);
	snprintf(out, 32, "%" PRIu64, bytes / unit);
	size_t used = strlen(out);
	if (tenths)
		used += (size_t)snprintf(out + used, 32 - used, ".%d", (int)tenths);
	if (i)
		snprintf(out + used, 32 - used, "%c", size_letters[i - 1]);
}

bool
percent_parse(struct span text, double *percent_out, struct err *err)
{
	static const char *const example = "one such as \"50%\", from 0% to 100%";
	struct span rest = text;
	struct span whole = take_digits(&rest);
	uint64_t value, fraction = 0;
	double scale = 1;
	if (whole.n && rest.n == 0)
		return FAIL(err, text, "is not a percentage", "the % behind the number, such as \"50%\"");
	if (!span_u64(whole, 100, &value))
		return FAIL(err, text, "is not a percentage", example);
	if (rest.n && rest.p[0] == '.') {
		rest = span_from(rest, 1);
		struct span digits = take_digits(&rest);
		if (!span_u64(digits, 999999, &fraction) || digits.n > 6)
			return FAIL(err, text, "is not a percentage", example);
		for (size_t i = 0; i < digits.n; i++)
			scale *= 10;
	}
	double percent = (double)value + (double)fraction / scale;
	if (!span_eq(rest, SPAN("%")) || percent > 100)
		return FAIL(err, text, "is not a percentage", example);
	*percent_out = percent;
	return true;
}
