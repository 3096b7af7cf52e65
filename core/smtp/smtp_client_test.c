/* Dialogues: what the peer says, turn by turn ('|' between), and the whole record: what we say, events
 * in brackets, each recipient's answer. Played with each turn whole, and byte by byte. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_client.h"
#include "smtp/smtp_server_drive.h"

#define PIPE     "220 mx|250-mx\r\n250-PIPELINING\r\n250 DSN|"
#define STEPS    "220 mx|250 mx|"
#define HELLO    "EHLO c.test\r\n"
#define READY    HELLO "[ready]\r\n"
#define ENVELOPE "MAIL FROM:<s@t>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
#define BODY     "[body]\r\n.\r\n"
#define QUIT     "[ready]\r\nQUIT\r\n"
#define RSET     "[ready]\r\nRSET\r\n"

struct talk {
	struct smtp_client client;
	struct smtp_client_rcpt rcpts[2];
	struct smtp_client_message message;
	unsigned messages;              /* still to send */
	struct buf record;
	char heard[1000];               /* from our own server */
	size_t heard_n;
};

struct dialogue {
	unsigned    messages;
	const char *peer, *record;
};

static const struct smtp_client_config plain = { .helo = "c.test" };
static const struct smtp_client_config may   = { .helo = "c.test", .use_starttls = true };
static const struct smtp_client_config must  = { .helo = "c.test", .require_starttls = true };

static void
prepare(struct talk *talk)
{
	memset(talk->rcpts, 0, sizeof talk->rcpts);
	talk->rcpts[0].address = SPAN("a@x");
	talk->rcpts[1].address = SPAN("b@x");
	talk->message = (struct smtp_client_message){ .sender = SPAN("s@t"), .rcpts = talk->rcpts, .rcpts_n = 2 };
}

static void
begin(struct talk *talk, const struct smtp_client_config *config, unsigned messages)
{
	memset(talk, 0, sizeof *talk);
	talk->messages = messages;
	buf_init(&talk->record, 0);
	smtp_client_init(&talk->client, config);
	prepare(talk);
}

static void
end(struct talk *talk)
{
	smtp_client_fini(&talk->client);
	buf_fini(&talk->record);
}

static void
flush(struct talk *talk)
{
	buf_add(&talk->record, buf_span(&talk->client.out));
	buf_clear(&talk->client.out);
}

static void
write_answers(struct talk *talk)
{
	for (unsigned i = 0; i < talk->message.rcpts_n; i++) {
		const struct smtp_client_rcpt *rcpt = &talk->rcpts[i];

		assert_true(rcpt->answered);
		buf_printf(&talk->record, "[%s: %s]\r\n", smtp_stage_name(rcpt->stage), rcpt->reply.line);
	}
}

static void
on_ready(struct talk *talk)
{
	buf_add_text(&talk->record, "[ready]\r\n");
	if (talk->messages == 0) {
		smtp_client_quit(&talk->client);
		return;
	}
	talk->messages--;
	smtp_client_send(&talk->client, &talk->message);
}

static void
run(struct talk *talk)
{
	enum smtp_client_event event;

	do {
		event = smtp_client_next(&talk->client);
		flush(talk);
		switch (event) {
		case SMTP_CLIENT_WAIT:
			break;
		case SMTP_CLIENT_START_TLS:
			buf_add_text(&talk->record, "[tls]\r\n");
			smtp_client_tls_started(&talk->client);
			break;
		case SMTP_CLIENT_READY:
			on_ready(talk);
			break;
		case SMTP_CLIENT_BODY:
			buf_add_text(&talk->record, "[body]\r\n");
			smtp_client_body_sent(&talk->client);
			break;
		case SMTP_CLIENT_DONE:
			write_answers(talk);
			break;
		case SMTP_CLIENT_FAILED:
			buf_printf(&talk->record, "[failed %s: %s]\r\n", smtp_stage_name(talk->client.stage),
				   talk->client.reply.line);
			break;
		case SMTP_CLIENT_CLOSED:
			buf_add_text(&talk->record, "[closed]\r\n");
			break;
		}
		flush(talk);
	} while (event != SMTP_CLIENT_WAIT);
}

static void
say(struct talk *talk, struct span turn, bool bytes)
{
	for (size_t i = 0; bytes && i < turn.n; i++) {
		smtp_client_feed(&talk->client, span_make(turn.p + i, 1));
		run(talk);
	}
	if (!bytes) {
		smtp_client_feed(&talk->client, turn);
		run(talk);
	}
	/* A turn ends its last line. */
	smtp_client_feed(&talk->client, SPAN("\r\n"));
	run(talk);
}

static void
play(const struct smtp_client_config *config, const struct dialogue *dialogues, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		const struct dialogue *dialogue = &dialogues[i / 2];
		struct span peer = span_text(dialogue->peer), turn;
		struct talk talk;

		begin(&talk, config, dialogue->messages);
		while (span_split(&peer, '|', &turn))
			say(&talk, turn, i % 2);
		assert_string_equal(buf_text(&talk.record), dialogue->record);
		end(&talk);
	}
}

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
		cmocka_unit_test(ends_at_a_421_wherever_it_comes),
		cmocka_unit_test(fails_where_no_session_comes_about),
		cmocka_unit_test(ends_a_session_that_has_lost_step),
		cmocka_unit_test(starts_tls_if_it_is_offered),
		cmocka_unit_test(fails_when_bytes_follow_the_reply_to_starttls),
		cmocka_unit_test(forgets_the_extensions_when_tls_begins),
		cmocka_unit_test(sends_parameters_only_where_offered),
		cmocka_unit_test(answers_by_itself_what_the_peer_cannot_take),
		cmocka_unit_test(sends_to_the_others_when_one_address_is_bad),
		cmocka_unit_test(believes_a_refusal_in_the_middle_of_the_body),
		cmocka_unit_test(does_not_believe_an_acceptance_before_the_end_of_the_body),
		cmocka_unit_test(does_not_believe_a_reply_to_what_has_not_left),
		cmocka_unit_test(answers_everybody_when_the_connection_breaks),
		cmocka_unit_test(keeps_the_reply_to_mail_when_the_connection_breaks_behind_it),
		cmocka_unit_test(hears_the_peer_hang_up_between_transactions),
		cmocka_unit_test(does_not_send_into_a_session_that_has_strayed),
		cmocka_unit_test(bounds_what_a_peer_may_say),
		cmocka_unit_test(talks_to_our_own_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
