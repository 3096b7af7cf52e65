/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "net/conn_os.h"

#define DEADLINE_US (20 * US_PER_S)

/* Listens, and keeps the first connection; peers are sockets of the test's own. */
struct fixture {
	struct loop         *loop;
	struct net          *net;
	struct listener     *listener;
	struct conn         *conn;
	struct timer         deadline;
	struct loop_turn_end turn_end;
	bool               (*until)(struct fixture *f);
	unsigned             turns, accepted;
	bool                 close_listener;
	char                 got[64];
	size_t               got_bytes;
	char                 dir[32];
	char                 path[64];
};

static void
on_data(void *ctx, struct span data)
{
	struct fixture *f = ctx;

	assert_true(f->got_bytes + data.n <= sizeof(f->got));
	memcpy(f->got + f->got_bytes, data.p, data.n);
	f->got_bytes += data.n;
}

static void
on_close(void *ctx, const struct err *err)
{
}

static const struct conn_events events = { .on_data = on_data, .on_close = on_close };

static void
on_accept(void *ctx, struct conn *conn)
{
	struct fixture *f = ctx;

	f->accepted++;
	if (f->conn) {
		conn_close(conn);
		return;
	}
	f->conn = conn;
	conn->events = &events;
	conn->ctx = f;
	if (f->close_listener) {
		listener_close(f->net, f->listener);
		f->listener = NULL;
	}
}

static void
too_late(void *ctx, struct now now)
{
	fail_msg("the deadline passed");
}

static bool
at_turn_end(void *ctx)
{
	struct fixture *f = ctx;

	f->turns++;
	if (f->until(f))
		loop_stop(f->loop);
	return false;
}

static void
run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
	f->until = until;
	loop_run(f->loop);
}

static void
set_up(struct fixture *f)
{
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	f->loop = loop_os_new(&err);
	f->net = net_os_new(f->loop, &err);
	timer_init(&f->deadline, too_late, f);
	timer_start(&f->loop->timers, &f->deadline, loop_now(f->loop).mono + DEADLINE_US);
	f->turn_end = (struct loop_turn_end){ .fn = at_turn_end, .ctx = f };
	loop_os_add_turn_end(f->loop, &f->turn_end);
}

static void
set_up_tcp(struct fixture *f)
{
	struct endpoint at = { .ip = { .family = IP_V4, .bytes = { 127, 0, 0, 1 } } };

	set_up(f);
	f->listener = net_listen(f->net, &at, LISTEN_ALONE, on_accept, f, NULL);
	assert_non_null(f->listener);
}

static void
set_up_unix(struct fixture *f)
{
	set_up(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/listen_os_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	f->listener = net_listen_unix(f->net, f->path, on_accept, f, NULL);
	assert_non_null(f->listener);
}

static void
tear_down(struct fixture *f)
{
	conn_close(f->conn);
	listener_close(f->net, f->listener);
	timer_stop(&f->loop->timers, &f->deadline);
	loop_os_remove_turn_end(&f->turn_end);
	net_os_free(f->net);
	loop_os_free(f->loop);
	if (f->dir[0]) {
		unlink(f->path);
		rmdir(f->dir);
	}
}

static int
connect_tcp(const struct fixture *f)
{
	struct sockaddr_storage addr;
	socklen_t n = sockaddr_from_endpoint(&f->listener->at, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, n), 0);
	return fd;
}

static struct sockaddr_un
unix_addr(const struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", f->path);
	return addr;
}

static int
connect_unix(const struct fixture *f)
{
	struct sockaddr_un addr = unix_addr(f);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static bool one_accepted(struct fixture *f) { return f->accepted == 1; }
static bool two_accepted(struct fixture *f) { return f->accepted == 2; }
static bool all_accepted(struct fixture *f) { return f->accepted == 32; }
static bool got_hello(struct fixture *f) { return f->got_bytes == 6; }

/* Only wakes the loop. */
static void
on_later(void *ctx, struct now now)
{
}

static bool
two_and_a_half_rests_passed(struct fixture *f)
{
	return loop_now(f->loop).mono >= f->deadline.node.key - DEADLINE_US + 250 * US_PER_MS;
}

static void
rests_when_descriptors_run_out_and_then_goes_on(void **state)
{
	struct fixture f;
	struct rlimit before, few;
	struct timer later;
	int peers[2];

	set_up_tcp(&f);
	peers[0] = connect_tcp(&f);
	peers[1] = connect_tcp(&f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	few = before;
	few.rlim_cur = (rlim_t)peers[1] + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	timer_init(&later, on_later, NULL);
	timer_start(&f.loop->timers, &later, loop_now(f.loop).mono + 251 * US_PER_MS);
	run_until(&f, two_and_a_half_rests_passed);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(f.accepted, 0);
	assert_true(f.turns < 20);
	timer_stop(&f.loop->timers, &later);
	run_until(&f, two_accepted);
	close(peers[0]);
	close(peers[1]);
	tear_down(&f);
}

static void
may_be_closed_as_it_accepts(void **state)
{
	struct fixture f;
	int peers[5];

	set_up_tcp(&f);
	f.close_listener = true;
	for (size_t i = 0; i < countof(peers); i++)
		peers[i] = connect_tcp(&f);
	run_until(&f, one_accepted);
	assert_int_equal(f.accepted, 1);
	for (size_t i = 0; i < countof(peers); i++)
		close(peers[i]);
	tear_down(&f);
}

static void
says_why_it_cannot_listen(void **state)
{
	struct fixture f;
	struct endpoint none = { .ip = { .family = IP_V4, .bytes = { 203, 0, 113, 9 } }, .port = 25 };
	struct err err;
	char at[ENDPOINT_TEXT_MAX], text[128];

	set_up_tcp(&f);
	assert_null(net_listen(f.net, &f.listener->at, LISTEN_ALONE, on_accept, &f, &err));
	endpoint_format(&f.listener->at, at);
	snprintf(text, sizeof(text), "cannot listen on %s: address already in use", at);
	assert_string_equal(err.text, text);
	assert_int_equal(err.sys, EADDRINUSE);
	assert_null(net_listen(f.net, &none, LISTEN_ALONE, on_accept, &f, &err));
	assert_string_equal(err.text, "cannot listen on 203.0.113.9:25: cannot assign requested address");
	tear_down(&f);
}

static void
many_of_one_node_listen_at_one_port_and_no_other_node(void **state)
{
	struct fixture f;
	struct endpoint any = { .ip = { .family = IP_V4, .bytes = { 127, 0, 0, 1 } } };
	struct listener *second;
	struct err err = { 0 };
	int peers[32];

	set_up_tcp(&f);
	listener_close(f.net, f.listener);
	f.listener = net_listen(f.net, &any, LISTEN_FIRST, on_accept, &f, &err);
	assert_non_null(f.listener);
	assert_int_not_equal(f.listener->at.port, 0);
	second = net_listen(f.net, &f.listener->at, LISTEN_JOINS, on_accept, &f, &err);
	assert_non_null(second);
	assert_int_equal(second->at.port, f.listener->at.port);
	/* What another node does, whatever number of workers it has. */
	assert_null(net_listen(f.net, &f.listener->at, LISTEN_FIRST, on_accept, &f, &err));
	assert_int_equal(err.sys, EADDRINUSE);
	assert_null(net_listen(f.net, &f.listener->at, LISTEN_ALONE, on_accept, &f, &err));
	assert_int_equal(err.sys, EADDRINUSE);
	/* Between the two of them all get in. */
	for (size_t i = 0; i < countof(peers); i++)
		peers[i] = connect_tcp(&f);
	run_until(&f, all_accepted);
	for (size_t i = 0; i < countof(peers); i++)
		close(peers[i]);
	listener_close(f.net, second);
	tear_down(&f);
}

static void
a_unix_socket_is_private_and_knows_its_peer(void **state)
{
	struct fixture f;
	struct stat st;
	int peer;

	set_up_unix(&f);
	assert_int_equal(stat(f.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	peer = connect_unix(&f);
	assert_int_equal(send(peer, "hello!", 6, 0), 6);
	run_until(&f, got_hello);
	assert_int_equal(f.conn->peer_uid, getuid());
	assert_int_equal(f.conn->peer.ip.family, IP_NONE);
	assert_int_equal(f.conn->local.ip.family, IP_NONE);
	listener_close(f.net, f.listener);
	f.listener = NULL;
	assert_int_equal(access(f.path, F_OK), -1);
	close(peer);
	tear_down(&f);
}

static void
respects_a_live_unix_socket_and_replaces_a_stale_one(void **state)
{
	struct fixture f;
	struct sockaddr_un addr;
	struct err err;
	char text[256];
	int fd;

	set_up_unix(&f);
	assert_null(net_listen_unix(f.net, f.path, on_accept, &f, &err));
	snprintf(text, sizeof(text), "cannot listen on %s: another process does", f.path);
	assert_string_equal(err.text, text);
	listener_close(f.net, f.listener);

	addr = unix_addr(&f);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	f.listener = net_listen_unix(f.net, f.path, on_accept, &f, &err);
	assert_non_null(f.listener);
	fd = connect_unix(&f);
	run_until(&f, one_accepted);
	close(fd);
	tear_down(&f);
}

static void
a_long_path_below_the_own_folder_is_taken_from_there(void **state)
{
	struct fixture f;
	struct err err;
	struct stat st;
	char here[300], deep[121] = "", path[500];
	struct listener *listener;

	set_up_unix(&f);
	assert_non_null(getcwd(here, sizeof(here)));
	memset(deep, 'd', sizeof(deep) - 1);
	snprintf(path, sizeof(path), "%s/%s", f.dir, deep);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chdir(path), 0);
	strncat(path, "/c", sizeof(path) - strlen(path) - 1);
	listener = net_listen_unix(f.net, path, on_accept, &f, &err);
	assert_non_null(listener);
	assert_int_equal(stat(path, &st), 0);
	listener_close(f.net, listener);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(chdir(here), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
	tear_down(&f);
}

static void
a_unix_path_must_fit_and_be_no_other_file(void **state)
{
	struct fixture f;
	struct err err;
	struct stat st;
	char longest[200];

	set_up_unix(&f);
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[108] = '\0';
	assert_null(net_listen_unix(f.net, longest, on_accept, &f, &err));
	assert_non_null(strstr(err.text, "the path is too long: 108 bytes, a socket's can have 107"));

	listener_close(f.net, f.listener);
	f.listener = NULL;
	close(open(f.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	assert_null(net_listen_unix(f.net, f.path, on_accept, &f, &err));
	assert_non_null(strstr(err.text, "a file that is no socket is there"));
	assert_int_equal(stat(f.path, &st), 0);
	tear_down(&f);
}

static void
closing_leaves_a_successors_unix_socket_alone(void **state)
{
	struct fixture f;
	struct listener *successor;

	set_up_unix(&f);
	unlink(f.path);
	successor = net_listen_unix(f.net, f.path, on_accept, &f, NULL);
	assert_non_null(successor);
	listener_close(f.net, f.listener);
	assert_int_equal(access(f.path, F_OK), 0);
	f.listener = successor;
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rests_when_descriptors_run_out_and_then_goes_on),
		cmocka_unit_test(may_be_closed_as_it_accepts),
		cmocka_unit_test(says_why_it_cannot_listen),
		cmocka_unit_test(many_of_one_node_listen_at_one_port_and_no_other_node),
		cmocka_unit_test(a_unix_socket_is_private_and_knows_its_peer),
		cmocka_unit_test(respects_a_live_unix_socket_and_replaces_a_stale_one),
		cmocka_unit_test(a_long_path_below_the_own_folder_is_taken_from_there),
		cmocka_unit_test(a_unix_path_must_fit_and_be_no_other_file),
		cmocka_unit_test(closing_leaves_a_successors_unix_socket_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
