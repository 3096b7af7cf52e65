/* Bodies: by DATA and by BDAT, line ends, chunks, size; nothing of one is ever read as a command. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_server_fixture.h"

static void
refuses_every_way_to_smuggle_a_message(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(OPEN DATA "x\n.\n" MAIL, OPEN_OUT DATA_OUT BARE_LF),
		DIALOGUE(OPEN DATA "x\r.\r" MAIL, OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE(OPEN DATA "x\r\n.\n" MAIL, OPEN_OUT DATA_OUT BARE_LF),
		DIALOGUE(OPEN DATA "x\n.\r\n" MAIL, OPEN_OUT DATA_OUT BARE_LF),
		DIALOGUE(OPEN DATA "x\r.\r\n" MAIL, OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE(OPEN DATA "x\r\n.\r" MAIL, OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE(OPEN DATA "x\r\n\r.\r\n", OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE(OPEN DATA "x\r\r\n.\r\n", OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE(OPEN DATA "x\n\n.\r\n", OPEN_OUT DATA_OUT BARE_LF),
		DIALOGUE(OPEN DATA "\n", OPEN_OUT DATA_OUT BARE_LF),
		DIALOGUE(OPEN DATA ".\n", OPEN_OUT DATA_OUT BARE_LF),
		DIALOGUE(OPEN DATA ".\r\r\n", OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE(OPEN DATA "x\r\n.\0\r\n.\r\n", OPEN_OUT DATA_OUT NUL),
		DIALOGUE(OPEN DATA "x\0y\nz\r\n.\r\n", OPEN_OUT DATA_OUT NUL),
		DIALOGUE(OPEN DATA "x\r\0\n.\r\n", OPEN_OUT DATA_OUT BARE_CR),
		DIALOGUE("NOOP\n", "500 5.5.2 Lines end in CRLF\r\n[close: bare LF in a command]\r\n"),
		DIALOGUE("NOOP\rNOOP\r\n", "500 5.5.2 Lines end in CRLF\r\n[close: bare CR in a command]\r\n"),
		DIALOGUE("NO\0OP\r\nNOOP\r\n", "500 5.5.2 NUL in a command\r\n[close: NUL in a command]\r\n"),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
takes_chunks(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(OPEN "BDAT 7\r\nS: x\r\n\rBDAT 3\r\n\nhiBDAT 0 LAST\r\n" MAIL,
			 OPEN_OUT "[data]\r\n250 2.0.0 7 octets received\r\n250 2.0.0 3 octets received\r\n"
			 "[end 10]\r\nS: x\r\n\r\nhi\r\n" QUEUED MAIL_OUT),
		DIALOGUE(OPEN "BDAT 17 LAST\r\n.\r\n..\r\na\r\n.b\r\n.\r\nNOOP\r\n",
			 OPEN_OUT "[data]\r\n[end 17]\r\n..\r\n...\r\na\r\n..b\r\n..\r\n" QUEUED "250 2.0.0 OK\r\n"),
		DIALOGUE(OPEN "BDAT 0 LAST\r\n", OPEN_OUT "[data]\r\n[end 0]\r\n" QUEUED),
		DIALOGUE(OPEN "BDAT 1\r\n.BDAT 1\r\n.BDAT 1 last\r\n.NOOP\r\n", OPEN_OUT
			 "[data]\r\n250 2.0.0 1 octets received\r\n250 2.0.0 1 octets received\r\n"
			 "[end 3]\r\n....\r\n" QUEUED "250 2.0.0 OK\r\n"),
		DIALOGUE(OPEN "BDAT 1\r\nxRSET\r\n" MAIL, OPEN_OUT
			 "[data]\r\n250 2.0.0 1 octets received\r\n[reset]\r\n250 2.0.0 OK\r\n" MAIL_OUT),
		DIALOGUE(OPEN "BDAT 1\r\nx" DATA RCPT, OPEN_OUT "[data]\r\n250 2.0.0 1 octets received\r\n"
			 "503 5.5.1 The message has begun with BDAT\r\n503 5.5.1 The message has begun\r\n"),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
refuses_bare_line_ends_in_chunks(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(OPEN "BDAT 3\r\nx\ny", OPEN_OUT "[data]\r\n" BARE_LF),
		DIALOGUE(OPEN "BDAT 3\r\nx\ry", OPEN_OUT "[data]\r\n" BARE_CR),
		DIALOGUE(OPEN "BDAT 3\r\nx\0y", OPEN_OUT "[data]\r\n" NUL),
		DIALOGUE(OPEN "BDAT 2 LAST\r\nx\r", OPEN_OUT "[data]\r\n" BARE_CR),
		DIALOGUE(OPEN "BDAT 2\r\nx\rBDAT 0 LAST\r\n", OPEN_OUT "[data]\r\n250 2.0.0 2 octets received\r\n" BARE_CR),
		DIALOGUE(OPEN "BDAT 2\r\nx\rBDAT 1\r\ny", OPEN_OUT "[data]\r\n250 2.0.0 2 octets received\r\n" BARE_CR),
		DIALOGUE(OPEN "BDAT 1\r\nxBDAT 1\r\n\n", OPEN_OUT "[data]\r\n250 2.0.0 1 octets received\r\n" BARE_LF),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
never_reads_a_chunk_as_commands(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(HELLO "BDAT 6 LAST\r\nRSET\r\nNOOP\r\n", HELLO_OUT "503 5.5.1 Say MAIL first\r\n250 2.0.0 OK\r\n"),
		DIALOGUE(HELLO MAIL "BDAT 6 LAST\r\nRSET\r\nNOOP\r\n",
			 HELLO_OUT MAIL_OUT "503 5.5.1 No valid recipients\r\n250 2.0.0 OK\r\n"),
		DIALOGUE(OPEN "BDAT x\r\nNOOP\r\n", OPEN_OUT "501 5.5.4 Bad chunk size\r\n[reset]\r\n[close: bad chunk size]\r\n"),
		DIALOGUE(OPEN "BDAT 99999999999999999999\r\nNOOP\r\n",
			 OPEN_OUT "501 5.5.4 Bad chunk size\r\n[reset]\r\n[close: bad chunk size]\r\n"),
		DIALOGUE(OPEN "BDAT 5 FIRST\r\nNOOP\r\n", OPEN_OUT "501 5.5.4 Bad chunk size\r\n[reset]\r\n[close: bad chunk size]\r\n"),
		DIALOGUE(OPEN "BDAT 98\r\nRSET\r\n", OPEN_OUT "[data]\r\n"),
		DIALOGUE(OPEN "BDAT 18446744073709551615\r\nRSET\r\n", OPEN_OUT "[reset]\r\n"),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
refuses_a_message_that_is_too_big_at_its_end(void **state)
{
	static const struct dialogue dialogues[] = {
		DIALOGUE(OPEN DATA FULL ".\r\n", OPEN_OUT DATA_OUT "[end 100]\r\n" FULL QUEUED),
		DIALOGUE(OPEN DATA FULL "x\r\nNOOP\r\n.\r\n" MAIL,
			 OPEN_OUT DATA_OUT "[reset]\r\n552 5.3.4 Message too big\r\n" MAIL_OUT),
		DIALOGUE(OPEN DATA FULL "x\r\ny\n.\r\n" MAIL, OPEN_OUT DATA_OUT
			 "[reset]\r\n554 5.6.0 Bare LF in the message\r\n[close: bare LF in the body]\r\n"),
		DIALOGUE(OPEN DATA ".." TEN ".." TEN TEN TEN TEN TEN TEN TEN "..345678\r\n..345678\r\n.\r\n",
			 OPEN_OUT DATA_OUT "[end 100]\r\n.." TEN ".." TEN TEN TEN TEN TEN TEN TEN "..345678\r\n..345678\r\n" QUEUED),
		DIALOGUE(OPEN "BDAT 100 LAST\r\n" FULL, OPEN_OUT "[data]\r\n[end 100]\r\n" FULL QUEUED),
		DIALOGUE(OPEN "BDAT 101 LAST\r\n" FULL "xNOOP\r\n",
			 OPEN_OUT "[reset]\r\n552 5.3.4 Message too big\r\n250 2.0.0 OK\r\n"),
		DIALOGUE(OPEN "BDAT 10\r\n" TEN "BDAT 100\r\n" FULL "BDAT 1 LAST\r\nx" MAIL,
			 OPEN_OUT "[data]\r\n250 2.0.0 10 octets received\r\n[reset]\r\n552 5.3.4 Message too big\r\n"
			 "503 5.5.1 Say MAIL first\r\n" MAIL_OUT),
	};
	play_all(&plain, dialogues, countof(dialogues));
}

static void
drops_a_message_whose_chunk_the_owner_refused(void **state)
{
	struct smtp_server server;

	smtp_server_init(&server, &plain);
	smtp_server_greet(&server, 220, "hi");
	smtp_server_feed(&server, SPAN(OPEN "BDAT 2\r\nhiBDAT 2 LAST\r\nhoRSET\r\n"));
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_HELO);
	smtp_server_reply_helo(&server);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_MAIL);
	smtp_server_reply(&server, 250, "ok");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_RCPT);
	smtp_server_reply(&server, 250, "ok");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_DATA);
	buf_clear(&server.out);
	smtp_server_reply(&server, 451, "4.3.1 full");
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_RESET);
	assert_int_equal(smtp_server_next(&server), SMTP_SERVER_WAIT);
	assert_string_equal(buf_text(&server.out),
			    "451 4.3.1 full\r\n503 5.5.1 A chunk was refused\r\n250 2.0.0 OK\r\n");
	smtp_server_fini(&server);
}

static void
gives_the_body_in_large_pieces(void **state)
{
	static char text[60000];
	struct smtp_server server;
	struct drive drive;

	for (size_t i = 0; i < sizeof text; i += 10)
		memcpy(text + i, TEN, 10);
	drive_begin(&drive, &(struct smtp_server_config){ .hostname = "mx.test" });
	drive_feed(&drive, SPAN(OPEN DATA));
	server = drive.server;
	smtp_server_feed(&drive.server, span_make(text, sizeof text));
	assert_int_equal(smtp_server_next(&drive.server), SMTP_SERVER_BODY);
	assert_int_equal(drive.server.body.n, sizeof text);
	assert_int_equal(smtp_server_next(&drive.server), SMTP_SERVER_WAIT);
	assert_int_equal(drive.server.in_transaction, server.in_transaction);
	drive_end(&drive);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_every_way_to_smuggle_a_message),
		cmocka_unit_test(takes_chunks),
		cmocka_unit_test(refuses_bare_line_ends_in_chunks),
		cmocka_unit_test(never_reads_a_chunk_as_commands),
		cmocka_unit_test(refuses_a_message_that_is_too_big_at_its_end),
		cmocka_unit_test(drops_a_message_whose_chunk_the_owner_refused),
		cmocka_unit_test(gives_the_body_in_large_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
