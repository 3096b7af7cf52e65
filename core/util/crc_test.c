/* CRC-32C against the values of RFC 3720, B.4, and against its definition. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/crc.h"
#include "util/prng.h"

/* Bit by bit: slow and plainly right. */
static uint32_t
by_definition(const unsigned char *p, size_t n)
{
	uint32_t crc = UINT32_MAX;
	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void
gives_the_values_of_the_rfc(void **state)
{
	char bytes[32] = { 0 };
	assert_true(crc32c(0, span_make(bytes, 32)) == 0x8a9136aa);
	memset(bytes, 0xff, 32);
	assert_true(crc32c(0, span_make(bytes, 32)) == 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		bytes[i] = (char)i;
	assert_true(crc32c(0, span_make(bytes, 32)) == 0x46dd794e);
	assert_true(crc32c(0, SPAN("123456789")) == 0xe3069283);
	assert_true(crc32c(0, SPAN("")) == 0);
}

static void
is_the_same_in_pieces(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	char bytes[300];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)prng_u64(&prng);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		uint32_t whole = by_definition((unsigned char *)bytes, n);
		assert_true(crc32c(0, span_make(bytes, n)) == whole);
		assert_true(crc32c_portable(0, span_make(bytes, n)) == whole);
		size_t cut = prng_below(&prng, n + 1);
		assert_true(crc32c(crc32c(0, span_make(bytes, cut)), span_make(bytes + cut, n - cut)) == whole);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_values_of_the_rfc),
		cmocka_unit_test(is_the_same_in_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
