/* Memory that ends at once. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/arena.h"
#include "util/prng.h"

static void
gives_zeroed_aligned_memory_that_does_not_overlap(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	struct arena arena;
	arena_init(&arena);
	for (int round = 0; round < 5; round++) {
		unsigned char *pieces[300];
		size_t sizes[300];
		for (size_t i = 0; i < countof(pieces); i++) {
			sizes[i] = prng_below(&prng, prng_below(&prng, 20) ? 300 : 200000);
			pieces[i] = arena_alloc(&arena, sizes[i]);
			assert_int_equal((uintptr_t)pieces[i] % 16, 0);
			for (size_t j = 0; j < sizes[i]; j++)
				assert_int_equal(pieces[i][j], 0);
			memset(pieces[i], (int)i + 1, sizes[i]);
		}
		for (size_t i = 0; i < countof(pieces); i++)
			for (size_t j = 0; j < sizes[i]; j++)
				assert_int_equal(pieces[i][j], (unsigned char)(i + 1));
		assert_true(arena.bytes > 0);
		arena_reset(&arena);
		assert_int_equal(arena.bytes, 0);
	}
	arena_fini(&arena);
}

static void
copies_texts_and_spans(void **state)
{
	struct arena arena;
	arena_init(&arena);
	assert_string_equal(arena_strdup(&arena, "hello"), "hello");
	assert_string_equal(arena_strndup(&arena, "hello", 2), "he");
	assert_string_equal(arena_strndup(&arena, "hi", 100), "hi");
	assert_string_equal(arena_printf(&arena, "%d %s", 7, "x"), "7 x");
	struct span s = arena_span(&arena, span_make("a\0b", 3));
	assert_int_equal(s.n, 3);
	assert_memory_equal(s.p, "a\0b\0", 4);
	s = arena_span(&arena, span_make(NULL, 0));
	assert_string_equal(s.p, "");
	arena_fini(&arena);
}

static void
an_arena_that_was_never_used_ends_well(void **state)
{
	struct arena arena;
	arena_init(&arena);
	arena_reset(&arena);
	arena_fini(&arena);
	assert_null(arena.blocks);
}

static void
a_huge_piece_does_not_stay_after_a_reset(void **state)
{
	struct arena arena;
	arena_init(&arena);
	memset(arena_alloc(&arena, 10 << 20), 1, 10 << 20);
	arena_reset(&arena);
	assert_null(arena.blocks);
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_zeroed_aligned_memory_that_does_not_overlap),
		cmocka_unit_test(copies_texts_and_spans),
		cmocka_unit_test(an_arena_that_was_never_used_ends_well),
		cmocka_unit_test(a_huge_piece_does_not_stay_after_a_reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
