/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/resource.h>

#include "net/conn_os.h"

#define LIMIT    64
#define INBOUND  48     /* three quarters */
#define OUTBOUND 56     /* seven eighths */

/* A process that may have LIMIT descriptors, and a listener in it. */
struct fixture {
	struct rlimit    before;
	struct loop     *loop;
	struct net      *net;
	struct listener *listener;
	struct conn     *conn;
	int              peer;
	int              taken[LIMIT];
	unsigned         taken_n;
};

static void
on_close(void *ctx, const struct err *err)
{
}

static const struct conn_events events = { .on_close = on_close };

static void
on_accept(void *ctx, struct conn *conn)
{
	struct fixture *f = ctx;

	f->conn = conn;
	conn->events = &events;
	conn->ctx = f;
	loop_stop(f->loop);
}

static void
set_up(struct fixture *f)
{
	struct endpoint at = { .ip = { .family = IP_V4, .bytes = { 127, 0, 0, 1 } } };
	struct rlimit few;

	memset(f, 0, sizeof(*f));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &f->before), 0);
	few = f->before;
	few.rlim_cur = LIMIT;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	f->loop = loop_os_new(NULL);
	f->net = net_os_new(f->loop, NULL);
	f->listener = net_listen(f->net, &at, LISTEN_ALONE, on_accept, f, NULL);
	assert_non_null(f->listener);
}

static void
tear_down(struct fixture *f)
{
	while (f->taken_n > 0)
		close(f->taken[--f->taken_n]);
	conn_close(f->conn);
	close(f->peer);
	listener_close(f->net, f->listener);
	net_os_free(f->net);
	loop_os_free(f->loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &f->before), 0);
}

/* The next to be opened gets that number. */
static void
take_until(struct fixture *f, int next)
{
	int fd;

	while ((fd = dup(STDERR_FILENO)) < next) {
		assert_true(fd >= 0);
		f->taken[f->taken_n++] = fd;
	}
	close(fd);
}

static bool
next_client_is_scarce(struct fixture *f, int descriptor)
{
	struct sockaddr_storage addr;
	socklen_t n = sockaddr_from_endpoint(&f->listener->at, &addr);

	f->peer = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->peer, (struct sockaddr *)&addr, n), 0);
	take_until(f, descriptor);
	loop_run(f->loop);
	return f->conn->scarce;
}

static void
a_client_learns_that_it_has_one_of_the_last_quarter(void **state)
{
	struct fixture f;

	for (int i = 0; i < 2; i++) {
		set_up(&f);
		assert_int_equal(next_client_is_scarce(&f, INBOUND - 1 + i), i == 1);
		tear_down(&f);
	}
}

static void
nobody_is_dialed_with_one_of_the_last_eighth(void **state)
{
	struct fixture f;
	struct err err = { 0 };

	set_up(&f);
	take_until(&f, OUTBOUND - 1);
	f.conn = net_dial(f.net, NULL, &f.listener->at, &events, &f, &err);
	assert_non_null(f.conn);
	assert_null(net_dial(f.net, NULL, &f.listener->at, &events, &f, &err));
	assert_int_equal(err.kind, ERR_TEMP);
	assert_string_equal(err.text, "cannot open a socket: too many open files");
	assert_int_equal(dup(STDERR_FILENO), OUTBOUND);         /* and there are some left */
	close(OUTBOUND);
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_learns_that_it_has_one_of_the_last_quarter),
		cmocka_unit_test(nobody_is_dialed_with_one_of_the_last_eighth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
