/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three tables, the first that matches. A status that names one cause is believed before
 * the words: "550 5.1.1 no such user, see our spam policy" is a bad mailbox. Words come next,
 * since many receivers say 5.7.1 or nothing at all and mean something more exact.
 * The statuses that only name a subject come last.
 */
#include "account/account.h"

struct rule {
	const char *what, *category;
};

/* Without the class: "1.1" is 4.1.1 as well as 5.1.1. */
static const struct rule exact[] = {
	{ "1.1", "bad-mailbox" },
	{ "1.2", "bad-domain" },
	{ "1.3", "bad-mailbox" },
	{ "1.4", "bad-mailbox" },
	{ "1.6", "inactive-mailbox" },
	{ "1.7", "invalid-sender" },
	{ "1.8", "invalid-sender" },
	{ "1.10", "bad-domain" },
	{ "2.1", "inactive-mailbox" },
	{ "2.2", "quota-issues" },
	{ "3.1", "quota-issues" },
	{ "3.5", "bad-configuration" },
	{ "4.1", "no-answer-from-host" },
	{ "4.2", "bad-connection" },
	{ "4.3", "routing-errors" },
	{ "4.4", "bad-domain" },
	{ "4.6", "routing-errors" },
	{ "4.7", "message-expired" },
};

/* Lower case, the more telling first. */
static const struct rule words[] = {
	{ "virus", "virus-related" },
	{ "malware", "virus-related" },
	{ "relay", "relaying-issues" },
	{ "over quota", "quota-issues" },
	{ "overquota", "quota-issues" },
	{ "quota exceeded", "quota-issues" },
	{ "exceeded quota", "quota-issues" },
	{ "mailbox full", "quota-issues" },
	{ "mailbox is full", "quota-issues" },
	{ "insufficient system storage", "quota-issues" },
	{ "out of storage", "quota-issues" },
	{ "user unknown", "bad-mailbox" },
	{ "unknown user", "bad-mailbox" },
	{ "no such user", "bad-mailbox" },
	{ "no such recipient", "bad-mailbox" },
	{ "unknown recipient", "bad-mailbox" },
	{ "recipient unknown", "bad-mailbox" },
	{ "invalid recipient", "bad-mailbox" },
	{ "recipient not found", "bad-mailbox" },
	{ "user not found", "bad-mailbox" },
	{ "mailbox not found", "bad-mailbox" },
	{ "no mailbox here", "bad-mailbox" },
	{ "mailbox unavailable", "bad-mailbox" },
	{ "does not exist", "bad-mailbox" },
	{ "doesn't have a", "bad-mailbox" },
	{ "account is disabled", "inactive-mailbox" },
	{ "account has been disabled", "inactive-mailbox" },
	{ "account disabled", "inactive-mailbox" },
	{ "mailbox disabled", "inactive-mailbox" },
	{ "account is inactive", "inactive-mailbox" },
	{ "inactive user", "inactive-mailbox" },
	{ "no longer active", "inactive-mailbox" },
	{ "suspended", "inactive-mailbox" },
	{ "spam", "spam-related" },
	{ "unsolicited", "spam-related" },
	{ "junk mail", "spam-related" },
	{ "bulk mail", "spam-related" },
	{ "blacklist", "spam-related" },
	{ "blocklist", "spam-related" },
	{ "block list", "spam-related" },
	{ "blocked using", "spam-related" },
	{ "dnsbl", "spam-related" },
	{ "reputation", "spam-related" },
	{ "sender rejected", "invalid-sender" },
	{ "sender address rejected", "invalid-sender" },
	{ "sender domain", "invalid-sender" },
	{ "dmarc", "policy-related" },
	{ "dkim", "policy-related" },
	{ "spf", "policy-related" },
	{ "too many hops", "routing-errors" },
	{ "mail loop", "routing-errors" },
	{ "rate limit", "policy-related" },
	{ "too many", "policy-related" },
	{ "greylist", "policy-related" },
	{ "graylist", "policy-related" },
	{ "policy", "policy-related" },
	{ "not authorized", "policy-related" },
	{ "attachment", "content-related" },
	{ "message size", "content-related" },
	{ "message too large", "content-related" },
	{ "message too big", "content-related" },
	{ "content", "content-related" },
	{ "timed out", "no-answer-from-host" },
	{ "connection refused", "no-answer-from-host" },
	{ "connection reset", "bad-connection" },
	{ "connection closed", "bad-connection" },
};

/* A prefix of the status without its class. */
static const struct rule subjects[] = {
	{ "1.", "bad-mailbox" },
	{ "2.3", "content-related" },
	{ "2.", "bad-mailbox" },
	{ "3.4", "content-related" },
	{ "3.3", "content-related" },
	{ "4.", "routing-errors" },
	{ "5.3", "policy-related" },
	{ "5.", "protocol-errors" },
	{ "6.", "content-related" },
	{ "7.", "policy-related" },
};

#define TEXT_MAX 1000

const char *
account_bounce_category(struct span status, struct span text)
{
	char lower[TEXT_MAX];
	struct span low = { lower, text.n < TEXT_MAX ? text.n : TEXT_MAX };
	struct span detail = { 0 };
	size_t dot = span_find(status, '.');

	if (dot != SIZE_MAX)
		detail = span_from(status, dot + 1);
	for (size_t i = 0; i < countof(exact); i++)
		if (span_eq(detail, span_text(exact[i].what)))
			return exact[i].category;
	for (size_t i = 0; i < low.n; i++)
		lower[i] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? (char)(text.p[i] - 'A' + 'a') : text.p[i];
	for (size_t i = 0; i < countof(words); i++)
		if (span_find_text(low, span_text(words[i].what)) != SIZE_MAX)
			return words[i].category;
	for (size_t i = 0; i < countof(subjects); i++)
		if (span_starts(detail, span_text(subjects[i].what)))
			return subjects[i].category;
	return "other";
}
