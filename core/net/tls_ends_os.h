/*
 * tls_ends_os - what a tls_server and a tls_client consist of; for tls_os.c, which
 * makes sessions of them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/x509_crt.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "net/tls.h"
#include "net/tls_memory.h"

#define TLS_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

struct tls_random {
	mbedtls_entropy_context  entropy;
	mbedtls_ctr_drbg_context drbg;
};

/* What a server's sessions are resumed by; counted. */
struct tls_tickets {
	atomic_uint        refs;
	struct tls_random  random;
	mbedtls_ssl_ticket_context context;
};

struct tls_server {
	struct tls_random  random;
	mbedtls_ssl_config config;
	mbedtls_x509_crt   certificate;
	mbedtls_pk_context key;
	struct tls_tickets *tickets;
};

struct tls_client {
	unsigned           refs;                /* its owner's, and its sessions' */
	char              *ca_path;
	struct stat        ca_read;             /* how that stood when it was read; zeros: it was not there */
	struct tls_random  random;
	mbedtls_ssl_config trusting;            /* any certificate will do */
	mbedtls_ssl_config verifying;
	mbedtls_x509_crt   authorities;
	bool               has_authorities;
	struct tls_memory *memory;
};

/* "SSL - The connection…" without the module in front. */
bool tls_fail(struct err *err, enum err_kind kind, int code, const char *what);
