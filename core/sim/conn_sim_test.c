/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/net_sim_fixture.h"

static void
delivers_what_a_turn_wrote_as_one_after_the_latency(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	f.server.reply = SPAN("ok");
	conn_write(f.client.conn, SPAN("one "));
	conn_write(f.client.conn, SPAN("two"));
	assert_int_equal(conn_pending(f.client.conn), 7);
	run_for(&f, 5);
	assert_int_equal(conn_pending(f.client.conn), 0);
	conn_write(f.client.conn, SPAN("three"));
	loop_run(f.loop);
	assert_story(f.server, "data(one two)@80000 data(three)@80005");
	assert_story(f.client, "data(ok)@100000 data(ok)@100005");
	tear_down(&f);
}

static void
tells_of_a_close_after_the_output_before_it(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("bye"));
	conn_close(f.client.conn);
	f.client.conn = NULL;
	f.server.reply = SPAN("to nobody");
	loop_run(f.loop);
	assert_story(f.server, "data(bye)@80000 close@80000");
	assert_story(f.client, "");
	tear_down(&f);
}

static void
says_that_the_output_fell_to_nothing(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	f.client.conn->events = &drained_events;
	conn_write(f.client.conn, SPAN("x"));
	loop_run(f.loop);
	assert_story(f.client, "drained@60000");
	tear_down(&f);
}

static void
lets_a_paused_reader_be_felt(void **state)
{
	struct fixture f;
	size_t n = 600 * 1024;
	char *bytes;

	set_up(&f);
	open_pair(&f);
	bytes = mem_alloc(n);
	f.client.conn->events = &drained_events;
	f.server.quiet = true;
	conn_pause(f.server.conn, true);
	conn_write(f.client.conn, span_make(bytes, n));
	loop_run(f.loop);
	assert_int_equal(conn_pending(f.client.conn), n - 256 * 1024);
	assert_int_equal(f.server.data_bytes, 0);
	assert_story(f.client, "");
	conn_pause(f.server.conn, false);
	assert_int_equal(f.server.data_bytes, 0);
	loop_run(f.loop);
	assert_int_equal(f.server.data_bytes, n);
	assert_int_equal(conn_pending(f.client.conn), 0);
	/* Twice a window had to be given back, a latency later each, and data travels as long. */
	assert_story(f.client, "drained@140000");
	assert_int_equal(loop_now(f.loop).mono, 80000 + 4 * LATENCY);
	free(bytes);
	tear_down(&f);
}

static void
reads_no_more_at_once_than_a_read_takes_and_nothing_once_paused(void **state)
{
	struct fixture f;
	size_t n = 3 * CONN_READ_MAX + 1;
	char *bytes;

	set_up(&f);
	open_pair(&f);
	bytes = mem_alloc(n);
	f.server.quiet = f.server.pause_on_data = true;
	conn_write(f.client.conn, span_make(bytes, n));
	for (size_t read = CONN_READ_MAX; read < n; read += CONN_READ_MAX) {
		loop_run(f.loop);
		assert_int_equal(f.server.data_bytes, read);
		conn_pause(f.server.conn, false);
	}
	f.server.pause_on_data = false;
	loop_run(f.loop);
	assert_int_equal(f.server.data_bytes, n);
	free(bytes);
	tear_down(&f);
}

static void
holds_the_end_back_from_a_paused_reader_too(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_pause(f.server.conn, true);
	conn_write(f.client.conn, SPAN("last"));
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_for(&f, US_PER_S);
	assert_story(f.server, "");
	conn_pause(f.server.conn, false);
	loop_run(f.loop);
	assert_story(f.server, "data(last)@1060000 close@1060000");
	tear_down(&f);
}

static void
resets_both_ends(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("lost"));
	run_for(&f, 10);
	net_sim_reset(f.server.conn);
	assert_story(f.server, "");
	loop_run(f.loop);
	assert_story(f.client, "close(connection reset by peer)@60010");
	assert_story(f.server, "close(connection reset by peer)@60010");
	conn_write(f.client.conn, SPAN("nowhere"));
	loop_run(f.loop);
	tear_down(&f);
}

static void
may_be_closed_from_within_its_own_data(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	f.server.close_on_data = true;
	conn_write(f.client.conn, SPAN("x"));
	loop_run(f.loop);
	assert_story(f.server, "data(x)@80000");
	assert_story(f.client, "close@100000");
	tear_down(&f);
}

static void
hangs_for_ever(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("before"));
	run_for(&f, 10);
	net_sim_hang(f.client.conn);
	conn_write(f.client.conn, SPAN("after"));
	conn_write(f.server.conn, SPAN("after"));
	loop_run(f.loop);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_for(&f, 86400 * US_PER_S);
	assert_story(f.server, "");
	tear_down(&f);
}

/* Two ends that write, pause and take at random: what was written is what is read. */
static uint64_t
stream(uint64_t seed, size_t *bytes_out)
{
	struct fixture f;
	struct prng prng;
	uint64_t sum = 0;
	size_t wrote = 0;
	char piece[5000];

	set_up(&f);
	open_pair(&f);
	prng_seed(&prng, seed);
	f.server.reply = SPAN("+");
	for (int i = 0; i < 300; i++) {
		size_t n = (size_t)prng_below(&prng, sizeof(piece));

		for (size_t k = 0; k < n; k++)
			piece[k] = (char)('a' + (wrote + k) % 26);
		conn_write(f.client.conn, span_make(piece, n));
		wrote += n;
		conn_pause(f.server.conn, prng_below(&prng, 3) == 0);
		conn_pause(f.client.conn, prng_below(&prng, 3) == 0);
		run_for(&f, (mono_us_t)prng_below(&prng, LATENCY));
	}
	conn_pause(f.server.conn, false);
	conn_pause(f.client.conn, false);
	loop_run(f.loop);
	assert_int_equal(f.server.data_bytes, wrote);
	sum = hash_bytes(buf_span(&f.server.story), hash_bytes(buf_span(&f.client.story), 0));
	*bytes_out = wrote;
	/* Without what the story adds, the bytes count up. */
	for (size_t i = 0, at = 0; i < buf_len(&f.server.story); i++) {
		const char *p = f.server.story.p + i;
		if (*p != '(')
			continue;
		for (p++; *p != ')'; p++, at++)
			assert_int_equal(*p, 'a' + (int)(at % 26));
		i = (size_t)(p - f.server.story.p);
	}
	tear_down(&f);
	return sum;
}

static void
keeps_order_and_tells_the_same_story_again(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		size_t a, b;

		assert_true(stream(seed, &a) == stream(seed, &b));
		assert_int_equal(a, b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivers_what_a_turn_wrote_as_one_after_the_latency),
		cmocka_unit_test(tells_of_a_close_after_the_output_before_it),
		cmocka_unit_test(says_that_the_output_fell_to_nothing),
		cmocka_unit_test(lets_a_paused_reader_be_felt),
		cmocka_unit_test(reads_no_more_at_once_than_a_read_takes_and_nothing_once_paused),
		cmocka_unit_test(holds_the_end_back_from_a_paused_reader_too),
		cmocka_unit_test(resets_both_ends),
		cmocka_unit_test(may_be_closed_from_within_its_own_data),
		cmocka_unit_test(hangs_for_ever),
		cmocka_unit_test(keeps_order_and_tells_the_same_story_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
