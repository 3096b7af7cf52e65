/* The ring. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/list.h"

struct item {
	char        name;
	struct list link;
};

static void
assert_order(struct list *head, const char *names)
{
	list_each(pos, head)
		assert_int_equal(list_entry(pos, struct item, link)->name, *names++);
	assert_int_equal(*names, '\0');
}

static void
keeps_the_order_in_which_nodes_are_added(void **state)
{
	struct list head;
	struct item a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };
	list_init(&head);
	list_init(&a.link);
	assert_true(list_empty(&head));
	assert_false(list_linked(&a.link));
	list_add_tail(&head, &b.link);
	list_add_tail(&head, &c.link);
	list_add_head(&head, &a.link);
	assert_order(&head, "abc");
	assert_ptr_equal(list_first(&head, struct item, link), &a);
	list_remove(&b.link);
	assert_false(list_linked(&b.link));
	assert_order(&head, "ac");
	list_insert_before(&a.link, &b.link);
	assert_order(&head, "bac");
}

static void
a_splice_moves_everything(void **state)
{
	struct list x, y;
	struct item a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };
	list_init(&x);
	list_init(&y);
	list_splice_tail(&x, &y);
	assert_true(list_empty(&x));
	list_add_tail(&y, &b.link);
	list_add_tail(&y, &c.link);
	list_add_tail(&x, &a.link);
	list_splice_tail(&x, &y);
	assert_order(&x, "abc");
	assert_true(list_empty(&y));
}

static void
a_walk_may_remove_what_it_is_at(void **state)
{
	struct list head;
	struct item items[4] = { { .name = 'a' }, { .name = 'b' }, { .name = 'c' }, { .name = 'd' } };
	list_init(&head);
	for (size_t i = 0; i < countof(items); i++)
		list_add_tail(&head, &items[i].link);
	list_each_safe(pos, &head)
		if (list_entry(pos, struct item, link)->name != 'c')
			list_remove(pos);
	assert_order(&head, "c");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_order_in_which_nodes_are_added),
		cmocka_unit_test(a_splice_moves_everything),
		cmocka_unit_test(a_walk_may_remove_what_it_is_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
