/*
 * The cursor stands on a name, not on a line: rows are sorted anew with each
 * answer, and a key must act on the queue that was looked at.
 *
 * Layout: the node in one line, a line for what the last key did, a head, rows,
 * and the keys at the bottom. The queue's name takes what the numbers leave.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/top_screen.h"

#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"
#include "util/span.h"

#define FIXED_LINES   4         /* node, message, head, keys */
#define FIXED_COLUMNS 50        /* all but the name, at their widest */
#define ERROR_COLUMNS 104       /* from here on the last error is shown too */

static const char *const sort_names[TOP_SORTS_N] = { "queued", "name", "sessions", "pace", "oldest" };

static const char *
text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));
	return value ? value : "";
}

static double
number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

void
top_screen_init(struct top_screen *top)
{
	*top = (struct top_screen){ 0 };
}

void
top_screen_fini(struct top_screen *top)
{
	json_decref(top->status);
	json_decref(top->rows);
	json_decref(top->why);
}

/* ---- rows ---- */

static const char *const sort_keys[TOP_SORTS_N] = { "queued", "queue", "sessions", "pace", "oldest_age" };

struct sorted {
	json_t *row;
	enum top_sort by;
};

static int
order(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	double m = number(x->row, sort_keys[x->by]), n = number(y->row, sort_keys[x->by]);

	if (x->by != TOP_BY_NAME && m != n)
		return m < n ? 1 : -1;
	return strcmp(text(x->row, "queue"), text(y->row, "queue"));
}

static void
sort(struct top_screen *top)
{
	size_t n = json_array_size(top->rows);
	struct sorted *all = mem_alloc((n + 1) * sizeof *all);
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++)
		all[i] = (struct sorted){ json_array_get(top->rows, i), top->sort };
	if (n > 0)
		qsort(all, n, sizeof *all, order);
	for (size_t i = 0; i < n; i++)
		json_array_append(rows, all[i].row);
	free(all);
	json_decref(top->rows);
	top->rows = rows;
}

static void
select_row(struct top_screen *top, size_t at)
{
	size_t n = json_array_size(top->rows);

	top->cursor = n == 0 ? 0 : at < n ? at : n - 1;
	snprintf(top->selected, sizeof top->selected, "%s", n > 0 ? text(json_array_get(top->rows, top->cursor), "queue") : "");
}

/* The queue may have moved, or be gone: then what took its place. */
static void
find_selected(struct top_screen *top)
{
	for (size_t i = 0; i < json_array_size(top->rows); i++)
		if (strcmp(text(json_array_get(top->rows, i), "queue"), top->selected) == 0) {
			top->cursor = i;
			return;
		}
	select_row(top, top->cursor);
}

void
top_screen_update(struct top_screen *top, json_t *status, json_t *rows, double at_s)
{
	double delivered = number(status, "delivered");

	if (top->status != NULL && at_s > top->at_before)
		top->per_second = (delivered - top->delivered_before) / (at_s - top->at_before);
	top->delivered_before = delivered;
	top->at_before = at_s;
	json_decref(top->status);
	json_decref(top->rows);
	top->status = status;
	top->rows = rows;
	sort(top);
	/* While `why` is shown its keys act on the queue that it speaks of, also when that has emptied. */
	if (top->why == NULL)
		find_selected(top);
}

void
top_screen_show_why(struct top_screen *top, json_t *why)
{
	json_decref(top->why);
	top->why = why;
}

void
top_screen_tell(struct top_screen *top, const char *done, const json_t *touched, const char *error)
{
	struct buf said;

	buf_init(&said, 0);
	if (error != NULL)
		cmd_add_clean(&said, error, 0);
	else
		buf_printf(&said, "%s %s: %.0f recipients", done, top->selected, number(touched, "recipients"));
	snprintf(top->message, sizeof top->message, "%s", buf_text(&said));
	buf_fini(&said);
}

const char *
top_screen_queue(const struct top_screen *top)
{
	return top->selected;
}

const char *
top_screen_pattern(const struct top_screen *top, char room[TOP_FILTER_MAX + 3])
{
	if (!top->filter[0])
		return NULL;
	snprintf(room, TOP_FILTER_MAX + 3, "*%s*", top->filter);
	return room;
}

/* ---- keys ---- */

static enum top_act
key_while_typing(struct top_screen *top, int key)
{
	size_t n = strlen(top->filter);

	if (key == TOP_KEY_ENTER) {
		top->typing = false;
		return TOP_NOTHING;
	}
	if (key == TOP_KEY_ESCAPE) {
		top->typing = false;
		top->filter[0] = '\0';
	} else if (key == TOP_KEY_BACK && n > 0) {
		top->filter[n - 1] = '\0';
	} else if (key > ' ' && key < 0x7f && n < TOP_FILTER_MAX) {
		top->filter[n] = (char)key;
		top->filter[n + 1] = '\0';
	}
	return TOP_REFRESH;
}

static enum top_act
act_on_selected(const struct top_screen *top, enum top_act act)
{
	return top->selected[0] ? act : TOP_NOTHING;
}

static enum top_act
key_on_why(struct top_screen *top, int key)
{
	if (key == 'q' || key == TOP_KEY_ESCAPE || key == TOP_KEY_ENTER || key == 'w') {
		json_decref(top->why);
		top->why = NULL;
		return TOP_REFRESH;
	}
	return key == 'p' ? TOP_PAUSE : key == 'r' ? TOP_RESUME : key == 't' ? TOP_RETRY : TOP_NOTHING;
}

enum top_act
top_screen_key(struct top_screen *top, int key)
{
	top->message[0] = '\0';
	if (top->why != NULL)
		return key_on_why(top, key);
	if (top->typing)
		return key_while_typing(top, key);
	switch (key) {
	case 'q':
		return TOP_QUIT;
	case '/':
		top->typing = true;
		return TOP_NOTHING;
	case TOP_KEY_ESCAPE:
		top->filter[0] = '\0';
		return TOP_REFRESH;
	case 's':
		top->sort = (top->sort + 1) % TOP_SORTS_N;
		sort(top);
		find_selected(top);
		return TOP_NOTHING;
	case TOP_KEY_UP:
	case 'k':
		select_row(top, top->cursor > 0 ? top->cursor - 1 : 0);
		return TOP_NOTHING;
	case TOP_KEY_DOWN:
	case 'j':
		select_row(top, top->cursor + 1);
		return TOP_NOTHING;
	case TOP_KEY_PAGE_UP:
		select_row(top, top->cursor > 10 ? top->cursor - 10 : 0);
		return TOP_NOTHING;
	case TOP_KEY_PAGE_DOWN:
		select_row(top, top->cursor + 10);
		return TOP_NOTHING;
	case 'p':
		return act_on_selected(top, TOP_PAUSE);
	case 'r':
		return act_on_selected(top, TOP_RESUME);
	case 't':
		return act_on_selected(top, TOP_RETRY);
	case 'w':
	case TOP_KEY_ENTER:
		return act_on_selected(top, TOP_WHY);
	default:
		return TOP_NOTHING;
	}
}

/* ---- drawing ---- */

/* At most `columns` characters; styles are put around a line, so none is inside. */
static void
add_line(struct buf *out, enum cmd_style style, bool colour, const char *line, unsigned columns)
{
	struct buf cut;

	buf_init(&cut, 0);
	cmd_add_clean(&cut, line, columns);
	cmd_add_styled(out, style, colour, buf_span(&cut));
	buf_add_text(out, "\033[K\r\n");
	buf_fini(&cut);
}

static void
add_node(const struct top_screen *top, unsigned columns, bool colour, struct buf *out)
{
	char line[400], up[32];

	cmd_duration(number(top->status, "uptime"), up);
	snprintf(line, sizeof line, "generation %.0f, up %s  queued %.0f (%.0f deferred)  sessions %.0f in %.0f out  delivered %.0f, %.0f/s%s%s",
		 number(top->status, "generation"), up, number(top->status, "queued"), number(top->status, "deferred"),
		 number(top->status, "sessions_in"), number(top->status, "sessions_out"), number(top->status, "delivered"),
		 top->per_second, *text(top->status, "refusing") ? "  REFUSING: " : "", text(top->status, "refusing"));
	add_line(out, CMD_BOLD, colour, line, columns);
}

static void
add_message(const struct top_screen *top, unsigned columns, bool colour, struct buf *out)
{
	char line[300];

	if (top->message[0])
		snprintf(line, sizeof line, "%s", top->message);
	else if (top->typing || top->filter[0])
		snprintf(line, sizeof line, "filter: %s%s", top->filter, top->typing ? "_" : "");
	else
		snprintf(line, sizeof line, "%zu queues by %s", json_array_size(top->rows), sort_names[top->sort]);
	add_line(out, top->message[0] ? CMD_YELLOW : CMD_DIM, colour, line, columns);
}

/* Exactly n columns, cut or filled. */
static void
add_cell(struct buf *line, const char *value, unsigned n)
{
	struct buf cut;
	unsigned shown = 0;

	buf_init(&cut, 0);
	cmd_add_clean(&cut, value, n);
	for (const char *p = buf_text(&cut); *p; p++)
		shown += ((unsigned char)*p & 0xc0) != 0x80;
	buf_add(line, buf_span(&cut));
	for (; shown < n; shown++)
		buf_add_char(line, ' ');
	buf_fini(&cut);
}

static void
add_row(const struct top_screen *top, const json_t *row, unsigned columns, bool colour, struct buf *out)
{
	unsigned name = columns > FIXED_COLUMNS + 10 ? columns - FIXED_COLUMNS : 10;
	const char *mode = text(row, "mode"), *gate = text(row, "gate");
	const char *state = strcmp(mode, "normal") ? mode : *gate ? gate : "open";
	bool selected = strcmp(text(row, "queue"), top->selected) == 0;
	char oldest[32] = "";
	struct buf line;

	if (columns >= ERROR_COLUMNS)
		name = 40;
	if (json_is_number(json_object_get(row, "oldest_age")))
		cmd_duration(number(row, "oldest_age"), oldest);
	buf_init(&line, 0);
	add_cell(&line, selected ? ">" : "", 1);
	add_cell(&line, text(row, "queue"), name);
	buf_printf(&line, " %8.0f %5.0f %7.0f %7s ", number(row, "queued"), number(row, "sessions"), number(row, "pace"), oldest);
	add_cell(&line, state, 18);
	if (columns >= ERROR_COLUMNS) {
		buf_add_char(&line, ' ');
		cmd_add_clean(&line, text(row, "last_error"), columns - name - FIXED_COLUMNS - 1);
	}
	add_line(out, selected ? CMD_BOLD : cmd_view_queue_style(mode, gate), colour, buf_text(&line), columns);
	buf_fini(&line);
}

static void
add_head(unsigned columns, bool colour, struct buf *out)
{
	unsigned name = columns >= ERROR_COLUMNS ? 40 : columns > FIXED_COLUMNS + 10 ? columns - FIXED_COLUMNS : 10;
	struct buf line;

	buf_init(&line, 0);
	add_cell(&line, " queue", name + 1);
	buf_printf(&line, " %8s %5s %7s %7s ", "queued", "sess", "pace/h", "oldest");
	add_cell(&line, "state", 18);
	buf_add_text(&line, columns >= ERROR_COLUMNS ? " last error" : "");
	add_line(out, CMD_DIM, colour, buf_text(&line), columns);
	buf_fini(&line);
}

static unsigned
add_rows(const struct top_screen *top, unsigned room, unsigned columns, bool colour, struct buf *out)
{
	size_t n = json_array_size(top->rows), first = top->cursor >= room ? top->cursor - room + 1 : 0;
	unsigned shown = 0;

	for (size_t i = first; i < n && shown < room; i++, shown++)
		add_row(top, json_array_get(top->rows, i), columns, colour, out);
	return shown;
}

/* The text of `why`, as `sluice why` prints it. */
static unsigned
add_why(const struct top_screen *top, unsigned room, unsigned columns, bool colour, struct buf *out)
{
	struct buf all;
	struct span rest;
	unsigned shown = 0;

	buf_init(&all, 0);
	cmd_view_why(top->why, false, &all);
	for (rest = buf_span(&all); rest.n > 0 && shown < room; shown++) {
		size_t end = span_find(rest, '\n');
		char line[1000];

		end = end == SIZE_MAX ? rest.n : end;
		snprintf(line, sizeof line, "%.*s", (int)(end < sizeof line ? end : sizeof line - 1), rest.p);
		add_line(out, shown == 0 ? CMD_BOLD : CMD_PLAIN, colour, line, columns);
		rest = span_from(rest, end < rest.n ? end + 1 : end);
	}
	buf_fini(&all);
	return shown;
}

void
top_screen_draw(const struct top_screen *top, unsigned lines, unsigned columns, bool colour, struct buf *out)
{
	unsigned room = lines > FIXED_LINES ? lines - FIXED_LINES : 1, shown;
	const char *keys = top->why ? "p pause  r resume  t retry  q back"
				    : "arrows move  w why  p pause  r resume  t retry  s sort  / filter  q quit";

	buf_add_text(out, "\033[H");
	add_node(top, columns, colour, out);
	add_message(top, columns, colour, out);
	if (top->why != NULL) {
		shown = add_why(top, room + 1, columns, colour, out);
		room++;
	} else {
		add_head(columns, colour, out);
		shown = add_rows(top, room, columns, colour, out);
	}
	for (; shown < room; shown++)
		buf_add_text(out, "\033[K\r\n");
	add_line(out, CMD_DIM, colour, keys, columns);
	/* The last line must not scroll the first away. */
	buf_truncate(out, buf_len(out) - 2);
}
