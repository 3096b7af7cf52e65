/* The hash table against a plain array. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/prng.h"
#include "util/table.h"

struct thing {
	char name[32];
	bool present, seen;
};

static struct span
name_of(const struct thing *thing)
{
	return span_text(thing->name);
}

static struct thing *
make_things(size_t n)
{
	struct thing *things = mem_alloc(n * sizeof(*things));
	for (size_t i = 0; i < n; i++)
		snprintf(things[i].name, sizeof(things[i].name), "thing-%zu", i);
	return things;
}

static void
finds_what_was_put_and_not_what_was_removed(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	struct thing *things = make_things(500);
	struct table table;
	table_init(&table, 42);
	uint32_t n = 0;
	for (int step = 0; step < 100000; step++) {
		struct thing *thing = &things[prng_below(&prng, step / 20000 % 2 ? 50 : 500)];
		assert_ptr_equal(table_get(&table, name_of(thing)), thing->present ? thing : NULL);
		if (thing->present) {
			assert_ptr_equal(table_remove(&table, name_of(thing)), thing);
			n--;
		} else {
			assert_null(table_remove(&table, name_of(thing)));
			table_put(&table, name_of(thing), thing);
			n++;
		}
		thing->present = !thing->present;
		assert_int_equal(table.n, n);
	}
	for (size_t i = 0; i < 500; i++)
		assert_ptr_equal(table_get(&table, name_of(&things[i])), things[i].present ? &things[i] : NULL);
	table_fini(&table);
	free(things);
}

static void
an_empty_table_has_nothing(void **state)
{
	struct table table;
	uint32_t pos = 0;
	table_init(&table, 1);
	assert_null(table_get(&table, SPAN("x")));
	assert_null(table_remove(&table, SPAN("x")));
	assert_null(table_next(&table, &pos));
	assert_null(table_next(&table, &pos));
	table_fini(&table);
}

static void
keys_are_bytes(void **state)
{
	int a, b, c;
	struct table table;
	table_init(&table, 1);
	table_put(&table, span_make("x\0a", 3), &a);
	table_put(&table, span_make("x\0b", 3), &b);
	table_put(&table, span_make(NULL, 0), &c);
	assert_ptr_equal(table_get(&table, span_make("x\0a", 3)), &a);
	assert_ptr_equal(table_get(&table, span_make("x\0b", 3)), &b);
	assert_ptr_equal(table_get(&table, SPAN("")), &c);
	table_fini(&table);
}

static void
a_walk_sees_each_once_while_what_it_returned_is_removed(void **state)
{
	for (int mode = 0; mode < 3; mode++) {
		struct thing *things = make_things(3000);
		struct table table;
		table_init(&table, 7);
		for (size_t i = 0; i < 3000; i++)
			table_put(&table, name_of(&things[i]), &things[i]);
		uint32_t pos = 0, seen = 0, removed = 0;
		struct thing *thing;
		while ((thing = table_next(&table, &pos))) {
			assert_false(thing->seen);
			thing->seen = true;
			seen++;
			if (mode == 1 || (mode == 2 && seen % 3)) {
				assert_ptr_equal(table_remove(&table, name_of(thing)), thing);
				removed++;
			}
		}
		assert_null(table_next(&table, &pos));
		assert_int_equal(seen, 3000);
		assert_int_equal(table.n, 3000 - removed);
		table_fini(&table);
		free(things);
	}
}

static void
the_order_of_a_walk_does_not_depend_on_the_seed(void **state)
{
	struct thing *things = make_things(100);
	struct table a, b;
	table_init(&a, 1);
	table_init(&b, 2);
	for (size_t i = 0; i < 100; i++) {
		table_put(&a, name_of(&things[i]), &things[i]);
		table_put(&b, name_of(&things[i]), &things[i]);
	}
	uint32_t pos_a = 0, pos_b = 0;
	for (size_t i = 0; i < 100; i++)
		assert_ptr_equal(table_next(&a, &pos_a), table_next(&b, &pos_b));
	table_fini(&a);
	table_fini(&b);
	free(things);
}

static void
shrinks_with_its_content(void **state)
{
	struct thing *things = make_things(10000);
	struct table table;
	table_init(&table, 7);
	for (size_t i = 0; i < 10000; i++)
		table_put(&table, name_of(&things[i]), &things[i]);
	for (size_t i = 0; i < 9990; i++)
		table_remove(&table, name_of(&things[i]));
	assert_true(table.cap <= 128);
	assert_ptr_equal(table_get(&table, SPAN("thing-9995")), &things[9995]);
	table_fini(&table);
	free(things);
}

static void
the_hash_depends_on_every_byte_and_on_the_seed(void **state)
{
	char bytes[40] = { 0 };
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		uint64_t hash = hash_bytes(span_make(bytes, n), 1);
		assert_true(hash != hash_bytes(span_make(bytes, n), 2));
		if (n)
			assert_true(hash != hash_bytes(span_make(bytes, n - 1), 1));
		for (size_t i = 0; i < n; i++) {
			bytes[i] ^= 1;
			assert_true(hash != hash_bytes(span_make(bytes, n), 1));
			bytes[i] ^= 1;
		}
	}
}

static void
the_first_entry_stays_found_when_others_come_and_go(void **state)
{
	struct thing *things = make_things(3);
	struct table table;
	uint32_t pos = 0;

	table_init(&table, 42);
	table_put(&table, name_of(&things[0]), &things[0]);
	assert_int_equal(table.cap, 0);
	assert_null(table_get(&table, SPAN("thing-1")));
	assert_null(table_remove(&table, SPAN("thing")));
	assert_ptr_equal(table_next(&table, &pos), &things[0]);
	assert_ptr_equal(table_remove(&table, SPAN("thing-0")), &things[0]);
	assert_null(table_next(&table, &pos));
	assert_null(table_get(&table, SPAN("thing-0")));
	for (size_t i = 0; i < 3; i++)
		table_put(&table, name_of(&things[i]), &things[i]);
	for (size_t i = 0; i < 3; i++)
		assert_ptr_equal(table_get(&table, name_of(&things[i])), &things[i]);
	assert_ptr_equal(table_remove(&table, SPAN("thing-2")), &things[2]);
	assert_ptr_equal(table_remove(&table, SPAN("thing-1")), &things[1]);
	assert_ptr_equal(table_get(&table, SPAN("thing-0")), &things[0]);
	table_fini(&table);
	free(things);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_put_and_not_what_was_removed),
		cmocka_unit_test(an_empty_table_has_nothing),
		cmocka_unit_test(the_first_entry_stays_found_when_others_come_and_go),
		cmocka_unit_test(keys_are_bytes),
		cmocka_unit_test(a_walk_sees_each_once_while_what_it_returned_is_removed),
		cmocka_unit_test(the_order_of_a_walk_does_not_depend_on_the_seed),
		cmocka_unit_test(shrinks_with_its_content),
		cmocka_unit_test(the_hash_depends_on_every_byte_and_on_the_seed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
