/* A message in steady flow, in by SMTP and out by SMTP, asks malloc() for nothing: this file's own malloc() counts what
 * the whole process asks for, and hands it on to glibc's. What is not a message's is there too (once a second the state
 * is saved, and the simulated disk makes a file of it), so the bar is half a call a message; one more in its path is
 * twice that. Under a sanitizer, which has its own malloc(), nothing is counted. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "sim/receiver.h"
#include "sim/world_fixture.h"

#define MESSAGES 1000u

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS false
#else
#define COUNTS true
#endif

static uint64_t calls;

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t each);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

void *malloc(size_t n) { calls++; return __libc_malloc(n); }
void *calloc(size_t n, size_t each) { calls++; return __libc_calloc(n, each); }
void *realloc(void *p, size_t n) { calls++; return __libc_realloc(p, n); }
void free(void *p) { __libc_free(p); }
void *aligned_alloc(size_t align, size_t n) { calls++; return __libc_memalign(align, n); }

int
posix_memalign(void **out, size_t align, size_t n)
{
	calls++;
	*out = __libc_memalign(align, n);
	return *out ? 0 : ENOMEM;
}
#endif

static const char policy[] =
	"vmta 'mta-1' { source = 'any' }\n"
	"pool 'default' { 'mta-1' }\n"
	"domain '*' { max_smtp_out = 5 }\n";

struct flow {
	unsigned    workers, domains;
	const char *job;
	int64_t     over_us;            /* 0: all at once */
};

static struct world *
open_world(unsigned workers)
{
	const struct world_options options = { .policy = "policy.lua", .text = policy, .seed = 1, .workers = workers, .unrecorded = true };

	return fixture_world(&options);
}

/* In and out. The calls that it took. */
static uint64_t
pass(struct world *world, const struct flow *flow, struct fixture_spread *to)
{
	const struct world_injection injection = {
		.count = MESSAGES, .to_of = fixture_spread_to, .ctx = to, .priority = 50, .job = flow->job, .over_us = flow->over_us,
	};
	struct world_injected injected;
	struct err err = { 0 };
	uint64_t before = calls;

	assert_true(world_inject(world, &injection, &injected, &err));
	assert_true(world_run_until_idle(world, &err));
	assert_int_equal(injected.refused, 0);
	return calls - before;
}

static uint64_t
delivered(struct world *world, unsigned domains)
{
	struct err err = { 0 };
	uint64_t n = 0;
	char host[32];

	for (unsigned i = 1; i <= domains; i++) {
		snprintf(host, sizeof host, "d%u.example", i);
		n += receiver_totals(world_receiver(world, host, &err))->messages;
	}
	return n;
}

static void
takes_nothing(const struct flow *flow)
{
	struct world *world = open_world(flow->workers);
	struct fixture_spread to = { .domains = flow->domains };
	uint64_t first, then;

	first = pass(world, flow, &to);
	pass(world, flow, &to);
	then = pass(world, flow, &to);
	assert_int_equal(delivered(world, flow->domains), 3 * MESSAGES);
	print_message("%u workers, %u domains, %s: %.2f calls a message, at first %.2f\n", flow->workers, flow->domains,
		      flow->over_us ? "one by one" : "at once", (double)then / MESSAGES, (double)first / MESSAGES);
	if (COUNTS) {
		assert_true(first > 0);
		assert_in_range(then, 0, MESSAGES / 2);
	}
	buf_fini(&to.text);
	world_free(world);
}

static void
a_message_now_and_then_takes_nothing_from_malloc(void **state)
{
	takes_nothing(&(struct flow){ .workers = 1, .domains = 1, .over_us = 10 * US_PER_S });
}

static void
nor_does_one_that_goes_by_another_shard(void **state)
{
	takes_nothing(&(struct flow){ .workers = 2, .domains = 8, .over_us = 10 * US_PER_S });
}

static void
nor_do_those_that_all_go_one_way(void **state)
{
	takes_nothing(&(struct flow){ .workers = 4, .domains = 1, .over_us = 10 * US_PER_S });
}

static void
nor_do_many_at_once(void **state)
{
	takes_nothing(&(struct flow){ .workers = 2, .domains = 8 });
}

static void
nor_does_one_of_a_job(void **state)
{
	takes_nothing(&(struct flow){ .workers = 2, .domains = 2, .job = "newsletter", .over_us = 10 * US_PER_S });
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_now_and_then_takes_nothing_from_malloc),
		cmocka_unit_test(nor_does_one_that_goes_by_another_shard),
		cmocka_unit_test(nor_do_those_that_all_go_one_way),
		cmocka_unit_test(nor_do_many_at_once),
		cmocka_unit_test(nor_does_one_of_a_job),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
