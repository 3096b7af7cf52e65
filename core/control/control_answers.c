/*
 * Numbers keep milliseconds and no more: 8.731, 60. What a peer said may be in
 * any bytes, and jansson makes no text of invalid UTF-8, so it is mended first.
 * Building a value can only fail by lack of memory, which json_pack tells by
 * NULL: checked in one place, where it is written.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_answers.h"

#include <math.h>

#include "policy/reaction.h"
#include "policy/setting.h"
#include "util/log.h"

/* The length of the UTF-8 character at the front; 0: none. RFC 3629, table in section 4. */
static size_t
utf8_at(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
		 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

json_t *
control_answer_text(const char *text)
{
	struct buf mended;
	json_t *value;

	if (!text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	buf_init(&mended, 0);
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		size_t n = utf8_at(p);
		buf_add(&mended, n ? span_make(p, n) : SPAN("\xef\xbf\xbd"));
		p += n ? n : 1;
	}
	value = json_string(buf_text(&mended));
	buf_fini(&mended);
	return value;
}

static json_t *
number(double value, double step)
{
	value = round(value / step) * step;
	return value == floor(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *
seconds(int64_t us)
{
	return number((double)us / (double)US_PER_S, 0.001);
}

json_t *
control_answer_until(mono_us_t at, mono_us_t now)
{
	return at == MONO_NEVER ? json_null() : seconds(max_i64(at - now, 0));
}

json_t *
control_answer_age(mono_us_t since, mono_us_t now)
{
	return since == MONO_NEVER ? json_null() : seconds(max_i64(now - since, 0));
}

static json_t *
instant(mono_us_t at, struct now now)
{
	char text[32];

	if (at == MONO_NEVER)
		return json_null();
	wall_format((wall_ms_t){ now.wall.ms + max_i64(at - now.mono, 0) / US_PER_MS }, text);
	return json_string(text);
}

json_t *
control_answer_where(const struct where *where)
{
	char text[1024];

	if (!where->file)
		return json_null();
	snprintf(text, sizeof(text), "%s:%d", where->file, where->line);
	return control_answer_text(text);
}

static json_t *
limit(const struct gate_state *gate)
{
	char text[48];

	if (gate->kind == GATE_LIMIT_COUNT && gate->limit != UNLIMITED)
		return json_integer(gate->limit);
	if (gate->kind != GATE_LIMIT_RATE || rate_unlimited(&gate->rate))
		return json_null();
	rate_format(&gate->rate, text);
	return json_string(text);
}

static json_t *
in_use(const struct gate_state *gate)
{
	return gate->kind == GATE_LIMIT_COUNT ? json_integer(gate->in_use) : json_null();
}

/* ---- settings ---- */

static json_t *
count_value(uint32_t count)
{
	return count == UNLIMITED ? json_string("unlimited") : json_integer(count);
}

static json_t *
rate_value(const struct rate_spec *rate)
{
	char text[48];

	rate_format(rate, text);
	return json_string(text);
}

static json_t *
duration_value(int64_t us)
{
	if (us == DURATION_NEVER)
		return json_string("never");
	return seconds(us);
}

static json_t *
durations_value(const struct duration_list *list)
{
	json_t *all;

	if (list->n == 1)
		return duration_value(list->us[0]);
	all = json_array();
	for (unsigned i = 0; i < list->n; i++)
		json_array_append_new(all, duration_value(list->us[i]));
	return all;
}

static json_t *
percent_value(double percent)
{
	char text[32];

	snprintf(text, sizeof(text), "%.6g%%", percent);
	return json_string(text);
}

static json_t *
hosts_value(const struct smtp_hosts *hosts)
{
	json_t *all = hosts ? json_array() : json_null();

	for (unsigned i = 0; hosts && i < hosts->n; i++) {
		const struct smtp_host *host = &hosts->hosts[i];
		char ip[IP_TEXT_MAX] = "", text[DOMAIN_MAX + 32];
		bool named = host->name[0] != '\0';

		if (!named)
			ip_format(&host->ip, ip);
		snprintf(text, sizeof(text), named ? "%s" : "[%s]", named ? host->name : ip);
		if (host->port)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), ":%u", host->port);
		json_array_append_new(all, control_answer_text(text));
	}
	return all;
}

static json_t *
rules_value(const struct reaction_list *rules)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < reaction_list_n(rules); i++) {
		const struct reaction *rule = reaction_list_at(rules, i);
		json_array_append_new(all, json_pack("{s:o, s:o}", "name", control_answer_text(rule->name),
						     "declared_at", control_answer_where(&rule->where)));
	}
	return all;
}

json_t *
control_answer_setting(const struct queue_settings *settings, enum setting_id id)
{
	const void *at = (const char *)settings + setting_table[id].offset;

	switch (setting_table[id].kind) {
	case SETTING_COUNT:     return count_value(*(const uint32_t *)at);
	case SETTING_RATE:      return rate_value(at);
	case SETTING_DURATION:  return duration_value(*(const int64_t *)at);
	case SETTING_DURATIONS: return durations_value(at);
	case SETTING_PERCENT:   return percent_value(*(const double *)at);
	case SETTING_BOOL:      return json_boolean(*(const bool *)at);
	case SETTING_PORT:      return json_integer(*(const uint16_t *)at);
	case SETTING_HOSTS:     return hosts_value(*(const struct smtp_hosts *const *)at);
	case SETTING_PATH:      return control_answer_text(*(const char *const *)at);
	case SETTING_REACTIONS: return rules_value(*(const struct reaction_list *const *)at);
	}
	check(!"each kind has a value");
	return NULL;
}

json_t *
control_answer_settings(const struct queue_settings *settings, bool with_where)
{
	json_t *all = json_object();

	for (unsigned id = 0; id < SETTINGS_N; id++) {
		const struct where *where = &settings->where[id];
		json_t *value = control_answer_setting(settings, id);

		if (with_where)
			value = json_pack("{s:o, s:o, s:o}", "value", value, "declared_at", control_answer_where(where),
					  "scope", control_answer_text(where->scope));
		json_object_set_new(all, setting_table[id].name, value);
	}
	return all;
}

/* ---- whole answers ---- */

static json_t *
gate_row(const struct gate_state *gate, mono_us_t now)
{
	return json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}",
			 "gate", gate_name(gate->gate),
			 "open", gate->open,
			 "until", gate->open ? json_null() : control_answer_until(gate->until, now),
			 "limit", limit(gate),
			 "in_use", in_use(gate),
			 "declared_at", control_answer_where(&gate->where));
}

json_t *
control_answer_row(const struct control_row *row, struct now now)
{
	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:s, s:s?, s:o, s:o, s:o, s:o}",
			 "queue", control_answer_text(row->queue),
			 "site", control_answer_text(row->site),
			 "vmta", control_answer_text(row->vmta),
			 "queued", (json_int_t)row->queued,
			 "ready", (json_int_t)row->ready,
			 "sessions", (json_int_t)row->sessions,
			 "mode", row->mode,
			 "gate", row->gate,
			 "oldest_age", control_answer_age(row->oldest, now.mono),
			 "next_attempt", instant(row->next_attempt, now),
			 "last_error", control_answer_text(row->last_error),
			 "pace", number(row->pace_per_hour, 0.1));
}

static json_t *
change(const struct tightening *to, enum overlay_kind kind)
{
	switch (kind) {
	case OVERLAY_COUNT:     return json_integer(to->count);
	case OVERLAY_RATE:      return rate_value(&to->rate);
	case OVERLAY_DURATION:  return duration_value(to->duration_us);
	case OVERLAY_DURATIONS: return durations_value(&to->durations);
	}
	check(!"each kind has a value");
	return NULL;
}

static json_t *
changes(const struct overlay *o, mono_us_t now)
{
	json_t *all = json_object();
	struct tightening to;
	char source[IP_TEXT_MAX];

	for (unsigned i = 0; i < o->changes_n; i++)
		if (overlay_change_now(o, &o->changes[i], now, &to))
			json_object_set_new(all, setting_name(to.setting), change(&to, overlay_kind_of(to.setting)));
	if (!overlay_lasts(o, now))
		return all;
	if (o->suspend)
		json_object_set_new(all, "suspend", json_true());
	if (o->reroute)
		json_object_set_new(all, "reroute", control_answer_text(o->reroute));
	if (o->source.family != IP_NONE) {
		ip_format(&o->source, source);
		json_object_set_new(all, "disable_source", json_string(source));
	}
	return all;
}

/* The end of `lasts`, and when that is over the end of recovery. */
json_t *
control_answer_overlay(const struct overlay *o, mono_us_t now)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
			 "name", control_answer_text(o->name),
			 "pattern", control_answer_text(o->pattern),
			 "reply", control_answer_text(o->reply),
			 "since", control_answer_age(o->since, now),
			 "until", control_answer_until(overlay_lasts(o, now) ? o->until : o->ends, now),
			 "changes", changes(o, now),
			 "declared_at", control_answer_where(&o->where),
			 "scope", overlay_scope_name(o->target->scope));
}

/* Seconds until it is empty, if nothing is added and the pace stays; null: it does not move. */
static json_t *
empty_in(const struct control_row *row)
{
	if (row->queued == 0)
		return json_integer(0);
	return row->pace_per_hour > 0 ? number(row->queued / row->pace_per_hour * 3600, 1) : json_null();
}

json_t *
control_answer_ceiling(const struct ceiling *ceiling)
{
	if (!ceiling->bounded)
		return json_null();
	return json_pack("{s:o, s:s}", "msgs_per_hour", number(ceiling->msgs_per_hour, 0.01), "bound_by", ceiling->bound_by);
}

json_t *
control_answer_why(const struct control_row *row, const struct gate_answer *gates, json_t *overlays,
		   const struct ceiling *ceiling, mono_us_t now)
{
	const struct gate_state *binding = gates->open ? NULL : &gates->binding;
	json_t *all = json_array();

	for (unsigned i = 0; i < gates->n; i++)
		json_array_append_new(all, gate_row(&gates->all[i], now));
	return json_pack("{s:o, s:b, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}",
			 "queue", control_answer_text(row->queue),
			 "open", gates->open,
			 "gate", binding ? gate_name(binding->gate) : NULL,
			 "until", binding ? control_answer_until(binding->until, now) : json_null(),
			 "limit", binding ? limit(binding) : json_null(),
			 "in_use", binding ? in_use(binding) : json_null(),
			 "declared_at", binding ? control_answer_where(&binding->where) : json_null(),
			 "gates", all,
			 "overlays", overlays,
			 "queued", (json_int_t)row->queued,
			 "ready", (json_int_t)row->ready,
			 "sessions", (json_int_t)row->sessions,
			 "oldest_age", control_answer_age(row->oldest, now),
			 "last_error", control_answer_text(row->last_error),
			 "ceiling", control_answer_ceiling(ceiling),
			 "pace", number(row->pace_per_hour, 0.1),
			 "empty_in", empty_in(row));
}

json_t *
control_answer_status(const struct control_status *status)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:s, s:o}",
			 "generation", (json_int_t)status->generation,
			 "queued", (json_int_t)status->queued,
			 "deferred", (json_int_t)status->deferred,
			 "sessions_in", (json_int_t)status->sessions_in,
			 "sessions_out", (json_int_t)status->sessions_out,
			 "received", (json_int_t)status->received,
			 "delivered", (json_int_t)status->delivered,
			 "bounced", (json_int_t)status->bounced,
			 "uptime", seconds(status->uptime_us),
			 "queues", (json_int_t)status->queues,
			 "spool_messages", (json_int_t)status->spool_messages,
			 "spool_bytes", (json_int_t)status->spool_bytes,
			 "refusing", control_answer_text(status->refusing),
			 "accounting_trouble", control_answer_text(status->accounting_trouble),
			 "accounting_lost", (json_int_t)status->accounting_lost,
			 "version", status->version,
			 "policy", control_answer_text(status->policy));
}

json_t *
control_answer_touched(unsigned queues, uint64_t recipients)
{
	return json_pack("{s:I, s:I}", "queues", (json_int_t)queues, "recipients", (json_int_t)recipients);
}

static int
add(const char *bytes, size_t n, void *ctx)
{
	return buf_add(ctx, span_make(bytes, n)) ? 0 : -1;
}

void
control_answer_write(json_t *value, struct buf *out)
{
	check(value != NULL);
	json_dump_callback(value, add, out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	json_decref(value);
}

void
control_answer_ok(json_t *result, struct buf *out)
{
	control_answer_write(json_pack("{s:b, s:o}", "ok", true, "result", result), out);
	buf_add_char(out, '\n');
}

void
control_answer_error(const char *text, struct buf *out)
{
	control_answer_write(json_pack("{s:b, s:o}", "ok", false, "error", control_answer_text(text)), out);
	buf_add_char(out, '\n');
}
