/* SPDX-License-Identifier: BSD-2-Clause */
/* transfer_fixture: transfers and the peer that they go to, on one loop; and a certificate for the peer. */
#ifndef UNIT_NET_TRANSFER_FIXTURE_H
#define UNIT_NET_TRANSFER_FIXTURE_H

#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net/transfer.h"
#include "unit/net/peer.h"

static char dir[] = "/tmp/transfer_test_XXXXXX";
static char certificate_file[64], key_file[64];

struct fixture {
	uv_loop_t loop;
	struct peer peer;
	struct transfers *transfers;
	char url[128];
	unsigned ends;
	int err;
	unsigned status;
	char words[256], body[256];
	bool has_date;
	char date[64];
};

static void on_end(void *arg, const struct transfer_result *result)
{
	struct fixture *f = arg;
	struct text date;

	f->ends++;
	f->err = result->err;
	f->status = result->status;
	snprintf(f->words, sizeof(f->words), "%s", result->words);
	snprintf(f->body, sizeof(f->body), "%.*s", TEXT_ARG(result->body));
	f->has_date = transfer_field(result, "DATE", &date);
	if (f->has_date)
		snprintf(f->date, sizeof(f->date), "%.*s", TEXT_ARG(date));
}

static void start(struct fixture *f, const struct peer_answer *script)
{
	*f = (struct fixture){ 0 };
	assert_int_equal(uv_loop_init(&f->loop), 0);
	peer_start(&f->peer, &f->loop, script);
	f->transfers = transfers_new(&f->loop, 4, 2);
	assert_non_null(f->transfers);
	peer_url(&f->peer, "http", "127.0.0.1", "/a?b=c", f->url);
}

static void stop(struct fixture *f)
{
	transfers_free(f->transfers);
	peer_stop(&f->peer);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	peer_done(&f->peer);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

/* A certificate of its own authority, for "localhost". */
static int make_certificate(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	X509_EXTENSION *names;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(certificate_file, sizeof(certificate_file), "%s/cert.pem", dir);
	snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
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

static int remove_certificate(void **state)
{
	(void)state;
	unlink(certificate_file);
	unlink(key_file);
	return rmdir(dir);
}

#endif
