/*
 * A reply that is there at once, and one that grows byte by byte, are the same; its line is one line of
 * text, and reads back as itself.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_reply.h"
#include "smtp/smtp_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_reply(const struct smtp_reply *reply)
{
	struct span line = span_text(reply->line);
	struct smtp_reply again;
	char clean[SMTP_REPLY_TEXT_MAX];

	check(reply->code >= 200 && reply->code <= 599);
	check(reply->text_at <= line.n && line.n <= SMTP_REPLY_TEXT_MAX);
	check(!reply->enhanced[0] || reply->enhanced[0] == (char)('0' + reply->code / 100));
	check(smtp_text_clean(line, clean, sizeof clean) == line.n);
	check(memcmp(clean, line.p, line.n) == 0);
	check(smtp_reply_from_text(&again, line));
	check(again.code == reply->code);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_reply_parser whole, bytes;
	struct span in = span_make(data, size), one;
	enum smtp_reply_parse result, single;
	struct smtp_reply reply;
	size_t begun = 0, at = 0;       /* of `bytes`: what it has not taken, what it was shown */

	smtp_reply_parser_init(&whole);
	smtp_reply_parser_init(&bytes);
	do {
		result = smtp_reply_parse(&whole, &in);
		single = SMTP_REPLY_MORE;
		while (single == SMTP_REPLY_MORE && at < size) {
			one = span_make(data + begun, ++at - begun);
			single = smtp_reply_parse(&bytes, &one);
			begun = at - one.n;
		}
		check(result == single);
		if (result == SMTP_REPLY_DONE) {
			check(strcmp(whole.reply.line, bytes.reply.line) == 0);
			check(at == size - in.n);
			check_reply(&whole.reply);
		}
	} while (result == SMTP_REPLY_DONE);
	if (smtp_reply_from_text(&reply, span_make(data, size)))
		check_reply(&reply);
	return 0;
}
