/*
 * How fast the machines take bytes: a body by DATA and whole transactions at the
 * server, a receiver's replies at the client, replies alone at the parser, and header blocks.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "mail/header.h"
#include "smtp/smtp_client.h"
#include "smtp/smtp_server.h"
#include "util/bench.h"

#define CHUNK    (16 * 1024)
#define ENVELOPE "MAIL FROM:<sender@customer.example> SIZE=2048\r\nRCPT TO:<recipient@hotmail.example>\r\nDATA\r\n"
#define REPLIES  "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 go ahead\r\n"
#define FINAL    "250 2.0.0 Ok: queued as 4Xk2vQ1mZcz9sPd\r\n"

static const char headers[] =
	"Received: from mail.customer.example (mail.customer.example [192.0.2.7])\r\n\tby node.example with ESMTPS id 1f2e3d;\r\n"
	"\tMon, 5 Jan 2026 10:00:00 +0000\r\n"
	"Message-ID: <20260105100000.12345@customer.example>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\n"
	"From: \"The Customer\" <news@customer.example>\r\nTo: <recipient@hotmail.example>\r\nSubject: =?UTF-8?Q?What_is_new?=\r\n"
	"MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary=\"b1_5f0c\"\r\nX-Job: news-2026-01\r\n\r\n";

static void
tell_speed(const char *name, uint64_t bytes, double since)
{
	bench_tell((double)bytes / (bench_cpu_s() - since) / 1e6, "MB/s", "smtp.%s", name);
}

/* Accepts everything; how many bytes of bodies came. */
static uint64_t
accept_all(struct smtp_server *server)
{
	enum smtp_server_event event;
	uint64_t given = 0;

	while ((event = smtp_server_next(server)) != SMTP_SERVER_WAIT) {
		if (event == SMTP_SERVER_HELO)
			smtp_server_reply_helo(server);
		else if (event == SMTP_SERVER_BODY)
			given += server->body.n;
		else
			smtp_server_reply(server, event == SMTP_SERVER_DATA ? 354 : 250, "2.0.0 ok");
	}
	buf_clear(&server->out);
	return given;
}

static void
open_server(struct smtp_server *server)
{
	static const struct smtp_server_config config = { .hostname = "mx.test" };

	smtp_server_init(server, &config);
	smtp_server_greet(server, 220, "hi");
	smtp_server_feed(server, SPAN("EHLO c\r\n"));
	accept_all(server);
}

/* Lines of 76 bytes. */
static struct span
text_of(char *room, size_t n)
{
	memset(room, 'x', n);
	for (size_t i = 76; i + 2 <= n; i += 78)
		memcpy(room + i, "\r\n", 2);
	memcpy(room + n - 2, "\r\n", 2);
	return span_make(room, n);
}

static void
server_body(void)
{
	static char room[CHUNK];
	struct span text = text_of(room, sizeof room);
	struct smtp_server server;
	uint64_t given = 0;
	double start;

	open_server(&server);
	smtp_server_feed(&server, SPAN(ENVELOPE));
	accept_all(&server);
	start = bench_cpu_s();
	for (int i = 0; i < 100000; i++) {
		smtp_server_feed(&server, text);
		given += accept_all(&server);
	}
	check(given == (uint64_t)CHUNK * 100000);
	tell_speed("server_body", given, start);
	smtp_server_fini(&server);
}

static void
server_commands(void)
{
	struct smtp_server server;
	uint64_t bytes = 0, given = 0;
	double start;

	open_server(&server);
	start = bench_cpu_s();
	for (int i = 0; i < 500000; i++) {
		smtp_server_feed(&server, SPAN(ENVELOPE));
		accept_all(&server);
		smtp_server_feed(&server, SPAN("x\r\n.\r\n"));
		given += accept_all(&server);
		bytes += sizeof ENVELOPE - 1 + 6;
	}
	check(given == 3 * 500000);
	tell_speed("server_commands", bytes, start);
	smtp_server_fini(&server);
}

static void
client_transactions(void)
{
	static const struct smtp_client_config config = { .helo = "node.example" };
	struct smtp_client_rcpt rcpt;
	struct smtp_client_message message = { .sender = SPAN("sender@customer.example"), .size_bytes = 2048, .rcpts = &rcpt, .rcpts_n = 1 };
	struct smtp_client client;
	uint64_t bytes = 0;
	double start;

	smtp_client_init(&client, &config);
	smtp_client_feed(&client, SPAN("220 mx\r\n"));
	check(smtp_client_next(&client) == SMTP_CLIENT_WAIT);
	smtp_client_feed(&client, SPAN("250-mx\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250 ENHANCEDSTATUSCODES\r\n"));
	check(smtp_client_next(&client) == SMTP_CLIENT_READY);
	start = bench_cpu_s();
	for (int i = 0; i < 500000; i++) {
		rcpt = (struct smtp_client_rcpt){ .address = SPAN("recipient@hotmail.example") };
		smtp_client_send(&client, &message);
		smtp_client_feed(&client, SPAN(REPLIES));
		check(smtp_client_next(&client) == SMTP_CLIENT_BODY);
		smtp_client_body_sent(&client);
		smtp_client_feed(&client, SPAN(FINAL));
		check(smtp_client_next(&client) == SMTP_CLIENT_DONE);
		check(smtp_client_next(&client) == SMTP_CLIENT_READY);
		bytes += sizeof REPLIES - 1 + sizeof FINAL - 1;
		buf_clear(&client.out);
	}
	tell_speed("client_transactions", bytes, start);
	smtp_client_fini(&client);
}

static void
replies(void)
{
	static struct smtp_reply_parser parser;
	uint64_t bytes = 0;
	double start = bench_cpu_s();

	smtp_reply_parser_init(&parser);
	for (int i = 0; i < 1000000; i++) {
		struct span in = SPAN("421-4.7.0 [TSS04] Messages from 192.0.2.10 temporarily deferred\r\n421 4.7.0 due to unexpected volume\r\n");

		bytes += in.n;
		check(smtp_reply_parse(&parser, &in) == SMTP_REPLY_DONE && in.n == 0);
	}
	tell_speed("replies", bytes, start);
}

static void
header_blocks(void)
{
	const struct span block = span_make(headers, sizeof headers - 1);
	struct header_field field;
	uint64_t bytes = 0;
	double start = bench_cpu_s();

	for (int i = 0; i < 500000; i++) {
		size_t end = header_block_end(block), at = 0;
		unsigned n = 0;

		while (header_next(span_first(block, end), &at, &field))
			n++;
		check(n == 9);
		bytes += block.n;
	}
	tell_speed("header_blocks", bytes, start);
}

int
main(void)
{
	server_body();
	server_commands();
	client_transactions();
	replies();
	header_blocks();
	return 0;
}
