/*
 * A peer may answer anything. The machine must come to an end: every recipient answered
 * by DONE, nothing after CLOSED or FAILED, and every line we say well-formed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct talk {
	struct smtp_client client;
	struct smtp_client_rcpt rcpts[3];
	struct smtp_client_message message;
	unsigned sent;
	bool over;
};

static void
send_one(struct talk *talk)
{
	static const char *const addresses[] = { "a@b.test", "x\r\nDATA@y", "d@\xc3\xa4.test" };

	memset(talk->rcpts, 0xA5, sizeof talk->rcpts);
	for (unsigned i = 0; i < countof(talk->rcpts); i++) {
		talk->rcpts[i].address = span_text(addresses[(i + talk->sent) % 3]);
		talk->rcpts[i].orcpt = SPAN("rfc822;a+40b");
		talk->rcpts[i].notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
	}
	talk->message = (struct smtp_client_message){
		.sender = SPAN("s@t.test"), .envid = SPAN("e1"), .ret = SPAN("HDRS"), .size_bytes = 1000,
		.eightbit = talk->sent & 1, .rcpts = talk->rcpts, .rcpts_n = 1 + talk->sent % 3,
	};
	talk->sent++;
	smtp_client_send(&talk->client, &talk->message);
}

static void
check_output(struct talk *talk)
{
	struct span out = buf_span(&talk->client.out), line;

	check(out.n == 0 || (out.n > 1 && out.p[out.n - 2] == '\r' && out.p[out.n - 1] == '\n'));
	while (span_split(&out, '\n', &line)) {
		check(line.n > 1 && line.n < 2000);
		check(span_find(line, '\r') == line.n - 1);
	}
	buf_clear(&talk->client.out);
}

static void
check_answers(struct talk *talk)
{
	for (unsigned i = 0; i < talk->message.rcpts_n; i++) {
		const struct smtp_client_rcpt *rcpt = &talk->rcpts[i];

		check(rcpt->answered);
		check(rcpt->reply.code >= 200 && rcpt->reply.code < 600);
		check(rcpt->stage >= SMTP_STAGE_MAIL && rcpt->stage <= SMTP_STAGE_FINAL);
		if (smtp_reply_ok(&rcpt->reply))
			check(rcpt->stage == SMTP_STAGE_FINAL && rcpt->accepted);
	}
}

static void
run(struct talk *talk)
{
	enum smtp_client_event event;

	do {
		event = smtp_client_next(&talk->client);
		check(!talk->over || event == SMTP_CLIENT_WAIT);
		check_output(talk);
		switch (event) {
		case SMTP_CLIENT_START_TLS: smtp_client_tls_started(&talk->client); break;
		case SMTP_CLIENT_BODY:      smtp_client_body_sent(&talk->client); break;
		case SMTP_CLIENT_DONE:      check_answers(talk); break;
		case SMTP_CLIENT_READY:
			if (talk->sent < 5)
				send_one(talk);
			else
				smtp_client_quit(&talk->client);
			break;
		case SMTP_CLIENT_FAILED:
			check(talk->sent == 0);
			talk->over = true;
			break;
		case SMTP_CLIENT_CLOSED:    talk->over = true; break;
		case SMTP_CLIENT_WAIT:      break;
		}
		check_output(talk);
	} while (event != SMTP_CLIENT_WAIT);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_client_config config = { .helo = "c.test" };
	struct talk talk = { .sent = 0 };
	struct smtp_reply lost;
	size_t step;

	if (size < 2)
		return 0;
	config.use_starttls = data[0] & 1;
	config.require_starttls = data[0] & 2;
	step = data[1] ? data[1] : size;
	smtp_client_init(&talk.client, &config);
	for (size_t at = 2; at < size; at += step) {
		smtp_client_feed(&talk.client, span_make(data + at, step < size - at ? step : size - at));
		run(&talk);
	}
	smtp_reply_make(&lost, 400, "4.4.2", "connection lost");
	smtp_client_broken(&talk.client, &lost);
	if (talk.sent > 0)
		check_answers(&talk);
	smtp_client_fini(&talk.client);
	return 0;
}
