/* Bytes we own. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>

#include "util/buf.h"
#include "util/prng.h"

static void
adds_at_the_end_and_consumes_at_the_front(void **state)
{
	struct buf buf;
	buf_init(&buf, 0);
	assert_string_equal(buf_text(&buf), "");
	assert_true(buf_add_text(&buf, "hello "));
	assert_true(buf_add(&buf, SPAN("world")));
	assert_true(buf_add_char(&buf, '!'));
	assert_true(buf_printf(&buf, "%d-%s", 42, "x"));
	assert_string_equal(buf_text(&buf), "hello world!42-x");
	buf_consume(&buf, 6);
	assert_string_equal(buf_text(&buf), "world!42-x");
	buf_truncate(&buf, 5);
	assert_string_equal(buf_text(&buf), "world");
	assert_int_equal(buf_len(&buf), 5);
	buf_clear(&buf);
	assert_int_equal(buf_len(&buf), 0);
	buf_fini(&buf);
}

static void
writes_numbers_in_decimal(void **state)
{
	struct buf buf;
	buf_init(&buf, 23);
	assert_true(buf_add_u64(&buf, 0));
	assert_true(buf_add_u64(&buf, 90));
	assert_true(buf_add_u64(&buf, UINT64_MAX));
	assert_string_equal(buf_text(&buf), "09018446744073709551615");
	assert_false(buf_add_u64(&buf, 1));
	buf_fini(&buf);
}

/* Of each length: it may fit as it stands, just not fit, or need the buf to grow. */
static void
printing_takes_no_notice_of_the_room_there_was(void **state)
{
	for (int n = 0; n < 200; n++) {
		struct buf buf;
		buf_init(&buf, 0);
		buf_add_text(&buf, "ab");
		assert_true(buf_printf(&buf, "%*s", n, ""));
		assert_true(buf_printf(&buf, "%d", n));
		assert_int_equal(buf_len(&buf), (size_t)n + 3 + (n > 9) + (n > 99));
		assert_int_equal(atoi(buf_text(&buf) + 2 + n), n);
		buf_fini(&buf);
	}
}

static void
what_would_pass_the_limit_is_refused_whole(void **state)
{
	struct buf buf;
	buf_init(&buf, 8);
	assert_true(buf_add_text(&buf, "12345678"));
	assert_false(buf.overflowed);
	assert_false(buf_add_char(&buf, '9'));
	assert_true(buf.overflowed);
	assert_false(buf_printf(&buf, "%d", 9));
	assert_null(buf_grow(&buf, 1));
	assert_false(buf_splice(&buf, 0, 1, SPAN("ab")));
	assert_string_equal(buf_text(&buf), "12345678");
	buf_consume(&buf, 3);
	assert_true(buf_add_text(&buf, "abc"));
	assert_false(buf_put_bytes(&buf, SPAN("")));
	assert_string_equal(buf_text(&buf), "45678abc");
	buf_clear(&buf);
	assert_false(buf.overflowed);
	assert_false(buf_add(&buf, span_make("123456789", 9)));
	assert_int_equal(buf_len(&buf), 0);
	buf_fini(&buf);
}

static void
an_absurd_size_is_refused_too(void **state)
{
	struct buf buf;
	buf_init(&buf, 0);
	assert_null(buf_grow(&buf, SIZE_MAX));
	assert_true(buf.overflowed);
	buf_fini(&buf);
}

static void
splices_in_the_middle(void **state)
{
	static const struct { size_t at, drop; const char *with; const char *result; } rows[] = {
		{ 0, 0, "", "abcdef" }, { 0, 0, "XY", "XYabcdef" }, { 6, 0, "XY", "abcdefXY" }, { 2, 2, "", "abef" },
		{ 2, 2, "X", "abXef" }, { 2, 2, "XYZ", "abXYZef" }, { 0, 6, "", "" }, { 0, 6, "long enough to grow the memory of it, beyond", "long enough to grow the memory of it, beyond" },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct buf buf;
		buf_init(&buf, 0);
		buf_add_text(&buf, "--abcdef");
		buf_consume(&buf, 2);
		assert_true(buf_splice(&buf, rows[i].at, rows[i].drop, span_text(rows[i].with)));
		assert_string_equal(buf_text(&buf), rows[i].result);
		buf_fini(&buf);
	}
	struct buf empty;
	buf_init(&empty, 0);
	assert_true(buf_splice(&empty, 0, 0, SPAN("")));
	assert_true(buf_splice(&empty, 0, 0, SPAN("x")));
	assert_string_equal(buf_text(&empty), "x");
	buf_fini(&empty);
}

static void
a_reader_fills_what_it_asked_for(void **state)
{
	struct buf buf;
	buf_init(&buf, 0);
	char *room = buf_grow(&buf, 1000);
	memset(room, 'x', 1000);
	buf_grow_commit(&buf, 10);
	assert_string_equal(buf_text(&buf), "xxxxxxxxxx");
	assert_non_null(buf_grow(&buf, 0));
	buf_fini(&buf);
}

static void
numbers_come_back_and_are_little_endian(void **state)
{
	struct buf buf;
	buf_init(&buf, 0);
	assert_true(buf_put_u8(&buf, 0xfe) && buf_put_u16(&buf, 0x1234) && buf_put_u32(&buf, 0xdeadbeef)
		    && buf_put_u64(&buf, UINT64_C(0x0123456789abcdef)) && buf_put_bytes(&buf, SPAN("name")));
	assert_memory_equal(buf.p, "\xfe\x34\x12\xef\xbe\xad\xde\xef\xcd\xab\x89\x67\x45\x23\x01\x04\0\0\0name", 23);
	struct span in = buf_span(&buf), name;
	uint8_t a; uint16_t b; uint32_t c; uint64_t d;
	assert_true(span_get_u8(&in, &a) && span_get_u16(&in, &b) && span_get_u32(&in, &c) && span_get_u64(&in, &d)
		    && span_get_bytes(&in, &name));
	assert_int_equal(a, 0xfe);
	assert_int_equal(b, 0x1234);
	assert_true(c == 0xdeadbeef);
	assert_true(d == UINT64_C(0x0123456789abcdef));
	assert_true(span_eq(name, SPAN("name")));
	assert_int_equal(in.n, 0);
	buf_fini(&buf);
}

static void
a_record_that_is_too_short_leaves_the_input_untouched(void **state)
{
	struct span in = span_make("\x05\0\0\0abcd", 8), out;
	uint64_t v;
	assert_false(span_get_bytes(&in, &out));
	assert_int_equal(in.n, 8);
	struct span huge = span_make("\xff\xff\xff\xff" "abc", 7);
	assert_false(span_get_bytes(&huge, &out));
	struct span three = SPAN("abc");
	uint32_t w;
	assert_false(span_get_u32(&three, &w));
	assert_false(span_get_u64(&three, &v));
	assert_int_equal(three.n, 3);
}

static void
any_order_of_calls_gives_what_a_plain_string_gives(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	struct buf buf;
	static char model[1 << 16];
	size_t n = 0;
	buf_init(&buf, sizeof(model));
	for (int i = 0; i < 20000; i++) {
		char piece[64];
		size_t len = prng_below(&prng, sizeof(piece));
		memset(piece, 'a' + (int)prng_below(&prng, 26), sizeof(piece));
		if (prng_below(&prng, 3)) {
			if (buf_add(&buf, span_make(piece, len))) {
				memcpy(model + n, piece, len);
				n += len;
			}
		} else {
			size_t used = prng_below(&prng, n + 1);
			used = used > 80 ? 80 : used;
			buf_consume(&buf, used);
			memmove(model, model + used, n - used);
			n -= used;
		}
		assert_int_equal(buf_len(&buf), n);
		assert_true(span_eq(buf_span(&buf), span_make(model, n)));
	}
	buf_fini(&buf);
}

static void
adds_numbers_in_digits(void **state)
{
	struct buf buf;

	buf_init(&buf, 0);
	buf_add_u64(&buf, 0);
	buf_add_char(&buf, ' ');
	buf_add_u64(&buf, 1234567890);
	buf_add_char(&buf, ' ');
	buf_add_u64(&buf, UINT64_MAX);
	assert_string_equal(buf_text(&buf), "0 1234567890 18446744073709551615");
	buf_fini(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(adds_at_the_end_and_consumes_at_the_front),
		cmocka_unit_test(writes_numbers_in_decimal),
		cmocka_unit_test(printing_takes_no_notice_of_the_room_there_was),
		cmocka_unit_test(what_would_pass_the_limit_is_refused_whole),
		cmocka_unit_test(an_absurd_size_is_refused_too),
		cmocka_unit_test(splices_in_the_middle),
		cmocka_unit_test(a_reader_fills_what_it_asked_for),
		cmocka_unit_test(numbers_come_back_and_are_little_endian),
		cmocka_unit_test(a_record_that_is_too_short_leaves_the_input_untouched),
		cmocka_unit_test(any_order_of_calls_gives_what_a_plain_string_gives),
		cmocka_unit_test(adds_numbers_in_digits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
