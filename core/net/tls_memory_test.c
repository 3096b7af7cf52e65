/* What may be resumed, for how long, and how much of it. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_memory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HOUR (3600 * US_PER_S)

static bool
holds(struct tls_memory *memory, const char *key, mono_us_t now, const char *bytes)
{
	mono_us_t until = 0;

	return span_eq(tls_memory_recall(memory, span_text(key), now, &until), span_text(bytes));
}

static void
gives_back_what_was_kept_last_by_that_key_until_its_time_is_over(void **state)
{
	struct tls_memory *memory = tls_memory_new(1);
	mono_us_t until = 0;

	tls_memory_keep(memory, SPAN("0 mx.example a"), SPAN("first"), HOUR);
	tls_memory_keep(memory, SPAN("1 mx.example a"), SPAN("verified"), HOUR);
	tls_memory_keep(memory, SPAN("0 mx.example a"), SPAN("second"), 2 * HOUR);
	assert_true(holds(memory, "0 mx.example a", HOUR, "second"));
	assert_true(holds(memory, "1 mx.example a", HOUR - 1, "verified"));
	assert_true(holds(memory, "1 mx.example a", HOUR, ""));
	assert_true(holds(memory, "0 mx.example b", 0, ""));
	tls_memory_recall(memory, SPAN("0 mx.example a"), 0, &until);
	assert_int_equal(until, 2 * HOUR);
	tls_memory_forget(memory, SPAN("0 mx.example a"));
	tls_memory_forget(memory, SPAN("0 mx.example a"));
	assert_true(holds(memory, "0 mx.example a", 0, ""));
	tls_memory_free(memory);
}

static void
who_was_not_asked_for_longest_gives_way(void **state)
{
	struct tls_memory *memory = tls_memory_new(1);
	char key[16];

	for (unsigned i = 0; i < TLS_MEMORY_MAX; i++) {
		snprintf(key, sizeof key, "k%u", i);
		tls_memory_keep(memory, span_text(key), SPAN("x"), HOUR);
	}
	assert_true(holds(memory, "k0", 0, "x"));
	tls_memory_keep(memory, SPAN("one more"), SPAN("y"), HOUR);
	assert_true(holds(memory, "k0", 0, "x"));
	assert_true(holds(memory, "k1", 0, ""));
	assert_true(holds(memory, "k2", 0, "x"));
	assert_true(holds(memory, "one more", 0, "y"));
	tls_memory_free(memory);
}

static void
what_is_too_large_is_not_kept_nor_what_it_was_to_replace(void **state)
{
	static char large[TLS_MEMORY_BYTES_MAX + 1];
	struct tls_memory *memory = tls_memory_new(1);
	mono_us_t until;

	tls_memory_keep(memory, SPAN("k"), span_make(large, sizeof large - 1), HOUR);
	assert_int_equal(tls_memory_recall(memory, SPAN("k"), 0, &until).n, TLS_MEMORY_BYTES_MAX);
	tls_memory_keep(memory, SPAN("k"), span_make(large, sizeof large), HOUR);
	assert_int_equal(tls_memory_recall(memory, SPAN("k"), 0, &until).n, 0);
	tls_memory_free(memory);
	tls_memory_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_back_what_was_kept_last_by_that_key_until_its_time_is_over),
		cmocka_unit_test(who_was_not_asked_for_longest_gives_way),
		cmocka_unit_test(what_is_too_large_is_not_kept_nor_what_it_was_to_replace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
