/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meanings are those of RFC 3463 and its registry at IANA, in the few lower-case words
 * that PowerMTA writes; a detail that has none of its own gets its subject's.
 */
#include "account/account.h"

struct meaning {
	uint16_t    subject, detail;
	const char *text;
};

static const struct meaning meanings[] = {
	{ 1, 0, "other address status" },
	{ 1, 1, "bad destination mailbox address" },
	{ 1, 2, "bad destination system address" },
	{ 1, 3, "bad destination mailbox address syntax" },
	{ 1, 4, "destination mailbox address ambiguous" },
	{ 1, 5, "destination address valid" },
	{ 1, 6, "destination mailbox has moved" },
	{ 1, 7, "bad sender's mailbox address syntax" },
	{ 1, 8, "bad sender's system address" },
	{ 1, 10, "recipient address has null mx" },
	{ 2, 0, "other or undefined mailbox status" },
	{ 2, 1, "mailbox disabled" },
	{ 2, 2, "mailbox full" },
	{ 2, 3, "message length exceeds administrative limit" },
	{ 2, 4, "mailing list expansion problem" },
	{ 3, 0, "other or undefined mail system status" },
	{ 3, 1, "mail system full" },
	{ 3, 2, "system not accepting network messages" },
	{ 3, 3, "system not capable of selected features" },
	{ 3, 4, "message too big for system" },
	{ 3, 5, "system incorrectly configured" },
	{ 4, 0, "other or undefined network or routing status" },
	{ 4, 1, "no answer from host" },
	{ 4, 2, "bad connection" },
	{ 4, 3, "directory server failure" },
	{ 4, 4, "unable to route" },
	{ 4, 5, "mail system congestion" },
	{ 4, 6, "routing loop detected" },
	{ 4, 7, "delivery time expired" },
	{ 5, 0, "other or undefined protocol status" },
	{ 5, 1, "invalid command" },
	{ 5, 2, "syntax error" },
	{ 5, 3, "too many recipients" },
	{ 5, 4, "invalid command arguments" },
	{ 5, 5, "wrong protocol version" },
	{ 6, 0, "other or undefined media error" },
	{ 6, 1, "media not supported" },
	{ 6, 2, "conversion required and prohibited" },
	{ 6, 3, "conversion required but not supported" },
	{ 6, 7, "non-ascii addresses not permitted" },
	{ 7, 0, "other or undefined security status" },
	{ 7, 1, "delivery not authorized" },
	{ 7, 2, "mailing list expansion prohibited" },
	{ 7, 4, "security features not supported" },
	{ 7, 5, "cryptographic failure" },
	{ 7, 8, "authentication credentials invalid" },
	{ 7, 10, "encryption needed" },
	{ 7, 20, "no passing dkim signature found" },
	{ 7, 23, "spf validation failed" },
	{ 7, 25, "reverse dns validation failed" },
	{ 7, 26, "multiple authentication checks failed" },
	{ 7, 27, "sender address has null mx" },
	{ 7, 28, "mail flood detected" },
	{ 7, 30, "requiretls support required" },
};

const char *
account_status_text(struct span status)
{
	struct span part;
	uint64_t numbers[3] = { 0 };
	const char *text = "undefined status";

	for (unsigned i = 0; i < 3; i++)
		if (!span_split(&status, '.', &part) || !span_u64(part, 999, &numbers[i]))
			return text;
	if (numbers[0] == 2 && numbers[1] != 6)
		return "success";
	for (size_t i = 0; i < countof(meanings); i++) {
		if (meanings[i].subject != numbers[1])
			continue;
		if (meanings[i].detail == numbers[2])
			return meanings[i].text;
		if (meanings[i].detail == 0)
			text = meanings[i].text;
	}
	return text;
}
