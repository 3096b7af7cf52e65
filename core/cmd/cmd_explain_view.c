/*
 * The same JSON that a script gets, as a table: what the policy says first, what is
 * built in behind it and dim.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_explain.h"

#include "cmd/cmd_print.h"
#include "policy/setting.h"

static const char *
text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value ? value : "";
}

static void
add_cell(struct cmd_table *table, unsigned column, enum cmd_style style, const struct buf *value)
{
	cmd_table_cell(table, column, style, "%.*s", SPAN_ARG(buf_span(value)));
}

/* name, value, declared at, and what comes last. */
static void
add_row(struct cmd_table *table, const char *name, const json_t *value, const json_t *object, const char *last)
{
	bool declared = json_is_string(json_object_get(object, "declared_at"));
	enum cmd_style style = declared ? CMD_PLAIN : CMD_DIM;
	struct buf cell;

	buf_init(&cell, 0);
	cmd_table_row(table);
	cmd_table_cell(table, 0, declared ? CMD_BOLD : CMD_DIM, "%s", name);
	cmd_add_setting(&cell, name, value, ", ");
	add_cell(table, 1, style, &cell);
	buf_clear(&cell);
	cmd_add_clean(&cell, text(object, "declared_at"), 0);
	add_cell(table, 2, style, &cell);
	buf_clear(&cell);
	cmd_add_clean(&cell, last, 0);
	add_cell(table, 3, style, &cell);
	buf_fini(&cell);
}

static void
begin(struct cmd_table *table, const char *first, const char *second, const char *last)
{
	cmd_table_init(table, "llll");
	cmd_table_row(table);
	cmd_table_cell(table, 0, CMD_DIM, "%s", first);
	cmd_table_cell(table, 1, CMD_DIM, "%s", second);
	cmd_table_cell(table, 2, CMD_DIM, "declared at");
	cmd_table_cell(table, 3, CMD_DIM, "%s", last);
}

static void
end(struct cmd_table *table, bool colour, struct buf *out)
{
	cmd_table_write(table, colour, out);
	cmd_table_fini(table);
}

static void
add_settings(const json_t *settings, bool colour, struct buf *out)
{
	struct cmd_table table;

	begin(&table, "setting", "value", "scope");
	for (unsigned built_in = 0; built_in < 2; built_in++) {
		for (unsigned id = 0; id < SETTINGS_N; id++) {
			const json_t *setting = json_object_get(settings, setting_table[id].name);
			if (json_is_null(json_object_get(setting, "declared_at")) == (built_in == 1))
				add_row(&table, setting_table[id].name, json_object_get(setting, "value"), setting, text(setting, "scope"));
		}
	}
	end(&table, colour, out);
}

static void
add_rules(const json_t *rules, bool colour, struct buf *out)
{
	struct cmd_table table;

	if (!json_array_size(rules))
		return;
	buf_add_char(out, '\n');
	begin(&table, "rule", "", "");
	for (size_t i = 0; i < json_array_size(rules); i++) {
		struct buf name;

		buf_init(&name, 0);
		cmd_add_clean(&name, text(json_array_get(rules, i), "name"), 60);
		add_row(&table, buf_text(&name), NULL, json_array_get(rules, i), "");
		buf_fini(&name);
	}
	end(&table, colour, out);
}

static void
add_overridden(const json_t *all, bool colour, struct buf *out)
{
	struct cmd_table table;
	char last[600];

	if (!json_array_size(all))
		return;
	buf_add_char(out, '\n');
	begin(&table, "overridden", "value", "scope");
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *one = json_array_get(all, i);
		snprintf(last, sizeof(last), "%.280s, by %.280s", text(one, "scope"), text(one, "by"));
		add_row(&table, text(one, "setting"), json_object_get(one, "value"), one, last);
	}
	end(&table, colour, out);
}

static void
add_wider(const json_t *all, bool colour, struct buf *out)
{
	struct cmd_table table;

	if (!json_array_size(all))
		return;
	buf_add_char(out, '\n');
	begin(&table, "holds too", "value", "scope");
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *one = json_array_get(all, i);
		add_row(&table, text(one, "name"), json_object_get(one, "value"), one, text(one, "scope"));
	}
	end(&table, colour, out);
}

static void
add_dns(const json_t *dns, struct buf *out)
{
	const json_t *mx = json_object_get(dns, "mx");

	if (!json_is_object(dns))
		return;
	buf_add_text(out, "MX: ");
	for (size_t i = 0; i < json_array_size(mx); i++) {
		const json_t *one = json_array_get(mx, i);
		buf_printf(out, "%s%lld ", i ? ", " : "", (long long)json_integer_value(json_object_get(one, "preference")));
		cmd_add_clean(out, text(one, "host"), 0);
	}
	if (!json_array_size(mx))
		cmd_add_clean(out, text(dns, "status"), 0);
	buf_add_char(out, '\n');
}

static void
add_warnings(const json_t *all, bool colour, struct buf *out)
{
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *one = json_array_get(all, i);
		cmd_add_clean(out, text(one, "file"), 0);
		buf_printf(out, ":%lld: ", (long long)json_integer_value(json_object_get(one, "line")));
		cmd_add_styled(out, CMD_YELLOW, colour, SPAN("warning: "));
		cmd_add_clean(out, text(one, "text"), 0);
		buf_add_char(out, '\n');
	}
}

static void
add_warmup(const json_t *warmup, struct buf *out)
{
	if (!json_is_object(warmup))
		return;
	buf_printf(out, "warm-up: day %lld: %lld recipients, the rest by ", (long long)json_integer_value(json_object_get(warmup, "day")),
		   (long long)json_integer_value(json_object_get(warmup, "per_day")));
	cmd_add_clean(out, text(warmup, "overflow"), 0);
	buf_printf(out, " (%s)\n", text(warmup, "declared_at"));
}

void
cmd_explain_view(const json_t *answer, bool colour, struct buf *out)
{
	const json_t *ceiling = json_object_get(answer, "ceiling");
	struct buf queue;

	buf_init(&queue, 0);
	cmd_add_clean(&queue, text(answer, "queue"), 0);
	cmd_add_styled(out, CMD_BOLD, colour, buf_span(&queue));
	buf_fini(&queue);
	buf_add_char(out, '\n');
	add_dns(json_object_get(answer, "dns"), out);
	buf_add_char(out, '\n');
	add_settings(json_object_get(answer, "settings"), colour, out);
	add_rules(json_object_get(json_object_get(json_object_get(answer, "settings"), "backoff"), "value"), colour, out);
	add_overridden(json_object_get(answer, "overridden"), colour, out);
	add_wider(json_object_get(answer, "wider"), colour, out);
	buf_add_text(out, "\nceiling: ");
	if (json_is_object(ceiling))
		buf_printf(out, "%.10g messages an hour, by %s\n", json_number_value(json_object_get(ceiling, "msgs_per_hour")),
			   text(ceiling, "bound_by"));
	else
		buf_add_text(out, "none: nothing bounds its messages an hour\n");
	add_warmup(json_object_get(answer, "warmup"), out);
	add_warnings(json_object_get(answer, "warnings"), colour, out);
}
