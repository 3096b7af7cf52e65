/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "net/resolver_conf.h"

static void
servers_are_read_as_glibc_reads_them(void **state)
{
	static const struct { const char *text; const char *servers; } rows[] = {
		{ "", "" },
		{ "nameserver 192.0.2.1\n", "192.0.2.1:53 " },
		{ "nameserver 192.0.2.1", "192.0.2.1:53 " },
		{ "# nameserver 192.0.2.1\n; nameserver 192.0.2.2\n nameserver 192.0.2.3\n", "" },
		{ "search example\r\nnameserver\t2001:db8::1 \r\noptions edns0\n", "[2001:db8::1]:53 " },
		{ "nameserver 192.0.2.1 # ours\nnameserver 192.0.2.2\n", "192.0.2.1:53 192.0.2.2:53 " },
		{ "nameserver\nnameserver \nnameservers 192.0.2.1\nnameserver fe80::1%eth0\nnameserver x\n", "" },
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		struct endpoint out[RESOLVER_SERVERS_MAX];
		char all[400] = "", one[ENDPOINT_TEXT_MAX];
		unsigned n = resolver_conf_servers(span_text(rows[i].text), out);
		for (unsigned k = 0; k < n; k++) {
			endpoint_format(&out[k], one);
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s ", one);
		}
		assert_string_equal(all, rows[i].servers);
	}
}

static void
more_servers_than_fit_are_left_out(void **state)
{
	char text[1000] = "";
	struct endpoint out[RESOLVER_SERVERS_MAX];
	for (unsigned i = 0; i < 20; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "nameserver 192.0.2.%u\n", i);
	assert_int_equal(resolver_conf_servers(span_text(text), out), RESOLVER_SERVERS_MAX);
	assert_int_equal(out[RESOLVER_SERVERS_MAX - 1].ip.bytes[3], RESOLVER_SERVERS_MAX - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_read_as_glibc_reads_them),
		cmocka_unit_test(more_servers_than_fit_are_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
