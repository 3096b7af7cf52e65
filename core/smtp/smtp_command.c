/*
 *   mail = "FROM:" path *( SP param )      param = keyword [ "=" value ]
 *   rcpt = "TO:"   path *( SP param )      bdat  = size [ SP "LAST" ]
 *
 * Blanks between the colon and the path are wrong and so common that they are
 * let through. A parameter is a row of a table; one that is not there is
 * refused (555), because what we ignore we would promise.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_command.h"

#include "smtp/smtp_notify.h"
#include "smtp/smtp_text.h"

#define ENVID_MAX 100   /* RFC 3461, 4.4 */
#define ORCPT_MAX 500   /* RFC 3461, 4.2 */

static const struct refusal_texts {
	struct smtp_refusal none, syntax, value, unknown, twice, utf8;
} refusals = {
	.none    = { 0, NULL },
	.syntax  = { 501, "5.5.4 Syntax error in arguments" },
	.value   = { 501, "5.5.4 Bad value of a parameter" },
	.unknown = { 555, "5.5.4 Parameter not known" },
	.twice   = { 501, "5.5.4 Parameter given twice" },
	.utf8    = { 553, "5.6.7 Non-ASCII address without SMTPUTF8" },
};

/* Four letters as one number; those of a command without their case. */
#define FOUR(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static uint32_t
four_of(struct span word)
{
	const unsigned char *p = (const unsigned char *)word.p;

	return FOUR(p[0], p[1], p[2], p[3]) & ~FOUR(0x20, 0x20, 0x20, 0x20);
}

/* "POST / HTTP/1.1": a page in somebody's browser, or a service that fetches what it is told to, speaks for a
 * client that may relay, and its body would be taken for commands. */
static enum smtp_verb
http_or_unknown(struct span line)
{
	size_t at = span_find_text(line, SPAN(" HTTP/"));

	return at != SIZE_MAX && span_find(span_from(line, at + 1), ' ') == SIZE_MAX ? SMTP_VERB_HTTP : SMTP_VERB_UNKNOWN;
}

enum smtp_verb
smtp_verb_parse(struct span line, struct span *args_out)
{
	size_t blank = span_find(line, ' ');
	struct span word = span_first(line, blank == SIZE_MAX ? line.n : blank);

	*args_out = span_trim(span_from(line, word.n));
	if (word.n != 4)
		return span_eq_nocase(word, SPAN("STARTTLS")) ? SMTP_VERB_STARTTLS : http_or_unknown(line);
	switch (four_of(word)) {
	case FOUR('M', 'A', 'I', 'L'): return SMTP_VERB_MAIL;
	case FOUR('R', 'C', 'P', 'T'): return SMTP_VERB_RCPT;
	case FOUR('D', 'A', 'T', 'A'): return SMTP_VERB_DATA;
	case FOUR('B', 'D', 'A', 'T'): return SMTP_VERB_BDAT;
	case FOUR('E', 'H', 'L', 'O'): return SMTP_VERB_EHLO;
	case FOUR('H', 'E', 'L', 'O'): return SMTP_VERB_HELO;
	case FOUR('R', 'S', 'E', 'T'): return SMTP_VERB_RSET;
	case FOUR('N', 'O', 'O', 'P'): return SMTP_VERB_NOOP;
	case FOUR('Q', 'U', 'I', 'T'): return SMTP_VERB_QUIT;
	case FOUR('V', 'R', 'F', 'Y'): return SMTP_VERB_VRFY;
	case FOUR('E', 'X', 'P', 'N'): return SMTP_VERB_EXPN;
	case FOUR('H', 'E', 'L', 'P'): return SMTP_VERB_HELP;
	case FOUR('A', 'U', 'T', 'H'): return SMTP_VERB_AUTH;
	default:                       return http_or_unknown(line);
	}
}

/* Takes "FROM:" or "TO:" off the front. */
static bool
take_word(struct span *in, struct span word)
{
	if (!span_starts_nocase(*in, word))
		return false;
	*in = span_trim(span_from(*in, word.n));
	return true;
}

struct param {
	const char *keyword;
	bool        has_value;
	bool      (*take)(void *out, struct span value);
};

static struct smtp_refusal
take_param(const struct param *params, size_t params_n, struct span word, unsigned *seen, void *out)
{
	size_t equals = span_find(word, '=');
	struct span keyword = span_first(word, equals == SIZE_MAX ? word.n : equals);
	struct span value = span_from(word, equals == SIZE_MAX ? word.n : equals + 1);

	for (size_t i = 0; i < params_n; i++) {
		if (!span_eq_nocase(keyword, span_text(params[i].keyword)))
			continue;
		if (*seen & 1u << i)
			return refusals.twice;
		*seen |= 1u << i;
		if (params[i].has_value != (equals != SIZE_MAX))
			return refusals.syntax;
		return params[i].take(out, value) ? refusals.none : refusals.value;
	}
	return refusals.unknown;
}

static struct smtp_refusal
take_params(const struct param *params, size_t params_n, struct span in, void *out)
{
	struct span word;
	unsigned seen = 0;

	if (in.n > 0 && in.p[0] != ' ')
		return refusals.syntax;
	while (span_split(&in, ' ', &word)) {
		struct smtp_refusal refusal;

		if (word.n == 0)
			continue;
		refusal = take_param(params, params_n, word, &seen, out);
		if (refusal.code)
			return refusal;
	}
	return refusals.none;
}

static bool
take_size(void *out, struct span value)
{
	struct smtp_mail *mail = out;

	return value.n <= 20 && span_u64(value, UINT64_MAX, &mail->size_bytes);
}

static bool
take_body(void *out, struct span value)
{
	struct smtp_mail *mail = out;

	mail->eightbit = span_eq_nocase(value, SPAN("8BITMIME"));
	return mail->eightbit || span_eq_nocase(value, SPAN("7BIT"));
}

static bool
take_smtputf8(void *out, struct span value)
{
	struct smtp_mail *mail = out;

	mail->smtputf8 = true;
	return true;
}

static bool
take_ret(void *out, struct span value)
{
	struct smtp_mail *mail = out;

	mail->ret = value;
	return span_eq_nocase(value, SPAN("FULL")) || span_eq_nocase(value, SPAN("HDRS"));
}

static bool
take_envid(void *out, struct span value)
{
	struct smtp_mail *mail = out;

	mail->envid = value;
	return smtp_envid_ok(value);
}

static const struct param mail_params[] = {
	{ "SIZE", true, take_size },
	{ "BODY", true, take_body },
	{ "SMTPUTF8", false, take_smtputf8 },
	{ "RET", true, take_ret },
	{ "ENVID", true, take_envid },
};

/* BINARYMIME is an extension that was not offered, not a misspelt value. */
static bool
asks_binary(struct span in)
{
	struct span asked = SPAN("BODY=BINARYMIME"), word;

	while (in.n >= asked.n && span_split(&in, ' ', &word))
		if (span_eq_nocase(word, asked))
			return true;
	return false;
}

struct smtp_refusal
smtp_mail_parse(struct span args, struct smtp_mail *out)
{
	struct smtp_refusal refusal;

	*out = (struct smtp_mail){ .size_bytes = 0 };
	if (!take_word(&args, SPAN("FROM:")))
		return refusals.syntax;
	if (smtp_path_parse(&args, true, &out->path))
		return (struct smtp_refusal){ 501, "5.1.7 Bad sender address syntax" };
	if (asks_binary(args))
		return refusals.unknown;
	refusal = take_params(mail_params, countof(mail_params), args, out);
	if (!refusal.code && out->path.utf8 && !out->smtputf8)
		return refusals.utf8;
	return refusal;
}

struct rcpt_params {
	struct smtp_rcpt *rcpt;
	bool              smtputf8;
};

static bool
take_notify(void *out, struct span value)
{
	struct rcpt_params *params = out;

	params->rcpt->notify = smtp_notify_parse(value);
	return params->rcpt->notify != 0;
}

static bool
take_orcpt(void *out, struct span value)
{
	struct rcpt_params *params = out;

	params->rcpt->orcpt = value;
	return smtp_orcpt_ok(value, params->smtputf8);
}

static const struct param rcpt_params[] = {
	{ "NOTIFY", true, take_notify },
	{ "ORCPT", true, take_orcpt },
};

struct smtp_refusal
smtp_rcpt_parse(struct span args, bool smtputf8, struct smtp_rcpt *out)
{
	struct rcpt_params params = { out, smtputf8 };

	*out = (struct smtp_rcpt){ .notify = 0 };
	if (!take_word(&args, SPAN("TO:")))
		return refusals.syntax;
	if (smtp_path_parse(&args, false, &out->path))
		return (struct smtp_refusal){ 501, "5.1.3 Bad recipient address syntax" };
	if (out->path.utf8 && !smtputf8)
		return refusals.utf8;
	return take_params(rcpt_params, countof(rcpt_params), args, &params);
}

bool
smtp_bdat_parse(struct span args, uint64_t *size_out, bool *last_out)
{
	size_t blank = span_find(args, ' ');
	struct span size = span_first(args, blank == SIZE_MAX ? args.n : blank);
	struct span rest = span_trim(span_from(args, size.n));

	*last_out = rest.n > 0;
	return span_u64(size, UINT64_MAX, size_out) && (rest.n == 0 || span_eq_nocase(rest, SPAN("LAST")));
}

/* Looser than RFC 5321: underscores and single words are what many clients have
 * to say. Nothing that would mean something in a header, a log or a list. */
bool
smtp_helo_ok(struct span name)
{
	if (name.n == 0 || name.n > 255)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c != '\0' && strchr("-._:[]", c))))
			return false;
	}
	return true;
}

static bool
utf8_value_ok(struct span value)
{
	while (value.n > 0) {
		size_t n = smtp_text_shown(value);

		if (n == 0 || value.p[0] == ' ')
			return false;
		value = span_from(value, n);
	}
	return true;
}

bool
smtp_orcpt_ok(struct span orcpt, bool utf8)
{
	size_t semicolon = span_find(orcpt, ';');
	struct span type, address;

	if (semicolon == SIZE_MAX || semicolon == 0 || orcpt.n > ORCPT_MAX)
		return false;
	type = span_first(orcpt, semicolon);
	address = span_from(orcpt, semicolon + 1);
	if (!smtp_xtext_ok(type) || address.n == 0)
		return false;
	return smtp_xtext_ok(address) || (utf8 && span_eq_nocase(type, SPAN("utf-8")) && utf8_value_ok(address));
}

bool
smtp_envid_ok(struct span envid)
{
	return envid.n > 0 && envid.n <= ENVID_MAX && smtp_xtext_ok(envid);
}
