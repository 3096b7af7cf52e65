/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mail/envelope.h"

static struct envelope_rcpt rcpts[] = {
	{ { "a@b.example", 11 }, { "b.example", 9 }, { "rfc822;a@b.example", 18 }, 3 },
	{ { "\"x y\"@B.example", 15 }, { "b.example", 9 }, { NULL, 0 }, 0 },
};

static struct envelope
sample(void)
{
	return (struct envelope){
		.id = 0x0123456789abcdefu, .received = { 1767323045678 }, .sender = SPAN("s@example.com"),
		.envid = SPAN("QQ314159"), .ret = SPAN("HDRS"), .eightbit = true, .smtputf8 = false, .priority = 100,
		.vmta = SPAN("mta-1"), .pool = SPAN("bulk"), .job = SPAN("news"), .source_type = SPAN("smtp"),
		.source_mta = SPAN("relay (192.0.2.1)"), .rcpts = rcpts, .rcpts_n = countof(rcpts),
	};
}

static void
what_is_encoded_comes_back(void **state)
{
	struct envelope in = sample(), out;
	struct buf buf;
	struct arena arena;
	struct err err;
	buf_init(&buf, 0);
	arena_init(&arena);
	envelope_encode(&in, &buf);
	assert_true(envelope_decode(buf_span(&buf), &arena, &out, &err));
	assert_int_equal(out.id, in.id);
	assert_int_equal(out.received.ms, in.received.ms);
	assert_true(out.eightbit);
	assert_false(out.smtputf8);
	assert_int_equal(out.priority, 100);
	assert_true(span_eq(out.sender, in.sender) && span_eq(out.envid, in.envid) && span_eq(out.ret, in.ret));
	assert_true(span_eq(out.vmta, in.vmta) && span_eq(out.pool, in.pool) && span_eq(out.job, in.job));
	assert_true(span_eq(out.source_type, in.source_type) && span_eq(out.source_mta, in.source_mta));
	assert_int_equal(out.rcpts_n, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(span_eq(out.rcpts[i].address, rcpts[i].address));
		assert_true(span_eq(out.rcpts[i].domain, rcpts[i].domain));
		assert_true(span_eq(out.rcpts[i].orcpt, rcpts[i].orcpt));
		assert_int_equal(out.rcpts[i].notify, rcpts[i].notify);
	}
	struct buf again;
	buf_init(&again, 0);
	envelope_encode(&out, &again);
	assert_true(span_eq(buf_span(&buf), buf_span(&again)));
	buf_fini(&again);
	arena_fini(&arena);
	buf_fini(&buf);
}

static void
each_cut_and_each_surplus_is_refused(void **state)
{
	struct envelope in = sample(), out;
	struct buf buf;
	struct arena arena;
	buf_init(&buf, 0);
	arena_init(&arena);
	envelope_encode(&in, &buf);
	for (size_t n = 0; n < buf_len(&buf); n++) {
		struct err err = { 0 };
		assert_false(envelope_decode(span_first(buf_span(&buf), n), &arena, &out, &err));
		assert_int_equal(err.kind, ERR_PERM);
	}
	buf_add_char(&buf, 'x');
	assert_false(envelope_decode(buf_span(&buf), &arena, &out, NULL));
	arena_fini(&arena);
	buf_fini(&buf);
}

static void
what_encode_never_writes_is_refused(void **state)
{
	static const struct { size_t at; unsigned char byte; } rows[] = {
		{ 0, 2 },       /* version */
		{ 17, 4 },      /* an unknown flag */
		{ 18, 101 },    /* priority */
	};
	for (unsigned i = 0; i < countof(rows); i++) {
		struct envelope in = sample(), out;
		struct buf buf;
		struct arena arena;
		buf_init(&buf, 0);
		arena_init(&arena);
		envelope_encode(&in, &buf);
		buf.p[buf.start + rows[i].at] = (char)rows[i].byte;
		assert_false(envelope_decode(buf_span(&buf), &arena, &out, NULL));
		arena_fini(&arena);
		buf_fini(&buf);
	}
}

static void
a_count_beyond_the_bytes_takes_no_memory(void **state)
{
	struct envelope in = { .rcpts_n = 0 }, out;
	struct buf buf;
	struct arena arena;
	buf_init(&buf, 0);
	arena_init(&arena);
	envelope_encode(&in, &buf);
	memset(buf.p + buf.end - 4, 0xff, 4);
	assert_false(envelope_decode(buf_span(&buf), &arena, &out, NULL));
	assert_int_equal(arena.bytes, 0);
	arena_fini(&arena);
	buf_fini(&buf);
}

static void
ids_are_sixteen_digits(void **state)
{
	char out[17];
	envelope_id_format(0x0123456789abcdefu, out);
	assert_string_equal(out, "0123456789ABCDEF");
	envelope_id_format(0, out);
	assert_string_equal(out, "0000000000000000");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_encoded_comes_back),
		cmocka_unit_test(each_cut_and_each_surplus_is_refused),
		cmocka_unit_test(what_encode_never_writes_is_refused),
		cmocka_unit_test(a_count_beyond_the_bytes_takes_no_memory),
		cmocka_unit_test(ids_are_sixteen_digits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
