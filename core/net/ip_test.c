/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "net/ip.h"

static void
reads_and_writes_addresses(void **state)
{
	static const struct { const char *in, *out; } cases[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "1::", "1::" },
		{ "2001:DB8::1", "2001:db8::1" },
		{ "2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1" },
		{ "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" },
		{ "1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8" },
		{ "1::3:4:5:6:7:8", "1:0:3:4:5:6:7:8" },
		{ "1:2:3:4:5:6:0:0", "1:2:3:4:5:6::" },
		{ "0:0:3:4:5:6:7:8", "::3:4:5:6:7:8" },
		{ "::ffff:192.0.2.1", "::ffff:192.0.2.1" },
		{ "::ffff:c000:201", "::ffff:192.0.2.1" },
		{ "64:ff9b::192.0.2.33", "64:ff9b::c000:221" },
		{ "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct ip ip;
		char out[IP_TEXT_MAX];

		assert_true(ip_parse(span_text(cases[i].in), &ip));
		ip_format(&ip, out);
		assert_string_equal(out, cases[i].out);
	}
}

static void
refuses_what_is_no_address(void **state)
{
	static const char *cases[] = {
		"", "1", "127.1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "1.2.3.4 ", " 1.2.3.4",
		"0x7f.0.0.1", "1..2.3", "1.2.3.", ".1.2.3", "-1.2.3.4", "1.2.3.4a", "2130706433",
		":", ":::", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "::1::", "12345::", "g::",
		"1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "fe80::1%eth0", "[::1]",
		"::1.2.3", "::1.2.3.4.5", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::ffff:1.2.3.256", ":1.2.3.4",
		"::00001",
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct ip ip;

		if (ip_parse(span_text(cases[i]), &ip))
			fail_msg("\"%s\" was taken for an address", cases[i]);
	}
}

static struct ip
ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(span_text(text), &ip));
	return ip;
}

static void
compares_what_counts_of_an_address(void **state)
{
	struct ip a = ip_of("192.0.2.1"), b = ip_of("192.0.2.1"), v6 = ip_of("2001:db8::1");
	struct ip mapped = ip_of("::ffff:192.0.2.1");

	b.bytes[15] = 9;
	assert_true(ip_eq(&a, &b));
	assert_false(ip_eq(&a, &v6));
	assert_false(ip_eq(&a, &mapped));
	b.bytes[3] = 2;
	assert_false(ip_eq(&a, &b));
	b = v6;
	assert_true(ip_eq(&v6, &b));
	b.bytes[15] = 2;
	assert_false(ip_eq(&v6, &b));
}

static void
knows_loopback_and_unspecified_in_each_dress(void **state)
{
	static const struct { const char *ip; bool loopback, unspecified; } cases[] = {
		{ "127.0.0.1", true, false }, { "127.255.0.9", true, false }, { "128.0.0.1", false, false },
		{ "::1", true, false }, { "::ffff:127.0.0.2", true, false }, { "::2", false, false },
		{ "0.0.0.0", false, true }, { "0.1.2.3", false, true }, { "::", false, true },
		{ "::ffff:0.0.0.0", false, true }, { "192.0.2.1", false, false }, { "2001:db8::", false, false },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct ip ip = ip_of(cases[i].ip);

		assert_int_equal(ip_is_loopback(&ip), cases[i].loopback);
		assert_int_equal(ip_is_unspecified(&ip), cases[i].unspecified);
	}
}

static void
tells_addresses_that_are_no_other_hosts(void **state)
{
	static const struct { const char *ip; bool none; } cases[] = {
		{ "127.0.0.1", true }, { "0.0.0.0", true }, { "::", true }, { "::1", true }, { "::ffff:127.9.9.9", true },
		{ "169.254.169.254", true }, { "::ffff:169.254.0.1", true }, { "224.0.0.1", true }, { "240.0.0.1", true },
		{ "255.255.255.255", true }, { "fe80::1", true }, { "febf::1", true }, { "ff02::1", true },
		{ "::ffff:192.0.2.1", true }, { "::192.0.2.1", true }, { "64:ff9b::127.0.0.1", true }, { "2002:7f00:1::1", true },
		{ "64:ff9b::192.0.2.1", false }, { "2002:c000:201::1", false }, { "64:ff9b:1::7f00:1", false },
		{ "169.253.0.1", false }, { "223.255.255.255", false }, { "192.0.2.1", false }, { "2001:db8::1", false },
		{ "10.0.0.1", false }, { "172.16.0.1", false }, { "192.168.0.1", false }, { "fd00::1", false }, { "fec0::1", false },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct ip ip = ip_of(cases[i].ip);

		if (ip_is_no_host(&ip) != cases[i].none)
			fail_msg("%s", cases[i].ip);
	}
}

static void
reads_endpoints(void **state)
{
	static const struct { const char *in; uint16_t port; const char *out; } cases[] = {
		{ "127.0.0.1:2525", 0, "127.0.0.1:2525" },
		{ "127.0.0.1", 25, "127.0.0.1:25" },
		{ "127.0.0.1:26", 25, "127.0.0.1:26" },
		{ "127.0.0.1:0", 0, "127.0.0.1:0" },
		{ "[::1]:25", 0, "[::1]:25" },
		{ "[::1]", 25, "[::1]:25" },
		{ "::1", 25, "[::1]:25" },
		{ "0.0.0.0:65535", 0, "0.0.0.0:65535" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct endpoint endpoint;
		struct err err;
		char out[ENDPOINT_TEXT_MAX];

		assert_true(endpoint_parse(span_text(cases[i].in), cases[i].port, &endpoint, &err));
		endpoint_format(&endpoint, out);
		assert_string_equal(out, cases[i].out);
	}
}

static void
says_what_is_wrong_with_an_endpoint(void **state)
{
	static const struct { const char *in, *text; } cases[] = {
		{ "127.0.0.1", "no port in \"127.0.0.1\"; write 127.0.0.1:25" },
		{ "::1", "no port in \"::1\"; write [::1]:25" },
		{ "[::1]", "no port in \"[::1]\"; write [::1]:25" },
		{ "127.0.0.1:", "\"\" is no port; write a number from 1 to 65535" },
		{ "127.0.0.1:65536", "\"65536\" is no port; write a number from 1 to 65535" },
		{ "[::1]:x", "\"x\" is no port; write a number from 1 to 65535" },
		{ "localhost:25", "\"localhost:25\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25" },
		{ "[127.0.0.1]:25", "\"[127.0.0.1]:25\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25" },
		{ "[::1", "\"[::1\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25" },
		{ "[::1]25", "\"[::1]25\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25" },
		{ "", "\"\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25" },
		{ "[]:25", "\"[]:25\" is no address with a port; write 192.0.2.1:25 or [2001:db8::1]:25" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct endpoint endpoint;
		struct err err;

		assert_false(endpoint_parse(span_text(cases[i].in), 0, &endpoint, &err));
		assert_string_equal(err.text, cases[i].text);
		assert_int_equal(err.kind, ERR_PERM);
	}
}

static void
finds_addresses_in_networks(void **state)
{
	static const struct { const char *cidr, *ip; bool holds; } cases[] = {
		{ "127.0.0.0/8", "127.255.255.255", true }, { "127.0.0.0/8", "128.0.0.0", false },
		{ "10/8", "10.9.8.7", true }, { "10/8", "11.0.0.0", false },
		{ "192.168/16", "192.168.3.4", true }, { "0/0", "8.8.8.8", true }, { "0/0", "::1", false },
		{ "0/0", "::ffff:8.8.8.8", true }, { "192.0.2.0/25", "192.0.2.127", true },
		{ "192.0.2.0/25", "192.0.2.128", false }, { "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false }, { "192.0.2.1/32", "::ffff:192.0.2.1", true },
		{ "::1", "::1", true }, { "::1", "::2", false }, { "::/0", "2001:db8::1", true }, { "::/0", "1.2.3.4", false },
		{ "2001:db8::/33", "2001:db8:7fff::", true }, { "2001:db8::/33", "2001:db8:8000::", false },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct cidr cidr;
		struct ip ip = ip_of(cases[i].ip);

		assert_true(cidr_parse(span_text(cases[i].cidr), &cidr, NULL));
		if (cidr_holds(&cidr, &ip) != cases[i].holds)
			fail_msg("%s in %s", cases[i].ip, cases[i].cidr);
	}
}

static void
says_what_is_wrong_with_a_network(void **state)
{
	static const struct { const char *in, *text; } cases[] = {
		{ "10", "\"10\" is no network; write 192.0.2.0/24, 2001:db8::/32 or one address" },
		{ "10.0.0.0.0/8", "\"10.0.0.0.0/8\" is no network; write 192.0.2.0/24, 2001:db8::/32 or one address" },
		{ "/8", "\"/8\" is no network; write 192.0.2.0/24, 2001:db8::/32 or one address" },
		{ "10.0.0.0/33", "\"10.0.0.0/33\": behind the slash goes a number of bits from 0 to 32" },
		{ "::/129", "\"::/129\": behind the slash goes a number of bits from 0 to 128" },
		{ "::/", "\"::/\": behind the slash goes a number of bits from 0 to 128" },
		{ "10.0.0.0/255.0.0.0", "\"10.0.0.0/255.0.0.0\": behind the slash goes a number of bits from 0 to 32" },
		{ "10.1.2.3/8", "\"10.1.2.3/8\" has bits set behind the first 8; write 10.0.0.0/8" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct cidr cidr;
		struct err err;

		assert_false(cidr_parse(span_text(cases[i].in), &cidr, &err));
		assert_string_equal(err.text, cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_addresses),
		cmocka_unit_test(refuses_what_is_no_address),
		cmocka_unit_test(compares_what_counts_of_an_address),
		cmocka_unit_test(knows_loopback_and_unspecified_in_each_dress),
		cmocka_unit_test(tells_addresses_that_are_no_other_hosts),
		cmocka_unit_test(reads_endpoints),
		cmocka_unit_test(says_what_is_wrong_with_an_endpoint),
		cmocka_unit_test(finds_addresses_in_networks),
		cmocka_unit_test(says_what_is_wrong_with_a_network),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
