/*
 * Whatever a client sends, and however it is cut into packets: the record is the
 * same whole and byte by byte, and what was accepted as a body holds no way out of
 * itself: no bare CR or LF, no NUL, no line that is a lone dot.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_server_drive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_body(struct span body)
{
	bool line_start = true;

	for (size_t i = 0; i < body.n; i++) {
		check(body.p[i] != '\0');
		check(body.p[i] != '\n');
		if (line_start && body.p[i] == '.')
			check(i + 1 < body.n && body.p[i + 1] != '\r');
		line_start = body.p[i] == '\r';
		if (line_start) {
			check(i + 1 < body.n && body.p[i + 1] == '\n');
			i++;
		}
	}
	check(line_start);
}

static void
play(struct drive *drive, const struct smtp_server_config *config, struct span input, size_t step)
{
	drive_begin(drive, config);
	while (input.n > 0 && !drive->closed) {
		size_t n = step < input.n ? step : input.n;
		enum smtp_server_event event;

		smtp_server_feed(&drive->server, span_first(input, n));
		do {
			event = smtp_server_next(&drive->server);
			drive_flush(drive);
			if (event == SMTP_SERVER_END)
				check_body(buf_span(&drive->body));
			drive_event(drive, event);
			drive_flush(drive);
		} while (event != SMTP_SERVER_WAIT);
		input = span_from(input, n);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_server_config config = { .hostname = "mx.test", .size_max = 300, .errors_max = 20 };
	struct drive whole, bytes;

	if (size < 1 || size > 60000)
		return 0;
	config.starttls = data[0] & 1;
	config.require_tls = data[0] & 2;
	if (data[0] & 4)
		config.size_max = 0;
	play(&whole, &config, span_make(data + 1, size - 1), size);
	play(&bytes, &config, span_make(data + 1, size - 1), 1);
	/* What lies behind STARTTLS is told apart by when it comes, and only so. */
	if (!config.starttls)
		check(span_eq(buf_span(&whole.record), buf_span(&bytes.record)));
	drive_end(&whole);
	drive_end(&bytes);
	return 0;
}
