/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd_control.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>

#include "util/buf.h"

/* A node that says one thing to one client. */
struct fake {
	char path[64];
	const char *says;
	char heard[512];
	int fd;
	pthread_t thread;
};

static void *
serve(void *ctx)
{
	struct fake *fake = ctx;
	int fd = accept(fake->fd, NULL, NULL);
	size_t n = 0;

	while (n < sizeof(fake->heard) - 1 && !memchr(fake->heard, '\n', n)) {
		ssize_t got = read(fd, fake->heard + n, sizeof(fake->heard) - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	/* In two pieces, so that an answer is not taken for whole before its line feed. */
	for (size_t i = 0, all = strlen(fake->says), half = all / 2; i < 2; i++) {
		size_t from = i ? half : 0, to = i ? all : half;
		check(write(fd, fake->says + from, to - from) == (ssize_t)(to - from));
	}
	close(fd);
	return NULL;
}

static void
fake_start(struct fake *fake, const char *says)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	*fake = (struct fake){ .says = says };
	snprintf(fake->path, sizeof(fake->path), "/tmp/cmd_control_test.%d", (int)getpid());
	memcpy(at.sun_path, fake->path, sizeof(fake->path));
	unlink(fake->path);
	fake->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake->fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fake->fd, 1), 0);
	assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

static void
fake_stop(struct fake *fake)
{
	pthread_join(fake->thread, NULL);
	close(fake->fd);
	unlink(fake->path);
}

static void
asks_in_one_line_and_gets_the_result(void **state)
{
	struct fake fake;
	json_t *result;

	fake_start(&fake, "{\"ok\":true,\"result\":{\"queues\":3}}\n");
	result = cmd_control_ask(fake.path, cmd_control_request("drop", "a/*"), NULL);
	fake_stop(&fake);
	assert_non_null(result);
	assert_int_equal(json_integer_value(json_object_get(result, "queues")), 3);
	assert_string_equal(fake.heard, "{\"command\":\"drop\",\"arguments\":[\"a/*\"]}\n");
	json_decref(result);
}

static void
an_error_is_the_nodes_own_sentence(void **state)
{
	static const struct { const char *says, *error; } cases[] = {
		{ "{\"ok\":false,\"error\":\"no such queue: x (nearest: y)\"}\n", "no such queue: x (nearest: y)" },
		{ "220 mail.example.com ESMTP\n", "is not a node" },
		{ "{\"ok\":true}\n", "is not a node" },
		{ "{\"ok\":true,\"resu", "ended the connection before its answer" },
		{ "", "ended the connection before its answer" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct fake fake;
		struct err err = { 0 };

		fake_start(&fake, cases[i].says);
		assert_null(cmd_control_ask(fake.path, cmd_control_request("status", NULL), &err));
		fake_stop(&fake);
		assert_non_null(strstr(err.text, cases[i].error));
	}
}

static void
an_absent_node_is_one_clear_sentence(void **state)
{
	struct err err = { 0 };
	char path[300];

	assert_null(cmd_control_ask("/nonexistent/control.sock", cmd_control_request("status", NULL), &err));
	assert_string_equal(err.text, "no node answers at /nonexistent/control.sock (is it running? --control PATH names another socket)");
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_null(cmd_control_ask(path, cmd_control_request("status", NULL), &err));
	assert_non_null(strstr(err.text, "a socket's path may have 107 bytes"));
}

static void
an_argument_that_is_not_utf8_is_refused_here(void **state)
{
	struct err err = { 0 };

	assert_null(cmd_control_ask("/nonexistent", cmd_control_request("why", "\xff"), &err));
	assert_non_null(strstr(err.text, "UTF-8"));
}

static void
the_socket_is_the_option_or_the_environment_or_built_in(void **state)
{
	unsetenv("SLUICE_CONTROL");
	assert_string_equal(cmd_control_path(NULL), "/run/sluice/control.sock");
	setenv("SLUICE_CONTROL", "/env.sock", 1);
	assert_string_equal(cmd_control_path(NULL), "/env.sock");
	assert_string_equal(cmd_control_path("/given.sock"), "/given.sock");
	setenv("SLUICE_CONTROL", "", 1);
	assert_string_equal(cmd_control_path(NULL), "/run/sluice/control.sock");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_in_one_line_and_gets_the_result),
		cmocka_unit_test(an_error_is_the_nodes_own_sentence),
		cmocka_unit_test(an_absent_node_is_one_clear_sentence),
		cmocka_unit_test(an_argument_that_is_not_utf8_is_refused_here),
		cmocka_unit_test(the_socket_is_the_option_or_the_environment_or_built_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
