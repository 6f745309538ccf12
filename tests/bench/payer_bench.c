// SPDX-License-Identifier: BSD-2-Clause
/*
 * payer: a paying client at a steady rate. The loop is open: each request has an intended time, and
 * its latency counts from there. A request waits if every connection is busy. So when a server
 * stalls, the latency includes the time that later requests had to wait.
 *
 *   payer_bench SOURCE HOST PORT KEY RATE SECONDS CONNECTIONS
 *
 * prints "PAYER intended served p50 p99 p999 max": the number of intended requests and of those
 * answered 200, and the latencies of these in microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND	 1000000000ULL
#define CONNECTIONS_MOST 64
#define ANSWER_MOST	 4096
#define AFTERWARDS_NS	 (2 * NS_PER_SECOND) /* wait so long for late answers */

struct client {
	int fd;
	uint64_t intended_ns; /* its request's intended time; 0: idle */
	size_t len;
	char answer[ANSWER_MOST + 1];
};

static struct client clients[CONNECTIONS_MOST];
static unsigned client_count;
static char request[512];
static uint64_t *latencies_ns;
static unsigned served;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "payer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_connection(const char *source, const char *host, const char *port)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_port = htons(atoi(port));
	if (fd < 0 || inet_pton(AF_INET, source, &from.sin_addr) != 1 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1)
		fail("addresses");
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
		fail("bind");
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("connect");
	return fd;
}

static void ask(struct client *c, uint64_t intended_ns)
{
	size_t len = strlen(request);

	c->intended_ns = intended_ns;
	c->len = 0;
	if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail("send");
}

/* Whether the answer is complete. */
static bool is_whole(const struct client *c)
{
	const char *end = strstr(c->answer, "\r\n\r\n");
	const char *length = strcasestr(c->answer, "\r\nContent-Length:");

	return end && length && length < end &&
	       c->len >= (size_t)(end + 4 - c->answer) + strtoul(length + 17, NULL, 10);
}

static void on_bytes(struct client *c)
{
	ssize_t got = recv(c->fd, c->answer + c->len, ANSWER_MOST - c->len, 0);

	if (got <= 0)
		fail("the server closed a connection");
	c->len += got;
	c->answer[c->len] = '\0';
	if (!is_whole(c))
		return;
	if (!strncmp(c->answer, "HTTP/1.1 200 ", 13))
		latencies_ns[served++] = now_ns() - c->intended_ns;
	c->intended_ns = 0;
}

static struct client *find_free(void)
{
	for (unsigned i = 0; i < client_count; i++)
		if (!clients[i].intended_ns)
			return &clients[i];
	return NULL;
}

static bool is_busy(void)
{
	for (unsigned i = 0; i < client_count; i++)
		if (clients[i].intended_ns)
			return true;
	return false;
}

/* Wait for answers, at most until @until_ns. */
static void wait_for_answers(int poll, uint64_t until_ns)
{
	struct epoll_event events[CONNECTIONS_MOST];
	uint64_t now = now_ns(), left_ns = until_ns > now ? until_ns - now : 0;
	struct timespec most = { .tv_sec = left_ns / NS_PER_SECOND,
				 .tv_nsec = left_ns % NS_PER_SECOND };
	int count = epoll_pwait2(poll, events, CONNECTIONS_MOST, &most, NULL);

	for (int i = 0; i < count; i++)
		on_bytes(events[i].data.ptr);
}

static void run(int poll, uint64_t gap_ns, unsigned intended)
{
	uint64_t begin_ns = now_ns() + NS_PER_SECOND / 10, end_ns;

	for (unsigned next = 0; next < intended;) {
		uint64_t due_ns = begin_ns + next * gap_ns;
		struct client *c = find_free();

		if (c && due_ns <= now_ns()) {
			ask(c, due_ns);
			next++;
			continue;
		}
		/* All connections are busy: wait for an answer, however late it is. */
		wait_for_answers(poll, c ? due_ns : begin_ns + intended * gap_ns + AFTERWARDS_NS);
		if (!c && now_ns() > begin_ns + intended * gap_ns + AFTERWARDS_NS)
			return;
	}
	end_ns = now_ns() + AFTERWARDS_NS;
	while (is_busy() && now_ns() < end_ns)
		wait_for_answers(poll, end_ns);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static unsigned percentile_us(double part)
{
	return served ? latencies_ns[(unsigned)((served - 1) * part)] / 1000 : 0;
}

int main(int argc, char **argv)
{
	int poll = epoll_create1(0);
	unsigned rate, intended;

	if (argc != 8) {
		fprintf(stderr,
			"usage: payer_bench SOURCE HOST PORT KEY RATE SECONDS CONNECTIONS\n");
		return 2;
	}
	rate = atoi(argv[5]);
	intended = rate * atoi(argv[6]);
	client_count = atoi(argv[7]);
	if (!rate || !intended || !client_count || client_count > CONNECTIONS_MOST)
		return 2;
	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s:%s\r\nX-API-Key: %s\r\n\r\n",
		 argv[2], argv[3], argv[4]);
	latencies_ns = calloc(intended, sizeof(*latencies_ns));
	prctl(PR_SET_TIMERSLACK, 1UL);
	for (unsigned i = 0; i < client_count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &clients[i] };

		clients[i].fd = open_connection(argv[1], argv[2], argv[3]);
		epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].fd, &event);
	}
	run(poll, NS_PER_SECOND / rate, intended);
	qsort(latencies_ns, served, sizeof(*latencies_ns), compare);
	printf("PAYER %u %u %u %u %u %u\n", intended, served, percentile_us(0.5),
	       percentile_us(0.99), percentile_us(0.999), percentile_us(1));
	return 0;
}
