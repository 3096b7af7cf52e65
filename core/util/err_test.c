/* Trouble as a value. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/err.h"

static void
an_error_has_a_kind_and_a_text(void **state)
{
	struct err err = { .sys = 5 };
	assert_false(err_set(&err, ERR_TEMP, "no %s for %d", "room", 3));
	assert_int_equal(err.kind, ERR_TEMP);
	assert_int_equal(err.sys, 0);
	assert_string_equal(err.text, "no room for 3");
}

static void
trouble_of_the_system_is_temporary_where_waiting_helps(void **state)
{
	static const struct { int sys; enum err_kind kind; } rows[] = {
		{ ENOSPC, ERR_TEMP }, { EAGAIN, ERR_TEMP }, { EMFILE, ERR_TEMP }, { ECONNREFUSED, ERR_TEMP }, { ETIMEDOUT, ERR_TEMP },
		{ EHOSTUNREACH, ERR_TEMP }, { ENOENT, ERR_PERM }, { EACCES, ERR_PERM }, { EINVAL, ERR_PERM }, { EIO, ERR_PERM },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct err err = { 0 };
		errno = rows[i].sys;
		assert_false(err_sys(&err, "open %s", "x"));
		assert_int_equal(err.kind, rows[i].kind);
		assert_int_equal(err.sys, rows[i].sys);
	}
	struct err err;
	errno = ENOENT;
	assert_false(err_sys(&err, "open %s", "x"));
	assert_string_equal(err.text, "open x: No such file or directory");
}

static void
a_prefix_goes_in_front_and_keeps_the_rest(void **state)
{
	struct err err;
	errno = ENOSPC;
	err_sys(&err, "write");
	assert_false(err_prefix(&err, "spool %d: ", 7));
	assert_string_equal(err.text, "spool 7: write: No space left on device");
	assert_int_equal(err.kind, ERR_TEMP);
	assert_int_equal(err.sys, ENOSPC);
}

static void
long_texts_are_cut(void **state)
{
	char text[1000];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	struct err err;
	err_set(&err, ERR_PERM, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_prefix(&err, "%s", "front: ");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "front: xxx", 10);
	err_prefix(&err, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	errno = ENOENT;
	err_sys(&err, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void
nobody_needs_to_want_the_reason(void **state)
{
	assert_false(err_set(NULL, ERR_PERM, "x"));
	assert_false(err_sys(NULL, "x"));
	assert_false(err_prefix(NULL, "x"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_has_a_kind_and_a_text),
		cmocka_unit_test(trouble_of_the_system_is_temporary_where_waiting_helps),
		cmocka_unit_test(a_prefix_goes_in_front_and_keeps_the_rest),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(nobody_needs_to_want_the_reason),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
