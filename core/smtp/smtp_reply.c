/*
 * Line by line. While a reply is being read, reply.line gathers the bare text
 * of its lines and text_at counts them; only the last line's code is known to
 * be the reply's (servers that change it half-way exist), so the code goes in
 * front at the end.
 *
 * An enhanced code (RFC 2034) is taken for one only if it has the shape
 * class.subject.detail and its class is the code's first digit: "550 5.1 is our
 * version" and "450 5.7.1 …" stay text.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_reply.h"

#include "smtp/smtp_text.h"

#define CODE_LEN 3

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t
digits(struct span s, size_t at)
{
	size_t n = 0;

	while (at + n < s.n && is_digit(s.p[at + n]))
		n++;
	return n;
}

/* Bytes of the enhanced code at the front; 0: none. */
static size_t
enhanced_len(struct span text, char class)
{
	size_t subject, detail, len;

	if (text.n < 5 || text.p[0] != class || text.p[1] != '.' || (class != '2' && class != '4' && class != '5'))
		return 0;
	subject = digits(text, 2);
	if (subject < 1 || subject > 3 || 2 + subject >= text.n || text.p[2 + subject] != '.')
		return 0;
	detail = digits(text, 3 + subject);
	if (detail < 1 || detail > 3)
		return 0;
	len = 3 + subject + detail;
	return len == text.n || text.p[len] == ' ' ? len : 0;
}

static bool
code_parse(struct span line, unsigned *code_out)
{
	if (line.n < CODE_LEN || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) || !is_digit(line.p[2]))
		return false;
	*code_out = (unsigned)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
	return true;
}

/* Appends to reply->line, which holds `len` bytes; a blank between parts. */
static size_t
append(struct smtp_reply *reply, size_t len, struct span text)
{
	size_t room = SMTP_REPLY_TEXT_MAX - len;

	if (text.n == 0)
		return len;
	if (len > 0) {
		if (room < 2)
			return len;
		reply->line[len++] = ' ';
		room--;
	}
	len += smtp_text_clean(text, reply->line + len, room);
	reply->line[len] = '\0';
	return len;
}

/* A digit each: no cleaning. */
static void
put_code(char *out, unsigned code)
{
	out[0] = (char)('0' + code / 100 % 10);
	out[1] = (char)('0' + code / 10 % 10);
	out[2] = (char)('0' + code % 10);
}

/* Sets the front: "421 4.7.0", and text_at behind it. The enhanced code is ours, or was looked at. */
static size_t
begin(struct smtp_reply *reply, unsigned code, struct span enhanced)
{
	size_t len = CODE_LEN;

	reply->code = (uint16_t)code;
	reply->enhanced[0] = '\0';
	put_code(reply->line, code);
	reply->line[len] = '\0';
	if (enhanced.n > 0 && enhanced.n < sizeof reply->enhanced) {
		span_put(enhanced, reply->enhanced, sizeof reply->enhanced);
		reply->line[len] = ' ';
		len += 1 + span_put(enhanced, reply->line + len + 1, sizeof reply->enhanced);
	}
	reply->text_at = (uint16_t)len;
	return len;
}

static void
add_text(struct smtp_reply *reply, struct span text)
{
	size_t len = append(reply, reply->text_at, text);

	if (len > reply->text_at)
		reply->text_at++;
}

void
smtp_reply_make(struct smtp_reply *reply, unsigned code, const char *enhanced, const char *text)
{
	begin(reply, code, span_text(enhanced));
	add_text(reply, span_text(text));
	reply->local = true;
}

bool
smtp_reply_from_text(struct smtp_reply *reply, struct span text)
{
	unsigned code;
	size_t len;
	struct span rest;

	if (!code_parse(text, &code) || (text.n > CODE_LEN && text.p[CODE_LEN] != ' '))
		return false;
	rest = span_trim(span_from(text, CODE_LEN));
	len = enhanced_len(rest, text.p[0]);
	begin(reply, code, span_first(rest, len));
	reply->local = false;
	add_text(reply, span_trim(span_from(rest, len)));
	return true;
}

void
smtp_reply_parser_init(struct smtp_reply_parser *parser)
{
	parser->lines = parser->code = 0;
	parser->codes_differ = false;
	parser->on_line = NULL;
	parser->ctx = NULL;
	parser->reply.code = 0;
	parser->reply.enhanced[0] = '\0';
	parser->reply.local = false;
	parser->reply.line[0] = '\0';
	parser->reply.text_at = 0;
}

/* The gathered text moves behind the code. */
static void
finish(struct smtp_reply_parser *parser, unsigned code)
{
	struct smtp_reply *reply = &parser->reply;
	char text[SMTP_REPLY_TEXT_MAX + 1], enhanced[sizeof reply->enhanced];
	size_t text_len = reply->text_at;

	memcpy(text, reply->line, text_len);
	memcpy(enhanced, reply->enhanced, sizeof enhanced);
	if (enhanced[0] != (char)('0' + code / 100))
		enhanced[0] = '\0';
	begin(reply, code, span_text(enhanced));
	add_text(reply, span_make(text, text_len));
	parser->lines = 0;
}

/* One line without its end. */
static enum smtp_reply_parse
take_line(struct smtp_reply_parser *parser, struct span line)
{
	struct smtp_reply *reply = &parser->reply;
	struct span text = { line.p, 0 };
	bool goes_on = line.n > CODE_LEN && line.p[CODE_LEN] == '-';
	unsigned code;
	size_t len;

	if (!code_parse(line, &code) || (line.n > CODE_LEN && line.p[CODE_LEN] != ' ' && !goes_on))
		return SMTP_REPLY_BAD;
	if (parser->lines == 0) {
		reply->enhanced[0] = '\0';
		reply->text_at = 0;
		parser->code = (uint16_t)code;
		parser->codes_differ = false;
	}
	parser->codes_differ = parser->codes_differ || code != parser->code;
	if (++parser->lines > SMTP_REPLY_LINES_MAX)
		return SMTP_REPLY_BAD;
	if (line.n > CODE_LEN + 1)
		text = span_trim(span_from(line, CODE_LEN + 1));
	if (parser->on_line)
		parser->on_line(parser->ctx, text);

	len = enhanced_len(text, line.p[0]);
	if (parser->lines == 1 && !goes_on) {
		/* Nearly every reply is one line: nothing is gathered for it. */
		begin(reply, code, span_first(text, len));
		add_text(reply, span_trim(span_from(text, len)));
		parser->lines = 0;
		return SMTP_REPLY_DONE;
	}
	if (parser->lines == 1 && len > 0 && len < sizeof reply->enhanced) {
		memcpy(reply->enhanced, text.p, len);
		reply->enhanced[len] = '\0';
	}
	if (len > 0 && span_eq(span_first(text, len), span_text(reply->enhanced)))
		text = span_trim(span_from(text, len));
	reply->text_at = (uint16_t)append(reply, reply->text_at, text);
	if (goes_on)
		return SMTP_REPLY_MORE;
	finish(parser, code);
	return SMTP_REPLY_DONE;
}

enum smtp_reply_parse
smtp_reply_parse(struct smtp_reply_parser *parser, struct span *in)
{
	while (in->n > 0) {
		const char *lf = memchr(in->p, '\n', in->n);
		size_t n = lf ? (size_t)(lf - in->p) : in->n;
		struct span line = span_first(*in, n);
		enum smtp_reply_parse result;

		if (n > SMTP_REPLY_LINE_MAX)
			return SMTP_REPLY_BAD;
		if (!lf)
			break;
		*in = span_from(*in, n + 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		result = take_line(parser, line);
		if (result != SMTP_REPLY_MORE)
			return result;
	}
	return SMTP_REPLY_MORE;
}
