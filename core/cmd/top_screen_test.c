/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/top_screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "util/span.h"

static json_t *
parse(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);

	assert_non_null(value);
	return value;
}

static json_t *
status(int delivered)
{
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:n}", "generation", 3, "uptime", 7320, "queued", 15, "deferred", 4,
			 "sessions_in", 1, "sessions_out", 2, "delivered", delivered, "refusing");
}

static json_t *
rows(void)
{
	return parse("[{\"queue\":\"google/mta-1\",\"queued\":5,\"sessions\":9,\"pace\":10,\"oldest_age\":60,\"mode\":\"normal\",\"gate\":null},"
		     "{\"queue\":\"a-site-with-a-very-long-name-indeed.example.com/mta-1\",\"queued\":7,\"sessions\":1,\"pace\":2,\"oldest_age\":null,"
		     "\"mode\":\"paused\",\"gate\":\"paused\"},"
		     "{\"queue\":\"b.example/mta-1\",\"queued\":3,\"sessions\":2,\"pace\":99,\"oldest_age\":7200,\"mode\":\"normal\",\"gate\":\"max_msg_rate\","
		     "\"last_error\":\"421 4.7.0 slow\\u001b[2Jdown\"}]");
}

static void
fill(struct top_screen *top)
{
	top_screen_init(top);
	top_screen_update(top, status(100), rows(), 10);
}

static char *
drawn(const struct top_screen *top, unsigned lines, unsigned columns)
{
	struct buf out;
	char *text;

	buf_init(&out, 0);
	top_screen_draw(top, lines, columns, false, &out);
	text = mem_strdup(buf_text(&out));
	buf_fini(&out);
	return text;
}

static void
a_screen_has_its_lines_and_none_is_wider_than_it(void **state)
{
	static const unsigned sizes[][2] = { { 24, 80 }, { 5, 40 }, { 60, 200 }, { 3, 10 } };

	for (size_t s = 0; s < countof(sizes); s++) {
		struct top_screen top;
		unsigned n = 0;
		char *text, *line, *rest;

		fill(&top);
		text = drawn(&top, sizes[s][0], sizes[s][1]);
		assert_memory_equal(text, "\033[H", 3);
		for (line = strtok_r(text + 3, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), n++) {
			unsigned shown = 0;

			for (const char *p = line; *p != '\0' && *p != '\033' && *p != '\r'; p++)
				shown += ((unsigned char)*p & 0xc0) != 0x80;
			assert_true(shown <= sizes[s][1]);
		}
		assert_int_equal(n, sizes[s][0] < 5 ? 5 : sizes[s][0]);
		free(text);
		top_screen_fini(&top);
	}
}

static void
what_a_receiver_said_cannot_drive_the_terminal(void **state)
{
	struct top_screen top;
	char *text;

	fill(&top);
	text = drawn(&top, 24, 160);
	assert_non_null(strstr(text, "slow\\x1b[2Jdown"));
	free(text);
	top_screen_fini(&top);
}

static void
the_cursor_stays_on_its_queue_when_rows_move(void **state)
{
	struct top_screen top;

	fill(&top);
	assert_string_equal(top_screen_queue(&top), "a-site-with-a-very-long-name-indeed.example.com/mta-1");
	top_screen_key(&top, TOP_KEY_DOWN);
	assert_string_equal(top_screen_queue(&top), "google/mta-1");
	top_screen_key(&top, 's');
	assert_int_equal(top.sort, TOP_BY_NAME);
	assert_string_equal(top_screen_queue(&top), "google/mta-1");
	assert_int_equal(top.cursor, 2);
	top_screen_key(&top, TOP_KEY_DOWN);
	assert_int_equal(top.cursor, 2);
	top_screen_update(&top, status(100), parse("[{\"queue\":\"c/d\",\"queued\":1}]"), 11);
	assert_string_equal(top_screen_queue(&top), "c/d");
	top_screen_update(&top, status(100), parse("[]"), 12);
	assert_string_equal(top_screen_queue(&top), "");
	assert_int_equal(top_screen_key(&top, 'p'), TOP_NOTHING);
	top_screen_fini(&top);
}

static void
each_sort_has_its_order(void **state)
{
	static const char *const first[TOP_SORTS_N] = { "a-site", "a-site", "google", "b.example", "b.example" };
	struct top_screen top;

	fill(&top);
	for (unsigned i = 0; i < TOP_SORTS_N; i++) {
		const char *name = json_string_value(json_object_get(json_array_get(top.rows, 0), "queue"));

		assert_true(strncmp(name, first[i], strlen(first[i])) == 0);
		top_screen_key(&top, 's');
	}
	assert_int_equal(top.sort, TOP_BY_QUEUED);
	top_screen_fini(&top);
}

static void
a_filter_is_typed_kept_and_ended(void **state)
{
	struct top_screen top;
	char room[TOP_FILTER_MAX + 3];

	fill(&top);
	assert_null(top_screen_pattern(&top, room));
	assert_int_equal(top_screen_key(&top, '/'), TOP_NOTHING);
	assert_int_equal(top_screen_key(&top, 'q'), TOP_REFRESH);
	top_screen_key(&top, 'x');
	top_screen_key(&top, TOP_KEY_BACK);
	assert_string_equal(top_screen_pattern(&top, room), "*q*");
	assert_int_equal(top_screen_key(&top, TOP_KEY_ENTER), TOP_NOTHING);
	assert_int_equal(top_screen_key(&top, 'w'), TOP_WHY);
	assert_int_equal(top_screen_key(&top, TOP_KEY_ESCAPE), TOP_REFRESH);
	assert_null(top_screen_pattern(&top, room));
	top_screen_key(&top, '/');
	for (unsigned i = 0; i < 2 * TOP_FILTER_MAX; i++)
		top_screen_key(&top, 'a');
	assert_int_equal(strlen(top.filter), TOP_FILTER_MAX);
	assert_int_equal(top_screen_key(&top, TOP_KEY_ENTER), TOP_NOTHING);
	assert_int_equal(top_screen_key(&top, 'q'), TOP_QUIT);
	top_screen_fini(&top);
}

static void
why_is_shown_until_it_is_left(void **state)
{
	struct top_screen top;
	char *text;

	fill(&top);
	top_screen_show_why(&top, parse("{\"queue\":\"a/b\",\"open\":false,\"gate\":\"paused\"}"));
	text = drawn(&top, 24, 80);
	assert_non_null(strstr(text, "a/b waits: paused"));
	free(text);
	assert_int_equal(top_screen_key(&top, 'r'), TOP_RESUME);
	assert_int_equal(top_screen_key(&top, 'q'), TOP_REFRESH);
	assert_null(top.why);
	top_screen_fini(&top);
}

static void
keys_on_why_act_on_the_queue_that_it_speaks_of(void **state)
{
	struct top_screen top;

	fill(&top);
	top_screen_key(&top, TOP_KEY_DOWN);
	top_screen_show_why(&top, parse("{\"queue\":\"google/mta-1\",\"open\":true}"));
	top_screen_update(&top, status(100), parse("[{\"queue\":\"c/d\",\"queued\":1}]"), 11);
	assert_string_equal(top_screen_queue(&top), "google/mta-1");
	assert_int_equal(top_screen_key(&top, 'p'), TOP_PAUSE);
	top_screen_key(&top, 'q');
	top_screen_update(&top, status(100), parse("[{\"queue\":\"c/d\",\"queued\":1}]"), 12);
	assert_string_equal(top_screen_queue(&top), "c/d");
	top_screen_fini(&top);
}

static void
the_pace_of_the_node_and_what_an_act_did_are_told(void **state)
{
	struct top_screen top;
	json_t *touched = parse("{\"queues\":1,\"recipients\":7}");
	char *text;

	fill(&top);
	top_screen_update(&top, status(160), rows(), 12);
	top_screen_tell(&top, "paused", touched, NULL);
	text = drawn(&top, 24, 120);
	assert_non_null(strstr(text, "delivered 160, 30/s"));
	assert_non_null(strstr(text, "paused a-site-with-a-very-long-name-indeed.example.com/mta-1: 7 recipients"));
	free(text);
	json_decref(touched);
	top_screen_fini(&top);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_screen_has_its_lines_and_none_is_wider_than_it),
		cmocka_unit_test(what_a_receiver_said_cannot_drive_the_terminal),
		cmocka_unit_test(the_cursor_stays_on_its_queue_when_rows_move),
		cmocka_unit_test(each_sort_has_its_order),
		cmocka_unit_test(a_filter_is_typed_kept_and_ended),
		cmocka_unit_test(why_is_shown_until_it_is_left),
		cmocka_unit_test(keys_on_why_act_on_the_queue_that_it_speaks_of),
		cmocka_unit_test(the_pace_of_the_node_and_what_an_act_did_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
