/*
 * tls_ends_os - the settings of both ends, on mbedTLS 2.28.
 *
 * One random generator a tls_server or tls_client, and the server's private
 * key, are used by all shards: the library must be built with locks, else
 * this file does not compile.
 *
 * TLS 1.2 is both the least and the most (2.28 has no 1.3). Renegotiation is
 * off: it has been a way to inject and to exhaust, and mail has no use for it.
 *
 * A server gives tickets and remembers nothing; the key they are sealed with is
 * replaced each hour and forgotten after two, so a session that was overheard is
 * safe from whoever takes the machine later than that.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_ends_os.h"

#include <errno.h>
#include <fcntl.h>
#include <mbedtls/error.h>
#include <mbedtls/version.h>
#include <sys/stat.h>

#if !defined(MBEDTLS_THREADING_C)
#error "mbedTLS must be built with MBEDTLS_THREADING_C"
#endif

#define TICKET_LIFETIME_S 3600

bool
tls_fail(struct err *err, enum err_kind kind, int code, const char *what)
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
	return code == 0 || tls_fail(err, ERR_TEMP, code, "cannot seed the random generator");
}

static void
random_fini(struct tls_random *random)
{
	mbedtls_ctr_drbg_free(&random->drbg);
	mbedtls_entropy_free(&random->entropy);
}

/* The library's order is by strength, and by its first, P-521, a handshake takes twice as long. */
static const mbedtls_ecp_group_id curves[] = {
	MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_SECP521R1,
	MBEDTLS_ECP_DP_BP256R1, MBEDTLS_ECP_DP_BP384R1, MBEDTLS_ECP_DP_BP512R1, MBEDTLS_ECP_DP_NONE,
};

static bool
config_init(mbedtls_ssl_config *config, int endpoint, int authmode, struct tls_random *random, struct err *err)
{
	int code = mbedtls_ssl_config_defaults(config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
					       MBEDTLS_SSL_PRESET_DEFAULT);

	if (code != 0)
		return tls_fail(err, ERR_TEMP, code, "cannot set up TLS");
	mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
	mbedtls_ssl_conf_renegotiation(config, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
	mbedtls_ssl_conf_authmode(config, authmode);
	mbedtls_ssl_conf_curves(config, curves);
	mbedtls_ssl_conf_rng(config, mbedtls_ctr_drbg_random, &random->drbg);
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
	return code == 0 || tls_fail(err, ERR_PERM, code, what);
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
	return code == 0 || tls_fail(err, ERR_PERM, code, what);
}

static void
tickets_unpin(struct tls_tickets *tickets)
{
	if (tickets == NULL || atomic_fetch_sub(&tickets->refs, 1) > 1)
		return;
	mbedtls_ssl_ticket_free(&tickets->context);
	random_fini(&tickets->random);
	free(tickets);
}

static struct tls_tickets *
tickets_new(struct err *err)
{
	struct tls_tickets *tickets = mem_alloc(sizeof(*tickets));
	int code;

	atomic_init(&tickets->refs, 1);
	mbedtls_ssl_ticket_init(&tickets->context);
	if (!random_init(&tickets->random, err))
		goto fail;
	code = mbedtls_ssl_ticket_setup(&tickets->context, mbedtls_ctr_drbg_random, &tickets->random.drbg,
					MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFETIME_S);
	if (code == 0)
		return tickets;
	tls_fail(err, ERR_TEMP, code, "cannot set up TLS");
fail:
	tickets_unpin(tickets);
	return NULL;
}

static void
use_tickets(struct tls_server *tls)
{
	mbedtls_ssl_conf_session_tickets_cb(&tls->config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse,
					    &tls->tickets->context);
}

/* The tickets and not the whole server: the library locks an RSA key while it signs with it. */
void
tls_server_share_tickets(struct tls_server *tls, const struct tls_server *with)
{
	struct tls_tickets *before = tls->tickets;

	tls->tickets = with->tickets;
	atomic_fetch_add(&tls->tickets->refs, 1);
	use_tickets(tls);
	tickets_unpin(before);
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
	if (code != 0)
		return tls_fail(err, ERR_PERM, code, "cannot use the certificate");
	tls->tickets = tickets_new(err);
	if (tls->tickets == NULL)
		return false;
	use_tickets(tls);
	return true;
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
	tickets_unpin(tls->tickets);
	random_fini(&tls->random);
	free(tls);
}

/* Authorities that this library can't read are left out: a system's bundle may
 * well hold some. */
static bool
load_authorities(struct tls_client *tls, const char *path, struct err *err)
{
	char what[256];
	int code;

	tls->ca_path = mem_strdup(path ? path : TLS_SYSTEM_CA);
	if (!path && access(TLS_SYSTEM_CA, R_OK) != 0)
		return true;
	path = tls->ca_path;
	if (stat(path, &tls->ca_read) != 0 || access(path, R_OK) != 0)
		return err_sys(err, "cannot read certificate authorities %s", path);
	snprintf(what, sizeof(what), "cannot read certificate authorities %s", path);
	code = S_ISDIR(tls->ca_read.st_mode) ? mbedtls_x509_crt_parse_path(&tls->authorities, path)
				   : mbedtls_x509_crt_parse_file(&tls->authorities, path);
	if (code < 0)
		return tls_fail(err, ERR_PERM, code, what);
	tls->has_authorities = tls->authorities.raw.len > 0;
	return tls->has_authorities || err_set(err, ERR_PERM, "%s: no certificate in it", what);
}

static bool
tls_client_init(struct tls_client *tls, const char *ca_path, struct err *err)
{
	uint64_t seed;

	if (!random_init(&tls->random, err) ||
	    !config_init(&tls->trusting, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_VERIFY_NONE, &tls->random, err) ||
	    !config_init(&tls->verifying, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_VERIFY_REQUIRED, &tls->random, err) ||
	    !load_authorities(tls, ca_path, err))
		return false;
	mbedtls_ssl_conf_ca_chain(&tls->verifying, &tls->authorities, NULL);
	if (mbedtls_ctr_drbg_random(&tls->random.drbg, (unsigned char *)&seed, sizeof(seed)) != 0)
		return err_set(err, ERR_TEMP, "the random generator gives nothing");
	tls->memory = tls_memory_new(seed);
	return true;
}

struct tls_client *
tls_client_new(const char *ca_path, struct err *err)
{
	struct tls_client *tls = mem_alloc(sizeof(*tls));

	tls->refs = 1;
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
	if (!tls || --tls->refs > 0)
		return;
	mbedtls_ssl_config_free(&tls->trusting);
	mbedtls_ssl_config_free(&tls->verifying);
	mbedtls_x509_crt_free(&tls->authorities);
	tls_memory_free(tls->memory);
	random_fini(&tls->random);
	free(tls->ca_path);
	free(tls);
}

bool
tls_client_is_current(const struct tls_client *tls)
{
	const struct stat *read = &tls->ca_read;
	struct stat st = { 0 };

	if (stat(tls->ca_path, &st) != 0)
		return read->st_ino == 0;
	return st.st_dev == read->st_dev && st.st_ino == read->st_ino && st.st_size == read->st_size &&
	       st.st_mtim.tv_sec == read->st_mtim.tv_sec && st.st_mtim.tv_nsec == read->st_mtim.tv_nsec;
}
