/*
 * One table serves both directions. NEVER stands alone: RFC 3461 allows no
 * list with it, and where bits hold both, NEVER is what the sender is spared by.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_notify.h"

static const struct {
	uint8_t     bit;
	const char *word;
} words[] = {
	{ SMTP_NOTIFY_NEVER,   "NEVER"   },
	{ SMTP_NOTIFY_SUCCESS, "SUCCESS" },
	{ SMTP_NOTIFY_FAILURE, "FAILURE" },
	{ SMTP_NOTIFY_DELAY,   "DELAY"   },
};

static uint8_t
bit_of(struct span word)
{
	for (size_t i = 0; i < countof(words); i++)
		if (span_eq_nocase(word, span_text(words[i].word)))
			return words[i].bit;
	return 0;
}

uint8_t
smtp_notify_parse(struct span text)
{
	uint8_t bits = 0;

	for (;;) {
		size_t comma = span_find(text, ',');
		uint8_t bit = bit_of(span_first(text, comma == SIZE_MAX ? text.n : comma));

		if (bit == 0 || (bits & bit))
			return 0;
		bits |= bit;
		if (comma == SIZE_MAX)
			break;
		text = span_from(text, comma + 1);
	}
	if ((bits & SMTP_NOTIFY_NEVER) && bits != SMTP_NOTIFY_NEVER)
		return 0;
	return bits;
}

void
smtp_notify_format(uint8_t bits, char out[SMTP_NOTIFY_TEXT_MAX])
{
	size_t len = 0;

	if (bits & SMTP_NOTIFY_NEVER)
		bits = SMTP_NOTIFY_NEVER;
	out[0] = '\0';
	for (size_t i = 0; i < countof(words); i++)
		if (bits & words[i].bit)
			len += (size_t)snprintf(out + len, SMTP_NOTIFY_TEXT_MAX - len, "%s%s",
						len ? "," : "", words[i].word);
}
