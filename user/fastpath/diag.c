// SPDX-License-Identifier: BSD-2-Clause
/*
 * Whether the kernel still has a socket for a connection: sock_diag(7) with exact addresses.
 *
 * It finds sockets in any state, including TIME_WAIT. If the connection has none, the kernel may
 * return a listener on its port instead; that counts as none.
 */
#include "fastpath/private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
	struct nlmsghdr head;
	struct inet_diag_req_v2 request;
};

int fastpath_diag_open(void)
{
	const struct timeval most = { .tv_sec = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	return fd;
}

static bool is_ip4(const uint32_t address_be32[4])
{
	return !address_be32[0] && !address_be32[1] && address_be32[2] == htonl(0xffff);
}

static void build_question(const struct tollgate_flow_key *key, struct question *ret)
{
	struct inet_diag_sockid *id = &ret->request.id;

	*ret = (struct question){
		.head = { .nlmsg_len = sizeof(*ret),
			  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			  .nlmsg_flags = NLM_F_REQUEST },
		.request = { .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u },
	};
	/* In sock_diag, the source is the socket's local address. */
	id->idiag_sport = key->local_port_be16;
	id->idiag_dport = key->client_port_be16;
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	if (is_ip4(key->client_be32)) {
		ret->request.sdiag_family = AF_INET;
		id->idiag_src[0] = key->local_be32[3];
		id->idiag_dst[0] = key->client_be32[3];
	} else {
		ret->request.sdiag_family = AF_INET6;
		memcpy(id->idiag_src, key->local_be32, sizeof(id->idiag_src));
		memcpy(id->idiag_dst, key->client_be32, sizeof(id->idiag_dst));
	}
}

static int read_answer(const char *bytes, ssize_t len, bool *ret_is_waiting)
{
	const struct nlmsghdr *head = (const struct nlmsghdr *)bytes;
	const struct inet_diag_msg *found = NLMSG_DATA(head);
	const struct nlmsgerr *error = NLMSG_DATA(head);

	if (!NLMSG_OK(head, (size_t)len))
		return -EBADMSG;
	if (head->nlmsg_type == NLMSG_ERROR)
		return error->error == -ENOENT ? 0 : error->error ? error->error : -EBADMSG;
	if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY || len < (ssize_t)NLMSG_LENGTH(sizeof(*found)))
		return -EBADMSG;
	*ret_is_waiting = found->idiag_state == TCP_TIME_WAIT;
	return found->idiag_state != TCP_LISTEN;
}

int fastpath_diag_find(int fd, const struct tollgate_flow_key *key, bool *ret_is_waiting)
{
	char answer[8192] __attribute__((aligned(8)));
	struct question question;
	ssize_t len;

	*ret_is_waiting = false;
	build_question(key, &question);
	if (send(fd, &question, sizeof(question), 0) < 0)
		return -errno;
	len = recv(fd, answer, sizeof(answer), 0);
	return len < 0 ? -errno : read_answer(answer, len, ret_is_waiting);
}
