/*
 * The node may be of another version than the command, so nothing here trusts
 * the shape of the answer; and it carries what receivers said, so every text is
 * cleaned on its way.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_view.h"

#include "cmd/cmd_print.h"
#include "util/units.h"

#define ERROR_WIDTH 70

static const json_t *
member(const json_t *object, const char *key)
{
	return json_object_get(object, key);
}

static const char *
text(const json_t *object, const char *key)
{
	const char *value = json_string_value(member(object, key));
	return value ? value : "";
}

static long long
count(const json_t *object, const char *key)
{
	return json_integer_value(member(object, key));
}

static bool
has_number(const json_t *object, const char *key)
{
	return json_is_number(member(object, key));
}

/* "" where the key is null. */
static void
duration(const json_t *object, const char *key, char out[32])
{
	out[0] = '\0';
	if (has_number(object, key))
		cmd_duration(json_number_value(member(object, key)), out);
}

static const char *
plural(long long n)
{
	return n == 1 ? "" : "s";
}

/* ---- status ---- */

static void
label(struct buf *out, bool colour, const char *name)
{
	struct buf padded;

	buf_init(&padded, 0);
	buf_printf(&padded, "%-12s", name);
	cmd_add_styled(out, CMD_DIM, colour, buf_span(&padded));
	buf_fini(&padded);
}

static void
spool_line(const json_t *status, bool colour, struct buf *out)
{
	char size[32];

	size_format((uint64_t)count(status, "spool_bytes"), size);
	label(out, colour, "spool");
	buf_printf(out, "%lld message%s, %s\n", count(status, "spool_messages"), plural(count(status, "spool_messages")), size);
	if (!*text(status, "refusing"))
		return;
	cmd_add_styled(out, CMD_RED, colour, SPAN("new mail is refused: "));
	cmd_add_clean(out, text(status, "refusing"), 0);
	buf_add_char(out, '\n');
}

/* Only where something is wrong with it. */
static void
accounting_line(const json_t *status, bool colour, struct buf *out)
{
	long long lost = count(status, "accounting_lost");
	const char *trouble = text(status, "accounting_trouble");

	if (!*trouble && lost == 0)
		return;
	label(out, colour, "accounting");
	if (*trouble) {
		cmd_add_styled(out, CMD_RED, colour, SPAN("nothing is written: "));
		cmd_add_clean(out, trouble, 0);
		buf_add_text(out, "; ");
	}
	buf_printf(out, "%lld record%s lost\n", lost, plural(lost));
}

void
cmd_view_status(const json_t *status, bool colour, struct buf *out)
{
	char up[32];

	duration(status, "uptime", up);
	buf_printf(out, "sluice %s, up %s, generation %lld of ", text(status, "version"), up, count(status, "generation"));
	cmd_add_clean(out, text(status, "policy"), 0);
	buf_add_char(out, '\n');
	label(out, colour, "queued");
	buf_printf(out, "%lld recipient%s in %lld queue%s, %lld of them deferred\n",
		   count(status, "queued"), plural(count(status, "queued")),
		   count(status, "queues"), plural(count(status, "queues")), count(status, "deferred"));
	label(out, colour, "sessions");
	buf_printf(out, "%lld in, %lld out\n", count(status, "sessions_in"), count(status, "sessions_out"));
	label(out, colour, "since start");
	buf_printf(out, "%lld message%s received; %lld recipient%s delivered, %lld bounced\n",
		   count(status, "received"), plural(count(status, "received")),
		   count(status, "delivered"), plural(count(status, "delivered")), count(status, "bounced"));
	spool_line(status, colour, out);
	accounting_line(status, colour, out);
}

/* ---- queues ---- */

/* Milliseconds; INT64_MIN where it is no instant. "2026-01-02T03:04:05.678Z" */
static int64_t
instant(const char *s)
{
	struct tm tm = { 0 };
	unsigned ms = 0;
	const char *rest = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest)
		return INT64_MIN;
	if (sscanf(rest, ".%3u", &ms) != 1)
		ms = 0;
	return (int64_t)timegm(&tm) * MS_PER_S + ms;
}

enum cmd_style
cmd_view_queue_style(const char *mode, const char *gate)
{
	if (strcmp(mode, "normal") != 0)
		return CMD_RED;
	if (!*gate)
		return CMD_GREEN;
	return strcmp(gate, "empty") ? CMD_YELLOW : CMD_DIM;
}

static void
queue_row(struct cmd_table *table, const json_t *row, wall_ms_t now)
{
	const char *mode = text(row, "mode"), *gate = text(row, "gate");
	int64_t next = instant(text(row, "next_attempt"));
	char oldest[32], wait[32] = "";
	struct buf clean;

	duration(row, "oldest_age", oldest);
	if (next != INT64_MIN)
		cmd_duration((double)max_i64(next - now.ms, 0) / (double)MS_PER_S, wait);
	cmd_table_row(table);
	buf_init(&clean, 0);
	cmd_add_clean(&clean, text(row, "queue"), 0);
	cmd_table_cell(table, 0, CMD_BOLD, "%s", buf_text(&clean));
	cmd_table_cell(table, 1, CMD_PLAIN, "%lld", count(row, "queued"));
	cmd_table_cell(table, 2, CMD_PLAIN, "%lld", count(row, "ready"));
	cmd_table_cell(table, 3, CMD_PLAIN, "%lld", count(row, "sessions"));
	cmd_table_cell(table, 4, cmd_view_queue_style(mode, gate), "%s", strcmp(mode, "normal") ? mode : *gate ? gate : "open");
	cmd_table_cell(table, 5, CMD_PLAIN, "%s", oldest);
	cmd_table_cell(table, 6, CMD_PLAIN, "%s", wait);
	buf_clear(&clean);
	cmd_add_clean(&clean, text(row, "last_error"), ERROR_WIDTH);
	cmd_table_cell(table, 7, CMD_PLAIN, "%s", buf_text(&clean));
	buf_fini(&clean);
}

static void
header(struct cmd_table *table, const char *const *names)
{
	cmd_table_row(table);
	for (unsigned i = 0; i < table->columns; i++)
		cmd_table_cell(table, i, CMD_DIM, "%s", names[i]);
}

void
cmd_view_queues(const json_t *queues, wall_ms_t now, bool colour, struct buf *out)
{
	static const char *const names[] = { "queue", "queued", "ready", "sessions", "state", "oldest", "next in", "last error" };
	struct cmd_table table;

	if (json_array_size(queues) == 0) {
		buf_add_text(out, "no queue holds mail\n");
		return;
	}
	cmd_table_init(&table, "lrrrlrrl");
	header(&table, names);
	for (size_t i = 0; i < json_array_size(queues); i++)
		queue_row(&table, json_array_get(queues, i), now);
	cmd_table_write(&table, colour, out);
	cmd_table_fini(&table);
}

/* ---- why ---- */

/* "20 of 20 in use", "50/h", "": what the gate's limit is. */
static void
add_limit(const json_t *gate, struct buf *out)
{
	if (has_number(gate, "limit"))
		buf_printf(out, " %lld of %lld in use", count(gate, "in_use"), count(gate, "limit"));
	else if (*text(gate, "limit"))
		buf_printf(out, " %s", text(gate, "limit"));
	if (has_number(gate, "limit") && count(gate, "in_use") < count(gate, "limit"))
		buf_add_text(out, ", others are first in line");
}

/* What the operator wants to know, in one sentence. */
static void
sentence(const json_t *why, struct buf *out)
{
	const char *gate = text(why, "gate");
	char until[32];

	cmd_add_clean(out, text(why, "queue"), 0);
	if (json_is_true(member(why, "open"))) {
		buf_add_text(out, " is open: nothing holds it");
		return;
	}
	if (!strcmp(gate, "empty")) {
		buf_add_text(out, " has nothing to send");
		return;
	}
	buf_printf(out, " waits: %s", gate);
	add_limit(why, out);
	duration(why, "until", until);
	if (*until)
		buf_printf(out, ", until in %s", until);
	if (*text(why, "declared_at")) {
		buf_add_text(out, " (");
		cmd_add_clean(out, text(why, "declared_at"), 0);
		buf_add_char(out, ')');
	} else if (!strcmp(gate, "paused")) {
		buf_add_text(out, " by hand, until `sluice resume`");
	}
}

static void
gate_row(struct cmd_table *table, const json_t *gate, const char *binding)
{
	bool open = json_is_true(member(gate, "open"));
	bool binds = !open && !strcmp(text(gate, "gate"), binding);
	char until[32];
	struct buf clean;

	duration(gate, "until", until);
	cmd_table_row(table);
	cmd_table_cell(table, 0, binds ? CMD_BOLD : CMD_PLAIN, "%s", text(gate, "gate"));
	cmd_table_cell(table, 1, open ? CMD_GREEN : binds ? CMD_RED : CMD_YELLOW, open ? "open" : "closed");
	if (!open)
		cmd_table_cell(table, 2, CMD_PLAIN, "%s", *until ? until : "-");
	if (has_number(gate, "in_use"))
		cmd_table_cell(table, 3, CMD_PLAIN, "%lld", count(gate, "in_use"));
	if (has_number(gate, "limit"))
		cmd_table_cell(table, 4, CMD_PLAIN, "%lld", count(gate, "limit"));
	else
		cmd_table_cell(table, 4, CMD_PLAIN, "%s", text(gate, "limit"));
	buf_init(&clean, 0);
	cmd_add_clean(&clean, text(gate, "declared_at"), 0);
	cmd_table_cell(table, 5, CMD_DIM, "%s", buf_text(&clean));
	buf_fini(&clean);
}

static void
add_gates(const json_t *why, bool colour, struct buf *out)
{
	static const char *const names[] = { "gate", "state", "opens in", "in use", "limit", "declared at" };
	const json_t *gates = member(why, "gates");
	struct cmd_table table;

	cmd_table_init(&table, "llrrrl");
	header(&table, names);
	for (size_t i = 0; i < json_array_size(gates); i++)
		gate_row(&table, json_array_get(gates, i), text(why, "gate"));
	cmd_table_write(&table, colour, out);
	cmd_table_fini(&table);
}

/* "max_smtp_out 5, max_msg_rate 1000/h, suspend" */
static void
add_changes(const json_t *overlay, struct buf *out)
{
	const char *key;
	json_t *value;
	bool first = true;

	json_object_foreach(json_object_get(overlay, "changes"), key, value) {
		buf_add_text(out, first ? "" : ", ");
		cmd_add_clean(out, key, 0);
		if (!json_is_boolean(value)) {
			buf_add_char(out, ' ');
			cmd_add_setting(out, key, value, ",");
		}
		first = false;
	}
}

static void
overlay_row(struct cmd_table *table, const json_t *overlay)
{
	char since[32], until[32];
	struct buf clean;

	duration(overlay, "since", since);
	duration(overlay, "until", until);
	cmd_table_row(table);
	buf_init(&clean, 0);
	cmd_add_clean(&clean, text(overlay, "name"), 0);
	cmd_table_cell(table, 0, CMD_BOLD, "%s", buf_text(&clean));
	cmd_table_cell(table, 1, CMD_PLAIN, "%s", text(overlay, "scope"));
	cmd_table_cell(table, 2, CMD_PLAIN, "%s", since);
	cmd_table_cell(table, 3, CMD_PLAIN, "%s", *until ? until : "forever");
	buf_clear(&clean);
	add_changes(overlay, &clean);
	cmd_table_cell(table, 4, CMD_YELLOW, "%s", buf_text(&clean));
	buf_clear(&clean);
	cmd_add_clean(&clean, text(overlay, "declared_at"), 0);
	if (json_is_true(member(overlay, "rule_gone")))
		buf_add_text(&clean, " (rule gone)");
	cmd_table_cell(table, 5, CMD_DIM, "%s", buf_text(&clean));
	buf_clear(&clean);
	cmd_add_clean(&clean, text(overlay, "reply"), ERROR_WIDTH);
	cmd_table_cell(table, 6, CMD_PLAIN, "%s", buf_text(&clean));
	buf_fini(&clean);
}

static void
add_overlays(const json_t *why, bool colour, struct buf *out)
{
	static const char *const names[] = { "overlay", "on", "since", "ends in", "changes", "declared at", "reply" };
	const json_t *overlays = member(why, "overlays");
	struct cmd_table table;

	if (json_array_size(overlays) == 0)
		return;
	cmd_table_init(&table, "llrrlll");
	header(&table, names);
	for (size_t i = 0; i < json_array_size(overlays); i++)
		overlay_row(&table, json_array_get(overlays, i));
	cmd_table_write(&table, colour, out);
	cmd_table_fini(&table);
	buf_add_char(out, '\n');
}

static void
add_pace(const json_t *why, bool colour, struct buf *out)
{
	double pace = json_number_value(member(why, "pace"));
	char empty[32];

	duration(why, "empty_in", empty);
	label(out, colour, "pace");
	if (*empty)
		buf_printf(out, "%.10g recipients an hour lately: empty in %s\n", pace, empty);
	else
		buf_add_text(out, "no recipient has left it lately\n");
}

static void
add_rest(const json_t *why, bool colour, struct buf *out)
{
	const json_t *ceiling = member(why, "ceiling");
	char oldest[32];

	duration(why, "oldest_age", oldest);
	label(out, colour, "queued");
	buf_printf(out, "%lld, %lld ready, %lld session%s", count(why, "queued"), count(why, "ready"),
		   count(why, "sessions"), plural(count(why, "sessions")));
	buf_printf(out, *oldest ? ", the oldest for %s\n" : "%s\n", oldest);
	if (count(why, "queued") > 0)
		add_pace(why, colour, out);
	if (json_is_object(ceiling)) {
		label(out, colour, "ceiling");
		buf_printf(out, "%.10g messages an hour, by %s\n", json_number_value(member(ceiling, "msgs_per_hour")), text(ceiling, "bound_by"));
	}
	if (json_is_object(member(why, "warmup"))) {
		const json_t *warmup = member(why, "warmup");

		label(out, colour, "warm-up");
		buf_printf(out, "day %lld: %lld of %lld went out, %lld left\n", count(warmup, "day"), count(warmup, "used"),
			   count(warmup, "per_day"), count(warmup, "left"));
	}
	if (*text(why, "last_error")) {
		label(out, colour, "last error");
		cmd_add_clean(out, text(why, "last_error"), 0);
		buf_add_char(out, '\n');
	}
}

void
cmd_view_why(const json_t *why, bool colour, struct buf *out)
{
	struct buf first;

	buf_init(&first, 0);
	sentence(why, &first);
	cmd_add_styled(out, CMD_BOLD, colour, buf_span(&first));
	buf_add_text(out, "\n\n");
	buf_fini(&first);
	add_gates(why, colour, out);
	buf_add_char(out, '\n');
	add_overlays(why, colour, out);
	add_rest(why, colour, out);
}

/* ---- where a message waits ---- */

static void
found_row(struct cmd_table *table, const json_t *row)
{
	static const char *const texts[] = { "message", "recipient", "queue" };
	const char *state = text(row, "state"), *gate = text(row, "gate");
	char since[32], due[32];
	struct buf clean;

	duration(row, "since", since);
	duration(row, "due", due);
	cmd_table_row(table);
	buf_init(&clean, 0);
	for (unsigned i = 0; i < countof(texts); i++) {
		buf_clear(&clean);
		cmd_add_clean(&clean, text(row, texts[i]), 0);
		cmd_table_cell(table, i, i == 1 ? CMD_BOLD : CMD_PLAIN, "%s", buf_text(&clean));
	}
	buf_fini(&clean);
	cmd_table_cell(table, 3, strcmp(state, "deferred") ? CMD_PLAIN : CMD_YELLOW, "%s", state);
	cmd_table_cell(table, 4, CMD_PLAIN, "%s", since);
	cmd_table_cell(table, 5, CMD_PLAIN, "%s", due);
	cmd_table_cell(table, 6, CMD_PLAIN, "%lld", count(row, "attempts"));
	cmd_table_cell(table, 7, CMD_YELLOW, "%s", gate);
}

void
cmd_view_found(const json_t *found, bool colour, struct buf *out)
{
	static const char *const names[] = { "message", "recipient", "queue", "state", "waits for", "due in", "attempts", "held by" };
	struct cmd_table table;

	cmd_table_init(&table, "llllrrrl");
	header(&table, names);
	for (size_t i = 0; i < json_array_size(found); i++)
		found_row(&table, json_array_get(found, i));
	cmd_table_write(&table, colour, out);
	cmd_table_fini(&table);
}

/* ---- acts ---- */

void
cmd_view_touched(const void *ctx, const json_t *touched, bool colour, struct buf *out)
{
	const struct cmd_view_act *act = ctx;
	long long queues = count(touched, "queues"), recipients = count(touched, "recipients");

	buf_printf(out, "%s %lld recipient%s in %lld queue%s", act->done, recipients, plural(recipients), queues, plural(queues));
	if (!queues) {
		buf_add_text(out, ": no queue is called ");
		cmd_add_clean(out, act->pattern, 0);
		buf_add_text(out, " now");
	}
	buf_add_char(out, '\n');
}
