/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A field is its first line and the lines behind it that begin with a blank or tab
 * (RFC 5322, 2.2.3). Its name is printable ASCII without a colon; blanks may stand before
 * the colon, as in mail of long ago. Blocks are in wire form, so a line that begins
 * with a dot is written as two: reading takes the first off a name, and adding a name
 * that begins with one puts it on. Continuation lines begin with a blank, so no dot there.
 *
 * Values that come to be added are refused with CR, LF or NUL in them, not cleaned: one
 * that holds a line end was meant to be two fields by somebody. So a value is
 * one line, of at most 998 bytes with its name.
 */
#include "mail/header.h"

#include "mail/domain.h"

#define LINE_MAX_BYTES 998

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

size_t
header_block_end(struct span message)
{
	static const struct span end = { "\r\n\r\n", 4 };
	if (span_starts(message, SPAN("\r\n")) || (message.n > 0 && is_blank(message.p[0])))
		return 0;
	size_t at = span_find_text(message, end);
	return at == SIZE_MAX ? SIZE_MAX : at + 2;
}

static bool
name_char(char c)
{
	return c > ' ' && c < 127 && c != ':';
}

/* The length of the line at the front, its end included. */
static size_t
line_length(struct span block)
{
	size_t lf = span_find(block, '\n');
	return lf == SIZE_MAX ? block.n : lf + 1;
}

static size_t
field_length(struct span block)
{
	size_t n = line_length(block);
	while (n < block.n && is_blank(block.p[n]))
		n += line_length(span_from(block, n));
	return n;
}

static bool
field_parse(struct span raw, struct header_field *out)
{
	size_t start = span_starts(raw, SPAN("..")) ? 1 : 0;
	size_t at = start;
	while (at < raw.n && name_char(raw.p[at]))
		at++;
	out->name = span_make(raw.p + start, at - start);
	while (at < raw.n && is_blank(raw.p[at]))
		at++;
	if (out->name.n == 0 || at == raw.n || raw.p[at] != ':')
		return false;
	out->value = span_from(raw, at + 1);
	if (out->value.n && out->value.p[out->value.n - 1] == '\n')
		out->value.n--;
	if (out->value.n && out->value.p[out->value.n - 1] == '\r')
		out->value.n--;
	if (out->value.n && is_blank(out->value.p[0]))
		out->value = span_from(out->value, 1);
	return true;
}

bool
header_next(struct span block, size_t *at, struct header_field *out)
{
	while (*at < block.n) {
		struct span rest = span_from(block, *at);
		size_t n = field_length(rest);
		out->at = *at;
		out->len = n;
		*at += n;
		if (field_parse(span_first(rest, n), out))
			return true;
	}
	return false;
}

bool
header_find(struct span block, struct span name, struct header_field *out)
{
	size_t at = 0;
	while (header_next(block, &at, out))
		if (span_eq_nocase(out->name, name))
			return true;
	return false;
}

void
header_unfold(struct span value, struct buf *out)
{
	size_t from = 0;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] != '\r' && value.p[i] != '\n')
			continue;
		buf_add(out, span_make(value.p + from, i - from));
		from = i + 1;
	}
	buf_add(out, span_from(value, from));
}

static bool
field_check(struct span name, struct span value, struct err *err)
{
	if (name.n == 0)
		return err_set(err, ERR_PERM, "a header field without a name");
	for (size_t i = 0; i < name.n; i++)
		if (!name_char(name.p[i]))
			return err_set(err, ERR_PERM, "a character in the name of a header field that cannot be there");
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == '\0')
			return err_set(err, ERR_PERM, "a line end or NUL in the value of header field %.*s",
				       (int)min_i64((int64_t)name.n, 80), name.p);
	if (name.n > LINE_MAX_BYTES || value.n > LINE_MAX_BYTES || name.n + 2 + value.n > LINE_MAX_BYTES)
		return err_set(err, ERR_PERM, "header field %.*s would be longer than %d bytes",
			       (int)min_i64((int64_t)name.n, 80), name.p, LINE_MAX_BYTES);
	return true;
}

/* Puts the field where `drop` bytes at `at` were. */
static bool
field_put(struct buf *block, size_t at, size_t drop, struct span name, struct span value, struct err *err)
{
	struct buf field;
	buf_init(&field, 0);
	if (name.p[0] == '.')
		buf_add_char(&field, '.');
	buf_add(&field, name);
	buf_add_text(&field, ": ");
	buf_add(&field, value);
	buf_add_text(&field, "\r\n");
	bool ok = buf_splice(block, at, drop, buf_span(&field));
	buf_fini(&field);
	return ok ? true : err_set(err, ERR_PERM, "the header would grow beyond its limit");
}

bool
header_add(struct buf *block, struct span name, struct span value, struct err *err)
{
	return field_check(name, value, err) && field_put(block, buf_len(block), 0, name, value, err);
}

bool
header_add_first(struct buf *block, struct span name, struct span value, struct err *err)
{
	return field_check(name, value, err) && field_put(block, 0, 0, name, value, err);
}

/* Those of that name from `from` on, in one pass: a stranger says how many they are. What stays moves up behind what
 * has stayed, which is always before where the walk reads. */
static unsigned
remove_from(struct buf *block, size_t from, struct span name)
{
	struct span all = buf_span(block);
	struct header_field field;
	size_t at = from, kept = from, rest = from;
	unsigned n = 0;
	while (header_next(all, &at, &field)) {
		if (!span_eq_nocase(field.name, name))
			continue;
		memmove(block->p + block->start + kept, all.p + rest, field.at - rest);
		kept += field.at - rest;
		rest = at;
		n++;
	}
	if (n == 0)
		return 0;
	memmove(block->p + block->start + kept, all.p + rest, all.n - rest);
	buf_truncate(block, kept + all.n - rest);
	return n;
}

unsigned
header_remove(struct buf *block, struct span name)
{
	return remove_from(block, 0, name);
}

bool
header_replace(struct buf *block, struct span name, struct span value, struct err *err)
{
	struct header_field field;
	if (!field_check(name, value, err))
		return false;
	if (!header_find(buf_span(block), name, &field))
		return field_put(block, buf_len(block), 0, name, value, err);
	size_t before = buf_len(block);
	if (!field_put(block, field.at, field.len, name, value, err))
		return false;
	remove_from(block, field.at + field.len + buf_len(block) - before, name);
	return true;
}

/* The domain of the first addr-spec of an address list (RFC 5322, 3.4): what follows
 * the '@' that is outside of comments, quotes and, once one began, inside the angle brackets. */
struct from_scan {
	struct span in;
	size_t      i;
	unsigned    comments;
};

/* Passes over a quoted string or a comment at i; false: neither is there. */
static bool
skip_quoted(struct from_scan *scan)
{
	char c = scan->in.p[scan->i];
	if (c == '"') {
		for (scan->i++; scan->i < scan->in.n && scan->in.p[scan->i] != '"'; scan->i++)
			if (scan->in.p[scan->i] == '\\')
				scan->i++;
		scan->i++;
		return true;
	}
	if (c != '(')
		return false;
	for (; scan->i < scan->in.n; scan->i++) {
		c = scan->in.p[scan->i];
		if (c == '\\')
			scan->i++;
		else if (c == '(')
			scan->comments++;
		else if (c == ')' && --scan->comments == 0)
			break;
	}
	scan->comments = 0;
	scan->i++;
	return true;
}

static struct span
domain_at(struct span in)
{
	while (in.n && (is_blank(in.p[0])))
		in = span_from(in, 1);
	size_t n = 0;
	if (in.n && in.p[0] == '[') {
		size_t close = span_find(in, ']');
		return span_first(in, close == SIZE_MAX ? 0 : close + 1);
	}
	while (n < in.n && (unsigned char)in.p[n] > ' ' && !strchr("<>()[],;:@\\\"", in.p[n]))
		n++;
	return span_first(in, n);
}

static struct span
first_domain(struct span value)
{
	struct from_scan scan = { .in = value };
	struct span found = { 0 };
	bool angle = false;
	while (scan.i < value.n) {
		if (skip_quoted(&scan))
			continue;
		char c = value.p[scan.i++];
		if (c == '<') {
			angle = true;
			found.n = 0;
		} else if (c == '@') {
			found = domain_at(span_from(value, scan.i));
		} else if (c == '>' || (c == ',' && found.n && !angle)) {
			break;
		}
	}
	return found;
}

void
header_from_domain(struct span block, char out[256])
{
	struct header_field from;
	struct buf value;
	out[0] = '\0';
	if (!header_find(block, SPAN("From"), &from))
		return;
	buf_init(&value, 0);
	header_unfold(from.value, &value);
	domain_normalize(first_domain(buf_span(&value)), out, NULL);
	buf_fini(&value);
}
