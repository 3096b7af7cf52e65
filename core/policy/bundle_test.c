/* Files of a policy: read once, the same for ever, and back from bytes. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy_fixture.h"

#include <sys/stat.h>

static void
assert_text(struct bundle *bundle, const char *path, const char *expected)
{
	struct err err = { 0 };
	struct span text;
	if (!bundle_read(bundle, path, &text, &err))
		fail_msg("%s %s", path, err.text);
	assert_int_equal(text.n, strlen(expected));
	assert_memory_equal(text.p, expected, text.n);
}

static struct bundle *
copy_of(const struct bundle *bundle)
{
	struct buf bytes;
	buf_init(&bytes, 0);
	bundle_encode(bundle, &bytes);
	struct bundle *copy = bundle_decode(buf_span(&bytes));
	buf_fini(&bytes);
	return copy;
}

static void
a_file_is_read_once(void **state)
{
	struct bundle *bundle = bundle_new("a.lua", "");
	struct err err = { 0 };
	struct span text;
	fixture_write("a.lua", "one");
	assert_text(bundle, "a.lua", "one");
	fixture_write("a.lua", "two");
	assert_text(bundle, "a.lua", "one");
	assert_int_equal(bundle->n, 1);
	assert_false(bundle_read(bundle, "gone.lua", &text, &err));
	assert_string_equal(err.text, "cannot be read: No such file or directory");
	assert_int_equal(bundle->n, 1);
	bundle_free(bundle);
}

/* In a folder where somebody else writes, a link leads where he likes, and a pipe waits as long as he does. */
static void
a_plain_one_reads_neither_links_nor_pipes(void **state)
{
	struct bundle *bundle = bundle_new("a.lua", "");
	struct err err = { 0 };
	struct span text;

	bundle->plain = true;
	fixture_write("a.lua", "one");
	assert_int_equal(symlink("a.lua", "link"), 0);
	assert_int_equal(mkfifo("pipe", 0600), 0);
	assert_int_equal(mkdir("folder", 0700), 0);
	alarm(5);
	assert_false(bundle_read(bundle, "link", &text, &err));
	assert_string_equal(err.text, "is a symbolic link, which is not followed here");
	assert_false(bundle_read(bundle, "pipe", &text, &err));
	assert_string_equal(err.text, "is no regular file");
	assert_false(bundle_read(bundle, "folder", &text, &err));
	assert_string_equal(err.text, "is no regular file");
	alarm(0);
	assert_text(bundle, "a.lua", "one");
	assert_int_equal(bundle->n, 1);
	bundle->plain = false;
	assert_text(bundle, "link", "one");
	bundle_free(bundle);
	assert_int_equal(unlink("link") | unlink("pipe") | rmdir("folder"), 0);
}

static void
what_is_put_is_whole_with_a_nul_in_it(void **state)
{
	struct bundle *bundle = bundle_new("a.lua", "");
	struct span text;
	bundle_put(bundle, "a.lua", SPAN("--\0--"));
	assert_true(bundle_read(bundle, "a.lua", &text, NULL));
	assert_true(span_eq(text, SPAN("--\0--")));
	bundle_free(bundle);
}

static void
a_stamp_tells_what_was_written_made_or_removed_since(void **state)
{
	struct bundle *bundle = bundle_new("s.lua", "");
	struct span text;
	struct err err = { 0 };
	fixture_write("s.lua", "one");
	assert_text(bundle, "s.lua", "one");
	assert_false(bundle_read(bundle, "late.lua", &text, &err));
	assert_true(bundle_stamp(bundle) == bundle_stamp_now(bundle));
	fixture_write("late.lua", "");
	assert_true(bundle_stamp(bundle) != bundle_stamp_now(bundle));
	unlink("late.lua");
	assert_true(bundle_stamp(bundle) == bundle_stamp_now(bundle));
	fixture_write("s.lua", "longer");
	assert_true(bundle_stamp(bundle) != bundle_stamp_now(bundle));
	unlink("s.lua");
	assert_true(bundle_stamp(bundle) != bundle_stamp_now(bundle));
	bundle_free(bundle);
}

static void
relative_paths_begin_in_the_base(void **state)
{
	char here[300], base[310];
	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(base, sizeof(base), "%s/sub", here);
	mkdir("sub", 0700);
	fixture_write("sub/b.lua", "b");
	struct bundle *bundle = bundle_new("b.lua", base);
	bundle_put(bundle, "given.lua", SPAN("return 1"));
	assert_text(bundle, "given.lua", "return 1");
	assert_text(bundle, "b.lua", "b");
	char *path = bundle_path(bundle, "/absolute");
	assert_string_equal(path, "/absolute");
	free(path);
	snprintf(here, sizeof(here), "%.290s/b.lua", base);
	path = bundle_path(bundle, "././b.lua");
	assert_string_equal(path, here);
	free(path);
	path = bundle_path(bundle, "/a./.b/././../c./");
	assert_string_equal(path, "/a./.b/../c./");
	free(path);
	path = bundle_path(bundle, "/./");
	assert_string_equal(path, "/./");
	free(path);
	bundle_free(bundle);
	bundle = bundle_new("b.lua", "");
	path = bundle_path(bundle, ".//b.lua");
	assert_string_equal(path, ".//b.lua");
	free(path);
	bundle_free(bundle);
}

static void
it_comes_back_from_bytes_and_is_whole(void **state)
{
	struct bundle *bundle = bundle_new("a.lua", "/base");
	struct err err = { 0 };
	struct span text;
	bundle->base[0] = '\0';
	fixture_write("a.lua", "text");
	assert_text(bundle, "a.lua", "text");
	struct bundle *copy = copy_of(bundle);
	assert_non_null(copy);
	assert_true(bundle_equal(bundle, copy));
	fixture_write("b.lua", "there");
	assert_false(bundle_read(copy, "b.lua", &text, &err));
	assert_string_equal(err.text, "was not there when this policy was read");
	assert_text(bundle, "b.lua", "there");
	assert_false(bundle_equal(bundle, copy));
	bundle_free(copy);
	bundle_free(bundle);
}

static void
damage_is_seen(void **state)
{
	struct bundle *bundle = bundle_new("a.lua", "");
	struct buf bytes;
	fixture_write("a.lua", "text");
	assert_text(bundle, "a.lua", "text");
	buf_init(&bytes, 0);
	bundle_encode(bundle, &bytes);
	struct span whole = buf_span(&bytes);
	for (size_t n = 0; n < whole.n; n++)
		assert_null(bundle_decode(span_first(whole, n)));
	for (size_t i = 0; i < whole.n; i++) {
		char *spoilt = mem_alloc(whole.n);
		memcpy(spoilt, whole.p, whole.n);
		spoilt[i] ^= 0x10;
		assert_null(bundle_decode(span_make(spoilt, whole.n)));
		free(spoilt);
	}
	buf_fini(&bytes);
	bundle_free(bundle);
}

static void
a_policy_loads_from_it_whatever_became_of_the_files(void **state)
{
	struct policy_report report;
	struct bundle *bundle = bundle_new("p.lua", "");
	struct policy_env env = { .bundle = bundle };
	fixture_write("p.lua", "require \"m\"\nvmta \"v\" { source = \"any\" }\n");
	fixture_write("m.lua", "domain \"a.example\" { max_smtp_out = 3 }\n");
	policy_report_init(&report);
	struct policy *policy = policy_load("p.lua", &env, &report);
	assert_non_null(policy);
	policy_free(policy);
	unlink("m.lua");
	fixture_write("p.lua", "broken");
	struct bundle *copy = copy_of(bundle);
	env.bundle = copy;
	policy = policy_load("p.lua", &env, &report);
	assert_non_null(policy);
	struct queue_settings settings;
	ruleset_resolve(policy_ruleset(policy), NULL, SPAN("a.example"), NULL, &settings);
	assert_int_equal(settings.max_smtp_out, 3);
	assert_string_equal(settings.where[SETTING_max_smtp_out].file, "m.lua");
	policy_free(policy);
	policy_report_fini(&report);
	bundle_free(copy);
	bundle_free(bundle);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_read_once),
		cmocka_unit_test(a_plain_one_reads_neither_links_nor_pipes),
		cmocka_unit_test(what_is_put_is_whole_with_a_nul_in_it),
		cmocka_unit_test(a_stamp_tells_what_was_written_made_or_removed_since),
		cmocka_unit_test(relative_paths_begin_in_the_base),
		cmocka_unit_test(it_comes_back_from_bytes_and_is_whole),
		cmocka_unit_test(damage_is_seen),
		cmocka_unit_test(a_policy_loads_from_it_whatever_became_of_the_files),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
