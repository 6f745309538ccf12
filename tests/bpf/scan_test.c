// SPDX-License-Identifier: BSD-2-Clause
/*
 * The key scan in the kernel: it finds what user space finds. Also prints how long it takes.
 *
 * Times are differences from the same program without the step. They are only printed, since the
 * machine may be busy.
 */
#include "bpf/fixture.h"

#include <bpf/libbpf.h>

#include "tollgate/keyscan.h"

#include "tests/bpf/scan.skel.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define KEY	    "tg_live_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL"

#define CURL                                                  \
	"GET /v1/quotes HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" \
	"User-Agent: curl/7.88.1\r\nAccept: */*\r\nX-API-Key: " KEY "\r\n"
#define BROWSER                                                                     \
	"GET /v1/things/12345/items?limit=10&offset=30&sort=name HTTP/1.1\r\n"      \
	"Host: api.example.com\r\nConnection: keep-alive\r\n"                       \
	"sec-ch-ua: \"Chromium\";v=\"118\", \"Google Chrome\";v=\"118\"\r\n"        \
	"sec-ch-ua-mobile: ?0\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) "      \
	"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0.0.0 Safari/537.36\r\n" \
	"sec-ch-ua-platform: \"Linux\"\r\nAccept: application/json\r\n"             \
	"Sec-Fetch-Site: same-origin\r\nAccept-Encoding: gzip, deflate, br\r\n"     \
	"Accept-Language: en-US,en;q=0.9\r\nX-API-Key: " KEY "\r\n"
#define HUNDRED                                              \
	"session=0123456789abcdefghijklmnopqrstuvwxyz.0123;" \
	" visitor=0123456789abcdefghijklmnopqrstuvwxyz0123"
#define COOKIES "Cookie: " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "\r\n"

static const struct row {
	const char *head, *why;
	enum tollgate_scan_result result;
} rows[] = {
	{ CURL "\r\n", "curl", TOLLGATE_SCAN_KEY },
	{ BROWSER "\r\n", "a browser", TOLLGATE_SCAN_KEY },
	{ BROWSER COOKIES "\r\n", "a browser with cookies", TOLLGATE_SCAN_KEY },
	{ "POST /p HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " KEY
	  "\r\nContent-Length: 12\r\n\r\n{\"a\": 12345}",
	  "Bearer and a body", TOLLGATE_SCAN_KEY },
	{ "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "no key", TOLLGATE_SCAN_NO_KEY },
	{ CURL, "no empty line", TOLLGATE_SCAN_MORE },
	{ CURL "X-API-Key: " KEY "\r\n\r\n", "two keys", TOLLGATE_SCAN_UNSURE },
	{ "GET /%61 HTTP/1.1\r\nHost: h\r\n\r\n", "encoded path", TOLLGATE_SCAN_UNSURE },
	{ "\x16\x03\x01\x02\x01 no HTTP at all", "TLS", TOLLGATE_SCAN_UNSURE },
};

static struct scan_bpf *bpf;
static const __u64 secret[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

static unsigned run(const struct bpf_program *program, const char *head, int repeat)
{
	uint8_t frame[ETH_HLEN + 1460] = { 0 };
	size_t len = strlen(head);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = ETH_HLEN + len,
		    .repeat = repeat);

	assert_true(len <= sizeof(frame) - ETH_HLEN);
	memcpy(frame + ETH_HLEN, head, len);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &opts), 0);
	assert_int_not_equal(opts.retval, XDP_ABORTED);
	return opts.duration;
}

static void the_kernel_finds_what_user_space_finds(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(rows); i++) {
		const char *head = rows[i].head;
		__u8 room[TOLLGATE_SCAN_ROOM_SIZE] = { 0 };
		struct tollgate_scan s = { 0 };
		__u64 hash[2] = { 0 };

		memcpy(room, head, strlen(head));
		if (tollgate_scan_head(&s, room, strlen(head)) != rows[i].result)
			fail_msg("%s: user space finds another result", rows[i].why);
		if (rows[i].result == TOLLGATE_SCAN_KEY)
			tollgate_siphash128(secret, head + s.key_at, s.key_len, hash);
		run(bpf->progs.tell, head, 1);
		if (bpf->bss->found_result != rows[i].result)
			fail_msg("%s: result %u", rows[i].why, bpf->bss->found_result);
		if (memcmp(&bpf->bss->found, &s, offsetof(struct tollgate_scan, len)) ||
		    memcmp(bpf->bss->found_hash, hash, sizeof(hash)))
			fail_msg("%s: another key or path than in user space", rows[i].why);
	}
}

/* The verifier's limit for a whole program is a million; the scan must stay far below. */
static void the_verifier_needs_few_instructions(void **state)
{
	struct bpf_prog_info info = { 0 };
	unsigned size = sizeof(info);

	(void)state;
	assert_int_equal(
		bpf_obj_get_info_by_fd(bpf_program__fd(bpf->progs.fingerprint), &info, &size), 0);
	print_message("scan and fingerprint: %u verified\n", info.verified_insns);
	assert_in_range(info.verified_insns, 1, 200000);
}

static int enter(void **state)
{
	fixture_enter(state);
	bpf = scan_bpf__open_and_load();
	assert_non_null(bpf);
	memcpy(bpf->bss->secret, secret, sizeof(secret));
	return 0;
}

static int leave(void **state)
{
	scan_bpf__destroy(bpf);
	return fixture_leave(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_finds_what_user_space_finds),
		cmocka_unit_test(the_verifier_needs_few_instructions),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
