/* SPDX-License-Identifier: Apache-2.0 */
#include "util/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "util/buf.h"

static void
note(void *ctx, const struct trace_session *session, enum trace_who who, struct span line)
{
	buf_printf(ctx, "%llu%c%.*s|", (unsigned long long)session->number, "><*"[who], SPAN_ARG(line));
}

static void
each_listener_hears_each_line_until_it_leaves(void **state)
{
	struct trace trace;
	struct trace_session session = { .number = 7 };
	struct buf a, b;
	struct trace_listener first = { .fn = note, .ctx = &a }, second = { .fn = note, .ctx = &b };

	buf_init(&a, 0);
	buf_init(&b, 0);
	trace_init(&trace, 1, 1);
	assert_false(trace_on(&trace));
	trace_add(&trace, &first);
	trace_add(&trace, &second);
	assert_true(trace_on(&trace));
	trace_tell(&trace, &session, TRACE_WE, SPAN("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n"));
	trace_remove(&first);
	trace_tell(&trace, &session, TRACE_THEY, SPAN("250 ok\n421 bye"));
	assert_string_equal(buf_text(&a), "7>MAIL FROM:<>|7>RCPT TO:<a@b>|");
	assert_string_equal(buf_text(&b), "7>MAIL FROM:<>|7>RCPT TO:<a@b>|7<250 ok|7<421 bye|");
	buf_fini(&a);
	buf_fini(&b);
}

static void
a_password_is_never_told(void **state)
{
	struct trace trace;
	struct trace_session session = { 0 };
	struct buf heard;
	struct trace_listener listener = { .fn = note, .ctx = &heard };

	buf_init(&heard, 0);
	trace_init(&trace, 1, 1);
	trace_add(&trace, &listener);
	trace_tell(&trace, &session, TRACE_THEY, SPAN("auth PLAIN AGFsaWNlAHNlY3JldA==\r\nAUTH LOGIN\r\n"));
	trace_tell(&trace, &session, TRACE_THEY, SPAN("AUTH  plain s\r\n auth\tPLAIN\ts\r\nAUTH\r\nAUTHOR s\r\n"));
	assert_string_equal(buf_text(&heard), "0<auth PLAIN|0<AUTH LOGIN|0<AUTH  plain|0< auth\tPLAIN|0<AUTH|0<AUTHOR s|");
	buf_fini(&heard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_listener_hears_each_line_until_it_leaves),
		cmocka_unit_test(a_password_is_never_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
