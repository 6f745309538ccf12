/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request_test: bodies, cookies, Accept and origins of requests to the portal, hostile ones
 * included.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "portal/request.h"

static void a_cookie_is_found_by_name(void **state)
{
	static const struct {
		const char *field, *value, *why;
	} rows[] = {
		{ "a=1", "1", "alone" },
		{ "b=2; a=1; c=3", "1", "among others" },
		{ "b=2;a=1", "1", "without spaces" },
		{ "a=", "", "empty" },
		{ "a=b=c", "b=c", "with '='" },
		{ "", NULL, "none" },
		{ "aa=1; A=2; b=a=1", NULL, "others" },
		{ "a=1; a=2", NULL, "two, perhaps planted" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct text value;
		bool is_there = request_cookie(text_of(rows[i].field), "a", &value);

		if (is_there != !!rows[i].value || (is_there && !text_is(value, rows[i].value)))
			fail_msg("%s", rows[i].why);
	}
}

static void the_accept_field_chooses_json_or_html(void **state)
{
	static const struct {
		const char *accept;
		bool json, html;
	} rows[] = {
		{ "", false, false },
		{ "*/*", false, false },
		{ "application/json", true, false },
		{ "Application/JSON, */*;q=0.5", true, false },
		{ "text/html,application/xhtml+xml,*/*;q=0.8", false, true },
		{ "text/html, application/json;q=0.9", false, true },
		{ "text/html;q=0.5, application/json", true, true },
		{ "application/json;q=0", false, false },
		{ "application/jsonx, ;;;q=,,", false, false },
		{ "application/json;q=0.0001", false, false },
		{ "application/json;q=1e9", false, false },
		{ "application/json;q=nan", false, false },
		{ "application/json;q=0.001", true, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (request_accepts_json(text_of(rows[i].accept)) != rows[i].json ||
		    request_accepts_html(text_of(rows[i].accept)) != rows[i].html)
			fail_msg("%s", rows[i].accept);
	}
}

static void requests_from_other_sites_are_detected(void **state)
{
	static const struct {
		const char *fields;
		bool is_foreign, is_with_null;
		const char *why;
	} rows[] = {
		{ "", false, false, "not from a browser" },
		{ "Sec-Fetch-Site: same-origin\r\n", false, false, "from our page" },
		{ "Sec-Fetch-Site: none\r\n", false, false, "address typed by the user" },
		{ "Sec-Fetch-Site: same-site\r\n", true, true, "another host of the site" },
		{ "Sec-Fetch-Site: cross-site\r\nOrigin: https://api.example.com\r\n", true, true,
		  "Sec-Fetch-Site wins over Origin" },
		{ "Sec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n", true, true, "twice" },
		{ "Origin: https://api.example.com\r\n", false, false, "ours" },
		{ "Origin: http://edge:8080\r\n", false, false, "the request's Host" },
		{ "Origin: https://api.example.com.evil\r\n", true, true,
		  "ours is only its beginning" },
		{ "Origin: https://evil\r\n", true, true, "another" },
		{ "Origin: edge:8080\r\n", true, true, "not a valid origin" },
		{ "Origin: null\r\n", true, false, "null" },
		{ "Origin: a\r\nOrigin: b\r\n", true, true, "two" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct handoff e = { .fields = text_of(rows[i].fields),
				     .authority = TEXT("edge:8080") };
		struct text origin = TEXT("https://api.example.com");

		if (request_is_foreign(&e, origin, false) != rows[i].is_foreign ||
		    request_is_foreign(&e, origin, true) != rows[i].is_with_null)
			fail_msg("%s", rows[i].why);
	}
}

static void the_origin_of_a_url_is_found(void **state)
{
	static const struct {
		const char *url, *origin;
	} rows[] = {
		{ "https://a.example", "https://a.example" },
		{ "http://a:8080/x?y", "http://a:8080" },
		{ "https://a#x", "https://a" },
		{ "https://user@a/", "" },
		{ "https://", "" },
		{ "ftp://a", "" },
		{ "javascript:alert(1)", "" },
		{ "https://a; script-src *", "https://a" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!text_is(request_origin(text_of(rows[i].url)), rows[i].origin))
			fail_msg("%s", rows[i].url);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cookie_is_found_by_name),
		cmocka_unit_test(the_accept_field_chooses_json_or_html),
		cmocka_unit_test(requests_from_other_sites_are_detected),
		cmocka_unit_test(the_origin_of_a_url_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
