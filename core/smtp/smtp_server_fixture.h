/*
 * smtp_server_fixture - for tests: dialogues of a server. What a client sends, and the
 * whole record of what came of it. Each is played whole, byte by byte, and cut once at
 * every place; the record must be the same.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_server_drive.h"

#define HELLO      "HELO c\r\n"
#define HELLO_OUT  "[helo c]\r\n250 mx.test\r\n"
#define MAIL       "MAIL FROM:<a@b>\r\n"
#define MAIL_OUT   "[mail <a@b>]\r\n250 2.1.0 OK\r\n"
#define RCPT       "RCPT TO:<c@d>\r\n"
#define RCPT_OUT   "[rcpt <c@d>]\r\n250 2.1.5 OK\r\n"
#define OPEN       HELLO MAIL RCPT
#define OPEN_OUT   HELLO_OUT MAIL_OUT RCPT_OUT
#define DATA       "DATA\r\n"
#define DATA_OUT   "[data]\r\n354 Go on\r\n"
#define QUEUED     "250 2.0.0 Queued\r\n"
#define BARE_LF    "554 5.6.0 Bare LF in the message\r\n[reset]\r\n[close: bare LF in the body]\r\n"
#define BARE_CR    "554 5.6.0 Bare CR in the message\r\n[reset]\r\n[close: bare CR in the body]\r\n"
#define NUL        "554 5.6.0 NUL in the message\r\n[reset]\r\n[close: NUL in the body]\r\n"

struct dialogue {
	const char *input;
	size_t      input_n;
	const char *record;
};

#define DIALOGUE(in, out) { in, sizeof(in) - 1, out }

static const struct smtp_server_config plain = { .hostname = "mx.test", .size_max = 100, .errors_max = 4 };

static inline void
play(const struct smtp_server_config *config, const struct dialogue *dialogue, size_t cut, size_t step)
{
	struct span rest = span_make(dialogue->input, dialogue->input_n);
	struct drive drive;

	drive_begin(&drive, config);
	while (rest.n > 0) {
		size_t n = cut ? cut : step;

		n = n < rest.n ? n : rest.n;
		drive_feed(&drive, span_first(rest, n));
		rest = span_from(rest, n);
		cut = 0;
	}
	if (strcmp(buf_text(&drive.record), dialogue->record) != 0)
		print_error("cut at %zu, step %zu of: %s\n", cut, step, dialogue->input);
	assert_string_equal(buf_text(&drive.record), dialogue->record);
	drive_end(&drive);
}

static inline void
play_all(const struct smtp_server_config *config, const struct dialogue *dialogues, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t whole = dialogues[i].input_n;

		play(config, &dialogues[i], 0, whole);
		play(config, &dialogues[i], 0, 1);
		for (size_t cut = 1; cut < whole && whole < 2000; cut++)
			play(config, &dialogues[i], cut, whole);
	}
}

#define TEN  "12345678\r\n"
#define FULL TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
