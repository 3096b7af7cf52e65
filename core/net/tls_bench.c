/* A handshake's CPU time, both ends without a socket: a whole one, a resumed one, and the longest that one step kept its
 * thread. Keys by openssl(1), in a folder of its own. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "net/tls_os.h"
#include "util/bench.h"

#define HANDSHAKES 100

struct end {
	struct tls_session *session;
	struct buf          wire;       /* to the other */
	bool                done;
	double              cpu_s, longest_s;
};

static void
step(struct end *end, struct buf *from)
{
	struct err err = { 0 };
	double took, began = bench_cpu_s();
	enum tls_progress progress;

	tls_session_feed(end->session, buf_span(from));
	progress = tls_session_handshake(end->session, &err);
	took = bench_cpu_s() - began;
	check(progress != TLS_FAILED);
	check(tls_session_unfed(end->session).n == 0);
	buf_clear(from);
	end->done = progress == TLS_DONE;
	end->cpu_s += took;
	if (took > end->longest_s)
		end->longest_s = took;
}

/* True: it was a short one. */
static bool
shake_hands(struct tls_client *client, const struct tls_server *server, const char *whose, struct end *ours, struct end *theirs)
{
	const struct tls_peer peer = { .host = "mx.example", .whose = whose };
	struct err err = { 0 };
	bool resumed;

	ours->done = theirs->done = false;
	ours->session = tls_session_new_client(client, &peer, 0, &ours->wire, &err);
	theirs->session = tls_session_new_server(server, &theirs->wire, &err);
	check(ours->session != NULL && theirs->session != NULL);
	while (!ours->done || !theirs->done) {
		if (!ours->done)
			step(ours, &theirs->wire);
		if (!theirs->done)
			step(theirs, &ours->wire);
	}
	resumed = tls_session_resumed(ours->session);
	tls_session_remember(ours->session, 0);
	tls_session_free(ours->session);
	tls_session_free(theirs->session);
	return resumed;
}

static void
measure(struct tls_client *client, const struct tls_server *server, const char *whose, const char *name)
{
	struct end ours = { 0 }, theirs = { 0 };

	buf_init(&ours.wire, 0);
	buf_init(&theirs.wire, 0);
	if (whose != NULL)
		shake_hands(client, server, whose, &ours, &theirs);
	ours.cpu_s = theirs.cpu_s = ours.longest_s = theirs.longest_s = 0;
	for (unsigned i = 0; i < HANDSHAKES; i++)
		check(shake_hands(client, server, whose, &ours, &theirs) == (whose != NULL));
	bench_tell(ours.cpu_s / HANDSHAKES * 1e6, "us", "tls.%s_client", name);
	bench_tell(theirs.cpu_s / HANDSHAKES * 1e6, "us", "tls.%s_server", name);
	bench_tell((ours.longest_s > theirs.longest_s ? ours.longest_s : theirs.longest_s) * 1e6, "us", "tls.%s_longest_step", name);
	buf_fini(&ours.wire);
	buf_fini(&theirs.wire);
}

int
main(void)
{
	char folder[] = "/tmp/sluice-bench-XXXXXX", command[400], certificate[64], key[64];
	struct tls_server *server;
	struct tls_client *client;
	struct err err = { 0 };

	check(mkdtemp(folder) != NULL);
	snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
	snprintf(key, sizeof key, "%s/key.pem", folder);
	snprintf(command, sizeof command, "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mx.example -days 2 -keyout %s -out %s 2>/dev/null",
		 key, certificate);
	check(system(command) == 0);
	server = tls_server_new(certificate, key, &err);
	client = tls_client_new(certificate, &err);
	check(server != NULL && client != NULL);
	unlink(certificate);
	unlink(key);
	rmdir(folder);
	measure(client, server, NULL, "handshake");
	measure(client, server, "a", "resumed");
	tls_client_free(client);
	tls_server_free(server);
	return 0;
}
