/*
 * smtp_client_fixture - for tests: dialogues of a client. What the peer says, turn by
 * turn ('|' between), and the whole record: what we say, events in brackets, each
 * recipient's answer. Played with each turn whole, and byte by byte.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

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

static inline void
prepare(struct talk *talk)
{
	memset(talk->rcpts, 0, sizeof talk->rcpts);
	talk->rcpts[0].address = SPAN("a@x");
	talk->rcpts[1].address = SPAN("b@x");
	talk->message = (struct smtp_client_message){ .sender = SPAN("s@t"), .rcpts = talk->rcpts, .rcpts_n = 2 };
}

static inline void
begin(struct talk *talk, const struct smtp_client_config *config, unsigned messages)
{
	memset(talk, 0, sizeof *talk);
	talk->messages = messages;
	buf_init(&talk->record, 0);
	smtp_client_init(&talk->client, config);
	prepare(talk);
}

static inline void
end(struct talk *talk)
{
	smtp_client_fini(&talk->client);
	buf_fini(&talk->record);
}

static inline void
flush(struct talk *talk)
{
	buf_add(&talk->record, buf_span(&talk->client.out));
	buf_clear(&talk->client.out);
}

static inline void
write_answers(struct talk *talk)
{
	for (unsigned i = 0; i < talk->message.rcpts_n; i++) {
		const struct smtp_client_rcpt *rcpt = &talk->rcpts[i];

		assert_true(rcpt->answered);
		buf_printf(&talk->record, "[%s: %s]\r\n", smtp_stage_name(rcpt->stage), rcpt->reply.line);
	}
}

static inline void
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

static inline void
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

static inline void
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

static inline void
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
