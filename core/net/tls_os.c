/*
 * tls_os - mbedTLS 2.28 as a transformer of bytes. Its two callbacks read from
 * a borrowed span and add to a buf, so that several records go to the socket
 * in one write and a read of 64 KiB serves several records; mbedTLS on a
 * socket makes two reads a record.
 *
 * mbedTLS allocates two records of 16 KiB for a session's life, and Debian's has no
 * way to give it others. Its callbacks tell where they lie: whoever asks for input
 * at the place where the first record began has done with the one before, and what
 * was put out is not looked at again. The pages between are given back, so that a
 * session that idles keeps only the ends.
 *
 * A client offers to resume the last session that it had with a host: a handshake
 * then costs neither end a signature, and one round trip less.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_os.h"

#include <mbedtls/error.h>
#include <sys/mman.h>

#include "net/tls_ends_os.h"

#define RESUME_US (3600 * US_PER_S)     /* at most; then the certificate is looked at again */
#define KEY_MAX   600
#define HEAD_LEN  5                     /* of a record */

struct tls_session {
	mbedtls_ssl_context ssl;
	struct span         in;
	struct buf         *wire;
	unsigned char      *in_record;  /* where the library lets records begin; NULL: there was none yet */
	unsigned char      *out_record;
	bool                between;    /* it waits for the first byte of a record */
	struct tls_client  *client;     /* held; NULL: a server's */
	/* of a client that may resume */
	struct tls_memory  *memory;     /* NULL: it may not */
	struct span         key;        /* owned */
	mono_us_t           until;
};

static int
take_input(void *ctx, unsigned char *to, size_t n)
{
	struct tls_session *session = ctx;

	if (session->in_record == NULL)
		session->in_record = to;
	session->between = session->in.n == 0 && to == session->in_record;
	if (session->in.n == 0)
		return MBEDTLS_ERR_SSL_WANT_READ;
	if (n > session->in.n)
		n = session->in.n;
	memcpy(to, session->in.p, n);
	session->in = span_from(session->in, n);
	return (int)n;
}

static int
add_output(void *ctx, const unsigned char *from, size_t n)
{
	struct tls_session *session = ctx;

	if (session->out_record == NULL)
		session->out_record = (unsigned char *)(uintptr_t)from;
	return buf_add(session->wire, span_make(from, n)) ? (int)n : MBEDTLS_ERR_SSL_ALLOC_FAILED;
}

static struct tls_session *
session_new(const mbedtls_ssl_config *config, struct buf *wire, struct err *err)
{
	struct tls_session *session = mem_alloc(sizeof(*session));
	int code;

	mbedtls_ssl_init(&session->ssl);
	code = mbedtls_ssl_setup(&session->ssl, config);
	if (code != 0) {
		tls_fail(err, ERR_TEMP, code, "cannot start TLS");
		tls_session_free(session);
		return NULL;
	}
	session->wire = wire;
	mbedtls_ssl_set_bio(&session->ssl, session, add_output, take_input, NULL);
	return session;
}

struct tls_session *
tls_session_new_server(const struct tls_server *tls, struct buf *wire, struct err *err)
{
	return session_new(&tls->config, wire, err);
}

/* RFC 6066, 3: a host name, neither an address literal nor the final dot. */
static bool
is_host_name(const char *host)
{
	return strpbrk(host, ":[]") == NULL && host[strspn(host, "0123456789.")] != '\0';
}

/* Verifying a peer known only by its address can't succeed: the name given to
 * the library is then the address, which no certificate's DNS name equals. */
static bool
set_host(struct tls_session *session, const char *host, bool verify, struct err *err)
{
	size_t n = host ? strlen(host) : 0;
	char *name;
	int code;

	if (n > 0 && host[n - 1] == '.')
		n--;
	if (verify && n == 0)
		return err_set(err, ERR_TEMP, "cannot verify a server without a name");
	if (n == 0 || (!verify && !is_host_name(host)))
		return true;
	name = mem_strndup(host, n);
	code = mbedtls_ssl_set_hostname(&session->ssl, name);
	free(name);
	return code == 0 || tls_fail(err, ERR_TEMP, code, "cannot ask the server by its name");
}

/* Who asked for verification resumes only what was verified then; nobody what another was given: by his ticket a
 * peer would know the one for the other. The host has no blank. */
static bool
key_of(const struct tls_peer *peer, char key[KEY_MAX])
{
	return peer->whose != NULL &&
	       (size_t)snprintf(key, KEY_MAX, "%d %s %s", peer->verify, peer->host, peer->whose) < KEY_MAX;
}

static void
offer_to_resume(struct tls_session *session, struct tls_memory *memory, const struct tls_peer *peer, mono_us_t now)
{
	mbedtls_ssl_session before;
	char key[KEY_MAX];
	struct span kept;

	if (!key_of(peer, key))
		return;
	session->memory = memory;
	session->key = span_clone(span_text(key));
	kept = tls_memory_recall(memory, session->key, now, &session->until);
	if (kept.n == 0)
		return;
	mbedtls_ssl_session_init(&before);
	if (mbedtls_ssl_session_load(&before, (const unsigned char *)kept.p, kept.n) == 0)
		mbedtls_ssl_set_session(&session->ssl, &before);
	mbedtls_ssl_session_free(&before);
}

struct tls_session *
tls_session_new_client(struct tls_client *tls, const struct tls_peer *peer, mono_us_t now, struct buf *wire, struct err *err)
{
	struct tls_session *session;

	if (peer->verify && !tls->has_authorities) {
		err_set(err, ERR_TEMP, "cannot verify a certificate: no certificate authorities at %s", TLS_SYSTEM_CA);
		return NULL;
	}
	session = session_new(peer->verify ? &tls->verifying : &tls->trusting, wire, err);
	if (session) {
		session->client = tls;
		tls->refs++;
	}
	if (session && !set_host(session, peer->host, peer->verify, err)) {
		tls_session_free(session);
		return NULL;
	}
	if (session)
		offer_to_resume(session, tls->memory, peer, now);
	return session;
}

void
tls_session_free(struct tls_session *session)
{
	if (!session)
		return;
	mbedtls_ssl_free(&session->ssl);
	tls_client_free(session->client);
	free((char *)session->key.p);
	free(session);
}

/* A server shows its certificate in every handshake but a resumed one. */
bool
tls_session_resumed(const struct tls_session *session)
{
	return session->ssl.conf->endpoint == MBEDTLS_SSL_IS_CLIENT && mbedtls_ssl_get_peer_cert(&session->ssl) == NULL;
}

/* Without the certificate: it is most of a session, and costs its parsing each time; nobody looks at it again. What
 * was resumed keeps the time of its first handshake, or a certificate would be looked at once and for ever. */
void
tls_session_remember(struct tls_session *session, mono_us_t now)
{
	const mbedtls_ssl_session *whole = mbedtls_ssl_get_session_pointer(&session->ssl);
	unsigned char bytes[TLS_MEMORY_BYTES_MAX];
	mbedtls_ssl_session bare;
	int64_t lasts = RESUME_US;
	size_t n;

	if (session->memory == NULL || whole == NULL)
		return;
	bare = *whole;
	bare.peer_cert = NULL;
	if (bare.ticket_lifetime > 0)
		lasts = min_i64(lasts, (int64_t)bare.ticket_lifetime * US_PER_S);
	if (!tls_session_resumed(session))
		session->until = now + lasts;
	if ((bare.ticket_len > 0 || bare.id_len > 0) && mbedtls_ssl_session_save(&bare, bytes, sizeof(bytes), &n) == 0)
		tls_memory_keep(session->memory, session->key, span_make(bytes, n), session->until);
	else
		tls_memory_forget(session->memory, session->key);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(&bare, sizeof(bare));
}

void
tls_session_feed(struct tls_session *session, struct span bytes)
{
	session->in = bytes;
}

struct span
tls_session_unfed(struct tls_session *session)
{
	struct span rest = session->in;

	session->in = span_make(NULL, 0);
	return rest;
}

static const char *
alert_text(unsigned alert)
{
	static const struct { uint8_t alert; const char *text; } texts[] = {
		{ 10, "unexpected message" }, { 20, "bad record" }, { 40, "handshake failure: nothing in common" },
		{ 42, "bad certificate" }, { 43, "unsupported certificate" }, { 44, "certificate revoked" },
		{ 45, "certificate expired" }, { 46, "certificate unknown" }, { 47, "illegal parameter" },
		{ 48, "unknown certificate authority" }, { 49, "access denied" }, { 50, "decode error" },
		{ 51, "decrypt error" }, { 70, "protocol version" }, { 71, "insufficient security" },
		{ 80, "internal error" }, { 86, "inappropriate fallback" }, { 112, "unrecognized name" },
	};

	for (size_t i = 0; i < countof(texts); i++)
		if (texts[i].alert == alert)
			return texts[i].text;
	return "unknown";
}

/* The library's own lines, joined into one. */
static bool
fail_verify(struct tls_session *session, struct err *err)
{
	char info[200] = "";
	size_t n;

	mbedtls_x509_crt_verify_info(info, sizeof(info), "", mbedtls_ssl_get_verify_result(&session->ssl));
	for (n = strlen(info); n > 0 && info[n - 1] == '\n'; n--)
		info[n - 1] = '\0';
	for (char *p = info; (p = strchr(p, '\n')); )
		*p = ';';
	return err_set(err, ERR_TEMP, "TLS: certificate refused: %s", info);
}

static enum tls_progress
failed(struct tls_session *session, int code, struct err *err)
{
	if (code == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
		fail_verify(session, err);
	else if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
		err_set(err, ERR_TEMP, "TLS: the peer gave up with alert %u (%s)",
			session->ssl.in_msg[1], alert_text(session->ssl.in_msg[1]));
	else
		tls_fail(err, ERR_TEMP, code, "TLS");
	return TLS_FAILED;
}

/* The peer's chain has been judged, and there is no renegotiation that would compare it: kilobytes that nobody reads
 * again. The library frees what is left of it, a head without contents. */
static void
drop_certificates(struct tls_session *session)
{
	const mbedtls_x509_crt *chain = mbedtls_ssl_get_peer_cert(&session->ssl);

	if (chain != NULL)
		mbedtls_x509_crt_free((mbedtls_x509_crt *)(uintptr_t)chain);
}

enum tls_progress
tls_session_handshake(struct tls_session *session, struct err *err)
{
	int code = mbedtls_ssl_handshake(&session->ssl);

	if (code == 0) {
		drop_certificates(session);
		return TLS_DONE;
	}
	if (code == MBEDTLS_ERR_SSL_WANT_READ)
		return TLS_WANTS_INPUT;
	/* It may be the old session that they did not agree upon. */
	if (session->memory)
		tls_memory_forget(session->memory, session->key);
	return failed(session, code, err);
}

enum tls_progress
tls_session_read(struct tls_session *session, char *room, struct span *data_out, struct err *err)
{
	int n = mbedtls_ssl_read(&session->ssl, (unsigned char *)room, TLS_RECORD_MAX);

	if (n > 0) {
		*data_out = span_make(room, (size_t)n);
		return TLS_DONE;
	}
	if (n == MBEDTLS_ERR_SSL_WANT_READ)
		return TLS_WANTS_INPUT;
	if (n == 0 || n == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || n == MBEDTLS_ERR_SSL_CONN_EOF)
		return TLS_ENDED;
	return failed(session, n, err);
}

bool
tls_session_write(struct tls_session *session, struct span bytes, struct err *err)
{
	while (bytes.n > 0) {
		int n = mbedtls_ssl_write(&session->ssl, (const unsigned char *)bytes.p, bytes.n);

		if (n <= 0) {
			failed(session, n, err);
			return false;
		}
		bytes = span_from(bytes, (size_t)n);
	}
	return true;
}

void
tls_session_say_goodbye(struct tls_session *session)
{
	mbedtls_ssl_close_notify(&session->ssl);
}

/* No neighbour's byte: the pages that lie whole within the room of a record. They read as zeros until they are written. */
static void
give_back(unsigned char *record, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), past = (uintptr_t)record + HEAD_LEN + n;
	uintptr_t first = ((uintptr_t)record + page - 1) / page * page;

	past = past / page * page;
	if (record != NULL && first < past)
		madvise((void *)first, past - first, MADV_DONTNEED);
}

bool
tls_session_rest(struct tls_session *session)
{
	if (!session->between)
		return false;
	give_back(session->in_record, MBEDTLS_SSL_IN_CONTENT_LEN);
	give_back(session->out_record, MBEDTLS_SSL_OUT_CONTENT_LEN);
	return true;
}

const char *
tls_session_version(const struct tls_session *session)
{
	return mbedtls_ssl_get_version(&session->ssl);
}

const char *
tls_session_cipher(const struct tls_session *session)
{
	return mbedtls_ssl_get_ciphersuite(&session->ssl);
}
