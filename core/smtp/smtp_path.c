/*
 * By hand, one function a production, each taking its part off the front:
 *
 *   path    = "<" [ source-route ] mailbox ">" | "<>" | "<postmaster>"
 *   route   = "@" domain *( ",@" domain ) ":"
 *   mailbox = local "@" ( domain | "[" literal "]" )
 *   local   = atom *( "." atom ) | quoted
 *
 * Strict, because what is accepted here is written to other servers later:
 * no blanks outside quotes, no control characters anywhere, UTF-8 well-formed.
 * RFC 5321's 64 bytes for a local part are not enforced: bounce addresses that
 * name a recipient (VERP) pass them every day. The 254 of the whole are.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_path.h"

#include "smtp/smtp_text.h"

/* What a byte may be part of. Every address is looked at several times on its way. */
enum { DIGIT = 1, HEX = 2, LABEL = 4, ATEXT = 8, DOT = 16, HIGH = 32 };

static const uint8_t part_of[256] = {
	['0' ... '9'] = DIGIT | HEX | LABEL | ATEXT,
	['A' ... 'F'] = HEX | LABEL | ATEXT, ['G' ... 'Z'] = LABEL | ATEXT,
	['a' ... 'f'] = HEX | LABEL | ATEXT, ['g' ... 'z'] = LABEL | ATEXT,
	['-'] = LABEL | ATEXT,
	['!'] = ATEXT, ['#' ... '\''] = ATEXT, ['*'] = ATEXT, ['+'] = ATEXT, ['/'] = ATEXT, ['='] = ATEXT,
	['?'] = ATEXT, ['^' ... '`'] = ATEXT, ['{' ... '~'] = ATEXT,
	['.'] = DOT, [128 ... 255] = HIGH,
};

static bool
is(char c, unsigned part)
{
	return part_of[(unsigned char)c] & part;
}

/* Bytes of those parts that stand together from `from` on. */
static size_t
run(struct span s, size_t from, unsigned part)
{
	size_t n = from;

	while (n < s.n && is(s.p[n], part))
		n++;
	return n - from;
}

static bool
is_high(char c)
{
	return is(c, HIGH);
}

static bool
at(struct span s, char c)
{
	return s.n > 0 && s.p[0] == c;
}

/* Bytes of the atom at the front; 0: none. */
static size_t
atom_len(struct span s)
{
	size_t n = run(s, 0, ATEXT), step;

	while (n < s.n && is_high(s.p[n]) && (step = smtp_text_shown(span_from(s, n))) > 0) {
		n += step;
		n += run(s, n, ATEXT);
	}
	return n;
}

static const char *
take_dot_string(struct span *in)
{
	for (;;) {
		size_t n = atom_len(*in);

		if (n == 0)
			return "bad local part";
		*in = span_from(*in, n);
		if (!at(*in, '.'))
			return NULL;
		*in = span_from(*in, 1);
	}
}

static const char *
take_quoted(struct span *in)
{
	*in = span_from(*in, 1);
	while (in->n > 0 && !at(*in, '"')) {
		size_t step;

		if (at(*in, '\\')) {
			*in = span_from(*in, 1);
			if (in->n == 0 || is_high(in->p[0]))
				return "bad quoted local part";
		}
		step = smtp_text_shown(*in);
		if (step == 0)
			return "bad quoted local part";
		*in = span_from(*in, step);
	}
	if (in->n == 0)
		return "quote is not closed";
	*in = span_from(*in, 1);
	return NULL;
}

/* Bytes of the label at the front, up to a dot or the end; 0: there is none, or a bad one. */
static size_t
label_len(struct span s)
{
	size_t n = run(s, 0, LABEL), step;
	bool ascii = true;

	for (; n < s.n && s.p[n] != '.'; n += step + run(s, n + step, LABEL)) {
		step = is_high(s.p[n]) ? smtp_text_shown(span_from(s, n)) : 0;
		if (step == 0)
			return 0;
		ascii = false;
	}
	if (n == 0 || s.p[0] == '-' || s.p[n - 1] == '-')
		return 0;
	return n <= 63 || !ascii ? n : 0;       /* a U-label's limit is its A-label's, not known here */
}

static bool
ipv4_ok(struct span s)
{
	struct span part;
	unsigned parts = 0;
	uint64_t value;

	if (s.n > 0 && s.p[s.n - 1] == '.')
		return false;
	while (span_split(&s, '.', &part)) {
		if (part.n > 3 || !span_u64(part, 255, &value))
			return false;
		parts++;
	}
	return parts == 4;
}

/* Groups of up to four hex digits; one "::" for at least one group; the last
 * two may be written as an IPv4 address (RFC 4291, 2.2). */
static bool
ipv6_ok(struct span s)
{
	unsigned groups = 0;
	bool gap = false;

	if (span_starts(s, SPAN("::"))) {
		gap = true;
		s = span_from(s, 2);
	}
	while (s.n > 0) {
		size_t n = 0;

		if (span_find(s, ':') == SIZE_MAX && span_find(s, '.') != SIZE_MAX) {
			if (!ipv4_ok(s))
				return false;
			groups += 2;
			break;
		}
		while (n < s.n && is(s.p[n], HEX))
			n++;
		if (n == 0 || n > 4 || ++groups > 8)
			return false;
		s = span_from(s, n);
		if (s.n == 0)
			break;
		if (span_starts(s, SPAN("::")) && !gap) {
			gap = true;
			s = span_from(s, 2);
		} else if (at(s, ':') && s.n > 1) {
			s = span_from(s, 1);
		} else {
			return false;
		}
	}
	return gap ? groups < 8 : groups == 8;
}

/* RFC 5321 leaves room for other kinds of literal; none was ever registered. */
static const char *
take_literal(struct span *in)
{
	size_t close = span_find(*in, ']');
	struct span inside;

	if (close == SIZE_MAX)
		return "bracket is not closed";
	inside = span_make(in->p + 1, close - 1);
	if (span_starts_nocase(inside, SPAN("IPv6:")) ? !ipv6_ok(span_from(inside, 5)) : !ipv4_ok(inside))
		return "bad address literal";
	*in = span_from(*in, close + 1);
	return NULL;
}

static const char *
take_domain(struct span *in)
{
	size_t n;

	if (at(*in, '['))
		return take_literal(in);
	n = run(*in, 0, LABEL | DOT | HIGH);
	if (!smtp_domain_ok(span_first(*in, n)))
		return "bad domain";
	*in = span_from(*in, n);
	return NULL;
}

/* RFC 5321, appendix C: accepted, and ignored. */
static const char *
take_route(struct span *in)
{
	const char *wrong;

	while (at(*in, '@')) {
		*in = span_from(*in, 1);
		if ((wrong = take_domain(in)))
			return wrong;
		if (at(*in, ':')) {
			*in = span_from(*in, 1);
			return NULL;
		}
		if (!span_starts(*in, SPAN(",@")))
			break;
		*in = span_from(*in, 1);
	}
	return "bad source route";
}

static const char *
take_mailbox(struct span *in, struct smtp_path *out)
{
	struct span start = *in;
	const char *wrong = at(*in, '"') ? take_quoted(in) : take_dot_string(in);

	if (wrong)
		return wrong;
	out->local = span_first(start, start.n - in->n);
	if (at(*in, '@')) {
		*in = span_from(*in, 1);
		out->domain.p = in->p;
		if ((wrong = take_domain(in)))
			return wrong;
		out->domain.n = (size_t)(in->p - out->domain.p);
	} else if (!span_eq_nocase(out->local, SPAN("postmaster"))) {
		return "no domain";
	}
	out->whole = span_first(start, start.n - in->n);
	if (out->whole.n > SMTP_PATH_MAX)
		return "address too long";
	out->utf8 = !span_is_ascii(out->whole);
	return NULL;
}

const char *
smtp_path_parse(struct span *in, bool null_ok, struct smtp_path *out)
{
	struct span rest = *in;
	const char *wrong;

	*out = (struct smtp_path){ .utf8 = false };
	if (!at(rest, '<'))
		return "address must stand in <>";
	rest = span_from(rest, 1);
	if (at(rest, '>')) {
		if (!null_ok)
			return "empty address";
		*in = span_from(rest, 1);
		return NULL;
	}
	if (at(rest, '@') && (wrong = take_route(&rest)))
		return wrong;
	if ((wrong = take_mailbox(&rest, out)))
		return wrong;
	if (!at(rest, '>'))
		return "address does not end in >";
	*in = span_from(rest, 1);
	return NULL;
}

const char *
smtp_path_parse_bare(struct span text, struct smtp_path *out)
{
	const char *wrong;

	*out = (struct smtp_path){ .utf8 = false };
	if ((wrong = take_mailbox(&text, out)))
		return wrong;
	return text.n ? "something follows the address" : NULL;
}

bool
smtp_xtext_ok(struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (c < '!' || c > '~' || c == '=')
			return false;
		if (c != '+')
			continue;
		if (text.n - i < 3)
			return false;
		for (int digit = 1; digit <= 2; digit++) {
			c = text.p[++i];
			if (!is(c, DIGIT) && (c < 'A' || c > 'F'))
				return false;
		}
	}
	return true;
}

static int
hex_value(char c)
{
	return is(c, DIGIT) ? c - '0' : (c | 0x20) - 'a' + 10;
}

size_t
smtp_xtext_decode(struct span text, char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '+' && text.n - i >= 3 && is(text.p[i + 1], HEX) && is(text.p[i + 2], HEX)) {
			out[len++] = (char)(hex_value(text.p[i + 1]) << 4 | hex_value(text.p[i + 2]));
			i += 2;
		} else {
			out[len++] = text.p[i];
		}
	}
	return len;
}

bool
smtp_domain_ok(struct span domain)
{
	if (domain.n > 255)
		return false;
	for (;;) {
		size_t n = label_len(domain);

		if (n == 0 || n == domain.n)
			return n > 0;
		domain = span_from(domain, n + 1);
	}
}
