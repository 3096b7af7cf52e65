/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mail/dsn.h"
#include "mail/header.h"

struct sample {
	struct envelope envelope;
	struct dsn_rcpt rcpts[2];
	struct dsn      dsn;
};

static void
sample_init(struct sample *s)
{
	memset(s, 0, sizeof(*s));
	s->envelope.sender = SPAN("sender@example.com");
	s->envelope.received.ms = INT64_C(1767323045000);
	s->envelope.envid = SPAN("QQ+2B1");
	s->rcpts[0] = (struct dsn_rcpt){ SPAN("user@b.example"), SPAN("rfc822;user+2Bx@b.example"), "5.1.1",
					 "550 5.1.1 no such user", "mx.b.example" };
	s->rcpts[1] = (struct dsn_rcpt){ .address = SPAN("other@c.example"), .status = "4.4.7" };
	s->dsn = (struct dsn){
		.reporting_mta = "mta.example.org", .envelope = &s->envelope, .now = { INT64_C(1767326645000) },
		.rcpts = s->rcpts, .rcpts_n = 2, .original = SPAN("Subject: hello\r\n..x: 1\r\n"), .id = 0xabcdef,
	};
}

static struct buf
format(const struct sample *s)
{
	struct buf out;
	buf_init(&out, 0);
	dsn_format(&s->dsn, &out);
	return out;
}

static void
assert_holds(struct buf *out, const char *text)
{
	if (!strstr(buf_text(out), text))
		fail_msg("no \"%s\" in:\n%s", text, buf_text(out));
}

/* What every reader of the wire form may rely on. */
static void
assert_wire_form(const struct buf *out)
{
	struct span rest = buf_span(out), line;
	assert_true(span_ends_nocase(rest, SPAN("\r\n")));
	while (span_split(&rest, '\n', &line)) {
		assert_true(line.n > 0 && line.p[line.n - 1] == '\r');
		assert_true(line.n <= 999);
		assert_true(line.p[0] != '.' || line.p[1] == '.');
		for (size_t i = 0; i + 1 < line.n; i++)
			assert_true((unsigned char)line.p[i] >= ' ' || line.p[i] == '\t');
	}
}

static void
a_report_has_its_header_and_three_parts(void **state)
{
	struct sample s;
	sample_init(&s);
	struct buf out = format(&s);
	static const char *const texts[] = {
		"From: Mail Delivery System <mailer-daemon@mta.example.org>\r\nTo: <sender@example.com>\r\n"
		"Subject: Undelivered Mail Returned to Sender\r\nDate: Fri, 02 Jan 2026 04:04:05 +0000\r\n"
		"Message-ID: <0000000000ABCDEF.1767326645000@mta.example.org>\r\nAuto-Submitted: auto-replied\r\n"
		"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"",
		"\r\n<user@b.example>: mx.b.example said: 550 5.1.1 no such user\r\n",
		"\r\n<other@c.example>: no answer was received\r\n",
		"Content-Type: message/delivery-status\r\nContent-Description: Delivery report\r\n\r\n"
		"Reporting-MTA: dns; mta.example.org\r\nOriginal-Envelope-Id: QQ+1\r\n"
		"Arrival-Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\n"
		"Original-Recipient: rfc822;user+x@b.example\r\nFinal-Recipient: rfc822; user@b.example\r\n"
		"Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.b.example\r\n"
		"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
		"\r\n\r\nFinal-Recipient: rfc822; other@c.example\r\nAction: failed\r\nStatus: 4.4.7\r\nLast-Attempt-Date: ",
		"Content-Type: text/rfc822-headers\r\nContent-Description: Undelivered Message Headers\r\n\r\n"
		"Subject: hello\r\n..x: 1\r\n\r\n--=_",
	};
	for (unsigned i = 0; i < countof(texts); i++)
		assert_holds(&out, texts[i]);
	assert_null(strstr(buf_text(&out), "8bit"));
	assert_wire_form(&out);
	buf_fini(&out);
}

static void
a_whole_original_is_a_message(void **state)
{
	struct sample s;
	sample_init(&s);
	s.dsn.original = SPAN("Subject: x\r\n\r\nb\xc3\xb6""dy\r\n..\r\n");
	s.dsn.original_whole = true;
	struct buf out = format(&s);
	assert_holds(&out, "Content-Type: message/rfc822\r\nContent-Description: Undelivered Message\r\n"
			   "Content-Transfer-Encoding: 8bit\r\n\r\nSubject: x\r\n\r\nb\xc3\xb6""dy\r\n..\r\n\r\n--=_");
	assert_wire_form(&out);
	buf_fini(&out);
}

static void
no_text_of_a_peer_can_begin_a_line(void **state)
{
	struct sample s;
	sample_init(&s);
	s.envelope.sender = SPAN("\"a\r\nBcc: x\"@example.com");
	s.envelope.envid = SPAN("a+0D+0AAction: delivered");
	s.rcpts[0].address = SPAN("\"\r\n.\r\nMAIL FROM\"@b.example");
	s.rcpts[0].orcpt = SPAN("rfc822;a+0D+0A+0D+0Ab");
	s.rcpts[0].diagnostic = "550 a\r\nAction: delivered\n\n--boundary\x01\x7f\xc3\xbc";
	s.rcpts[0].remote_mta = "mx\r\nX: y";
	s.rcpts[0].status = "5.0.0\r\nX: y";
	struct buf out = format(&s);
	assert_wire_form(&out);
	assert_null(strstr(buf_text(&out), "\nBcc"));
	assert_null(strstr(buf_text(&out), "\nAction: delivered"));
	assert_null(strstr(buf_text(&out), "\nX: y"));
	assert_null(strstr(buf_text(&out), "\n--boundary"));
	assert_holds(&out, "Diagnostic-Code: smtp; 550 a?\?Action: delivered?\?--boundary?\?\?\?\r\n");
	buf_fini(&out);
}

static void
long_texts_are_folded(void **state)
{
	static char words[1800], solid[1800];
	struct sample s;
	for (size_t i = 0; i < sizeof(words) - 1; i++) {
		words[i] = i % 7 ? 'w' : ' ';
		solid[i] = '.';
	}
	sample_init(&s);
	s.rcpts[0].diagnostic = words;
	s.rcpts[1].diagnostic = solid;
	struct buf out = format(&s);
	struct header_field field;
	struct buf value;
	assert_wire_form(&out);
	char *at = strstr(buf_text(&out), "Diagnostic-Code");
	assert_non_null(at);
	assert_true(header_find(span_text(at), SPAN("Diagnostic-Code"), &field));
	buf_init(&value, 0);
	header_unfold(field.value, &value);
	assert_int_equal(buf_len(&value), strlen("smtp; ") + sizeof(words) - 1);
	assert_string_equal(buf_text(&value) + 6, words);
	buf_fini(&value);
	buf_fini(&out);
}

static void
blanks_at_the_end_make_no_empty_line(void **state)
{
	static char blanks[300];
	struct sample s;
	memset(blanks, ' ', sizeof(blanks) - 1);
	memcpy(blanks, "550", 3);
	sample_init(&s);
	s.rcpts[0].diagnostic = blanks;
	struct buf out = format(&s);
	char *at = strstr(buf_text(&out), "Diagnostic-Code");
	assert_non_null(at);
	char *line = strstr(at, "\r\n") + 2;
	assert_true(strncmp(line, "Last-Attempt-Date", 17) == 0);
	buf_fini(&out);
}

static void
an_address_beyond_ascii_makes_it_an_internationalized_report(void **state)
{
	struct sample s;
	sample_init(&s);
	s.rcpts[0].address = SPAN("jos\xc3\xa9@b.example");
	struct buf out = format(&s);
	assert_holds(&out, "Content-Type: message/global-delivery-status\r\n");
	assert_holds(&out, "Content-Type: message/global-headers\r\n");
	assert_holds(&out, "Final-Recipient: utf-8; jos\xc3\xa9@b.example\r\n");
	assert_holds(&out, "Final-Recipient: rfc822; other@c.example\r\n");
	assert_wire_form(&out);
	buf_fini(&out);
}

static void
the_boundary_is_not_in_the_original(void **state)
{
	struct sample s;
	sample_init(&s);
	s.dsn.original = SPAN("X: --=_0000000000ABCDEF.19B7CE07B08.0\r\n");
	struct buf out = format(&s);
	char first[80];
	char *at = strstr(buf_text(&out), "boundary=\"");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "boundary=\"%79[^\"]", first), 1);
	assert_int_equal(span_find_text(s.dsn.original, span_text(first)), SIZE_MAX);
	assert_string_equal(first, "=_0000000000ABCDEF.19B7CE07B08.1");
	buf_fini(&out);
}

int
main(int argc, char **argv)
{
	/* dsn_test sample: prints one, to be looked at by another program. */
	if (argc > 1) {
		struct sample s;
		sample_init(&s);
		struct buf out = format(&s);
		fputs(buf_text(&out), stdout);
		buf_fini(&out);
		return 0;
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_has_its_header_and_three_parts),
		cmocka_unit_test(a_whole_original_is_a_message),
		cmocka_unit_test(no_text_of_a_peer_can_begin_a_line),
		cmocka_unit_test(long_texts_are_folded),
		cmocka_unit_test(blanks_at_the_end_make_no_empty_line),
		cmocka_unit_test(an_address_beyond_ascii_makes_it_an_internationalized_report),
		cmocka_unit_test(the_boundary_is_not_in_the_original),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
