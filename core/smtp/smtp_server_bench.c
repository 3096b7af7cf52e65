/* How fast a body comes through the server, by DATA: lines of 76 bytes, fed 16 KiB at a time. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_server.h"

#define CHUNK  (16 * 1024)
#define ROUNDS 200000

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
open_message(struct smtp_server *server)
{
	enum smtp_server_event event;

	smtp_server_greet(server, 220, "hi");
	smtp_server_feed(server, SPAN("HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"));
	while ((event = smtp_server_next(server)) != SMTP_SERVER_WAIT) {
		if (event == SMTP_SERVER_HELO)
			smtp_server_reply_helo(server);
		else
			smtp_server_reply(server, event == SMTP_SERVER_DATA ? 354 : 250, "ok");
	}
}

int
main(void)
{
	static char text[CHUNK];
	const struct smtp_server_config config = { .hostname = "mx.test" };
	struct smtp_server server;
	double start, end;
	uint64_t given = 0;

	memset(text, 'x', sizeof text);
	for (size_t i = 76; i + 2 <= sizeof text; i += 78)
		memcpy(text + i, "\r\n", 2);
	memcpy(text + sizeof text - 2, "\r\n", 2);
	smtp_server_init(&server, &config);
	open_message(&server);
	start = seconds();
	for (int i = 0; i < ROUNDS; i++) {
		smtp_server_feed(&server, span_make(text, sizeof text));
		while (smtp_server_next(&server) == SMTP_SERVER_BODY)
			given += server.body.n;
	}
	end = seconds();
	check(given == (uint64_t)CHUNK * ROUNDS);
	printf("%.2f GB/s\n", (double)given / (end - start) / 1e9);
	smtp_server_fini(&server);
	return 0;
}
