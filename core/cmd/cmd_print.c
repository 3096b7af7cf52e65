/*
 * Everything is gathered in a buf and written at once: tests compare text, and
 * a pipe that closes early is one failed write.
 *
 * Width is counted in characters, not bytes: × and … are one column each.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_print.h"

#include "policy/setting.h"
#include "smtp/smtp_text.h"

#include <math.h>
#include <stdarg.h>

static const char *const styles[CMD_STYLES_N] = {
	[CMD_PLAIN] = "", [CMD_BOLD] = "\033[1m", [CMD_DIM] = "\033[2m",
	[CMD_GREEN] = "\033[32m", [CMD_YELLOW] = "\033[33m", [CMD_RED] = "\033[31m",
};

bool
cmd_has_colour(void)
{
	const char *no = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

void
cmd_add_styled(struct buf *out, enum cmd_style style, bool colour, struct span text)
{
	bool on = colour && style != CMD_PLAIN && text.n;

	if (on)
		buf_add_text(out, styles[style]);
	buf_add(out, text);
	if (on)
		buf_add_text(out, "\033[0m");
}

/* A program reads UTF-8; a terminal obeys some of it, such as U+009B. */
size_t
cmd_json_flags(void)
{
	return isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0;
}

void
cmd_print_json(const json_t *value)
{
	size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) | cmd_json_flags();

	json_dumpf(value, stdout, flags | (isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT));
	putchar('\n');
}

void
cmd_print_text(const struct buf *text)
{
	if (buf_len(text) > 0)
		fwrite(buf_span(text).p, 1, buf_len(text), stdout);
}

void
cmd_print_answer(json_t *answer, bool json, cmd_view_fn *view, const void *ctx)
{
	struct buf text;

	if (json) {
		cmd_print_json(answer);
	} else {
		buf_init(&text, 0);
		view(ctx, answer, cmd_has_colour(), &text);
		cmd_print_text(&text);
		buf_fini(&text);
	}
	json_decref(answer);
}

void
cmd_duration(double seconds, char out[32])
{
	static const struct { char unit; int64_t s; } units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
	int64_t whole = (int64_t)llround(seconds);

	if (seconds < 0.95) {
		snprintf(out, 32, "%.1fs", seconds < 0 ? 0 : seconds);
		return;
	}
	for (size_t i = 0; i < countof(units); i++) {
		int64_t n = whole / units[i].s;
		int64_t rest = i + 1 < countof(units) ? whole % units[i].s / units[i + 1].s : 0;
		if (n == 0)
			continue;
		if (rest)
			snprintf(out, 32, "%lld%c%lld%c", (long long)n, units[i].unit, (long long)rest, units[i + 1].unit);
		else
			snprintf(out, 32, "%lld%c", (long long)n, units[i].unit);
		return;
	}
	check(!"a second has a unit");
}

static bool
is_first_byte(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

static size_t
width(struct span text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += is_first_byte(text.p[i]);
	return n;
}

/* Of C1 the number, not the two bytes of UTF-8. */
static void
add_escaped(struct buf *out, struct span control)
{
	const unsigned char *p = (const unsigned char *)control.p;

	if (control.n == 3)
		buf_printf(out, "\\u%04x", (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
	else
		buf_printf(out, "\\x%02x", p[control.n - 1]);
}

void
cmd_add_clean(struct buf *out, const char *text, size_t max)
{
	struct span rest = span_text(text);
	size_t shown = 0, all = width(rest);

	while (rest.n > 0) {
		size_t control = smtp_text_control(rest), n = control ? control : smtp_text_shown(rest);

		if (max && all > max && is_first_byte(*rest.p) && ++shown == max) {
			buf_add_text(out, "…");
			return;
		}
		if (control || n == 0)
			add_escaped(out, span_first(rest, n ? n : 1));
		else
			buf_add(out, span_first(rest, n));
		rest = span_from(rest, n ? n : 1);
	}
}

void
cmd_add_setting(struct buf *out, const char *setting, const json_t *value, const char *between)
{
	enum setting_id id = setting_find(span_text(setting));
	bool is_time = id < SETTINGS_N && (setting_table[id].kind == SETTING_DURATION || setting_table[id].kind == SETTING_DURATIONS);
	char shown[32];

	if (json_is_number(value) && is_time) {
		duration_format((int64_t)(json_number_value(value) * (double)US_PER_S), shown);
		buf_add_text(out, shown);
	} else if (json_is_number(value)) {
		buf_printf(out, "%.15g", json_number_value(value));
	} else if (json_is_string(value)) {
		cmd_add_clean(out, json_string_value(value), 0);
	} else if (json_is_boolean(value)) {
		buf_add_text(out, json_is_true(value) ? "yes" : "no");
	} else if (json_is_object(json_array_get(value, 0))) {
		buf_printf(out, "%zu rule%s", json_array_size(value), json_array_size(value) == 1 ? "" : "s");
	} else if (json_array_size(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			buf_add_text(out, i ? between : "");
			cmd_add_setting(out, setting, json_array_get(value, i), between);
		}
	} else if (value) {
		buf_add_char(out, '-');
	}
}

void
cmd_table_init(struct cmd_table *table, const char *align)
{
	*table = (struct cmd_table){ .align = align, .columns = (unsigned)strlen(align) };
	check(table->columns <= CMD_COLUMNS_MAX);
	arena_init(&table->arena);
}

void
cmd_table_fini(struct cmd_table *table)
{
	arena_fini(&table->arena);
	free(table->cells);
}

void
cmd_table_row(struct cmd_table *table)
{
	if (table->rows == table->cap) {
		table->cap = table->cap ? 2 * table->cap : 32;
		table->cells = mem_grow(table->cells, sizeof(*table->cells) * table->cap * table->columns);
	}
	for (unsigned i = 0; i < table->columns; i++)
		table->cells[table->rows * table->columns + i] = (struct cmd_cell){ .text = SPAN("") };
	table->rows++;
}

void
cmd_table_cell(struct cmd_table *table, unsigned column, enum cmd_style style, const char *format, ...)
{
	struct cmd_cell *cell = &table->cells[(table->rows - 1) * table->columns + column];
	char *text = NULL;
	va_list args;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	check(n >= 0);
	cell->text = span_text(arena_strndup(&table->arena, text, (size_t)n));
	cell->style = style;
	free(text);
}

static void
pad(struct buf *out, size_t n)
{
	while (n--)
		buf_add_char(out, ' ');
}

static void
write_row(const struct cmd_table *table, unsigned row, const size_t *widths, bool colour, struct buf *out)
{
	const struct cmd_cell *cells = &table->cells[row * table->columns];
	size_t owed = 0;        /* blanks, written only if something follows */

	for (unsigned i = 0; i < table->columns; i++) {
		size_t fill = widths[i] - width(cells[i].text);
		if (!widths[i])
			continue;
		if (table->align[i] == 'r' || !cells[i].text.n)
			owed += fill;
		if (cells[i].text.n) {
			pad(out, owed);
			owed = table->align[i] == 'r' ? 0 : fill;
			cmd_add_styled(out, cells[i].style, colour, cells[i].text);
		}
		owed += 2;
	}
	buf_add_char(out, '\n');
}

void
cmd_table_write(const struct cmd_table *table, bool colour, struct buf *out)
{
	size_t widths[CMD_COLUMNS_MAX] = { 0 };

	for (unsigned i = 0; i < table->rows * table->columns; i++) {
		size_t n = width(table->cells[i].text);
		if (n > widths[i % table->columns])
			widths[i % table->columns] = n;
	}
	for (unsigned row = 0; row < table->rows; row++)
		write_row(table, row, widths, colour, out);
}
