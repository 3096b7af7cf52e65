/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/ledger.h"

static struct account_record
some_record(enum account_type type, const char *rcpt, const char *diag)
{
	return (struct account_record){
		.type = type, .logged = { 1767225600123 }, .queued = { 1767225600000 },
		.orig = SPAN("me@example.net"), .rcpt = span_text(rcpt), .orcpt = SPAN("rfc822;x"), .status = SPAN("2.0.0"),
		.diag = span_text(diag), .category = SPAN("other"), .mta = SPAN("mx.example (192.0.2.1)"),
		.src_type = SPAN("smtp"), .src_mta = SPAN("client"), .source_ip = SPAN("192.0.2.2"),
		.destination_ip = SPAN("192.0.2.1"), .esmtp = SPAN("PIPELINING"), .size_bytes = 1234,
		.vmta = SPAN("mta-1"), .job = SPAN("j"), .env_id = SPAN("e"), .queue = SPAN("google/mta-1"), .pool = SPAN("p"),
	};
}

static void
assert_same_line(const struct account_record *a, const struct account_record *b)
{
	struct buf x, y;

	buf_init(&x, 0);
	buf_init(&y, 0);
	account_format(a, &x);
	account_format(b, &y);
	assert_string_equal(buf_text(&x), buf_text(&y));
	buf_fini(&x);
	buf_fini(&y);
}

static void
gives_back_what_it_was_given_in_its_order(void **state)
{
	struct ledger *ledger = ledger_new();
	struct account_record in[4] = {
		some_record(ACCOUNT_RECEIVED, "a@example.org", ""), some_record(ACCOUNT_DELIVERED, "a@example.org", "250 ok"),
		some_record(ACCOUNT_RECEIVED, "b@example.org", ""), some_record(ACCOUNT_DEFERRED, "b@example.org", "450 \"busy\", later"),
	};
	struct account_record out;

	in[3].job = SPAN("");
	in[3].pool = (struct span){ NULL, 0 };
	for (unsigned i = 0; i < countof(in); i++)
		ledger_add(ledger, &in[i]);
	assert_int_equal(ledger_n(ledger), countof(in));
	for (unsigned i = 0; i < countof(in); i++) {
		ledger_read(ledger, i, &out);
		assert_int_equal(out.type, in[i].type);
		assert_same_line(&in[i], &out);
	}
	ledger_free(ledger);
}

static void
keeps_many_apart(void **state)
{
	struct ledger *ledger = ledger_new();
	struct account_record out;
	char rcpt[40];

	for (unsigned i = 0; i < 5000; i++) {
		snprintf(rcpt, sizeof rcpt, "u%u@example.org", i);
		struct account_record in = some_record(i % 5, rcpt, i % 2 ? "250 ok" : "450 busy");
		in.size_bytes = i;
		ledger_add(ledger, &in);
	}
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(rcpt, sizeof rcpt, "u%u@example.org", i);
		struct account_record in = some_record(i % 5, rcpt, i % 2 ? "250 ok" : "450 busy");
		in.size_bytes = i;
		ledger_read(ledger, i, &out);
		assert_same_line(&in, &out);
	}
	ledger_free(ledger);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_back_what_it_was_given_in_its_order),
		cmocka_unit_test(keeps_many_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
