/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/smtp_path.h"

static void
assert_span(struct span s, const char *text)
{
	if (!span_eq(s, span_text(text)))
		print_error("got \"%.*s\"\n", SPAN_ARG(s));
	assert_true(span_eq(s, span_text(text)));
}

static void
takes_addresses_apart(void **state)
{
	static const struct { const char *in, *whole, *local, *domain, *rest; bool utf8; } rows[] = {
		{ "<a@b.test> X", "a@b.test", "a", "b.test", " X", false },
		{ "<>", "", "", "", "", false },
		{ "<a.b-c+d=e!#$%&'*/?^_`{|}~@x-1.y>", "a.b-c+d=e!#$%&'*/?^_`{|}~@x-1.y", "a.b-c+d=e!#$%&'*/?^_`{|}~", "x-1.y", "", false },
		{ "<\"a b>\\\"@\"@c>", "\"a b>\\\"@\"@c", "\"a b>\\\"@\"", "c", "", false },
		{ "<a@[192.0.2.1]>", "a@[192.0.2.1]", "a", "[192.0.2.1]", "", false },
		{ "<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "a", "[IPv6:2001:db8::1]", "", false },
		{ "<@x.y,@[1.2.3.4]:a@b>", "a@b", "a", "b", "", false },
		{ "<PostMaster>", "PostMaster", "PostMaster", "", "", false },
		{ "<\xc3\xa4@\xc3\xb6.de>", "\xc3\xa4@\xc3\xb6.de", "\xc3\xa4", "\xc3\xb6.de", "", true },
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct span in = span_text(rows[i].in);
		struct smtp_path path;

		assert_null(smtp_path_parse(&in, true, &path));
		assert_span(path.whole, rows[i].whole);
		assert_span(path.local, rows[i].local);
		assert_span(path.domain, rows[i].domain);
		assert_span(in, rows[i].rest);
		assert_int_equal(path.utf8, rows[i].utf8);
	}
}

static void
refuses_what_is_no_address(void **state)
{
	static const char *const rows[] = {
		"", "a@b", "<a@b", "<a>", "<@b>", "<a@>", "<a@@b>", "<a b@c>", "<.a@b>", "<a.@b>", "<a..b@c>", "<a@b.>",
		"<a@.b>", "<a@b..c>", "<a@-b>", "<a@b->", "<a@b_c>", "<\"a@b>", "<\"a\"b@c>", "<\"a\\", "<a@[1.2.3]>",
		"<a@[1.2.3.256]>", "<a@[1.2.3.4.]>", "<a@[1.2.3.4>", "<a@[IPv6:1::2::3]>", "<a@[IPv6:1:2:3:4:5:6:7]>",
		"<a@[IPv6:1:2:3:4:5:6:7:8:9]>", "<a@[IPv6:12345::]>", "<a@[x:y]>", "<@x:>", "<@x,y:a@b>", "<a@b\r\n>",
		"<a\n@b>", "<a\x7f@b>", "<\"\r\n\"@b>", "<\"\\\xc3\xa4\"@b>", "<\xe2\x80\xae" "a@b>", "<\"\xc2\x9b\"@b>", "<a@\xe2\x80\xa8.b>", "<\xc3@b>", "<a@\xff>", "<\xc0\xaf@b>", "< a@b>",
		"<<a@b>>",
	};

	for (size_t i = 0; i < countof(rows); i++) {
		struct span in = span_text(rows[i]);
		struct smtp_path path;

		if (!smtp_path_parse(&in, true, &path))
			fail_msg("\"%s\" was taken", rows[i]);
		assert_ptr_equal(in.p, rows[i]);
	}
}

static void
refuses_the_null_path_where_none_may_be(void **state)
{
	struct span in = SPAN("<>");
	struct smtp_path path;

	assert_non_null(smtp_path_parse(&in, false, &path));
	assert_non_null(smtp_path_parse_bare(SPAN(""), &path));
}

static void
takes_bare_addresses_to_their_end(void **state)
{
	struct smtp_path path;

	assert_null(smtp_path_parse_bare(SPAN("a@b"), &path));
	assert_span(path.domain, "b");
	assert_non_null(smtp_path_parse_bare(SPAN("a@b "), &path));
	assert_non_null(smtp_path_parse_bare(SPAN("a@b>"), &path));
}

static void
has_a_limit_for_addresses(void **state)
{
	char text[SMTP_PATH_MAX + 10];
	struct smtp_path path;

	memset(text, 'a', sizeof text);
	memcpy(text + SMTP_PATH_MAX - 2, "@bc", 3);
	assert_null(smtp_path_parse_bare(span_make(text, SMTP_PATH_MAX), &path));
	assert_non_null(smtp_path_parse_bare(span_make(text, SMTP_PATH_MAX + 1), &path));
}

static void
knows_ipv6_literals(void **state)
{
	static const struct { const char *text; bool ok; } rows[] = {
		{ "a@[IPv6:::]", true }, { "a@[IPv6:::1]", true }, { "a@[ipv6:1::]", true },
		{ "a@[IPv6:1:2:3:4:5:6:7:8]", true }, { "a@[IPv6:::ffff:1.2.3.4]", true },
		{ "a@[IPv6:1:2:3:4:5:6:1.2.3.4]", true }, { "a@[IPv6:1:2:3:4:5:6:7:1.2.3.4]", false },
		{ "a@[IPv6:]", false }, { "a@[IPv6::]", false }, { "a@[IPv6:1:]", false }, { "a@[IPv6::1]", false },
		{ "a@[IPv6:1:::2]", false }, { "a@[IPv6:g::]", false }, { "a@[IPv6:1:2:3:4:5:6:7:8::]", false },
	};
	struct smtp_path path;

	for (size_t i = 0; i < countof(rows); i++)
		if (!smtp_path_parse_bare(span_text(rows[i].text), &path) != rows[i].ok)
			fail_msg("%s", rows[i].text);
}

static void
checks_domains(void **state)
{
	char label[70];

	memset(label, 'a', sizeof label);
	assert_true(smtp_domain_ok(span_make(label, 63)));
	assert_false(smtp_domain_ok(span_make(label, 64)));
	assert_true(smtp_domain_ok(SPAN("xn--bcher-kva.example")));
	assert_true(smtp_domain_ok(SPAN("b\xc3\xbc" "cher.example")));
	assert_false(smtp_domain_ok(SPAN("b\xc3.example")));
	assert_false(smtp_domain_ok(SPAN("")));
	assert_false(smtp_domain_ok(SPAN("[1.2.3.4]")));
	assert_false(smtp_domain_ok(SPAN("a b")));
}

static void
checks_and_decodes_xtext(void **state)
{
	char out[20];

	assert_true(smtp_xtext_ok(SPAN("a+2Bb+3D")));
	assert_int_equal(smtp_xtext_decode(SPAN("a+2Bb+3D"), out), 4);
	assert_memory_equal(out, "a+b=", 4);
	assert_false(smtp_xtext_ok(SPAN("a+2")));
	assert_false(smtp_xtext_ok(SPAN("a+2b")));
	assert_false(smtp_xtext_ok(SPAN("a=b")));
	assert_false(smtp_xtext_ok(SPAN("a b")));
	assert_false(smtp_xtext_ok(SPAN("\xc3\xa4")));
	assert_int_equal(smtp_xtext_decode(SPAN("a+"), out), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_addresses_apart),
		cmocka_unit_test(refuses_what_is_no_address),
		cmocka_unit_test(refuses_the_null_path_where_none_may_be),
		cmocka_unit_test(takes_bare_addresses_to_their_end),
		cmocka_unit_test(has_a_limit_for_addresses),
		cmocka_unit_test(knows_ipv6_literals),
		cmocka_unit_test(checks_domains),
		cmocka_unit_test(checks_and_decodes_xtext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
