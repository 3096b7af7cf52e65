/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three parts: the notice for people, message/delivery-status for programs
 * (RFC 3464, 2.2 and 2.3: fields of the message, an empty line, fields of each
 * recipient), and what came. Where an address holds a byte over 127 the parts are
 * those of RFC 6533: message/global-delivery-status, addresses of type utf-8.
 *
 * Whatever a peer chose (addresses, ENVID, ORCPT, the reply) is cleaned on its way in:
 * control characters become '?', so nothing here can begin a line of its own, and a
 * long text is folded at blanks, or cut where there is none. A folded line begins
 * with a blank, the others with a letter, '<' or '-', so what we write needs no dot
 * stuffing; the original has it already.
 */
#include "mail/dsn.h"

#include "util/log.h"

#define LINE_WANTED 76          /* fold at the last blank before */
#define LINE_CUT    500         /* no blank: cut */
#define TEXT_MAX    2000        /* of one value */
#define BOUNDARY_MAX 64

/* A value as it may stand in a field: one line of harmless bytes. */
static void
add_clean(struct buf *out, struct span text, bool utf8)
{
	if (text.n > TEXT_MAX)
		text.n = TEXT_MAX;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		buf_add_char(out, c < ' ' || c == 127 || (c > 127 && !utf8) ? '?' : (char)c);
	}
}

/* RFC 3461, 4: "+2B" is '+'. What is no hex pair stays as it is. */
static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void
add_xtext(struct buf *out, struct span text, bool utf8)
{
	struct buf plain;
	buf_init(&plain, 0);
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '+' && i + 2 < text.n && hex_value(text.p[i + 1]) >= 0 && hex_value(text.p[i + 2]) >= 0) {
			c = (char)(hex_value(text.p[i + 1]) * 16 + hex_value(text.p[i + 2]));
			i += 2;
		}
		buf_add_char(&plain, c);
	}
	add_clean(out, buf_span(&plain), utf8);
	buf_fini(&plain);
}

/* Where to end a line that begins at text: n, or before the last blank that is in time. */
static size_t
fold_at(struct span text)
{
	if (text.n <= LINE_WANTED)
		return text.n;
	for (size_t i = LINE_WANTED; i > 1; i--)
		if (text.p[i] == ' ')
			return i;
	for (size_t i = LINE_WANTED; i < text.n && i < LINE_CUT; i++)
		if (text.p[i] == ' ')
			return i;
	if (text.n <= LINE_CUT)
		return text.n;
	/* Not within a character of UTF-8. */
	size_t n = LINE_CUT;
	while (n > LINE_CUT - 4 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
		n--;
	return n;
}

/* A logical line with its line ends; those after the first begin with a blank. */
static void
add_folded(struct buf *out, struct span text)
{
	while (text.n) {
		size_t n = fold_at(text);
		buf_add(out, span_first(text, n));
		buf_add_text(out, "\r\n");
		text = span_from(text, n);
		if (text.n && text.p[0] != ' ')
			buf_add_char(out, ' ');
		/* Nothing but blanks would be an empty line to some. */
		if (span_trim(text).n == 0)
			break;
	}
}

static void
add_field(struct buf *out, const char *name, const char *type, struct span value, bool xtext, bool utf8)
{
	struct buf line;
	buf_init(&line, 0);
	buf_printf(&line, "%s: %s", name, type);
	if (xtext)
		add_xtext(&line, value, utf8);
	else
		add_clean(&line, value, utf8);
	add_folded(out, buf_span(&line));
	buf_fini(&line);
}

static bool
has_8bit(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] > 127)
			return true;
	return false;
}

static bool
needs_utf8(const struct dsn *dsn)
{
	if (has_8bit(dsn->envelope->sender))
		return true;
	for (unsigned i = 0; i < dsn->rcpts_n; i++)
		if (has_8bit(dsn->rcpts[i].address) || has_8bit(dsn->rcpts[i].orcpt))
			return true;
	return false;
}

/* One that the original does not hold, so that nobody who guesses ids can end its part. */
static void
boundary_choose(const struct dsn *dsn, char out[BOUNDARY_MAX])
{
	for (unsigned n = 0;; n++) {
		snprintf(out, BOUNDARY_MAX, "=_%016llX.%llX.%u", (unsigned long long)dsn->id,
			 (unsigned long long)dsn->now.ms, n);
		if (span_find_text(dsn->original, span_text(out)) == SIZE_MAX)
			return;
	}
}

static void
format_header(const struct dsn *dsn, const char *boundary, bool utf8, struct buf *out)
{
	char date[40], id[17];
	struct buf to;
	wall_format_mail(dsn->now, date);
	envelope_id_format(dsn->id, id);
	buf_printf(out, "From: Mail Delivery System <mailer-daemon@%s>\r\n", dsn->reporting_mta);
	buf_init(&to, 0);
	buf_add_char(&to, '<');
	add_clean(&to, dsn->envelope->sender, utf8);
	buf_add_char(&to, '>');
	add_field(out, "To", "", buf_span(&to), false, utf8);
	buf_fini(&to);
	buf_add_text(out, "Subject: Undelivered Mail Returned to Sender\r\n");
	buf_printf(out, "Date: %s\r\n", date);
	buf_printf(out, "Message-ID: <%s.%lld@%s>\r\n", id, (long long)dsn->now.ms, dsn->reporting_mta);
	buf_add_text(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	buf_printf(out, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n", boundary);
	if (utf8 || has_8bit(dsn->original))
		buf_add_text(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_add_text(out, "\r\nThis is a MIME-encapsulated message.\r\n");
}

static void
format_part(const char *boundary, const char *type, const char *description, bool eightbit, struct buf *out)
{
	buf_printf(out, "\r\n--%s\r\nContent-Type: %s\r\nContent-Description: %s\r\n", boundary, type, description);
	if (eightbit)
		buf_add_text(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_add_text(out, "\r\n");
}

static void
format_notice(const struct dsn *dsn, bool utf8, struct buf *out)
{
	struct buf line;
	buf_printf(out, "This is the mail system at %s.\r\n\r\n", dsn->reporting_mta);
	buf_add_text(out,
		"Your message could not be delivered to the recipients below. It will not be\r\n"
		"tried again; what came is attached. The text behind each recipient is what\r\n"
		"the receiving system answered, or why it could not be asked.\r\n");
	for (unsigned i = 0; i < dsn->rcpts_n; i++) {
		const struct dsn_rcpt *rcpt = &dsn->rcpts[i];
		buf_init(&line, 0);
		buf_add_char(&line, '<');
		add_clean(&line, rcpt->address, utf8);
		buf_add_text(&line, ">:");
		if (rcpt->remote_mta && rcpt->diagnostic) {
			buf_add_text(&line, " ");
			add_clean(&line, span_text(rcpt->remote_mta), utf8);
			buf_add_text(&line, " said:");
		}
		buf_add_text(&line, " ");
		add_clean(&line, rcpt->diagnostic ? span_text(rcpt->diagnostic) : SPAN("no answer was received"), false);
		buf_add_text(out, "\r\n");
		add_folded(out, buf_span(&line));
		buf_fini(&line);
	}
}

static void
format_rcpt(const struct dsn *dsn, const struct dsn_rcpt *rcpt, bool utf8, struct buf *out)
{
	char date[40];
	wall_format_mail(dsn->now, date);
	buf_add_text(out, "\r\n");
	if (rcpt->orcpt.n && span_find(rcpt->orcpt, ';') != SIZE_MAX)
		add_field(out, "Original-Recipient", "", rcpt->orcpt, true, utf8);
	add_field(out, "Final-Recipient", has_8bit(rcpt->address) ? "utf-8; " : "rfc822; ", rcpt->address, false, utf8);
	buf_add_text(out, "Action: failed\r\n");
	add_field(out, "Status", "", span_text(rcpt->status && *rcpt->status ? rcpt->status : "5.0.0"), false, false);
	if (rcpt->remote_mta)
		add_field(out, "Remote-MTA", "dns; ", span_text(rcpt->remote_mta), false, false);
	if (rcpt->diagnostic)
		add_field(out, "Diagnostic-Code", "smtp; ", span_text(rcpt->diagnostic), false, false);
	buf_printf(out, "Last-Attempt-Date: %s\r\n", date);
}

static void
format_status(const struct dsn *dsn, bool utf8, struct buf *out)
{
	char date[40];
	add_field(out, "Reporting-MTA", "dns; ", span_text(dsn->reporting_mta), false, false);
	if (dsn->envelope->envid.n)
		add_field(out, "Original-Envelope-Id", "", dsn->envelope->envid, true, utf8);
	wall_format_mail(dsn->envelope->received, date);
	buf_printf(out, "Arrival-Date: %s\r\n", date);
	for (unsigned i = 0; i < dsn->rcpts_n; i++)
		format_rcpt(dsn, &dsn->rcpts[i], utf8, out);
}

static const char *
original_type(const struct dsn *dsn, bool utf8)
{
	if (dsn->original_whole)
		return utf8 ? "message/global" : "message/rfc822";
	return utf8 ? "message/global-headers" : "text/rfc822-headers";
}

void
dsn_format(const struct dsn *dsn, struct buf *out)
{
	char boundary[BOUNDARY_MAX];
	bool utf8 = needs_utf8(dsn);

	boundary_choose(dsn, boundary);
	format_header(dsn, boundary, utf8, out);
	format_part(boundary, utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
		    "Notification", utf8, out);
	format_notice(dsn, utf8, out);
	format_part(boundary, utf8 ? "message/global-delivery-status" : "message/delivery-status",
		    "Delivery report", utf8, out);
	format_status(dsn, utf8, out);
	format_part(boundary, original_type(dsn, utf8), dsn->original_whole ? "Undelivered Message" :
		    "Undelivered Message Headers", has_8bit(dsn->original), out);
	buf_add(out, dsn->original);
	buf_printf(out, "\r\n--%s--\r\n", boundary);
}
