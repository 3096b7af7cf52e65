/* What a client makes of a peer that refuses, breaks off, loses step or says too much. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_client_fixture.h"

static void
ends_at_a_421_wherever_it_comes(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 1, "421 4.7.0 busy", "[failed greeting: 421 4.7.0 busy]\r\n" },
		{ 1, "220 mx|421 busy", HELLO "[failed ehlo: 421 busy]\r\n" },
		{ 1, STEPS "421 busy|250 x", READY "MAIL FROM:<s@t>\r\n[mail: 421 busy]\r\n[mail: 421 busy]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n550 no\r\n421 busy", READY ENVELOPE "[rcpt: 550 no]\r\n[rcpt: 421 busy]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n250 ok\r\n421 busy", READY ENVELOPE "[rcpt: 421 busy]\r\n[rcpt: 421 busy]\r\n[closed]\r\n" },
		{ 1, PIPE "550 no\r\n421 busy", READY ENVELOPE "[mail: 550 no]\r\n[mail: 550 no]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n250 ok\r\n550 no\r\n421 busy", READY ENVELOPE "[data: 421 busy]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n250 ok\r\n550 no\r\n354 go|421 busy",
		  READY ENVELOPE BODY "[final: 421 busy]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ 0, STEPS "421 busy", READY "QUIT\r\n[closed]\r\n" },
	};
	play(&plain, dialogues, countof(dialogues));
}

static void
fails_where_no_session_comes_about(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 1, "554 5.7.1 go away", "QUIT\r\n[failed greeting: 554 5.7.1 go away]\r\n" },
		{ 1, "220 mx|450 later", HELLO "QUIT\r\n[failed ehlo: 450 later]\r\n" },
		{ 1, "220 mx|502 what|550 no", HELLO "HELO c.test\r\nQUIT\r\n[failed ehlo: 550 no]\r\n" },
		{ 0, "220 mx|502 what|250 mx", HELLO "HELO c.test\r\n" QUIT },
		{ 1, "HTTP/1.1 400 Bad", "[failed greeting: 400 4.5.0 the peer does not speak SMTP]\r\n" },
		{ 1, "354 go", "[failed greeting: 400 4.5.0 unexpected reply]\r\n" },
	};
	play(&plain, dialogues, countof(dialogues));
}

static void
ends_a_session_that_has_lost_step(void **state)
{
	static const struct dialogue dialogues[] = {
		{ 1, STEPS "354 go", READY "MAIL FROM:<s@t>\r\n[mail: 400 4.5.0 unexpected reply]\r\n"
		  "[mail: 400 4.5.0 unexpected reply]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n250 ok\r\n354 go", READY ENVELOPE "[rcpt: 400 4.5.0 unexpected reply]\r\n"
		  "[rcpt: 400 4.5.0 unexpected reply]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n250 ok\r\n250 ok\r\n250 go", READY ENVELOPE "[data: 400 4.5.0 unexpected reply]\r\n"
		  "[data: 400 4.5.0 unexpected reply]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\n250 ok\r\n550 no\r\n354 go|354 go", READY ENVELOPE BODY
		  "[final: 400 4.5.0 unexpected reply]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ 1, PIPE "250 ok\r\ngarbage", READY ENVELOPE "[rcpt: 400 4.5.0 the peer does not speak SMTP]\r\n"
		  "[rcpt: 400 4.5.0 the peer does not speak SMTP]\r\n[closed]\r\n" },
	};
	play(&plain, dialogues, countof(dialogues));
}

static void
fails_when_bytes_follow_the_reply_to_starttls(void **state)
{
	struct talk talk;

	begin(&talk, &may, 1);
	say(&talk, SPAN("220 mx"), false);
	say(&talk, SPAN("250-mx\r\n250 STARTTLS"), false);
	say(&talk, SPAN("220 go\r\n250 injected"), false);
	assert_string_equal(buf_text(&talk.record), HELLO "STARTTLS\r\n"
			    "[failed starttls: 400 4.7.0 bytes behind the reply to STARTTLS]\r\n");
	assert_false(talk.client.tls);
	end(&talk);
}

/* Up to BODY, with both recipients accepted. */
static void
reach_body(struct talk *talk)
{
	begin(talk, &plain, 1);
	say(talk, SPAN("220 mx"), false);
	say(talk, SPAN("250-mx\r\n250 PIPELINING"), false);
	smtp_client_feed(&talk->client, SPAN("250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"));
	assert_int_equal(smtp_client_next(&talk->client), SMTP_CLIENT_BODY);
	assert_int_equal(smtp_client_awaits(&talk->client), SMTP_STAGE_DATA);
	buf_clear(&talk->record);
	buf_clear(&talk->client.out);
}

static void
believes_a_refusal_in_the_middle_of_the_body(void **state)
{
	struct talk talk;

	reach_body(&talk);
	smtp_client_feed(&talk.client, SPAN("552 5.3.4 too big\r\n"));
	run(&talk);
	assert_string_equal(buf_text(&talk.record), "[data: 552 5.3.4 too big]\r\n[rcpt: 550 no]\r\n[closed]\r\n");
	smtp_client_body_sent(&talk.client);
	assert_int_equal(buf_len(&talk.client.out), 0);
	end(&talk);
}

static void
does_not_believe_an_acceptance_before_the_end_of_the_body(void **state)
{
	struct talk talk;

	reach_body(&talk);
	smtp_client_feed(&talk.client, SPAN("250 queued\r\n"));
	run(&talk);
	assert_string_equal(buf_text(&talk.record), "[data: 400 4.5.0 unexpected reply]\r\n[rcpt: 550 no]\r\n[closed]\r\n");
	end(&talk);
}

static void
does_not_believe_a_reply_to_what_has_not_left(void **state)
{
	static const struct { const char *reply, *record; } rows[] = {
		{ "250 queued\r\n", "[final: 400 4.5.0 a reply that nothing asked for]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ "552 5.3.4 too big\r\n", "[final: 552 5.3.4 too big]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ "421 4.3.2 shutting down\r\n", "[final: 421 4.3.2 shutting down]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ "354 go\r\n", "[final: 400 4.5.0 unexpected reply]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
		{ "garbage\r\n", "[final: 400 4.5.0 the peer does not speak SMTP]\r\n[rcpt: 550 no]\r\n[closed]\r\n" },
	};
	struct talk talk;

	for (size_t i = 0; i < countof(rows); i++) {
		reach_body(&talk);
		smtp_client_feed(&talk.client, span_text(rows[i].reply));
		smtp_client_body_sent(&talk.client);
		run(&talk);
		assert_string_equal(buf_text(&talk.record), rows[i].record);
		end(&talk);
	}
	begin(&talk, &plain, 1);
	smtp_client_feed(&talk.client, SPAN("220 mx\r\n220 mx\r\n"));
	run(&talk);
	assert_string_equal(buf_text(&talk.record), "[failed ehlo: 400 4.5.0 a reply that nothing asked for]\r\n");
	end(&talk);
}

static void
answers_everybody_when_the_connection_breaks(void **state)
{
	struct smtp_reply lost;
	struct talk talk;

	smtp_reply_make(&lost, 400, "4.4.2", "connection lost");
	reach_body(&talk);
	smtp_client_broken(&talk.client, &lost);
	write_answers(&talk);
	assert_string_equal(buf_text(&talk.record), "[data: 400 4.4.2 connection lost]\r\n[rcpt: 550 no]\r\n");
	assert_int_equal(smtp_client_next(&talk.client), SMTP_CLIENT_CLOSED);
	assert_int_equal(smtp_client_next(&talk.client), SMTP_CLIENT_WAIT);
	end(&talk);

	reach_body(&talk);
	smtp_client_body_sent(&talk.client);
	assert_int_equal(smtp_client_awaits(&talk.client), SMTP_STAGE_FINAL);
	smtp_client_broken(&talk.client, &lost);
	write_answers(&talk);
	assert_string_equal(buf_text(&talk.record), "[final: 400 4.4.2 connection lost]\r\n[rcpt: 550 no]\r\n");
	end(&talk);
}

static void
keeps_the_reply_to_mail_when_the_connection_breaks_behind_it(void **state)
{
	struct smtp_reply lost;
	struct talk talk;

	smtp_reply_make(&lost, 400, "4.4.2", "connection lost");
	begin(&talk, &plain, 1);
	say(&talk, SPAN("220 mx"), false);
	say(&talk, SPAN("250-mx\r\n250 PIPELINING"), false);
	say(&talk, SPAN("550 no\r\n503 x"), false);
	buf_clear(&talk.record);
	smtp_client_broken(&talk.client, &lost);
	write_answers(&talk);
	assert_string_equal(buf_text(&talk.record), "[mail: 550 no]\r\n[mail: 550 no]\r\n");
	end(&talk);
}

static void
hears_the_peer_hang_up_between_transactions(void **state)
{
	struct talk talk;

	begin(&talk, &plain, 0);
	say(&talk, SPAN("220 mx"), false);
	smtp_client_feed(&talk.client, SPAN("250 mx\r\n"));
	assert_int_equal(smtp_client_next(&talk.client), SMTP_CLIENT_READY);
	smtp_client_feed(&talk.client, SPAN("421 4.4.2 idle\r\n"));
	assert_int_equal(smtp_client_next(&talk.client), SMTP_CLIENT_CLOSED);
	assert_string_equal(talk.client.reply.line, "421 4.4.2 idle");
	end(&talk);
}

static void
is_ready_for_nothing_more_when_something_follows_the_last_reply(void **state)
{
	static const char *const strays[] = { "421 4.4.2 bye\r\n", "250 ok\r\n", "\r\n", "25" };
	struct talk talk;

	for (size_t i = 0; i < countof(strays); i++) {
		begin(&talk, &plain, 2);
		say(&talk, SPAN("220 mx"), false);
		say(&talk, SPAN("250-mx\r\n250 PIPELINING"), false);
		say(&talk, SPAN("250 ok\r\n250 ok\r\n250 ok\r\n354 go"), false);
		buf_clear(&talk.record);
		smtp_client_feed(&talk.client, SPAN("250 done\r\n"));
		smtp_client_feed(&talk.client, span_text(strays[i]));
		run(&talk);
		assert_string_equal(buf_text(&talk.record), "[final: 250 done]\r\n[final: 250 done]\r\n[closed]\r\n");
		end(&talk);
	}
}

static void
does_not_send_into_a_session_that_has_strayed(void **state)
{
	static const struct { const char *stray, *answer; } rows[] = {
		{ "421 4.4.2 idle\r\n", "[mail: 421 4.4.2 idle]\r\n" },
		{ "250 ok\r\n", "[mail: 400 4.5.0 a reply that nothing asked for]\r\n" },
		{ "25", "[mail: 400 4.5.0 input that nothing asked for]\r\n" },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct talk talk;
		char record[200];

		begin(&talk, &plain, 0);
		say(&talk, SPAN("220 mx"), false);
		smtp_client_feed(&talk.client, SPAN("250 mx\r\n"));
		assert_int_equal(smtp_client_next(&talk.client), SMTP_CLIENT_READY);
		buf_clear(&talk.record);
		smtp_client_feed(&talk.client, span_text(rows[i].stray));
		smtp_client_send(&talk.client, &talk.message);
		run(&talk);
		snprintf(record, sizeof record, "%s%s[closed]\r\n", rows[i].answer, rows[i].answer);
		assert_string_equal(buf_text(&talk.record), record);
		end(&talk);
	}
}

static void
bounds_what_a_peer_may_say(void **state)
{
	static char flood[SMTP_REPLY_LINE_MAX + 1];
	struct talk talk;

	memset(flood, '2', sizeof flood);
	begin(&talk, &plain, 1);
	smtp_client_feed(&talk.client, span_make(flood, sizeof flood));
	run(&talk);
	assert_string_equal(buf_text(&talk.record), "[failed greeting: 400 4.5.0 the peer does not speak SMTP]\r\n");
	end(&talk);

	begin(&talk, &plain, 1);
	for (unsigned i = 0; i <= SMTP_REPLY_LINES_MAX; i++) {
		smtp_client_feed(&talk.client, SPAN("220-more\r\n"));
		run(&talk);
	}
	assert_string_equal(buf_text(&talk.record), "[failed greeting: 400 4.5.0 the peer does not speak SMTP]\r\n");
	end(&talk);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends_at_a_421_wherever_it_comes),
		cmocka_unit_test(fails_where_no_session_comes_about),
		cmocka_unit_test(ends_a_session_that_has_lost_step),
		cmocka_unit_test(fails_when_bytes_follow_the_reply_to_starttls),
		cmocka_unit_test(believes_a_refusal_in_the_middle_of_the_body),
		cmocka_unit_test(does_not_believe_an_acceptance_before_the_end_of_the_body),
		cmocka_unit_test(does_not_believe_a_reply_to_what_has_not_left),
		cmocka_unit_test(answers_everybody_when_the_connection_breaks),
		cmocka_unit_test(keeps_the_reply_to_mail_when_the_connection_breaks_behind_it),
		cmocka_unit_test(hears_the_peer_hang_up_between_transactions),
		cmocka_unit_test(is_ready_for_nothing_more_when_something_follows_the_last_reply),
		cmocka_unit_test(does_not_send_into_a_session_that_has_strayed),
		cmocka_unit_test(bounds_what_a_peer_may_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
