/* Both ends of sessions without a socket: what they hold while nothing is said. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define PAIRS 64

struct end {
	struct tls_session *session;
	struct buf          wire;       /* to the other */
	bool                done;
};

struct pair {
	struct end client, server;
};

struct ends {
	struct tls_server *server;
	struct tls_client *client;
};

static int
make_ends(void **state)
{
	struct ends *ends = mem_alloc(sizeof *ends);
	char folder[] = "/tmp/tls_os_test.XXXXXX", command[300], certificate[64], key[64];
	struct err err = { 0 };

	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
	snprintf(key, sizeof key, "%s/key.pem", folder);
	snprintf(command, sizeof command,
		 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=mx.example -days 2 -keyout %s -out %s 2>/dev/null",
		 key, certificate);
	if (system(command) != 0)
		return -1;
	ends->server = tls_server_new(certificate, key, &err);
	ends->client = tls_client_new(certificate, &err);
	unlink(certificate);
	unlink(key);
	rmdir(folder);
	*state = ends;
	return ends->server != NULL && ends->client != NULL ? 0 : -1;
}

static int
free_ends(void **state)
{
	struct ends *ends = *state;

	tls_client_free(ends->client);
	tls_server_free(ends->server);
	free(ends);
	return 0;
}

static void
shake(struct end *end, struct buf *from)
{
	struct err err = { 0 };
	enum tls_progress progress;

	tls_session_feed(end->session, buf_span(from));
	progress = tls_session_handshake(end->session, &err);
	assert_int_not_equal(progress, TLS_FAILED);
	assert_int_equal(tls_session_unfed(end->session).n, 0);
	buf_clear(from);
	end->done = progress == TLS_DONE;
}

static void
pair_init(struct pair *pair, struct ends *ends)
{
	const struct tls_peer peer = { .host = "mx.example", .verify = true };
	struct err err = { 0 };

	memset(pair, 0, sizeof *pair);
	pair->client.session = tls_session_new_client(ends->client, &peer, 0, &pair->client.wire, &err);
	pair->server.session = tls_session_new_server(ends->server, &pair->server.wire, &err);
	assert_non_null(pair->client.session);
	assert_non_null(pair->server.session);
	assert_false(tls_session_rest(pair->client.session));
	while (!pair->client.done || !pair->server.done) {
		if (!pair->client.done)
			shake(&pair->client, &pair->server.wire);
		if (!pair->server.done)
			shake(&pair->server, &pair->client.wire);
	}
}

static void
pair_fini(struct pair *pair)
{
	tls_session_free(pair->client.session);
	tls_session_free(pair->server.session);
	buf_fini(&pair->client.wire);
	buf_fini(&pair->server.wire);
}

static void
fill(char text[TLS_RECORD_MAX], unsigned seed)
{
	for (unsigned i = 0; i < TLS_RECORD_MAX; i++)
		text[i] = (char)((i + seed) * 2654435761u >> 13);
}

/* Everything that `bytes` of the other's hold, which is `expected`, and then it waits. */
static void
assert_reads(struct end *end, struct span bytes, struct span expected)
{
	static char room[TLS_RECORD_MAX];
	struct err err = { 0 };
	struct span data;

	tls_session_feed(end->session, bytes);
	if (expected.n > 0) {
		assert_int_equal(tls_session_read(end->session, room, &data, &err), TLS_DONE);
		assert_true(span_eq(data, expected));
	}
	assert_int_equal(tls_session_read(end->session, room, &data, &err), TLS_WANTS_INPUT);
	assert_int_equal(tls_session_unfed(end->session).n, 0);
}

static void
send_record(struct end *from, struct end *to, unsigned seed)
{
	static char text[TLS_RECORD_MAX];
	struct err err = { 0 };

	fill(text, seed);
	assert_true(tls_session_write(from->session, span_make(text, sizeof text), &err));
	assert_reads(to, buf_span(&from->wire), span_make(text, sizeof text));
	buf_clear(&from->wire);
}

static size_t
resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*u %lu", &pages), 1);
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void
at_rest_it_holds_the_ends_of_two_records_and_goes_on_all_the_same(void **state)
{
	static struct pair pairs[PAIRS];
	size_t before, records = 0;

	for (unsigned i = 0; i < PAIRS; i++) {
		pair_init(&pairs[i], *state);
		send_record(&pairs[i].client, &pairs[i].server, i);
		send_record(&pairs[i].server, &pairs[i].client, i + 1);
	}
	before = resident_bytes();
	for (unsigned i = 0; i < PAIRS; i++) {
		assert_true(tls_session_rest(pairs[i].client.session));
		assert_true(tls_session_rest(pairs[i].server.session));
		records += 4;
	}
	/* A page at either end of each is shared with others. */
	assert_true(resident_bytes() + records * (TLS_RECORD_MAX - 2 * (size_t)sysconf(_SC_PAGESIZE)) <= before);
	for (unsigned i = 0; i < PAIRS; i++) {
		send_record(&pairs[i].server, &pairs[i].client, i + 2);
		assert_true(tls_session_rest(pairs[i].client.session));
		send_record(&pairs[i].client, &pairs[i].server, i + 3);
		send_record(&pairs[i].client, &pairs[i].server, i + 4);
		pair_fini(&pairs[i]);
	}
}

static void
a_record_that_is_half_here_keeps_its_memory(void **state)
{
	static const size_t parts[] = { 1, 4, 5, 6, 8000 };
	char text[TLS_RECORD_MAX];
	struct err err = { 0 };
	struct pair pair;

	pair_init(&pair, *state);
	for (size_t i = 0; i < countof(parts); i++) {
		struct span wire;

		fill(text, (unsigned)i);
		assert_true(tls_session_write(pair.client.session, span_make(text, sizeof text), &err));
		wire = buf_span(&pair.client.wire);
		assert_reads(&pair.server, span_first(wire, parts[i]), span_make(NULL, 0));
		assert_false(tls_session_rest(pair.server.session));
		assert_reads(&pair.server, span_from(wire, parts[i]), span_make(text, sizeof text));
		assert_true(tls_session_rest(pair.server.session));
		buf_clear(&pair.client.wire);
	}
	pair_fini(&pair);
}

static void
who_has_not_read_on_behind_a_record_may_not_rest(void **state)
{
	static char room[TLS_RECORD_MAX];
	struct err err = { 0 };
	struct pair pair;
	struct span data;

	pair_init(&pair, *state);
	assert_true(tls_session_write(pair.client.session, SPAN("a"), &err));
	assert_reads(&pair.server, span_make(NULL, 0), span_make(NULL, 0));
	assert_true(tls_session_rest(pair.server.session));
	tls_session_feed(pair.server.session, buf_span(&pair.client.wire));
	assert_int_equal(tls_session_read(pair.server.session, room, &data, &err), TLS_DONE);
	assert_false(tls_session_rest(pair.server.session));
	pair_fini(&pair);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_rest_it_holds_the_ends_of_two_records_and_goes_on_all_the_same),
		cmocka_unit_test(a_record_that_is_half_here_keeps_its_memory),
		cmocka_unit_test(who_has_not_read_on_behind_a_record_may_not_rest),
	};

	return cmocka_run_group_tests(tests, make_ends, free_ends);
}
