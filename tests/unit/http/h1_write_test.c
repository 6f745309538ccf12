/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing heads and refusals. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "http/h1.h"
#include "http/problem.h"

static void assert_text(const struct buf *b, const char *expected)
{
	assert_int_equal(buf_len(b), strlen(expected));
	assert_memory_equal(buf_head(b), expected, strlen(expected));
}

static void heads_are_written(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	assert_int_equal(h1_write_request_line(&b, TEXT("GET"), TEXT("/a?b")), 0);
	assert_int_equal(h1_write_status_line(&b, 429), 0);
	assert_int_equal(h1_write_header(&b, TEXT("A"), TEXT("b \tc")), 0);
	assert_int_equal(h1_write_header(&b, TEXT("B"), TEXT("")), 0);
	assert_int_equal(h1_write_header_u64(&b, TEXT("C"), UINT64_MAX), 0);
	assert_int_equal(h1_write_header_u64(&b, TEXT("D"), 0), 0);
	assert_int_equal(h1_write_end_of_head(&b), 0);
	assert_text(&b, "GET /a?b HTTP/1.1\r\nHTTP/1.1 429 Too Many Requests\r\nA: b \tc\r\nB: \r\n"
			"C: 18446744073709551615\r\nD: 0\r\n\r\n");
	buf_done(&b);
}

static void nothing_that_breaks_a_head_is_written(void **state)
{
	static const struct {
		struct text name, value;
		const char *why;
	} rows[] = {
		{ TEXT("A"), TEXT("b\r\nC: d"), "CRLF" },
		{ TEXT("A"), TEXT("b\r"), "CR" },
		{ TEXT("A"), TEXT("b\n"), "LF" },
		{ TEXT("A"), TEXT("b\0c"), "NUL" },
		{ TEXT("A"), TEXT("\x1b"), "control byte" },
		{ TEXT(""), TEXT("b"), "no name" },
		{ TEXT("A:"), TEXT("b"), "colon in the name" },
		{ TEXT("A B"), TEXT("b"), "space in the name" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 1024);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (h1_write_header(&b, rows[i].name, rows[i].value) != -EINVAL || buf_len(&b))
			fail_msg("%s was written", rows[i].why);
	assert_int_equal(h1_write_request_line(&b, TEXT("G T"), TEXT("/")), -EINVAL);
	assert_int_equal(h1_write_request_line(&b, TEXT("GET"), TEXT("/ x")), -EINVAL);
	assert_int_equal(h1_write_request_line(&b, TEXT("GET"), TEXT("/\r\n")), -EINVAL);
	assert_int_equal(h1_write_request_line(&b, TEXT("GET"), TEXT("")), -EINVAL);
	assert_int_equal(h1_write_status_line(&b, 99), -EINVAL);
	assert_int_equal(h1_write_status_line(&b, 600), -EINVAL);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
}

static void a_full_buffer_is_not_changed(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(h1_write_header(&b, TEXT("A"), TEXT("bcdef")), 0);
	assert_int_equal(h1_write_header(&b, TEXT("A"), TEXT("b")), -EMSGSIZE);
	assert_text(&b, "A: bcdef\r\n");
	buf_done(&b);
}

static void chunk_heads_have_no_leading_zeros(void **state)
{
	char head[H1_CHUNK_HEAD_MAX];

	(void)state;
	assert_int_equal(h1_format_chunk_head(head, 0), 3);
	assert_memory_equal(head, "0\r\n", 3);
	assert_int_equal(h1_format_chunk_head(head, 0x10a), 5);
	assert_memory_equal(head, "10a\r\n", 5);
	assert_int_equal(h1_format_chunk_head(head, UINT64_MAX), 18);
	assert_memory_equal(head, "ffffffffffffffff\r\n", 18);
}

static void problems_are_compact_json(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	assert_int_equal(problem_write_body(&b, 429, "Rate limit exceeded.", "rate"), 0);
	assert_text(&b, "{\"status\":429,\"detail\":\"Rate limit exceeded.\","
			"\"violated-policies\":[\"rate\"]}");
	buf_clear(&b);
	assert_int_equal(problem_write_body(&b, 400, "a \"b\" \\ \n", NULL), 0);
	assert_text(&b, "{\"status\":400,\"detail\":\"a \\\"b\\\" \\\\ \\u000a\"}");
	buf_done(&b);
	buf_init(&b, 20);
	assert_int_equal(problem_write_body(&b, 400, "Bad request", NULL), -EMSGSIZE);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_are_written),
		cmocka_unit_test(nothing_that_breaks_a_head_is_written),
		cmocka_unit_test(a_full_buffer_is_not_changed),
		cmocka_unit_test(chunk_heads_have_no_leading_zeros),
		cmocka_unit_test(problems_are_compact_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
