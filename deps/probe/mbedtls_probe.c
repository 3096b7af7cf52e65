/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tls_os relies on in Debian's build of mbedTLS: its random generator
 * locks itself, so that threads may share one; TLS 1.2 is there and the old
 * versions are not needed; a wrong name is told apart from a wrong issuer.
 */
#include <mbedtls/config.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int failures;

static void
report(bool ok, const char *what)
{
	printf("%sok - mbedtls: %s\n", ok ? "" : "not ", what);
	failures += !ok;
}

int
main(void)
{
	report(mbedtls_version_get_number() >= 0x021c0000, "2.28 or later is linked");
	report(mbedtls_version_check_feature("MBEDTLS_THREADING_C") == 0 &&
	       mbedtls_version_check_feature("MBEDTLS_THREADING_PTHREAD") == 0, "shared state locks itself");
	report(mbedtls_version_check_feature("MBEDTLS_SSL_PROTO_TLS1_2") == 0, "TLS 1.2 is built in");
	report(mbedtls_version_check_feature("MBEDTLS_SSL_SERVER_NAME_INDICATION") == 0, "SNI is built in");
	report(mbedtls_version_check_feature("MBEDTLS_FS_IO") == 0, "certificates are read from files");
	report(MBEDTLS_X509_BADCERT_CN_MISMATCH != MBEDTLS_X509_BADCERT_NOT_TRUSTED, "a wrong name is not a wrong issuer");
	return failures != 0;
}
