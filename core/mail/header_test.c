/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mail/header.h"

static const char block[] =
	"Received: from a\r\n\tby b;\r\n today\r\n"
	"From: \"Doe, Jane\" <jane@Example.COM>\r\n"
	"not a field\r\n"
	"..dotted: yes\r\n"
	"SUBJECT :old style\r\n"
	"X-Empty:\r\n"
	"subject: second\r\n";

static struct buf
buf_of(const char *text)
{
	struct buf buf;
	buf_init(&buf, 0);
	buf_add_text(&buf, text);
	return buf;
}

static void
the_block_ends_before_the_empty_line(void **state)
{
	static const struct { const char *message; size_t end; } rows[] = {
		{ "A: b\r\n\r\nbody\r\n", 6 },
		{ "A: b\r\nC: d\r\n\r\n", 12 },
		{ "\r\nbody", 0 },
		{ " X: folded\r\nA: b\r\n\r\n", 0 },
		{ "\tA: b\r\n", 0 },
		{ "A: b\r\n", SIZE_MAX },
		{ "A: b\r\n\nC: d\r\n", SIZE_MAX },
		{ "A: b\r\n\r", SIZE_MAX },
		{ "", SIZE_MAX },
	};
	for (unsigned i = 0; i < countof(rows); i++)
		if (header_block_end(span_text(rows[i].message)) != rows[i].end)
			fail_msg("row %u", i);
}

static void
a_walk_gives_each_field_with_its_lines(void **state)
{
	static const struct { const char *name, *value; } rows[] = {
		{ "Received", "from a\r\n\tby b;\r\n today" },
		{ "From", "\"Doe, Jane\" <jane@Example.COM>" },
		{ ".dotted", "yes" },
		{ "SUBJECT", "old style" },
		{ "X-Empty", "" },
		{ "subject", "second" },
	};
	struct header_field field;
	size_t at = 0, sum = 0;
	for (unsigned i = 0; i < countof(rows); i++) {
		assert_true(header_next(span_text(block), &at, &field));
		assert_true(span_eq(field.name, span_text(rows[i].name)));
		assert_true(span_eq(field.value, span_text(rows[i].value)));
		assert_int_equal(field.at + field.len, at);
		sum += field.len;
	}
	assert_false(header_next(span_text(block), &at, &field));
	assert_int_equal(sum, strlen(block) - strlen("not a field\r\n"));
}

static void
a_field_is_found_by_its_name_in_any_case(void **state)
{
	struct header_field field;
	assert_true(header_find(span_text(block), SPAN("Subject"), &field));
	assert_true(span_eq(field.value, SPAN("old style")));
	assert_false(header_find(span_text(block), SPAN("Subjec"), &field));
}

static void
unfolding_takes_the_line_ends_only(void **state)
{
	struct buf out = buf_of("");
	header_unfold(SPAN("from a\r\n\tby b;\r\n today"), &out);
	assert_string_equal(buf_text(&out), "from a\tby b; today");
	buf_fini(&out);
}

static void
fields_are_added_at_either_end(void **state)
{
	struct buf b = buf_of("A: 1\r\n");
	assert_true(header_add(&b, SPAN("B"), SPAN("2"), NULL));
	assert_true(header_add_first(&b, SPAN("C"), SPAN("3"), NULL));
	assert_true(header_add(&b, SPAN(".d"), SPAN("4"), NULL));
	assert_string_equal(buf_text(&b), "C: 3\r\nA: 1\r\nB: 2\r\n..d: 4\r\n");
	buf_fini(&b);
}

static void
all_of_a_name_are_removed_with_their_lines(void **state)
{
	struct buf b = buf_of("x-a: 1\r\nB: 2\r\n 3\r\nX-A: 4\r\n 5\r\nx-a: 6\r\nX-AB: 7\r\nX-A: 8\r\nC: 9\r\n");
	assert_int_equal(header_remove(&b, SPAN("X-A")), 4);
	assert_string_equal(buf_text(&b), "B: 2\r\n 3\r\nX-AB: 7\r\nC: 9\r\n");
	assert_int_equal(header_remove(&b, SPAN("X-A")), 0);
	buf_fini(&b);
}

static void
the_first_of_a_name_is_replaced_where_it_stands(void **state)
{
	struct buf b = buf_of("a: 1\r\nX: 2\r\n 3\r\nb: 4\r\nx: 5\r\nx: 6\r\nc: 7\r\n");
	assert_true(header_replace(&b, SPAN("X"), SPAN("new and longer"), NULL));
	assert_string_equal(buf_text(&b), "a: 1\r\nX: new and longer\r\nb: 4\r\nc: 7\r\n");
	assert_true(header_replace(&b, SPAN("X"), SPAN(""), NULL));
	assert_true(header_replace(&b, SPAN("d"), SPAN("8"), NULL));
	assert_string_equal(buf_text(&b), "a: 1\r\nX: \r\nb: 4\r\nc: 7\r\nd: 8\r\n");
	buf_fini(&b);
}

static void
nothing_can_be_slipped_into_the_block(void **state)
{
	static char long_value[999];
	memset(long_value, 'v', sizeof(long_value));
	const struct { struct span name, value; } rows[] = {
		{ SPAN(""), SPAN("v") },
		{ SPAN("a b"), SPAN("v") },
		{ SPAN("a:"), SPAN("v") },
		{ SPAN("a\r\nb"), SPAN("v") },
		{ SPAN("\xc3\xbc"), SPAN("v") },
		{ SPAN("a"), SPAN("v\r\nBcc: x") },
		{ SPAN("a"), SPAN("v\n x") },
		{ SPAN("a"), SPAN("v\r x") },
		{ SPAN("a"), SPAN("v\0x") },
		{ SPAN("a"), { long_value, 996 } },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		struct buf b = buf_of("a: 1\r\n");
		struct err err = { 0 };
		assert_false(header_add(&b, rows[i].name, rows[i].value, &err));
		assert_int_equal(err.kind, ERR_PERM);
		assert_false(header_add_first(&b, rows[i].name, rows[i].value, NULL));
		assert_false(header_replace(&b, rows[i].name, rows[i].value, NULL));
		assert_string_equal(buf_text(&b), "a: 1\r\n");
		buf_fini(&b);
	}
	struct buf b = buf_of("");
	assert_true(header_add(&b, SPAN("a"), span_make(long_value, 995), NULL));
	buf_fini(&b);
}

static void
a_full_block_is_left_as_it_was(void **state)
{
	struct buf b;
	struct err err = { 0 };
	buf_init(&b, 20);
	buf_add_text(&b, "a: 1\r\na: 2\r\n");
	assert_false(header_replace(&b, SPAN("a"), SPAN("a value that is too long"), &err));
	assert_int_equal(err.kind, ERR_PERM);
	assert_string_equal(buf_text(&b), "a: 1\r\na: 2\r\n");
	buf_fini(&b);
}

static void
the_domain_of_the_first_author_is_found(void **state)
{
	static const struct { const char *from, *domain; } rows[] = {
		{ "From: jane@Example.COM", "example.com" },
		{ "From: Jane <jane@example.com>, x@other.example", "example.com" },
		{ "From: jane@example.com, x@other.example", "example.com" },
		{ "FROM: \"a@b.example\" <jane@example.com>", "example.com" },
		{ "From: (c@d.example (nested) \\) x) jane@example.com (y@z.example)", "example.com" },
		{ "From: \"quoted \\\" <q@r.example>\" <jane@example.com>", "example.com" },
		{ "From: Jane\r\n <jane@\r\n example.com>", "example.com" },
		{ "From: group: a@example.com, b@other.example;", "example.com" },
		{ "From: x@y.example <jane@example.com>", "example.com" },
		{ "From: <@relay.example:jane@example.com>", "example.com" },
		{ "From: jane@[192.0.2.1]", "[192.0.2.1]" },
		{ "From: jane@münchen.de", "xn--mnchen-3ya.de" },
		{ "From: jane", "" },
		{ "From: jane@", "" },
		{ "From: \"unclosed@example.com", "" },
		{ "From: (unclosed jane@example.com", "" },
		{ "From:", "" },
		{ "Sender: a@example.com", "" },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		char domain[256];
		struct buf b = buf_of(rows[i].from);
		buf_add_text(&b, "\r\n");
		header_from_domain(buf_span(&b), domain);
		if (strcmp(domain, rows[i].domain) != 0)
			fail_msg("%s: %s", rows[i].from, domain);
		buf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_block_ends_before_the_empty_line),
		cmocka_unit_test(a_walk_gives_each_field_with_its_lines),
		cmocka_unit_test(a_field_is_found_by_its_name_in_any_case),
		cmocka_unit_test(unfolding_takes_the_line_ends_only),
		cmocka_unit_test(fields_are_added_at_either_end),
		cmocka_unit_test(all_of_a_name_are_removed_with_their_lines),
		cmocka_unit_test(the_first_of_a_name_is_replaced_where_it_stands),
		cmocka_unit_test(nothing_can_be_slipped_into_the_block),
		cmocka_unit_test(a_full_block_is_left_as_it_was),
		cmocka_unit_test(the_domain_of_the_first_author_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
