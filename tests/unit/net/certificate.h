/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * certificate: a self-signed certificate for "localhost" and its key, in files that live as long as
 * a group of tests: pass make_certificate and remove_certificate as the group's setup and teardown.
 */
#ifndef UNIT_NET_CERTIFICATE_H
#define UNIT_NET_CERTIFICATE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char certificate_dir[] = "/tmp/tollgate_test_XXXXXX";
static char certificate_file[64], key_file[64];

static inline int make_certificate(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_EXTENSION *names;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(certificate_dir));
	snprintf(certificate_file, sizeof(certificate_file), "%s/cert.pem", certificate_dir);
	snprintf(key_file, sizeof(key_file), "%s/key.pem", certificate_dir);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
				   (const unsigned char *)"localhost", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");
	X509_add_ext(x, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	file = fopen(certificate_file, "w");
	PEM_write_X509(file, x);
	fclose(file);
	file = fopen(key_file, "w");
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	X509_free(x);
	EVP_PKEY_free(key);
	return 0;
}

static inline int remove_certificate(void **state)
{
	(void)state;
	unlink(certificate_file);
	unlink(key_file);
	return rmdir(certificate_dir);
}

#endif
