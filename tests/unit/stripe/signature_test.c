/* SPDX-License-Identifier: BSD-2-Clause */
/* signature_test: webhook signatures, valid and invalid ones. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "stripe/signature.h"

#define T     "1760000000"
#define V1    "710305f7feae110e97d01e071f9d466aadf50a718e23f9956b8252f8dc0acd23"
#define OTHER "810305f7feae110e97d01e071f9d466aadf50a718e23f9956b8252f8dc0acd23"
#define UNDER_NONE \
	"b98551a3e4757406b3894c6fcb3785cb4ce73eb95fa067e3be1017953829d0cf" /* the empty key */
#define NOW 1760000000ULL

static const char *const secrets[] = { "", "whsec_other", "whsec_test_secret" };
static const char body[] = "{\"id\":\"evt_1\",\"object\":\"event\"}";

static enum signature_verdict verify(const char *header, uint64_t now_s)
{
	return signature_verify(text_of(header), text_of(body), secrets, 3, now_s,
				SIGNATURE_TOLERANCE_S);
}

static void headers_are_verified(void **state)
{
	static const struct {
		const char *header;
		enum signature_verdict verdict;
		const char *why;
	} rows[] = {
		{ "t=" T ",v1=" V1, SIGNATURE_OK, "the known vector" },
		{ "v1=" V1 ",t=" T, SIGNATURE_OK, "in the other order" },
		{ "t=" T ",v1=" OTHER ",v1=" V1, SIGNATURE_OK, "any v1 may match" },
		{ "t=" T ",v0=" OTHER ",v1=" V1 ",v2=x", SIGNATURE_OK,
		  "other schemes are ignored" },
		{ "t=" T ",v0=" V1, SIGNATURE_MALFORMED, "v0 alone is not enough" },
		{ "t=" T ",v1=" OTHER, SIGNATURE_MISMATCH, "one bit differs" },
		{ "t=1760000001,v1=" V1, SIGNATURE_MISMATCH, "another time" },
		{ "t=0" T ",v1=" V1, SIGNATURE_MISMATCH, "the time's text is signed" },
		{ "t=" T ",t=" T ",v1=" V1, SIGNATURE_MALFORMED, "two times" },
		{ "v1=" V1, SIGNATURE_MALFORMED, "no time" },
		{ "t=,v1=" V1, SIGNATURE_MALFORMED, "an empty time" },
		{ "t=-1,v1=" V1, SIGNATURE_MALFORMED, "not a number" },
		{ "t=" T, SIGNATURE_MALFORMED, "no signature" },
		{ "t=" T ",v1=", SIGNATURE_MALFORMED, "an empty signature" },
		{ "t=" T ",v1=" V1 "00", SIGNATURE_MALFORMED, "a signature that is too long" },
		{ "t=" T ",v1", SIGNATURE_MALFORMED, "a part without '='" },
		{ "t=" T ", v1=" V1, SIGNATURE_MALFORMED, "spaces are not skipped" },
		{ "t=" T ",v1=" V1 ", t=" T ",v1=" V1, SIGNATURE_MALFORMED, "two lines, joined" },
		{ "t=" T ",=x,v1=" V1, SIGNATURE_MALFORMED, "a part without a name" },
		{ "t=1e9,v1=" V1, SIGNATURE_MALFORMED, "a time with other characters than digits" },
		{ "t=99999999999999999999,v1=" V1, SIGNATURE_MALFORMED,
		  "a time that is too large" },
		{ "t=" T ",v1=x,v1=" V1, SIGNATURE_OK, "a v1 that cannot match is ignored" },
		{ "", SIGNATURE_MALFORMED, "nothing" },
		{ ",,,", SIGNATURE_MALFORMED, "empty parts" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum signature_verdict verdict = verify(rows[i].header, NOW);

		if (verdict != rows[i].verdict)
			fail_msg("%s: %s", rows[i].why, signature_reason(verdict));
	}
}

static void upper_case_hex_does_not_verify(void **state)
{
	char header[128];

	(void)state;
	snprintf(header, sizeof(header), "t=" T ",v1=%s", V1);
	for (char *c = header + 4 + sizeof(T); *c; c++)
		*c = *c >= 'a' && *c <= 'f' ? (char)(*c - 32) : *c;
	assert_int_equal(verify(header, NOW), SIGNATURE_MALFORMED);
}

static void old_and_future_times_are_refused(void **state)
{
	(void)state;
	assert_int_equal(verify("t=" T ",v1=" V1, NOW + 300), SIGNATURE_OK);
	assert_int_equal(verify("t=" T ",v1=" V1, NOW + 301), SIGNATURE_EXPIRED);
	assert_int_equal(verify("t=" T ",v1=" V1, NOW - 300), SIGNATURE_OK);
	assert_int_equal(verify("t=" T ",v1=" V1, NOW - 301), SIGNATURE_FUTURE);
	assert_int_equal(verify("t=" T ",v1=" OTHER, NOW + 301), SIGNATURE_MISMATCH);
}

static void another_body_or_an_empty_secret_never_verifies(void **state)
{
	const char *const empty[] = { "" };

	(void)state;
	assert_int_equal(signature_verify(TEXT("t=" T ",v1=" V1), TEXT("{}"), secrets, 3, NOW, 300),
			 SIGNATURE_MISMATCH);
	assert_int_equal(
		signature_verify(TEXT("t=" T ",v1=" UNDER_NONE), text_of(body), empty, 1, NOW, 300),
		SIGNATURE_MISMATCH);
	assert_int_equal(signature_verify(TEXT("t=" T ",v1=" V1), text_of(body), NULL, 0, NOW, 300),
			 SIGNATURE_MISMATCH);
}

static void too_many_candidates_are_refused(void **state)
{
	char header[2048];
	int len = snprintf(header, sizeof(header), "t=" T);

	(void)state;
	for (int i = 0; i < SIGNATURE_MAX_CANDIDATES - 1; i++)
		len += snprintf(header + len, sizeof(header) - (size_t)len, ",v1=" OTHER);
	len += snprintf(header + len, sizeof(header) - (size_t)len, ",v1=" V1);
	assert_int_equal(verify(header, NOW), SIGNATURE_OK);
	snprintf(header + len, sizeof(header) - (size_t)len, ",v1=" OTHER);
	assert_int_equal(verify(header, NOW), SIGNATURE_MALFORMED);
}

static void a_written_signature_verifies(void **state)
{
	struct buf header;

	(void)state;
	buf_init(&header, 256);
	assert_int_equal(signature_write("whsec_test_secret", NOW, text_of(body), &header), 0);
	assert_int_equal(buf_len(&header), strlen("t=" T ",v1=" V1));
	assert_memory_equal(buf_head(&header), "t=" T ",v1=" V1, buf_len(&header));
	buf_clear(&header);
	assert_int_equal(signature_write("other", NOW, TEXT(""), &header), 0);
	assert_int_equal(signature_verify(buf_text(&header), TEXT(""), (const char *[]){ "other" },
					  1, NOW, 0),
			 SIGNATURE_OK);
	assert_int_equal(signature_write("", NOW, text_of(body), &header), -EINVAL);
	buf_done(&header);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_are_verified),
		cmocka_unit_test(upper_case_hex_does_not_verify),
		cmocka_unit_test(old_and_future_times_are_refused),
		cmocka_unit_test(another_body_or_an_empty_secret_never_verifies),
		cmocka_unit_test(too_many_candidates_are_refused),
		cmocka_unit_test(a_written_signature_verifies),
	};

	return cmocka_run_group_tests_name("signature", tests, NULL, NULL);
}
