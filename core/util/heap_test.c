/* The heap against a plain search. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/heap.h"
#include "util/prng.h"

static void
equal_keys_come_in_order_of_insertion_even_when_the_count_wraps(void **state)
{
	struct heap heap;
	struct heap_node nodes[200] = { 0 };
	heap_init(&heap);
	heap.next_seq = UINT32_MAX - 50;
	for (size_t i = 0; i < countof(nodes); i++)
		heap_add(&heap, &nodes[i], 7);
	for (size_t i = 0; i < countof(nodes); i++) {
		assert_ptr_equal(heap_min(&heap), &nodes[i]);
		heap_remove(&heap, &nodes[i]);
		assert_int_equal(nodes[i].pos, 0);
	}
	assert_null(heap_min(&heap));
	heap_fini(&heap);
}

static void
a_moved_node_goes_behind_its_equals(void **state)
{
	struct heap heap;
	struct heap_node a = { 0 }, b = { 0 };
	heap_init(&heap);
	heap_add(&heap, &a, 1);
	heap_add(&heap, &b, 2);
	heap_move(&heap, &a, 2);
	assert_ptr_equal(heap_min(&heap), &b);
	heap_fini(&heap);
	assert_int_equal(a.pos, 0);
}

static bool
is_before(const struct heap_node *a, const struct heap_node *b)
{
	return a->key < b->key || (a->key == b->key && a->seq < b->seq);
}

static void
the_least_is_first_whatever_was_added_moved_and_removed(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	struct heap heap;
	static struct heap_node nodes[150];
	heap_init(&heap);
	for (int step = 0; step < 50000; step++) {
		struct heap_node *node = &nodes[prng_below(&prng, countof(nodes))];
		int64_t key = (int64_t)prng_below(&prng, 50) - 25;
		if (!node->pos)
			heap_add(&heap, node, key);
		else if (prng_below(&prng, 2))
			heap_move(&heap, node, key);
		else
			heap_remove(&heap, node);
		struct heap_node *least = NULL;
		uint32_t n = 0;
		for (size_t i = 0; i < countof(nodes); i++) {
			if (!nodes[i].pos)
				continue;
			n++;
			if (!least || is_before(&nodes[i], least))
				least = &nodes[i];
		}
		assert_int_equal(heap.n, n);
		assert_ptr_equal(heap_min(&heap), least);
	}
	heap_fini(&heap);
}

static void
the_array_shrinks_with_its_content(void **state)
{
	struct heap heap;
	struct heap_node *nodes = mem_alloc(10000 * sizeof(*nodes));
	heap_init(&heap);
	for (int i = 0; i < 10000; i++)
		heap_add(&heap, &nodes[i], i % 97);
	assert_true(heap.cap >= 10000);
	for (int i = 0; i < 9990; i++)
		heap_remove(&heap, heap_min(&heap));
	assert_true(heap.cap <= 64);
	heap_fini(&heap);
	free(nodes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_keys_come_in_order_of_insertion_even_when_the_count_wraps),
		cmocka_unit_test(a_moved_node_goes_behind_its_equals),
		cmocka_unit_test(the_least_is_first_whatever_was_added_moved_and_removed),
		cmocka_unit_test(the_array_shrinks_with_its_content),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
