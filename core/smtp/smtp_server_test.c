/* What a client says before and between bodies: commands, parameters, errors, limits, TLS. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_server_fixture.h"

static void
takes_messages_one_after_another(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(OPEN DATA "Subject: x\r\n\r\nhi\r\n.\r\n" MAIL RCPT DATA ".\r\nQUIT\r\n",
			 OPEN_OUT DATA_OUT "[end 18]\r\nSubject: x\r\n\r\nhi\r\n" QUEUED
			 MAIL_OUT RCPT_OUT DATA_OUT "[end 0]\r\n" QUEUED "221 2.0.0 Bye\r\n[close: quit]\r\n"),
		DIALOGUE(OPEN DATA "..\r\n.. x\r\n.y\r\nz.\r\n.\r\n",
			 OPEN_OUT DATA_OUT "[end 15]\r\n..\r\n.. x\r\n.y\r\nz.\r\n" QUEUED),
		DIALOGUE(OPEN DATA "defer\r\n.\r\n" MAIL,
			 OPEN_OUT DATA_OUT "[end 7]\r\ndefer\r\n451 4.3.0 Later\r\n" MAIL_OUT),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
offers_its_extensions(void **state)
{
	static const struct dialogue clear[] = {
		DIALOGUE("ehlo c\r\n", "[ehlo c]\r\n250-mx.test\r\n250-PIPELINING\r\n250-SIZE 100\r\n250-8BITMIME\r\n"
			 "250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 CHUNKING\r\n"),
		DIALOGUE("EHLO refuse\r\n" MAIL,
			 "[ehlo refuse]\r\n550 5.7.1 No\r\n503 5.5.1 Say HELO or EHLO first\r\n"),
		DIALOGUE("EHLO\r\nHELO a b\r\nEHLO a<b\r\n", "501 5.5.4 Give a domain or an address literal\r\n"
			 "501 5.5.4 Give a domain or an address literal\r\n501 5.5.4 Give a domain or an address literal\r\n"),
	};
	play_all(&plain, clear, countof(clear));
}

static void
reads_the_parameters(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(HELLO "mail from: <a@b> size=99 body=8bitmime SMTPUTF8 ret=hdrs ENVID=a+2Bb\r\n"
			 "rcpt to:<\xc3\xa4@b> notify=success,DELAY orcpt=rfc822;c+40d\r\nRCPT TO:<Postmaster>\r\n",
			 HELLO_OUT "[mail <a@b> size=99 8bit utf8 ret=hdrs envid=a+2Bb]\r\n250 2.1.0 OK\r\n"
			 "[rcpt <\xc3\xa4@b> notify=10 orcpt=rfc822;c+40d]\r\n250 2.1.5 OK\r\n"
			 "[rcpt <Postmaster>]\r\n250 2.1.5 OK\r\n"),
		DIALOGUE(HELLO "MAIL FROM:<> BODY=7BIT  \r\n", HELLO_OUT "[mail <>]\r\n250 2.1.0 OK\r\n"),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
refuses_a_mail_that_is_not_well_formed(void **state)
{
	static const struct { const char *line, *reply; } rows[] = {
		{ "MAIL", "501 5.5.4 Syntax error in arguments" },
		{ "MAIL FROM <a@b>", "501 5.5.4 Syntax error in arguments" },
		{ "MAIL FROM:a@b", "501 5.1.7 Bad sender address syntax" },
		{ "MAIL FROM:<a@b", "501 5.1.7 Bad sender address syntax" },
		{ "MAIL FROM:<a b@c>", "501 5.1.7 Bad sender address syntax" },
		{ "MAIL FROM:<a@b>SIZE=1", "501 5.5.4 Syntax error in arguments" },
		{ "MAIL FROM:<a@b> SIZE=101", "552 5.3.4 Message too big" },
		{ "MAIL FROM:<a@b> SIZE=99999999999999999999999", "501 5.5.4 Bad value of a parameter" },
		{ "MAIL FROM:<a@b> SIZE=", "501 5.5.4 Bad value of a parameter" },
		{ "MAIL FROM:<a@b> SIZE", "501 5.5.4 Syntax error in arguments" },
		{ "MAIL FROM:<a@b> SIZE=1 size=1", "501 5.5.4 Parameter given twice" },
		{ "MAIL FROM:<a@b> BODY=9BIT", "501 5.5.4 Bad value of a parameter" },
		{ "MAIL FROM:<a@b> BODY=BINARYMIME", "555 5.5.4 Parameter not known" },
		{ "MAIL FROM:<a@b> AUTH=<>", "555 5.5.4 Parameter not known" },
		{ "MAIL FROM:<a@b> SMTPUTF8=1", "501 5.5.4 Syntax error in arguments" },
		{ "MAIL FROM:<a@b> RET=ALL", "501 5.5.4 Bad value of a parameter" },
		{ "MAIL FROM:<a@b> ENVID=a+b", "501 5.5.4 Bad value of a parameter" },
		{ "MAIL FROM:<\xc3\xa4@b>", "553 5.6.7 Non-ASCII address without SMTPUTF8" },
		{ "MAIL FROM:<\xc3@b> SMTPUTF8", "501 5.1.7 Bad sender address syntax" },
		{ "MAIL FROM:<a@b> \xc3\xa4", "555 5.5.4 Parameter not known" },
		{ "RCPT TO:<a@b>", "503 5.5.1 Say MAIL first" },
		{ "DATA", "503 5.5.1 Say MAIL first" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		char input[200], record[200];
		struct dialogue dialogue = { input, 0, record };

		dialogue.input_n = (size_t)snprintf(input, sizeof input, HELLO "%s\r\n", rows[i].line);
		snprintf(record, sizeof record, HELLO_OUT "%s\r\n", rows[i].reply);
		play_all(&plain, &dialogue, 1);
	}
}

static void
refuses_a_recipient_that_is_not_well_formed(void **state)
{
	static const struct { const char *line, *reply; } rows[] = {
		{ "RCPT TO:<>", "501 5.1.3 Bad recipient address syntax" },
		{ "RCPT FROM:<a@b>", "501 5.5.4 Syntax error in arguments" },
		{ "RCPT TO:<a>", "501 5.1.3 Bad recipient address syntax" },
		{ "RCPT TO:<\xc3\xa4@b>", "553 5.6.7 Non-ASCII address without SMTPUTF8" },
		{ "RCPT TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4 Bad value of a parameter" },
		{ "RCPT TO:<a@b> NOTIFY=DELAY,", "501 5.5.4 Bad value of a parameter" },
		{ "RCPT TO:<a@b> ORCPT=a+40b", "501 5.5.4 Bad value of a parameter" },
		{ "RCPT TO:<a@b> ORCPT=rfc822;a=b", "501 5.5.4 Bad value of a parameter" },
		{ "RCPT TO:<a@b> FOO", "555 5.5.4 Parameter not known" },
		{ "MAIL FROM:<a@b>", "503 5.5.1 A transaction is open" },
		{ "DATA", "554 5.5.1 No valid recipients" },
		{ "DATA x", "501 5.5.4 No arguments, please" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		char input[200], record[200];
		struct dialogue dialogue = { input, 0, record };

		dialogue.input_n = (size_t)snprintf(input, sizeof input, HELLO MAIL "%s\r\n", rows[i].line);
		snprintf(record, sizeof record, HELLO_OUT MAIL_OUT "%s\r\n", rows[i].reply);
		play_all(&plain, &dialogue, 1);
	}
}

static void
answers_the_other_commands(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE("NOOP x y\r\nVRFY a\r\nHELP\r\nRSET\r\n", "250 2.0.0 OK\r\n252 2.5.2 Send mail and see\r\n"
			 "214 2.0.0 See RFC 5321\r\n250 2.0.0 OK\r\n"),
		DIALOGUE("EXPN a\r\nAUTH PLAIN\r\nSTARTTLS\r\n", "502 5.5.1 Not here\r\n502 5.5.1 AUTH is not offered\r\n"
			 "502 5.5.1 STARTTLS is not offered\r\n"),
		DIALOGUE("POST / HTTP/1.1\r\nHost: mx\r\n\r\n" OPEN DATA, "500 5.5.2 This is no web server\r\n[close: HTTP]\r\n"),
		DIALOGUE("GET /\xc3\xa4 HTTP/1.0\r\n" MAIL, "500 5.5.2 This is no web server\r\n[close: HTTP]\r\n"),
		DIALOGUE("FOO\r\nNOOP \xc3\xa4\r\nNO\x01OP\r\n", "500 5.5.2 Command not known\r\n"
			 "500 5.5.2 Only ASCII stands in a command\r\n500 5.5.2 Only ASCII stands in a command\r\n"),
		DIALOGUE(OPEN "RSET\r\n" DATA, OPEN_OUT "[reset]\r\n250 2.0.0 OK\r\n503 5.5.1 Say MAIL first\r\n"),
		DIALOGUE(OPEN HELLO RCPT, OPEN_OUT "[reset]\r\n" HELLO_OUT "503 5.5.1 Say MAIL first\r\n"),
		DIALOGUE(OPEN "QUIT\r\nNOOP\r\n", OPEN_OUT "221 2.0.0 Bye\r\n[reset]\r\n[close: quit]\r\n"),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
takes_no_body_for_commands_where_data_was_refused(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(HELLO MAIL DATA "Subject: x\r\n\r\nRSET\r\n" OPEN, HELLO_OUT MAIL_OUT "554 5.5.1 No valid recipients\r\n"
			 "500 5.5.2 The message was not asked for\r\n[reset]\r\n[close: a body behind a refused DATA]\r\n"),
		DIALOGUE(HELLO DATA "\r\nRSET\r\n" OPEN, HELLO_OUT "503 5.5.1 Say MAIL first\r\n"
			 "500 5.5.2 The message was not asked for\r\n[close: a body behind a refused DATA]\r\n"),
		DIALOGUE(HELLO DATA "RSET\r\nFOO\r\n" MAIL, HELLO_OUT "503 5.5.1 Say MAIL first\r\n250 2.0.0 OK\r\n"
			 "500 5.5.2 Command not known\r\n" MAIL_OUT),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
counts_errors_and_ends_at_the_limit(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(HELLO MAIL "RCPT TO:<refuse@x>\r\nX\r\nX\r\nX\r\nNOOP\r\n",
			 HELLO_OUT MAIL_OUT "[rcpt <refuse@x>]\r\n550 5.1.1 No\r\n500 5.5.2 Command not known\r\n"
			 "500 5.5.2 Command not known\r\n500 5.5.2 Command not known\r\n"
			 "421 4.7.0 Too many errors\r\n[reset]\r\n[close: too many errors]\r\n"),
		DIALOGUE(HELLO MAIL "RCPT TO:<many@x>\r\nRCPT TO:<many@x>\r\nX\r\nX\r\nX\r\n",
			 HELLO_OUT MAIL_OUT "[rcpt <many@x>]\r\n452 4.5.3 Too many\r\n"
			 "[rcpt <many@x>]\r\n452 4.5.3 Too many\r\n500 5.5.2 Command not known\r\n"
			 "500 5.5.2 Command not known\r\n500 5.5.2 Command not known\r\n"),
		DIALOGUE(HELLO MAIL "RCPT TO:<close@x>\r\n" RCPT, HELLO_OUT MAIL_OUT
			 "[rcpt <close@x>]\r\n421 4.3.2 Closing??down\r\n[reset]\r\n[close: refused]\r\n"),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
has_a_limit_for_lines(void **state)
{
	static char input[SMTP_BODY_LINE_MAX + 200];
	static const struct smtp_server_config big = { .hostname = "mx.test", .size_max = 1000000 };
	struct dialogue dialogue = { input, 0, NULL };
	size_t n = (size_t)snprintf(input, sizeof input, "%s", OPEN DATA);
	struct drive drive;

	memset(input + n, 'x', SMTP_BODY_LINE_MAX);
	memcpy(input + n + SMTP_BODY_LINE_MAX, "\r\n.\r\n", 5);
	drive_begin(&drive, &big);
	drive_feed(&drive, span_make(input, n + SMTP_BODY_LINE_MAX + 5));
	assert_true(span_ends_nocase(buf_span(&drive.record), SPAN(QUEUED)));
	drive_end(&drive);

	memcpy(input + n + SMTP_BODY_LINE_MAX, "x\r\n.\r\n", 6);
	dialogue.input_n = n + SMTP_BODY_LINE_MAX + 6;
	dialogue.record = OPEN_OUT DATA_OUT "554 5.6.0 A line of the message is too long\r\n"
			  "[reset]\r\n[close: body line too long]\r\n";
	play_all(&big, &dialogue, 1);

	memset(input, 'x', SMTP_SERVER_LINE_MAX);
	memcpy(input + SMTP_SERVER_LINE_MAX - 1, "\r\n", 2);
	dialogue.input_n = SMTP_SERVER_LINE_MAX + 1;
	dialogue.record = "500 5.5.2 Line too long\r\n[close: command line too long]\r\n";
	play_all(&big, &dialogue, 1);
	memcpy(input + SMTP_SERVER_LINE_MAX - 2, "\r\n", 2);
	dialogue.input_n = SMTP_SERVER_LINE_MAX;
	dialogue.record = "500 5.5.2 Command not known\r\n";
	play_all(&big, &dialogue, 1);
}

static void
forgets_everything_when_tls_begins(void **state)
{
	static const struct smtp_server_config config = { .hostname = "mx.test", .starttls = true, .require_tls = true };
	struct drive drive;

	drive_begin(&drive, &config);
	drive_feed(&drive, SPAN("EHLO c\r\n" MAIL));
	drive_feed(&drive, SPAN("STARTTLS\r\n"));
	drive_feed(&drive, SPAN(MAIL "STARTTLS\r\n"));
	drive_feed(&drive, SPAN("EHLO c\r\n" MAIL));
	assert_string_equal(buf_text(&drive.record),
		"[ehlo c]\r\n250-mx.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-STARTTLS\r\n250 CHUNKING\r\n530 5.7.0 Issue STARTTLS first\r\n"
		"220 2.0.0 Ready to start TLS\r\n[tls]\r\n503 5.5.1 Say HELO or EHLO first\r\n503 5.5.1 TLS is on already\r\n"
		"[ehlo c]\r\n250-mx.test\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 CHUNKING\r\n" MAIL_OUT);
	drive_end(&drive);
}

static void
ends_when_anything_follows_starttls_in_clear(void **state)
{
	static const struct smtp_server_config config = { .hostname = "mx.test", .starttls = true };
	struct smtp_server server;
	struct drive drive;

	drive_begin(&drive, &config);
	drive_feed(&drive, SPAN(HELLO MAIL "STARTTLS\r\nRSET\r\n"));
	assert_string_equal(buf_text(&drive.record), HELLO_OUT MAIL_OUT
			    "554 5.5.1 Nothing may follow STARTTLS\r\n[reset]\r\n[close: input behind STARTTLS]\r\n");
	drive_end(&drive);

	smtp_server_init(&server, &config);
	smtp_server_greet(&server, 220, "hi");
	smtp_server_feed(&server, SPAN(HELLO));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_HELO);
	smtp_server_reply_helo(&server);
	smtp_server_feed(&server, SPAN("STARTTLS\r\n"));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_START_TLS);
	smtp_server_feed(&server, SPAN("N"));
	smtp_server_tls_started(&server);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_CLOSE);
	assert_false(server.tls);
	smtp_server_fini(&server);
}

static void
waits_for_the_owner(void **state)
{
	struct smtp_server server;

	smtp_server_init(&server, &plain);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_WAIT);
	smtp_server_greet(&server, 220, "hi");
	smtp_server_feed(&server, SPAN(HELLO MAIL));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_HELO);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_WAIT);
	smtp_server_reply_helo(&server);
	smtp_server_reply_helo(&server);        /* once is enough */
	assert_string_equal(buf_text(&server.out), "220 hi\r\n250 mx.test\r\n");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_MAIL);
	smtp_server_end(&server, 421, "4.4.2 Timeout");
	smtp_server_reply(&server, 250, "2.1.0 too late");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_CLOSE);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_WAIT);
	assert_string_equal(buf_text(&server.out), "220 hi\r\n250 mx.test\r\n421 4.4.2 Timeout\r\n");
	smtp_server_fini(&server);
}

static void
refuses_at_the_greeting(void **state)
{
	struct smtp_server server;

	smtp_server_init(&server, &plain);
	smtp_server_greet(&server, 421, "4.3.2 busy");
	smtp_server_feed(&server, SPAN(HELLO));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_CLOSE);
	assert_string_equal(buf_text(&server.out), "421 4.3.2 busy\r\n");
	smtp_server_fini(&server);
}

static void
ends_a_session_that_only_chats(void **state)
{
	struct drive drive;

	drive_begin(&drive, &plain);
	for (unsigned i = 0; i < SMTP_SERVER_JUNK_MAX + 3; i++)
		drive_feed(&drive, SPAN("NOOP\r\n"));
	assert_false(drive.closed);
	drive_feed(&drive, SPAN("NOOP\r\n"));
	assert_true(drive.closed);
	drive_end(&drive);
}

static void
ends_a_session_that_sends_empty_chunks_for_ever(void **state)
{
	struct drive drive;

	drive_begin(&drive, &plain);
	drive_feed(&drive, SPAN(OPEN));
	for (unsigned i = 0; i < 2 * SMTP_SERVER_JUNK_MAX && !drive.closed; i++)
		drive_feed(&drive, SPAN("BDAT 0\r\n"));
	assert_true(drive.closed);
	drive_end(&drive);
}

static void
ends_a_session_that_sends_more_than_may_be_buffered(void **state)
{
	static char flood[SMTP_SERVER_INPUT_MAX];
	struct smtp_server server;

	memset(flood, 'x', sizeof flood);
	smtp_server_init(&server, &plain);
	smtp_server_greet(&server, 220, "hi");
	smtp_server_feed(&server, SPAN(HELLO));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_HELO);
	assert_int_equal(smtp_server_room(&server), sizeof flood - sizeof(HELLO) + 1);
	smtp_server_feed(&server, span_make(flood, sizeof flood));
	smtp_server_reply_helo(&server);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_CLOSE);
	smtp_server_fini(&server);
}

static void
add_command(void *ctx, struct span line)
{
	buf_add(ctx, line);
	buf_add_char(ctx, '\n');
}

static void
tells_each_command_once(void **state)
{
	static const struct { const char *said, *told; } cases[] = {
		{ "EHLO c\r\n" MAIL RCPT "RSET\r\n" MAIL "EHLO d\r\n" MAIL "RSET\r\nNOOP\r\nSTARTTLS\r\n",
		  "EHLO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nRSET\nMAIL FROM:<a@b>\nEHLO d\nMAIL FROM:<a@b>\nRSET\nNOOP\nSTARTTLS\n" },
		{ OPEN DATA "the body\r\n.\r\nQUIT\r\n", "HELO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nQUIT\n" },
		{ "EHLO c\r\n" MAIL RCPT "BDAT 101\r\n", "EHLO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nBDAT 101\n" },
		{ HELLO MAIL "STARTTLS\r\nRSET\r\n", "HELO c\nMAIL FROM:<a@b>\nSTARTTLS\n" },
	};
	struct buf told;
	struct smtp_server_config config = plain;

	buf_init(&told, 0);
	config.starttls = true;
	config.on_command = add_command;
	config.ctx = &told;
	for (size_t i = 0; i < countof(cases); i++) {
		struct drive drive;

		buf_clear(&told);
		drive_begin(&drive, &config);
		drive_feed(&drive, span_text(cases[i].said));
		assert_string_equal(buf_text(&told), cases[i].told);
		drive_end(&drive);
	}
	buf_fini(&told);
}

static void
tells_the_command_as_it_was_said(void **state)
{
	struct smtp_server server;

	smtp_server_init(&server, &plain);
	smtp_server_greet(&server, 220, "mx.test");
	assert_int_equal(smtp_server_line(&server).n, 0);
	smtp_server_feed(&server, SPAN("ehlo C\r\nmail from:<a@b> size=9\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n"));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_HELO);
	assert_true(span_eq(smtp_server_line(&server), SPAN("ehlo C")));
	smtp_server_reply_helo(&server);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_MAIL);
	assert_true(span_eq(smtp_server_line(&server), SPAN("mail from:<a@b> size=9")));
	smtp_server_reply(&server, 250, "2.1.0 OK");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_RCPT);
	smtp_server_reply(&server, 250, "2.1.5 OK");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_DATA);
	assert_true(span_eq(smtp_server_line(&server), SPAN("DATA")));
	smtp_server_reply(&server, 354, "Go");
	while (smtp_server_next(&server) == SMTP_SERVER_BODY)
		assert_int_equal(smtp_server_line(&server).n, 0);
	assert_int_equal(server.asked, SMTP_SERVER_END);
	assert_int_equal(smtp_server_line(&server).n, 0);
	smtp_server_fini(&server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_messages_one_after_another),
		cmocka_unit_test(offers_its_extensions),
		cmocka_unit_test(reads_the_parameters),
		cmocka_unit_test(refuses_a_mail_that_is_not_well_formed),
		cmocka_unit_test(refuses_a_recipient_that_is_not_well_formed),
		cmocka_unit_test(answers_the_other_commands),
		cmocka_unit_test(takes_no_body_for_commands_where_data_was_refused),
		cmocka_unit_test(counts_errors_and_ends_at_the_limit),
		cmocka_unit_test(has_a_limit_for_lines),
		cmocka_unit_test(forgets_everything_when_tls_begins),
		cmocka_unit_test(ends_when_anything_follows_starttls_in_clear),
		cmocka_unit_test(waits_for_the_owner),
		cmocka_unit_test(tells_the_command_as_it_was_said),
		cmocka_unit_test(refuses_at_the_greeting),
		cmocka_unit_test(ends_a_session_that_only_chats),
		cmocka_unit_test(ends_a_session_that_sends_empty_chunks_for_ever),
		cmocka_unit_test(ends_a_session_that_sends_more_than_may_be_buffered),
		cmocka_unit_test(tells_each_command_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
