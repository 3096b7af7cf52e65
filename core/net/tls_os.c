/*
 * tls_os - mbedTLS 2.28 as a transformer of bytes. Its two callbacks read from
 * a borrowed span and add to a buf, so that several records go to the socket
 * in one write and a read of 64 KiB serves several records; mbedTLS on a
 * socket makes two reads a record.
 *
 * One random generator a tls_server or tls_client, and the server's private
 * key, are used by all shards: the library must be built with locks, else
 * this file does not compile.
 *
 * TLS 1.2 is both the least and the most (2.28 has no 1.3). Renegotiation is
 * off: it has been a way to inject and to exhaust, and mail has no use for it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_os.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <sys/stat.h>

#if !defined(MBEDTLS_THREADING_C)
#error "mbedTLS must be built with MBEDTLS_THREADING_C"
#endif

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

struct tls_random {
	mbedtls_entropy_context  entropy;
	mbedtls_ctr_drbg_context drbg;
};

struct tls_server {
	struct tls_random  random;
	mbedtls_ssl_config config;
	mbedtls_x509_crt   certificate;
	mbedtls_pk_context key;
};

struct tls_client {
	struct tls_random  random;
	mbedtls_ssl_config trusting;            /* any certificate will do */
	mbedtls_ssl_config verifying;
	mbedtls_x509_crt   authorities;
	bool               has_authorities;
};

struct tls_session {
	mbedtls_ssl_context ssl;
	struct span         in;
	struct buf         *wire;
};

/* "SSL - The connection…" without the module in front. */
static bool
fail(struct err *err, enum err_kind kind, int code, const char *what)
{
	char reason[160], *text;

	mbedtls_strerror(code, reason, sizeof(reason));
	text = strstr(reason, " - ");
	return err_set(err, kind, "%s: %s", what, text ? text + 3 : reason);
}

static bool
random_init(struct tls_random *random, struct err *err)
{
	int code;

	mbedtls_entropy_init(&random->entropy);
	mbedtls_ctr_drbg_init(&random->drbg);
	code = mbedtls_ctr_drbg_seed(&random->drbg, mbedtls_entropy_func, &random->entropy, NULL, 0);
	return code == 0 || fail(err, ERR_TEMP, code, "cannot seed the random generator");
}

static void
random_fini(struct tls_random *random)
{
	mbedtls_ctr_drbg_free(&random->drbg);
	mbedtls_entropy_free(&random->entropy);
}

static bool
config_init(mbedtls_ssl_config *config, int endpoint, int authmode, struct tls_random *random, struct err *err)
{
	int code = mbedtls_ssl_config_defaults(config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
					       MBEDTLS_SSL_PRESET_DEFAULT);

	if (code != 0)
		return fail(err, ERR_TEMP, code, "cannot set up TLS");
	mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
	mbedtls_ssl_conf_authmode(config, authmode);
	mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &random->drbg);
	if (endpoint == MBEDTLS_SSL_IS_CLIENT)
		mbedtls_ssl_conf_session_tickets(config, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
	return true;
}

/* mbedTLS knows only "file I/O failed"; the operator wants to know why. */
static bool
may_read(const char *what, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, "cannot read %s %s", what, path);
	close(fd);
	return true;
}

static bool
load_certificate(struct tls_server *tls, const char *path, struct err *err)
{
	char what[256];
	int code;

	if (!may_read("certificate", path, err))
		return false;
	snprintf(what, sizeof(what), "cannot read certificate %s", path);
	code = mbedtls_x509_crt_parse_file(&tls->certificate, path);
	if (code > 0)
		return err_set(err, ERR_PERM, "%s: %d of the certificates in it make no sense", what, code);
	return code == 0 || fail(err, ERR_PERM, code, what);
}

static bool
load_key(struct tls_server *tls, const char *path, struct err *err)
{
	char what[256];
	int code;

	if (!may_read("key", path, err))
		return false;
	snprintf(what, sizeof(what), "cannot read key %s", path);
	code = mbedtls_pk_parse_keyfile(&tls->key, path, NULL);
	return code == 0 || fail(err, ERR_PERM, code, what);
}

static bool
tls_server_init(struct tls_server *tls, const char *certificate_path, const char *key_path, struct err *err)
{
	int code;

	if (!random_init(&tls->random, err) ||
	    !config_init(&tls->config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_VERIFY_NONE, &tls->random, err) ||
	    !load_certificate(tls, certificate_path, err) || !load_key(tls, key_path, err))
		return false;
	if (mbedtls_pk_check_pair(&tls->certificate.pk, &tls->key) != 0)
		return err_set(err, ERR_PERM, "key %s does not belong to certificate %s", key_path, certificate_path);
	code = mbedtls_ssl_conf_own_cert(&tls->config, &tls->certificate, &tls->key);
	return code == 0 || fail(err, ERR_PERM, code, "cannot use the certificate");
}

struct tls_server *
tls_server_new(const char *certificate_path, const char *key_path, struct err *err)
{
	struct tls_server *tls = mem_alloc(sizeof(*tls));

	mbedtls_ssl_config_init(&tls->config);
	mbedtls_x509_crt_init(&tls->certificate);
	mbedtls_pk_init(&tls->key);
	if (!tls_server_init(tls, certificate_path, key_path, err)) {
		tls_server_free(tls);
		return NULL;
	}
	return tls;
}

void
tls_server_free(struct tls_server *tls)
{
	if (!tls)
		return;
	mbedtls_ssl_config_free(&tls->config);
	mbedtls_x509_crt_free(&tls->certificate);
	mbedtls_pk_free(&tls->key);
	random_fini(&tls->random);
	free(tls);
}

/* Authorities that this library can't read are left out: a system's bundle may
 * well hold some. */
static bool
load_authorities(struct tls_client *tls, const char *path, struct err *err)
{
	struct stat st;
	char what[256];
	int code;

	if (!path && access(SYSTEM_CA, R_OK) != 0)
		return true;
	if (!path)
		path = SYSTEM_CA;
	if (stat(path, &st) != 0 || access(path, R_OK) != 0)
		return err_sys(err, "cannot read certificate authorities %s", path);
	snprintf(what, sizeof(what), "cannot read certificate authorities %s", path);
	code = S_ISDIR(st.st_mode) ? mbedtls_x509_crt_parse_path(&tls->authorities, path)
				   : mbedtls_x509_crt_parse_file(&tls->authorities, path);
	if (code < 0)
		return fail(err, ERR_PERM, code, what);
	tls->has_authorities = tls->authorities.raw.len > 0;
	return tls->has_authorities || err_set(err, ERR_PERM, "%s: no certificate in it", what);
}

static bool
tls_client_init(struct tls_client *tls, const char *ca_path, struct err *err)
{
	if (!random_init(&tls->random, err) ||
	    !config_init(&tls->trusting, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_VERIFY_NONE, &tls->random, err) ||
	    !config_init(&tls->verifying, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_VERIFY_REQUIRED, &tls->random, err) ||
	    !load_authorities(tls, ca_path, err))
		return false;
	mbedtls_ssl_conf_ca_chain(&tls->verifying, &tls->authorities, NULL);
	return true;
}

struct tls_client *
tls_client_new(const char *ca_path, struct err *err)
{
	struct tls_client *tls = mem_alloc(sizeof(*tls));

	mbedtls_ssl_config_init(&tls->trusting);
	mbedtls_ssl_config_init(&tls->verifying);
	mbedtls_x509_crt_init(&tls->authorities);
	if (!tls_client_init(tls, ca_path, err)) {
		tls_client_free(tls);
		return NULL;
	}
	return tls;
}

void
tls_client_free(struct tls_client *tls)
{
	if (!tls)
		return;
	mbedtls_ssl_config_free(&tls->trusting);
	mbedtls_ssl_config_free(&tls->verifying);
	mbedtls_x509_crt_free(&tls->authorities);
	random_fini(&tls->random);
	free(tls);
}

static int
take_input(void *ctx, unsigned char *to, size_t n)
{
	struct tls_session *session = ctx;

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
		fail(err, ERR_TEMP, code, "cannot start TLS");
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
	return code == 0 || fail(err, ERR_TEMP, code, "cannot ask the server by its name");
}

struct tls_session *
tls_session_new_client(const struct tls_client *tls, const char *host, bool verify,
		       struct buf *wire, struct err *err)
{
	struct tls_session *session;

	if (verify && !tls->has_authorities) {
		err_set(err, ERR_TEMP, "cannot verify a certificate: no certificate authorities at %s", SYSTEM_CA);
		return NULL;
	}
	session = session_new(verify ? &tls->verifying : &tls->trusting, wire, err);
	if (session && !set_host(session, host, verify, err)) {
		tls_session_free(session);
		return NULL;
	}
	return session;
}

void
tls_session_free(struct tls_session *session)
{
	if (!session)
		return;
	mbedtls_ssl_free(&session->ssl);
	free(session);
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
		fail(err, ERR_TEMP, code, "TLS");
	return TLS_FAILED;
}

enum tls_progress
tls_session_handshake(struct tls_session *session, struct err *err)
{
	int code = mbedtls_ssl_handshake(&session->ssl);

	if (code == 0)
		return TLS_DONE;
	if (code == MBEDTLS_ERR_SSL_WANT_READ)
		return TLS_WANTS_INPUT;
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
