/*
 * smtp_server_drive - plays an owner of smtp_server for its test and its fuzzer,
 * and writes down what happened: replies as they are, events in brackets, the
 * body at its end. The same input gives the same record however it is cut.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_server.h"

struct drive {
	struct smtp_server server;
	struct buf record, body;
	bool closed;
};

static inline void
drive_begin(struct drive *drive, const struct smtp_server_config *config)
{
	memset(drive, 0, sizeof *drive);
	buf_init(&drive->record, 0);
	buf_init(&drive->body, 0);
	smtp_server_init(&drive->server, config);
	smtp_server_greet(&drive->server, 220, "mx.test ESMTP");
	buf_clear(&drive->server.out);
}

static inline void
drive_end(struct drive *drive)
{
	smtp_server_fini(&drive->server);
	buf_fini(&drive->record);
	buf_fini(&drive->body);
}

static inline void
drive_flush(struct drive *drive)
{
	buf_add(&drive->record, buf_span(&drive->server.out));
	buf_clear(&drive->server.out);
}

static inline bool
drive_has(struct span s, const char *word)
{
	return span_find_text(s, span_text(word)) != SIZE_MAX;
}

static inline void
drive_mail(struct drive *drive)
{
	struct smtp_server *s = &drive->server;

	buf_printf(&drive->record, "[mail <%.*s>", SPAN_ARG(s->sender));
	if (s->declared_size)
		buf_printf(&drive->record, " size=%llu", (unsigned long long)s->declared_size);
	if (s->eightbit)
		buf_add_text(&drive->record, " 8bit");
	if (s->smtputf8)
		buf_add_text(&drive->record, " utf8");
	if (s->ret.n)
		buf_printf(&drive->record, " ret=%.*s", SPAN_ARG(s->ret));
	if (s->envid.n)
		buf_printf(&drive->record, " envid=%.*s", SPAN_ARG(s->envid));
	buf_add_text(&drive->record, "]\r\n");
	if (drive_has(s->sender, "refuse"))
		smtp_server_reply(s, 550, "5.7.1 No");
	else
		smtp_server_reply(s, 250, "2.1.0 OK");
}

static inline void
drive_rcpt(struct drive *drive)
{
	struct smtp_server *s = &drive->server;

	buf_printf(&drive->record, "[rcpt <%.*s>", SPAN_ARG(s->recipient));
	if (s->notify)
		buf_printf(&drive->record, " notify=%u", s->notify);
	if (s->orcpt.n)
		buf_printf(&drive->record, " orcpt=%.*s", SPAN_ARG(s->orcpt));
	buf_add_text(&drive->record, "]\r\n");
	if (drive_has(s->recipient, "close"))
		smtp_server_reply(s, 421, "4.3.2 Closing\r\ndown");
	else if (drive_has(s->recipient, "refuse"))
		smtp_server_reply(s, 550, "5.1.1 No");
	else if (drive_has(s->recipient, "many"))
		smtp_server_reply_uncounted(s, 452, "4.5.3 Too many");
	else
		smtp_server_reply(s, 250, "2.1.5 OK");
}

static inline void
drive_event(struct drive *drive, enum smtp_server_event event)
{
	struct smtp_server *s = &drive->server;
	bool later = event == SMTP_SERVER_END && drive_has(buf_span(&drive->body), "defer");

	switch (event) {
	case SMTP_SERVER_WAIT:
		break;
	case SMTP_SERVER_HELO:
		buf_printf(&drive->record, "[%s %s]\r\n", s->esmtp ? "ehlo" : "helo", s->helo);
		if (drive_has(span_text(s->helo), "refuse"))
			smtp_server_reply(s, 550, "5.7.1 No");
		else
			smtp_server_reply_helo(s);
		break;
	case SMTP_SERVER_START_TLS:
		buf_add_text(&drive->record, "[tls]\r\n");
		smtp_server_tls_started(s);
		break;
	case SMTP_SERVER_MAIL:
		drive_mail(drive);
		break;
	case SMTP_SERVER_RCPT:
		drive_rcpt(drive);
		break;
	case SMTP_SERVER_DATA:
		buf_add_text(&drive->record, "[data]\r\n");
		buf_clear(&drive->body);
		smtp_server_reply(s, 354, "Go on");
		break;
	case SMTP_SERVER_BODY:
		buf_add(&drive->body, s->body);
		break;
	case SMTP_SERVER_END:
		buf_printf(&drive->record, "[end %llu]\r\n", (unsigned long long)s->body_bytes);
		buf_add(&drive->record, buf_span(&drive->body));
		smtp_server_reply(s, later ? 451 : 250, later ? "4.3.0 Later" : "2.0.0 Queued");
		break;
	case SMTP_SERVER_RESET:
		buf_add_text(&drive->record, "[reset]\r\n");
		buf_clear(&drive->body);
		break;
	case SMTP_SERVER_CLOSE:
		buf_printf(&drive->record, "[close: %s]\r\n", s->closing);
		drive->closed = true;
		break;
	}
}

static inline void
drive_feed(struct drive *drive, struct span bytes)
{
	enum smtp_server_event event;

	smtp_server_feed(&drive->server, bytes);
	do {
		event = smtp_server_next(&drive->server);
		drive_flush(drive);
		drive_event(drive, event);
		drive_flush(drive);
	} while (event != SMTP_SERVER_WAIT);
}
