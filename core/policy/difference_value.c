/*
 * Values are compared by what they are, and shown as a policy would write them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/difference_value.h"

#include <stdio.h>

#include "policy/block.h"
#include "policy/reaction_book.h"
#include "policy/reaction_text.h"
#include "util/buf.h"
#include "util/log.h"

struct difference_value
difference_of_text(struct arena *arena, const char *text)
{
	if (!text)
		return (struct difference_value){ .kind = DIFFERENCE_NONE };
	return (struct difference_value){ .kind = DIFFERENCE_TEXT, .text = arena_strdup(arena, text) };
}

struct difference_value
difference_of_number(struct arena *arena, double number)
{
	return (struct difference_value){ .kind = DIFFERENCE_NUMBER, .text = arena_printf(arena, "%.15g", number), .number = number };
}

struct difference_value
difference_of_count(struct arena *arena, uint32_t count)
{
	return count == UNLIMITED ? difference_of_text(arena, "unlimited") : difference_of_number(arena, count);
}

struct difference_value
difference_of_bool(struct arena *arena, bool on)
{
	return (struct difference_value){ .kind = DIFFERENCE_BOOL, .text = on ? "true" : "false", .number = on };
}

struct difference_value
difference_of_rate(struct arena *arena, const struct rate_spec *rate)
{
	char text[48];
	rate_format(rate, text);
	if (rate->burst)
		return difference_of_text(arena, arena_printf(arena, "%s, burst = %u", text, rate->burst));
	return difference_of_text(arena, text);
}

static double
seconds(int64_t us)
{
	return (double)(us / US_PER_MS) / 1000;
}

struct difference_value
difference_of_duration(struct arena *arena, int64_t us)
{
	char text[32];
	duration_format(us, text);
	if (us == DURATION_NEVER)
		return difference_of_text(arena, text);
	return (struct difference_value){ .kind = DIFFERENCE_SECONDS, .text = arena_strdup(arena, text), .number = seconds(us) };
}

static struct difference_value
of_durations(struct arena *arena, const struct duration_list *list)
{
	if (list->n == 1)
		return difference_of_duration(arena, list->us[0]);
	double *numbers = arena_alloc(arena, (list->n + 1u) * sizeof(*numbers));
	const char *text = "";
	for (unsigned i = 0; i < list->n; i++) {
		char one[32];
		duration_format(list->us[i], one);
		numbers[i] = seconds(list->us[i]);
		text = arena_printf(arena, "%s%s%s", text, i ? "," : "", one);
	}
	return (struct difference_value){ .kind = DIFFERENCE_LIST, .text = text, .list = numbers, .list_n = list->n };
}

static struct difference_value
of_hosts(struct arena *arena, const struct smtp_hosts *hosts)
{
	const char *text = "";
	for (unsigned i = 0; hosts && i < hosts->n; i++) {
		const struct smtp_host *host = &hosts->hosts[i];
		char ip[IP_TEXT_MAX];
		ip_format(&host->ip, ip);
		const char *between = i == 0 ? "" : host->group != hosts->hosts[i - 1].group ? "; " : ", ";
		const char *name = host->name[0] ? host->name : arena_printf(arena, "[%s]", ip);
		text = arena_printf(arena, "%s%s%s", text, between, name);
		if (host->port)
			text = arena_printf(arena, "%s:%u", text, host->port);
	}
	return difference_of_text(arena, hosts ? text : NULL);
}

struct difference_value
difference_of_setting(struct arena *arena, const struct queue_settings *settings, const struct queue_settings *other,
		      enum setting_id id)
{
	const struct setting *setting = &setting_table[id];
	const void *at = (const char *)settings + setting->offset, *beside = (const char *)other + setting->offset;
	switch (setting->kind) {
	case SETTING_COUNT:     return difference_of_count(arena, *(const uint32_t *)at);
	case SETTING_RATE:      return difference_of_rate(arena, at);
	case SETTING_DURATION:  return difference_of_duration(arena, *(const int64_t *)at);
	case SETTING_DURATIONS: return of_durations(arena, at);
	case SETTING_PERCENT:   return difference_of_text(arena, arena_printf(arena, "%g%%", *(const double *)at));
	case SETTING_BOOL:      return difference_of_bool(arena, *(const bool *)at);
	case SETTING_PORT:      return difference_of_number(arena, *(const uint16_t *)at);
	case SETTING_HOSTS:     return of_hosts(arena, *(const struct smtp_hosts *const *)at);
	case SETTING_PATH:      return difference_of_text(arena, *(const char *const *)at);
	case SETTING_REACTIONS:
		return difference_of_text(arena, reaction_list_text(arena, *(const struct reaction_list *const *)at, *(const struct reaction_list *const *)beside));
	}
	return difference_of_text(arena, NULL);
}

/* ---- are they equal ---- */

bool
difference_same_text(const char *a, const char *b)
{
	return !a || !b ? a == b : strcmp(a, b) == 0;
}

static bool
same_reactions(const struct reaction_list *a, const struct reaction_list *b)
{
	if (!a || !b || a->parts_n != b->parts_n)
		return a == b;
	for (unsigned p = 0; p < a->parts_n; p++) {
		const struct reaction_part *x = a->parts[p], *y = b->parts[p];
		if (x->n != y->n || x->inherit != y->inherit)
			return false;
		for (unsigned i = 0; i < x->n; i++)
			if (!reaction_same(&x->reactions[i], &y->reactions[i]))
				return false;
	}
	return true;
}

static bool
same_hosts(const struct smtp_hosts *a, const struct smtp_hosts *b)
{
	if (!a || !b || a->n != b->n)
		return a == b;
	for (unsigned i = 0; i < a->n; i++) {
		const struct smtp_host *x = &a->hosts[i], *y = &b->hosts[i];
		if (x->group != y->group || x->port != y->port || strcmp(x->name, y->name) != 0 || (!x->name[0] && !ip_eq(&x->ip, &y->ip)))
			return false;
	}
	return true;
}

bool
difference_same_setting(const struct queue_settings *a, const struct queue_settings *b, enum setting_id id)
{
	const struct setting *setting = &setting_table[id];
	const void *x = (const char *)a + setting->offset, *y = (const char *)b + setting->offset;
	switch (setting->kind) {
	case SETTING_HOSTS:
		return same_hosts(*(const struct smtp_hosts *const *)x, *(const struct smtp_hosts *const *)y);
	case SETTING_PATH:
		return difference_same_text(*(const char *const *)x, *(const char *const *)y);
	case SETTING_REACTIONS:
		return same_reactions(*(const struct reaction_list *const *)x, *(const struct reaction_list *const *)y);
	case SETTING_RATE: {
		const struct rate_spec *p = x, *q = y;
		return p->count == q->count && p->burst == q->burst && p->window_us == q->window_us;
	}
	case SETTING_DURATIONS: {
		const struct duration_list *p = x, *q = y;
		return p->n == q->n && memcmp(p->us, q->us, p->n * sizeof(p->us[0])) == 0;
	}
	default:
		return memcmp(x, y, setting->size) == 0;
	}
}
