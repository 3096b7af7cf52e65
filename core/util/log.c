/*
 * One line, one write. The text is made safe byte by byte: what is not printable
 * ASCII or well-formed UTF-8 (RFC 3629; without the C1 controls, which some
 * terminals obey, and those that end a line or turn its direction round) becomes \xHH. A long text is cut between characters and ends
 * in "...".
 *
 * The calendar is computed here (Hinnant, "chrono-compatible low-level date
 * algorithms"): gmtime_r() takes a lock and may read a file.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX (LOG_LINE_MAX - 64)

struct civil {
	int year, month, day, weekday;  /* month 1 … 12; weekday 0 = Sunday */
	int hour, minute, second, ms;
};

/* Clamped to the years 1970 to 9999: nothing of ours lies outside. */
static struct civil
civil_from_wall(wall_ms_t wall)
{
	int64_t ms = min_i64(max_i64(wall.ms, 0), INT64_C(253402300799999));
	int64_t days = ms / 86400000;
	int in_day = (int)(ms % 86400000);
	int64_t z = days + 719468;
	int64_t era = z / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int mp = (int)((5 * doy + 2) / 153);
	int month = mp < 10 ? mp + 3 : mp - 9;
	return (struct civil){
		.year = (int)(yoe + era * 400) + (month <= 2), .month = month, .day = (int)(doy - (153 * mp + 2) / 5) + 1,
		.weekday = (int)((days + 4) % 7), .hour = in_day / 3600000, .minute = in_day / 60000 % 60,
		.second = in_day / 1000 % 60, .ms = in_day % 1000,
	};
}

/* The length of the printable character at p, or 0. */
static size_t
printable(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] < 0x7f;
	size_t len = p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : 0;
	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
	bool too_high = p[0] == 0xf4 && p[1] >= 0x90;
	bool control = (p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
		       (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
	return overlong || surrogate || too_high || control ? 0 : len;
}

/* At most TEXT_MAX bytes to out; returns how many. */
static size_t
make_safe(const char *text, size_t n, char *out)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)text;
	size_t used = 0;
	while (n) {
		size_t len = printable(p, n);
		size_t need = len ? len : 4;
		if (used + need > TEXT_MAX - 3) {
			memcpy(out + used, "...", 3);
			return used + 3;
		}
		if (len)
			memcpy(out + used, p, len);
		else
			memcpy(out + used, (char[4]){ '\\', 'x', hex[*p >> 4], hex[*p & 15] }, 4);
		used += need;
		p += len ? len : 1;
		n -= len ? len : 1;
	}
	return used;
}

/* What syslog's levels are called in front of a line for a journal. */
static const char *
rank(const struct log *log, enum log_level level)
{
	static const char *const ranks[] = { "<7>", "<6>", "<4>", "<3>" };
	return log->ranked ? ranks[level] : "";
}

static void
write_line(struct log *log, enum log_level level, const char *head, const char *format, va_list args)
{
	char text[TEXT_MAX + 1];
	int wanted = vsnprintf(text, sizeof(text), format, args);
	if (wanted < 0)
		return;
	char line[LOG_LINE_MAX];
	size_t used = (size_t)snprintf(line, 64, "%s%s", rank(log, level), head);
	used += make_safe(text, strlen(text), line + used);
	line[used++] = '\n';
	log->sink(log->sink_ctx, line, used);
}

void
log_line(struct log *log, enum log_level level, const char *format, ...)
{
	static const char *const words[] = { "debug", "info", "warning", "error" };
	if (!log || level < log->level)
		return;
	char stamp[32], head[64];
	wall_format(log->wall(log->wall_ctx), stamp);
	snprintf(head, sizeof(head), "%s %s ", stamp, words[level]);
	va_list args;
	va_start(args, format);
	write_line(log, level, head, format, args);
	va_end(args);
}

void
log_bare(struct log *log, enum log_level level, const char *format, ...)
{
	if (level < log->level)
		return;
	va_list args;
	va_start(args, format);
	write_line(log, level, "", format, args);
	va_end(args);
}

void
log_sink_stderr(void *ctx, const char *line, size_t n)
{
	/* There is nobody to tell when this fails. */
	ssize_t written = write(STDERR_FILENO, line, n);
	(void)written;
}

/* Over the zeros that stand there. */
static void
put_digits(char *out, size_t width, int n)
{
	for (; width > 0; n /= 10)
		out[--width] = (char)('0' + n % 10);
}

/* Without printf: a message has a date in its header and four in the accounting, and a printf costs as much as a write. */
void
wall_format(wall_ms_t wall, char out[32])
{
	struct civil c = civil_from_wall(wall);

	memcpy(out, "0000-00-00T00:00:00.000Z", 25);
	put_digits(out, 4, c.year);
	put_digits(out + 5, 2, c.month);
	put_digits(out + 8, 2, c.day);
	put_digits(out + 11, 2, c.hour);
	put_digits(out + 14, 2, c.minute);
	put_digits(out + 17, 2, c.second);
	put_digits(out + 20, 3, c.ms);
}

void
wall_format_mail(wall_ms_t wall, char out[40])
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct civil c = civil_from_wall(wall);

	memcpy(out, "Sun, 00 Jan 0000 00:00:00 +0000", 32);
	memcpy(out, days[c.weekday], 3);
	put_digits(out + 5, 2, c.day);
	memcpy(out + 8, months[c.month - 1], 3);
	put_digits(out + 12, 4, c.year);
	put_digits(out + 17, 2, c.hour);
	put_digits(out + 20, 2, c.minute);
	put_digits(out + 23, 2, c.second);
}
