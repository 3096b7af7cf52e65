/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the resolver relies on in udns: a context of its own asks only the
 * servers it was given; a name without a search list is asked as it stands;
 * raw answers reach our own parser; the answer to a query that was cancelled
 * never comes.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>
#include <udns.h>

static int failures;

static void
report(bool ok, const char *what)
{
	printf("%sok - udns: %s\n", ok ? "" : "not ", what);
	failures += !ok;
}

static int answers, last_error, last_length;

static void
on_answer(struct dns_ctx *ctx, void *result, void *data)
{
	(void)data;
	answers++;
	last_length = dns_status(ctx);
	last_error = last_length < 0 ? last_length : 0;
	free(result);
}

static int
raw_parse(dnscc_t *query, dnscc_t *packet, dnscc_t *current, dnscc_t *end, void **result)
{
	(void)query, (void)current;
	*result = malloc((size_t)(end - packet));
	return *result ? (int)(end - packet) : DNS_E_NOMEM;
}

static int
server_open(struct sockaddr_in *at)
{
	socklen_t n = sizeof *at;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	*at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (struct sockaddr *)at, sizeof *at) < 0 || getsockname(fd, (struct sockaddr *)at, &n) < 0)
		return -1;
	return fd;
}

/* Takes one query and answers it with `rcode` and no records. The name asked, in text. */
static bool
server_answer(int fd, int rcode, char name_out[DNS_MAXNAME])
{
	unsigned char packet[1500], dn[DNS_MAXDN];
	struct sockaddr_in from;
	socklen_t from_n = sizeof from;
	struct pollfd poll_fd = { fd, POLLIN, 0 };

	if (poll(&poll_fd, 1, 2000) != 1)
		return false;
	ssize_t n = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &from_n);
	if (n < 12)
		return false;
	const unsigned char *cursor = packet + 12;
	if (dns_getdn(packet, &cursor, packet + n, dn, sizeof dn) <= 0)
		return false;
	dns_dntop(dn, name_out, DNS_MAXNAME);
	packet[2] |= 0x80;
	packet[3] = (unsigned char)rcode;
	return sendto(fd, packet, (size_t)n, 0, (struct sockaddr *)&from, from_n) == n;
}

static void
turn(struct dns_ctx *ctx, int fd)
{
	struct pollfd poll_fd = { fd, POLLIN, 0 };

	dns_timeouts(ctx, -1, time(NULL));
	poll(&poll_fd, 1, 1000);
	dns_ioevent(ctx, time(NULL));
}

static struct dns_query *
ask(struct dns_ctx *ctx, const char *name)
{
	unsigned char dn[DNS_MAXDN];
	int absolute;

	if (dns_ptodn(name, 0, dn, sizeof dn, &absolute) <= 0)
		return NULL;
	return dns_submit_dn(ctx, dn, DNS_C_IN, DNS_T_MX, DNS_NOSRCH, raw_parse, on_answer, NULL);
}

int
main(void)
{
	struct sockaddr_in at;
	char name[DNS_MAXNAME] = "";
	int server = server_open(&at);

	/* dns_new() copies the default context, and asserts that it was set up. */
	dns_reset(NULL);
	struct dns_ctx *ctx = dns_new(NULL);

	setvbuf(stdout, NULL, _IOLBF, 0);
	report(dns_add_serv_s(ctx, NULL) >= 0 && dns_add_serv_s(ctx, (struct sockaddr *)&at) == 1,
	       "a context of its own takes servers by address and port");
	dns_set_opt(ctx, DNS_OPT_NTRIES, 1);
	dns_set_opt(ctx, DNS_OPT_TIMEOUT, 1);
	int fd = dns_open(ctx);
	report(server >= 0 && fd >= 0, "it opens");

	ask(ctx, "host.example");
	dns_timeouts(ctx, -1, time(NULL));
	report(server_answer(server, 2, name) && strcmp(name, "host.example") == 0, "a name is asked as it stands, without a search list");
	while (answers == 0 && last_error == 0)
		turn(ctx, fd);
	report(answers == 1 && last_error == DNS_E_TEMPFAIL, "SERVFAIL is DNS_E_TEMPFAIL");

	struct dns_query *query = ask(ctx, "gone.example");
	dns_timeouts(ctx, -1, time(NULL));
	bool cancelled = query && dns_cancel(ctx, query) == 0;
	free(query);
	server_answer(server, 3, name);
	turn(ctx, fd);
	report(cancelled && answers == 1, "the answer to a cancelled query never comes");

	dns_free(ctx);
	close(server);
	return failures != 0;
}
