/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "account/account.h"

static void
a_reply_has_the_category_that_operators_know(void **state)
{
	static const struct { const char *status, *text, *category; } rows[] = {
		{ "5.1.1", "550 5.1.1 no such user, see our spam policy", "bad-mailbox" },
		{ "5.1.2", "550 5.1.2 bad host", "bad-domain" },
		{ "5.1.10", "556 5.1.10 null mx", "bad-domain" },
		{ "5.1.7", "", "invalid-sender" },
		{ "5.2.1", "550 5.2.1 mailbox disabled", "inactive-mailbox" },
		{ "4.2.2", "452 4.2.2 over quota", "quota-issues" },
		{ "5.3.5", "", "bad-configuration" },
		{ "4.4.1", "", "no-answer-from-host" },
		{ "4.4.2", "", "bad-connection" },
		{ "5.4.6", "", "routing-errors" },
		{ "5.4.7", "", "message-expired" },
		{ "5.7.1", "554 5.7.1 Relay access denied", "relaying-issues" },
		{ "5.7.1", "554 5.7.1 Blocked using SPAMHAUS", "spam-related" },
		{ "5.7.1", "550 5.7.1 not today", "policy-related" },
		{ "5.7.26", "550-5.7.26 DMARC", "policy-related" },
		{ "", "550 No Such User here", "bad-mailbox" },
		{ "5.0.0", "550 User Unknown", "bad-mailbox" },
		{ "", "552 Mailbox full", "quota-issues" },
		{ "5.6.0", "554 5.6.0 odd", "content-related" },
		{ "5.5.2", "500 5.5.2 what?", "protocol-errors" },
		{ "5.7.0", "554 found the EICAR virus", "virus-related" },
		{ "", "421 try later", "other" },
		{ "", "", "other" },
		{ "5", "x", "other" },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		const char *category = account_bounce_category(span_text(rows[i].status), span_text(rows[i].text));
		if (strcmp(category, rows[i].category) != 0)
			fail_msg("%s %s: %s", rows[i].status, rows[i].text, category);
	}
}

static void
a_status_is_put_into_words(void **state)
{
	static const struct { const char *status, *text; } rows[] = {
		{ "2.0.0", "success" },
		{ "2.1.5", "success" },
		{ "5.1.1", "bad destination mailbox address" },
		{ "4.4.1", "no answer from host" },
		{ "5.7.1", "delivery not authorized" },
		{ "5.7.999", "other or undefined security status" },
		{ "5.0.0", "undefined status" },
		{ "5.1", "undefined status" },
		{ "x", "undefined status" },
		{ "", "undefined status" },
	};
	for (unsigned i = 0; i < countof(rows); i++)
		assert_string_equal(account_status_text(span_text(rows[i].status)), rows[i].text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_has_the_category_that_operators_know),
		cmocka_unit_test(a_status_is_put_into_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
