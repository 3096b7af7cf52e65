/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mail/domain.h"

#define LABEL63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123"

static void
names_come_to_their_normal_form(void **state)
{
	static const struct { const char *in, *out; } rows[] = {
		{ "example.com", "example.com" },
		{ "EXAMPLE.Com.", "example.com" },
		{ "localhost", "localhost" },
		{ "a_b.example", "a_b.example" },
		{ "xn--mnchen-3ya.de", "xn--mnchen-3ya.de" },
		{ "münchen.de", "xn--mnchen-3ya.de" },
		{ "MÜNCHEN.DE", "xn--mnchen-3ya.de" },
		{ "mu\xcc\x88nchen.de", "xn--mnchen-3ya.de" },           /* decomposed */
		{ "straße.de", "xn--strae-oqa.de" },                     /* not "strasse.de" */
		{ "例え。テスト", "xn--r8jz45g.xn--zckzah" },              /* an ideographic full stop */
		{ LABEL63 ".example", LABEL63 ".example" },
		{ "[192.0.2.1]", "[192.0.2.1]" },
		{ "[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]" },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		char out[DOMAIN_MAX];
		struct err err = { 0 };
		if (!domain_normalize(span_text(rows[i].in), out, &err))
			fail_msg("%s: %s", rows[i].in, err.text);
		assert_string_equal(out, rows[i].out);
	}
}

static void
what_is_no_name_is_refused_and_leaves_nothing(void **state)
{
	static const struct span rows[] = {
		{ "", 0 }, { ".", 1 }, { "a..b", 4 }, { ".a", 2 }, { "a..", 3 }, { "-a.example", 10 }, { "a-.example", 10 },
		{ "a b.example", 11 }, { "a@b", 3 }, { "a\0b", 3 }, { "a\r\nb", 4 }, { "a*b", 3 },
		{ "x" LABEL63 ".example", 72 },
		{ LABEL63 "." LABEL63 "." LABEL63 "." LABEL63, 255 },
		{ "[192.0.2.1", 10 }, { "[]", 2 }, { "[a b]", 5 }, { "[a]b]", 5 },
		{ "\xff\xfe.example", 10 }, { "\xc3.example", 9 }, { "ü\0.example", 11 }, { "ü .example", 11 },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		char out[DOMAIN_MAX];
		struct err err = { 0 };
		if (domain_normalize(rows[i], out, &err))
			fail_msg("row %u: %s", i, out);
		assert_int_equal(err.kind, ERR_PERM);
		assert_string_equal(out, "");
	}
}

static void
what_is_far_too_long_is_refused_without_being_looked_at(void **state)
{
	static char text[100000];
	char out[DOMAIN_MAX];
	memset(text, 'a', sizeof(text));
	assert_false(domain_normalize(span_make(text, sizeof(text)), out, NULL));
	text[0] = '[';
	text[299] = ']';
	assert_false(domain_normalize(span_make(text, 300), out, NULL));
}

static void
patterns_match_what_they_say(void **state)
{
	static const struct { const char *pattern, *domain; bool matches; } rows[] = {
		{ "*", "anything.example", true },
		{ "example.com", "example.com", true },
		{ "Example.COM.", "example.com", true },
		{ "example.com", "a.example.com", false },
		{ "*.example.com", "a.example.com", true },
		{ "*.example.com", "b.a.example.com", true },
		{ "*.example.com", "example.com", false },
		{ "*.example.com", "notexample.com", false },
		{ "[*.]example.com", "example.com", true },
		{ "[*.]example.com", "a.example.com", true },
		{ "[*.]example.com", "notexample.com", false },
		{ "*.münchen.de", "mail.xn--mnchen-3ya.de", true },
		{ "[192.0.2.1]", "[192.0.2.1]", true },
		{ "[192.0.2.1]", "[192.0.2.10]", false },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		struct domain_pattern pattern;
		struct err err = { 0 };
		if (!domain_pattern_parse(span_text(rows[i].pattern), &pattern, &err))
			fail_msg("%s: %s", rows[i].pattern, err.text);
		if (domain_pattern_matches(&pattern, span_text(rows[i].domain)) != rows[i].matches)
			fail_msg("%s on %s", rows[i].pattern, rows[i].domain);
	}
}

static void
a_pattern_that_cannot_match_is_refused_and_named(void **state)
{
	static const char *const rows[] = { "", "*.", "[*.]", "a.*.example", "**", "*example.com", "mail*", "*.[192.0.2.1]",
					    "*.*.example", "a..b", "*.*" };
	for (unsigned i = 0; i < countof(rows); i++) {
		struct domain_pattern pattern;
		struct err err = { 0 };
		char named[40];
		if (domain_pattern_parse(span_text(rows[i]), &pattern, &err))
			fail_msg("%s", rows[i]);
		snprintf(named, sizeof(named), "\"%s\": ", rows[i]);
		assert_int_equal(strncmp(err.text, named, strlen(named)), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_come_to_their_normal_form),
		cmocka_unit_test(what_is_no_name_is_refused_and_leaves_nothing),
		cmocka_unit_test(what_is_far_too_long_is_refused_without_being_looked_at),
		cmocka_unit_test(patterns_match_what_they_say),
		cmocka_unit_test(a_pattern_that_cannot_match_is_refused_and_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
