/*
 * Lines are told apart here, so that a listener gets one at a time however the
 * bytes came: commands that leave together are one write, a reply may come in two
 * reads (then it is two lines here, too: nothing is kept for a listener).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/trace.h"

void
trace_init(struct trace *trace, uint64_t first, uint64_t step)
{
	list_init(&trace->listeners);
	trace->next = first;
	trace->step = step;
}

void
trace_add(struct trace *trace, struct trace_listener *listener)
{
	list_add_tail(&trace->listeners, &listener->node);
}

void
trace_remove(struct trace_listener *listener)
{
	list_remove(&listener->node);
}

static size_t
skip(struct span line, size_t at, bool blanks)
{
	while (at < line.n && (line.p[at] == ' ' || line.p[at] == '\t') == blanks)
		at++;
	return at;
}

/* "AUTH PLAIN AGFsaWNl…" says who and with what password: only the mechanism is told, of a line that the
 * grammar refuses (blanks in front, a tab between) as well. */
static struct span
without_secret(struct span line)
{
	size_t word = skip(line, 0, true), end = skip(line, word, false);

	if (!span_eq_nocase(span_make(line.p + word, end - word), SPAN("AUTH")))
		return line;
	return span_first(line, skip(line, skip(line, end, true), false));
}

static void
tell_line(struct trace *trace, const struct trace_session *session, enum trace_who who, struct span line)
{
	line = without_secret(line);
	list_each_safe(node, &trace->listeners) {
		struct trace_listener *listener = list_entry(node, struct trace_listener, node);

		listener->fn(listener->ctx, session, who, line);
	}
}

void
trace_tell(struct trace *trace, const struct trace_session *session, enum trace_who who, struct span bytes)
{
	while (bytes.n > 0) {
		size_t end = span_find(bytes, '\n');
		struct span line = end == SIZE_MAX ? bytes : span_first(bytes, end);

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		tell_line(trace, session, who, line);
		bytes = span_from(bytes, end == SIZE_MAX ? bytes.n : end + 1);
	}
}
