/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_reply.h"

struct row {
	const char *in;
	unsigned    code;
	const char *enhanced, *line, *text;
};

static void
assert_reply(const struct smtp_reply *reply, const struct row *row)
{
	assert_int_equal(reply->code, row->code);
	assert_string_equal(reply->enhanced, row->enhanced);
	assert_string_equal(reply->line, row->line);
	assert_string_equal(reply->line + reply->text_at, row->text);
}

static void
parse(const struct row *row, size_t step)
{
	struct smtp_reply_parser parser;
	struct span all = span_text(row->in), in = { all.p, 0 };
	enum smtp_reply_parse result = SMTP_REPLY_MORE;

	smtp_reply_parser_init(&parser);
	for (size_t shown = 0; result == SMTP_REPLY_MORE && shown < all.n; ) {
		shown = shown + step < all.n ? shown + step : all.n;
		in.n = (size_t)(all.p + shown - in.p);
		result = smtp_reply_parse(&parser, &in);
	}
	assert_int_equal(result, SMTP_REPLY_DONE);
	assert_reply(&parser.reply, row);
}

static void
reads_replies_as_one_line(void **state)
{
	static const struct row rows[] = {
		{ "220 mx.test ESMTP\r\n", 220, "", "220 mx.test ESMTP", "mx.test ESMTP" },
		{ "250\r\n", 250, "", "250", "" },
		{ "250 \r\n", 250, "", "250", "" },
		{ "250 2.0.0\r\n", 250, "2.0.0", "250 2.0.0", "" },
		{ "421 4.7.0 slow\n", 421, "4.7.0", "421 4.7.0 slow", "slow" },
		{ "421-4.7.0 one\r\n421-4.7.0 two\r\n421 4.7.0 three\r\n", 421, "4.7.0", "421 4.7.0 one two three", "one two three" },
		{ "421-one\r\n421-\r\n421   two  \r\n", 421, "", "421 one two", "one two" },
		{ "550-5.1.1 one\r\n550 5.7.1 two\r\n", 550, "5.1.1", "550 5.1.1 one 5.7.1 two", "one 5.7.1 two" },
		{ "550 4.7.0 no\r\n", 550, "", "550 4.7.0 no", "4.7.0 no" },
		{ "550 5.7 no\r\n", 550, "", "550 5.7 no", "5.7 no" },
		{ "550 5.7.1234 no\r\n", 550, "", "550 5.7.1234 no", "5.7.1234 no" },
		{ "550 5.7.1: no\r\n", 550, "", "550 5.7.1: no", "5.7.1: no" },
		{ "354 3.0.0 go\r\n", 354, "", "354 3.0.0 go", "3.0.0 go" },
		{ "250-2.0.0 a\r\n550 b\r\n", 550, "", "550 a b", "a b" },
		{ "550 a\x1b[1m\tb\xff\xc3\xa4\r\n", 550, "", "550 a?[1m?b?\xc3\xa4", "a?[1m?b?\xc3\xa4" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		parse(&rows[i], 10000);
		parse(&rows[i], 1);
	}
}

static void
refuses_what_is_no_reply(void **state)
{
	static const char *const rows[] = { "\r\n", "25\r\n", "2500 x\r\n", "150 x\r\n", "650 x\r\n", "abc\r\n", "250_x\r\n",
					    "250-a\r\nfoo\r\n", " 250 x\r\n", "HTTP/1.1 400\r\n" };

	for (size_t i = 0; i < countof(rows); i++) {
		struct smtp_reply_parser parser;
		struct span in = span_text(rows[i]);

		smtp_reply_parser_init(&parser);
		assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_BAD);
	}
}

static void
leaves_what_follows_a_reply(void **state)
{
	struct smtp_reply_parser parser;
	struct span in = SPAN("250 a\r\n550 b\r\n35");

	smtp_reply_parser_init(&parser);
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_DONE);
	assert_int_equal(in.n, 9);
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_DONE);
	assert_string_equal(parser.reply.line, "550 b");
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_MORE);
	assert_true(span_eq(in, SPAN("35")));
}

static void
has_limits(void **state)
{
	static char line[SMTP_REPLY_LINE_MAX + 10];
	struct smtp_reply_parser parser;
	struct span in = span_make(line, SMTP_REPLY_LINE_MAX);

	memset(line, 'x', sizeof line);
	memcpy(line, "250 ", 4);
	smtp_reply_parser_init(&parser);
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_MORE);
	in.n++;
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_BAD);
	line[SMTP_REPLY_LINE_MAX + 1] = '\n';
	in.n++;
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_BAD);
	line[SMTP_REPLY_LINE_MAX] = '\n';
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_DONE);
	assert_int_equal(strlen(parser.reply.line), SMTP_REPLY_TEXT_MAX);

	smtp_reply_parser_init(&parser);
	for (int i = 0; i < SMTP_REPLY_LINES_MAX; i++) {
		in = SPAN("250-text\r\n");
		assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_MORE);
	}
	in = SPAN("250-text\r\n");
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_BAD);
}

static void
keep_line(void *ctx, struct span text)
{
	char *out = ctx;
	size_t n = strlen(out);

	snprintf(out + n, 100 - n, "<%.*s>", SPAN_ARG(text));
}

static void
tells_each_line(void **state)
{
	struct smtp_reply_parser parser;
	struct span in = SPAN("250-mx\r\n250-SIZE 5\r\n250 DSN\r\n");
	char lines[100] = "";

	smtp_reply_parser_init(&parser);
	parser.on_line = keep_line;
	parser.ctx = lines;
	assert_int_equal(smtp_reply_parse(&parser, &in), SMTP_REPLY_DONE);
	assert_string_equal(lines, "<mx><SIZE 5><DSN>");
}

static void
makes_replies_as_if_received(void **state)
{
	static const struct row made = { "", 400, "4.4.1", "400 4.4.1 connect?timed out", "connect?timed out" };
	static const struct row bare = { "", 400, "", "400", "" };
	static const struct row text = { "", 552, "5.3.4", "552 5.3.4 too big", "too big" };
	struct smtp_reply reply;

	smtp_reply_make(&reply, 400, "4.4.1", "connect\ntimed out");
	assert_reply(&reply, &made);
	smtp_reply_make(&reply, 400, "", "");
	assert_reply(&reply, &bare);
	assert_true(reply.local);
	assert_true(smtp_reply_from_text(&reply, SPAN("552 5.3.4 too big")));
	assert_false(reply.local);
	assert_reply(&reply, &text);
	assert_true(smtp_reply_from_text(&reply, SPAN("421 RP-001 too many")));
	assert_string_equal(reply.line + reply.text_at, "RP-001 too many");
	assert_false(smtp_reply_from_text(&reply, SPAN("too big")));
	assert_false(smtp_reply_from_text(&reply, SPAN("5525 x")));
	assert_false(smtp_reply_from_text(&reply, SPAN("99")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_replies_as_one_line),
		cmocka_unit_test(refuses_what_is_no_reply),
		cmocka_unit_test(leaves_what_follows_a_reply),
		cmocka_unit_test(has_limits),
		cmocka_unit_test(tells_each_line),
		cmocka_unit_test(makes_replies_as_if_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
