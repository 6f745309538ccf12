/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * route_test: the longest prefix of whole segments wins, and no spelling of a path bypasses a
 * route.
 */
#include "config/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct routes make_routes(const char *const *paths, unsigned count)
{
	struct routes routes = { .list = calloc(count + 1, sizeof(*routes.list)), .count = count };

	for (unsigned i = 0; i < count; i++) {
		routes.list[i].path = strdup(paths[i]);
		routes.list[i].path_len = strlen(paths[i]);
	}
	routes_sort(&routes);
	return routes;
}

static const char *find(const struct routes *routes, const char *path)
{
	const struct route *route = routes_find(routes, text_of(path));

	return route ? route->path : "none";
}

static void the_longest_prefix_of_whole_segments_wins(void **state)
{
	static const char *const paths[] = {
		"/open",	  "/v1/", "/v1/export/", "/v1/export",
		"/v1/users:list", "/a/b", "/a",		 "/caf%C3%A9"
	};
	static const struct {
		const char *path, *route;
	} rows[] = {
		{ "/open", "/open" },
		{ "/open/", "/open" },
		{ "/open/x", "/open" },
		{ "/open/x/y", "/open" },
		{ "/openX", "none" },
		{ "/open.json", "none" },
		{ "/ope", "none" },
		{ "/", "none" },
		{ "/v1", "none" },
		{ "/v1/", "/v1/" },
		{ "/v1/x", "/v1/" },
		{ "/v1/export", "/v1/export" },
		{ "/v1/export/", "/v1/export/" },
		{ "/v1/export/x", "/v1/export/" },
		{ "/v1/exports", "/v1/" },
		{ "/V1/export", "none" },
		{ "/v1/users:list", "/v1/users:list" },
		{ "/v1/users%3Alist", "/v1/users:list" },
		{ "/v1/users%3alist/x", "/v1/users:list" },
		{ "/v1/users%3alists", "/v1/" },
		{ "/v1/users:lis%", "/v1/" },
		{ "/caf%C3%A9", "/caf%C3%A9" },
		{ "/caf%c3%a9/x", "/caf%C3%A9" },
		{ "/caf%c3%a9x", "none" },
		{ "/caf%c3", "none" },
		{ "/a/b", "/a/b" },
		{ "/a/c", "/a" },
		{ "/a/bc", "/a" },
		{ "", "none" },
	};
	struct routes routes = make_routes(paths, COUNT(paths));

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (strcmp(find(&routes, rows[i].path), rows[i].route))
			fail_msg("'%s': %s", rows[i].path, find(&routes, rows[i].path));
	}
	routes_done(&routes);
	routes_done(&routes);
}

static void a_catch_all_route_comes_last(void **state)
{
	static const char *const paths[] = { "/", "/v1", "/a" };
	struct routes routes = make_routes(paths, COUNT(paths));

	(void)state;
	assert_string_equal(find(&routes, "/"), "/");
	assert_string_equal(find(&routes, "/x"), "/");
	assert_string_equal(find(&routes, "/v1"), "/v1");
	assert_string_equal(find(&routes, "/v1x"), "/");
	assert_string_equal(find(&routes, "/%20"), "/");
	assert_string_equal(find(&routes, "*"), "none");
	routes_done(&routes);
}

static void an_escape_counts_as_one_byte_of_a_prefix(void **state)
{
	static const char *const paths[] = { "/%3A%3A%3A", "/:::/ab" };
	struct routes routes = make_routes(paths, COUNT(paths));

	(void)state;
	assert_string_equal(find(&routes, "/:::/ab"), "/:::/ab");
	assert_string_equal(find(&routes, "/:::/a"), "/%3A%3A%3A");
	routes_done(&routes);
}

static void an_empty_table_has_no_route(void **state)
{
	struct routes routes = { 0 };

	(void)state;
	routes_sort(&routes);
	assert_null(routes_find(&routes, TEXT("/")));
	routes_done(&routes);
}

static void ambiguous_paths_are_not_plain(void **state)
{
	static const struct {
		struct text path;
		bool is_plain;
		const char *why;
	} rows[] = {
		{ TEXT("/"), true, "the root" },
		{ TEXT("/a"), true, "a segment" },
		{ TEXT("/a/"), true, "a slash at the end" },
		{ TEXT("/a/b/c"), true, "several" },
		{ TEXT("/a.b/..c/d../...e/.f"), true, "dots within segments" },
		{ TEXT("/..."), true, "three dots" },
		{ TEXT("/a:b@c!$&'()*+,;=-._~"), true, "all characters allowed in a segment" },
		{ TEXT("/%20%22%3C%C3%A4%3a%40%25%7f"), true, "escapes of reserved characters" },
		{ TEXT(""), false, "nothing" },
		{ TEXT("*"), false, "the server itself" },
		{ TEXT("a/b"), false, "no slash" },
		{ TEXT("//"), false, "an empty segment alone" },
		{ TEXT("//a"), false, "at the start" },
		{ TEXT("/a//b"), false, "in the middle" },
		{ TEXT("/a//"), false, "at the end" },
		{ TEXT("/."), false, "a dot" },
		{ TEXT("/./a"), false, "a dot at the start" },
		{ TEXT("/a/./b"), false, "in the middle" },
		{ TEXT("/a/."), false, "at the end" },
		{ TEXT("/.."), false, "two dots" },
		{ TEXT("/../a"), false, "two dots at the start" },
		{ TEXT("/a/../b"), false, "in the middle" },
		{ TEXT("/a/.."), false, "at the end" },
		{ TEXT("/a\\b"), false, "a backslash" },
		{ TEXT("/\\"), false, "alone" },
		{ TEXT("/a/..\\b"), false, "after dots" },
		{ TEXT("/a%2Fb"), false, "an escaped slash" },
		{ TEXT("/a%2fb"), false, "in lower case" },
		{ TEXT("/a%5Cb"), false, "an escaped backslash" },
		{ TEXT("/a%5cb"), false, "in lower case" },
		{ TEXT("/a%00"), false, "an escaped NUL" },
		{ TEXT("/%2e"), false, "an escaped dot" },
		{ TEXT("/%2E%2e/a"), false, "two" },
		{ TEXT("/.%2e/a"), false, "one of two" },
		{ TEXT("/%61"), false, "an unnecessary escape: a" },
		{ TEXT("/%7A"), false, "z" },
		{ TEXT("/%41"), false, "A" },
		{ TEXT("/%5A"), false, "Z" },
		{ TEXT("/%30"), false, "0" },
		{ TEXT("/%39"), false, "9" },
		{ TEXT("/%2D"), false, "-" },
		{ TEXT("/%5F"), false, "_" },
		{ TEXT("/%7e"), false, "~" },
		{ TEXT("/a%"), false, "an escape cut short" },
		{ TEXT("/a%4"), false, "after a digit" },
		{ TEXT("/a%zz"), false, "not hex digits" },
		{ TEXT("/a%2"
		       "\0"),
		  false, "a NUL for a digit" },
		{ TEXT("/a%%20"), false, "two signs" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (route_path_is_plain(rows[i].path) != rows[i].is_plain)
			fail_msg("%s: '%.*s'", rows[i].why, TEXT_ARG(rows[i].path));
	}
}

static uint64_t draw(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       strchr("-._~", c);
}

/* Write @path with some characters as escapes. Whether one of these must not be escaped. */
static bool spell(const char *path, uint64_t *seed, char *ret_text)
{
	bool is_refused = false;

	for (; *path; path++) {
		if (draw(seed) % 6 && *path != ' ') {
			*ret_text++ = *path;
			continue;
		}
		ret_text += sprintf(ret_text, draw(seed) % 2 ? "%%%02X" : "%%%02x",
				    (unsigned char)*path);
		is_refused |= *path == '/' || is_unreserved(*path);
	}
	*ret_text = '\0';
	return is_refused;
}

/* Another spelling of a path is refused, or has the same route. */
static void no_spelling_of_a_path_bypasses_a_route(void **state)
{
	static const char *const paths[] = { "/",   "/a",	"/a:b",	  "/a:b/",
					     "/a@", "/a,b/c;d", "/a%20b", "/%3b" };
	static const char pieces[] = "/a:b@,c;d /";
	struct routes routes = make_routes(paths, COUNT(paths));
	uint64_t seed = 0x853c49e6748fea9bULL;

	(void)state;
	for (unsigned n = 0; n < 200000; n++) {
		char path[16] = "/", literal[64], spelt[64];
		unsigned len = 1 + draw(&seed) % 12;
		bool is_refused;

		for (unsigned i = 1; i < len; i++)
			path[i] = pieces[draw(&seed) % (sizeof(pieces) - 1)];
		path[len] = '\0';
		if (n % 2) /* close to a route, because random paths rarely are */
			snprintf(path, sizeof(path), "%s%c", n % 4 == 1 ? "/a:b" : "/a,b/c;d",
				 pieces[n / 4 % (sizeof(pieces) - 1)]);
		for (char *from = path, *to = literal; (*to = *from); from++, to++) {
			if (*from == ' ') { /* a space must be escaped */
				memcpy(to, "%20", 4);
				to += 2;
			}
		}
		is_refused = spell(path, &seed, spelt);
		if (is_refused ? route_path_is_plain(text_of(spelt))
			       : route_path_is_plain(text_of(spelt)) !=
					 route_path_is_plain(text_of(literal)))
			fail_msg("'%s', spelt '%s', is wrongly refused or accepted", literal,
				 spelt);
		if (!is_refused &&
		    routes_find(&routes, text_of(spelt)) != routes_find(&routes, text_of(literal)))
			fail_msg("'%s' has route %s, but '%s' %s", literal, find(&routes, literal),
				 spelt, find(&routes, spelt));
	}
	routes_done(&routes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_longest_prefix_of_whole_segments_wins),
		cmocka_unit_test(a_catch_all_route_comes_last),
		cmocka_unit_test(an_escape_counts_as_one_byte_of_a_prefix),
		cmocka_unit_test(an_empty_table_has_no_route),
		cmocka_unit_test(ambiguous_paths_are_not_plain),
		cmocka_unit_test(no_spelling_of_a_path_bypasses_a_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
