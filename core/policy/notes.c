/*
 * The report's arrays grow in its arena. Sorting makes the order one that the
 * operator can follow, and the same in each run.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/notes.h"

#include <stdarg.h>
#include <stdio.h>

#include "policy/grow.h"

void
policy_report_init(struct policy_report *report)
{
	*report = (struct policy_report){ 0 };
	arena_init(&report->arena);
}

void
policy_report_fini(struct policy_report *report)
{
	arena_fini(&report->arena);
	*report = (struct policy_report){ 0 };
}

static void
add(struct arena *arena, struct policy_note **notes, unsigned *n, const char *file, int line, const char *text)
{
	if (*n == NOTES_MAX)
		return;
	*notes = grow(arena, *notes, *n, sizeof(**notes));
	(*notes)[(*n)++] = (struct policy_note){
		.file = file ? arena_strdup(arena, file) : NULL, .line = line, .text = arena_strdup(arena, text),
	};
}

void
notes_error(struct policy_report *report, const char *file, int line, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add(&report->arena, &report->errors, &report->errors_n, file, line, text);
}

void
notes_warning(struct policy_report *report, const char *file, int line, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add(&report->arena, &report->warnings, &report->warnings_n, file, line, text);
}

static int
compare(const void *a, const void *b)
{
	const struct policy_note *x = a, *y = b;
	int files = strcmp(x->file ? x->file : "", y->file ? y->file : "");
	if (files)
		return files;
	return x->line != y->line ? (x->line > y->line) - (x->line < y->line) : strcmp(x->text, y->text);
}

void
notes_sort(struct policy_report *report)
{
	if (report->errors_n)
		qsort(report->errors, report->errors_n, sizeof(*report->errors), compare);
	if (report->warnings_n)
		qsort(report->warnings, report->warnings_n, sizeof(*report->warnings), compare);
}
