/* What a client says to a peer that keeps to the rules: envelopes, extensions, TLS, addresses that cannot go. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_client_fixture.h"

static void
sends_step_by_step_without_pipelining(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 1, STEPS "250 ok|250 ok|550 5.1.1 no|354 go|250 2.0.0 queued|221 bye",
		  READY "MAIL FROM:<s@t>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" BODY
		  "[final: 250 2.0.0 queued]\r\n[rcpt: 550 5.1.1 no]\r\n" QUIT "[closed]\r\n" },
		{ 1, STEPS "450 4.7.1 wait|221 bye",
		  READY "MAIL FROM:<s@t>\r\n[mail: 450 4.7.1 wait]\r\n[mail: 450 4.7.1 wait]\r\n" QUIT "[closed]\r\n" },
		{ 2, STEPS "250 ok|550 no|551 no|250 reset|250 ok|550 no|551 no",
		  READY "MAIL FROM:<s@t>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n[rcpt: 550 no]\r\n[rcpt: 551 no]\r\n"
		  RSET "MAIL FROM:<s@t>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n[rcpt: 550 no]\r\n[rcpt: 551 no]\r\n" QUIT },
		{ 1, STEPS "250 ok|250 ok|550 no|452 4.3.1 full",
		  READY ENVELOPE "[data: 452 4.3.1 full]\r\n[rcpt: 550 no]\r\n" QUIT },
	};
	play(&plain, dialogues, countof(dialogues));
}

static void
sends_the_envelope_at_once_with_pipelining(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 2, PIPE "250 ok\r\n250 ok\r\n250 ok\r\n354 go|250 done|250 ok\r\n250 ok\r\n450 4.2.2 full\r\n354 go|250 done",
		  READY ENVELOPE BODY "[final: 250 done]\r\n[final: 250 done]\r\n"
		  "[ready]\r\n" ENVELOPE BODY "[final: 250 done]\r\n[rcpt: 450 4.2.2 full]\r\n" QUIT },
		{ 1, PIPE "250 ok\r\n250 ok\r\n250 ok\r\n354 go|452 4.3.1 full",
		  READY ENVELOPE BODY "[final: 452 4.3.1 full]\r\n[final: 452 4.3.1 full]\r\n" QUIT },
		{ 2, PIPE "550 5.7.1 no\r\n503 x\r\n503 x\r\n503 x|250 ok\r\n250 ok\r\n250 ok\r\n451 later",
		  READY ENVELOPE "[mail: 550 5.7.1 no]\r\n[mail: 550 5.7.1 no]\r\n"
		  "[ready]\r\n" ENVELOPE "[data: 451 later]\r\n[data: 451 later]\r\n" QUIT },
		{ 2, PIPE "250 ok\r\n550 a\r\n550 b\r\n554 none|250 reset\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go|250 done",
		  READY ENVELOPE "[rcpt: 550 a]\r\n[rcpt: 550 b]\r\n" RSET ENVELOPE BODY
		  "[final: 250 done]\r\n[final: 250 done]\r\n" QUIT },
	};
	play(&plain, dialogues, countof(dialogues));
}

static void
sends_an_empty_body_where_nobody_was_accepted(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 2, PIPE "250 ok\r\n550 a\r\n550 b\r\n354 go|250 queued|250 ok\r\n550 a\r\n550 b\r\n354 go|554 no recipients",
		  READY ENVELOPE ".\r\n[rcpt: 550 a]\r\n[rcpt: 550 b]\r\n"
		  "[ready]\r\n" ENVELOPE ".\r\n[rcpt: 550 a]\r\n[rcpt: 550 b]\r\n" QUIT },
		{ 1, PIPE "550 no\r\n503 a\r\n503 b\r\n354 go|250 queued",
		  READY ENVELOPE ".\r\n[mail: 550 no]\r\n[mail: 550 no]\r\n" QUIT },
	};
	play(&plain, dialogues, countof(dialogues));
}

static void
starts_tls_if_it_is_offered(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 0, "220 mx|250-mx\r\n250-SIZE 5\r\n250 STARTTLS|220 go|250 mx", HELLO "STARTTLS\r\n[tls]\r\n" HELLO QUIT },
		{ 0, "220 mx|250 mx", READY "QUIT\r\n" },
		{ 0, "220 mx|250-mx\r\n250 starttls|454 4.7.0 no", HELLO "STARTTLS\r\n" QUIT },
		{ 0, "220 mx|250-mx\r\n250 STARTTLS|421 no", HELLO "STARTTLS\r\n[failed starttls: 421 no]\r\n" },
	};
	static const struct dialogue required[] = {
		{ 0, "220 mx|250-mx\r\n250 STARTTLS|220 go|250-mx\r\n250 STARTTLS", HELLO "STARTTLS\r\n[tls]\r\n" HELLO QUIT },
		{ 0, "220 mx|250 mx", HELLO "QUIT\r\n[failed starttls: 400 4.7.10 STARTTLS required but not offered]\r\n" },
		{ 0, "220 mx|502 no|250 mx",
		  HELLO "HELO c.test\r\nQUIT\r\n[failed starttls: 400 4.7.10 STARTTLS required but not offered]\r\n" },
		{ 0, "220 mx|250-mx\r\n250 STARTTLS|454 4.7.0 no", HELLO "STARTTLS\r\nQUIT\r\n[failed starttls: 454 4.7.0 no]\r\n" },
	};
	play(&may, dialogues, countof(dialogues));
	play(&must, required, countof(required));
}

static void
forgets_the_extensions_when_tls_begins(void **state)
{
	struct talk talk;

	begin(&talk, &may, 0);
	say(&talk, SPAN("220 mx"), false);
	say(&talk, SPAN("250-mx\r\n250-SIZE 77\r\n250-PIPELINING\r\n250 STARTTLS"), false);
	assert_int_equal(talk.client.size_max, 77);
	say(&talk, SPAN("220 go"), false);
	say(&talk, SPAN("250-DSN\r\n250 8BITMIME"), false);
	assert_int_equal(talk.client.extensions, SMTP_EXT_8BITMIME);    /* the first line is a name */
	assert_int_equal(talk.client.size_max, 0);
	end(&talk);
}

/* RFC 5321, 4.2.1: the lines of one reply have one code. */
static void
believes_no_extension_where_the_codes_of_the_lines_differ(void **state)
{
	static const char *const rows[] = {
		"220-mx\r\n250-DSN\r\n250 SIZE 5", "250-mx\r\n550-DSN\r\n250 SIZE 5", "550-mx\r\n550-DSN\r\n250 SIZE 5",
		"251-mx\r\n251-DSN\r\n250 SIZE 5",
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct talk talk;

		begin(&talk, &plain, 1);
		say(&talk, SPAN("220 mx"), false);
		say(&talk, span_text(rows[i]), false);
		assert_int_equal(talk.client.extensions, 0);
		assert_int_equal(talk.client.size_max, 0);
		end(&talk);
	}
}

static void
needs_starttls_in_a_reply_of_one_code(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 1, "220 mx|550-mx\r\n550-STARTTLS\r\n250 ok",
		  HELLO "QUIT\r\n[failed starttls: 400 4.7.10 STARTTLS required but not offered]\r\n" },
	};

	play(&must, dialogues, countof(dialogues));
}

static void
sends_parameters_only_where_offered(void **state)
{
	static const struct { const char *ehlo, *mail, *rcpt; } rows[] = {
		{ "250-mx\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN",
		  "MAIL FROM:<s@t> SIZE=500 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=q+2B\r\n",
		  "RCPT TO:<\xc3\xa4@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40x\r\n" },
		{ "250-mx\r\n250-8bitmime\r\n250 SMTPUTF8", "MAIL FROM:<s@t> BODY=8BITMIME SMTPUTF8\r\n", "RCPT TO:<\xc3\xa4@x>\r\n" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct talk talk;

		begin(&talk, &plain, 1);
		talk.message.size_bytes = 500;
		talk.message.eightbit = true;
		talk.message.ret = SPAN("HDRS");
		talk.message.envid = SPAN("q+2B");
		talk.message.rcpts_n = 1;
		talk.rcpts[0].address = SPAN("\xc3\xa4@x");
		talk.rcpts[0].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY;
		talk.rcpts[0].orcpt = SPAN("rfc822;a+40x");
		say(&talk, SPAN("220 mx"), false);
		buf_clear(&talk.record);
		say(&talk, span_text(rows[i].ehlo), false);
		say(&talk, SPAN("250 ok"), false);
		buf_consume(&talk.record, strlen("[ready]\r\n"));
		assert_true(span_starts(buf_span(&talk.record), span_text(rows[i].mail)));
		buf_consume(&talk.record, strlen(rows[i].mail));
		assert_string_equal(buf_text(&talk.record), rows[i].rcpt);
		end(&talk);
	}
}

struct local {
	struct smtp_client_message message;
	const char *address, *orcpt, *answer;
};

static void
answers_by_itself_what_the_peer_cannot_take(void **state)
{
	static const struct local rows[] = {
		{ { .sender = { "s@t", 3 }, .size_bytes = 101 }, "a@x", "", "[mail: 552 5.3.4 the message is bigger than the receiver allows]\r\n" },
		{ { .sender = { "s@t", 3 }, .smtputf8 = true }, "a@x", "", "[mail: 550 5.6.7 the receiver does not offer SMTPUTF8]\r\n" },
		{ { .sender = { "s@t", 3 }, .eightbit = true }, "a@x", "", "[mail: 550 5.6.3 the receiver does not offer 8BITMIME]\r\n" },
		{ { .sender = { "\xc3\xa4@t", 4 } }, "a@x", "", "[mail: 550 5.6.7 the receiver does not offer SMTPUTF8]\r\n" },
		{ { .sender = { "s@t> X\r\n", 8 } }, "a@x", "", "[mail: 501 5.1.7 bad sender address syntax]\r\n" },
		{ { .sender = { "s@t", 3 }, .envid = { "a b", 3 } }, "a@x", "", "[mail: 501 5.5.4 bad ENVID]\r\n" },
		{ { .sender = { "s@t", 3 }, .ret = { "ALL\r\n", 5 } }, "a@x", "", "[mail: 501 5.5.4 bad RET]\r\n" },
		{ { .sender = { "s@t", 3 } }, "a@x\r\nDATA", "", "[rcpt: 501 5.1.3 bad recipient address syntax]\r\n" },
		{ { .sender = { "s@t", 3 } }, "", "", "[rcpt: 501 5.1.3 bad recipient address syntax]\r\n" },
		{ { .sender = { "s@t", 3 } }, "\xc3\xa4@x", "", "[rcpt: 550 5.6.7 the receiver does not offer SMTPUTF8]\r\n" },
		{ { .sender = { "s@t", 3 } }, "a@x", "rfc822;a b", "[rcpt: 501 5.5.4 bad ORCPT]\r\n" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct talk talk;

		begin(&talk, &plain, 1);
		talk.message = rows[i].message;
		talk.message.rcpts = talk.rcpts;
		talk.message.rcpts_n = 1;
		talk.rcpts[0].address = span_text(rows[i].address);
		talk.rcpts[0].orcpt = span_text(rows[i].orcpt);
		say(&talk, SPAN("220 mx"), false);
		buf_clear(&talk.record);
		say(&talk, SPAN("250-mx\r\n250-DSN\r\n250 SIZE 100"), false);
		buf_consume(&talk.record, strlen("[ready]\r\n"));
		assert_true(span_starts(buf_span(&talk.record), span_text(rows[i].answer)));
		buf_consume(&talk.record, strlen(rows[i].answer));
		assert_string_equal(buf_text(&talk.record), QUIT);
		end(&talk);
	}
}

static void
sends_to_the_others_when_one_address_is_bad(void **state)
{
	struct talk talk;

	begin(&talk, &plain, 1);
	talk.rcpts[0].address = SPAN("bad\n@x");
	say(&talk, SPAN("220 mx"), false);
	say(&talk, SPAN("250-mx\r\n250 PIPELINING"), false);
	say(&talk, SPAN("250 ok\r\n250 ok\r\n354 go"), false);
	say(&talk, SPAN("250 done"), false);
	assert_string_equal(buf_text(&talk.record), READY "MAIL FROM:<s@t>\r\nRCPT TO:<b@x>\r\nDATA\r\n" BODY
			    "[rcpt: 501 5.1.3 bad recipient address syntax]\r\n[final: 250 done]\r\n" QUIT);
	end(&talk);
}

/* Carries bytes both ways until neither side has any. */
static void
shuttle(struct talk *talk, struct drive *drive)
{
	struct span said = SPAN("220 mx.test ESMTP\r\n");
	size_t heard = 0;

	do {
		size_t before = buf_len(&talk->record);

		smtp_client_feed(&talk->client, said);
		run(talk);
		/* The records hold what was said, and events in brackets, which stay here. */
		for (struct span out = span_from(buf_span(&talk->record), before), line; span_split(&out, '\n', &line); )
			if (line.p[0] != '[')
				drive_feed(drive, span_make(line.p, line.n + 1));
		said = span_from(buf_span(&drive->record), heard);
		heard = buf_len(&drive->record);
		talk->heard_n = 0;
		for (struct span line; span_split(&said, '\n', &line); )
			if (line.p[0] != '[') {
				memcpy(talk->heard + talk->heard_n, line.p, line.n + 1);
				talk->heard_n += line.n + 1;
			}
		said = span_make(talk->heard, talk->heard_n);
	} while (said.n > 0);
}

static void
talks_to_our_own_server(void **state)
{
	static const struct smtp_server_config server = { .hostname = "mx.test", .starttls = true, .require_tls = true };
	struct drive drive;
	struct talk talk;

	begin(&talk, &must, 2);
	talk.rcpts[1].address = SPAN("refuse@x");
	talk.rcpts[0].notify = SMTP_NOTIFY_FAILURE;
	talk.message.eightbit = true;
	talk.message.size_bytes = 9;
	drive_begin(&drive, &server);
	shuttle(&talk, &drive);
	assert_string_equal(buf_text(&talk.record), HELLO "STARTTLS\r\n[tls]\r\n" HELLO
			    "[ready]\r\nMAIL FROM:<s@t> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<a@x> NOTIFY=FAILURE\r\n"
			    "RCPT TO:<refuse@x>\r\nDATA\r\n" BODY
			    "[final: 250 2.0.0 Queued]\r\n[rcpt: 550 5.1.1 No]\r\n"
			    "[ready]\r\nMAIL FROM:<s@t> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<a@x> NOTIFY=FAILURE\r\n"
			    "RCPT TO:<refuse@x>\r\nDATA\r\n" BODY
			    "[final: 250 2.0.0 Queued]\r\n[rcpt: 550 5.1.1 No]\r\n" QUIT "[closed]\r\n");
	assert_true(drive.closed && drive.server.tls);
	drive_end(&drive);
	end(&talk);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sends_step_by_step_without_pipelining),
		cmocka_unit_test(sends_the_envelope_at_once_with_pipelining),
		cmocka_unit_test(sends_an_empty_body_where_nobody_was_accepted),
		cmocka_unit_test(starts_tls_if_it_is_offered),
		cmocka_unit_test(forgets_the_extensions_when_tls_begins),
		cmocka_unit_test(believes_no_extension_where_the_codes_of_the_lines_differ),
		cmocka_unit_test(needs_starttls_in_a_reply_of_one_code),
		cmocka_unit_test(sends_parameters_only_where_offered),
		cmocka_unit_test(answers_by_itself_what_the_peer_cannot_take),
		cmocka_unit_test(sends_to_the_others_when_one_address_is_bad),
		cmocka_unit_test(talks_to_our_own_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
