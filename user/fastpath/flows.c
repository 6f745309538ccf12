// SPDX-License-Identifier: BSD-2-Clause
/*
 * Records of enrolled connections, from enrolment until the kernel has no socket for them.
 *
 * A connection that XDP has answered on must be translated as long as the kernel has a socket for
 * it, and the kernel keeps sending for minutes after close(). So such a record stays when the agent
 * closes its connection (RECORD_LEFT), and fastpath_sweep() frees it when the socket is gone.
 *
 * One lock covers both the free records and the entries of map `flows`: one worker may enrol a new
 * connection while another worker forgets an old one with the same addresses. XDP takes no lock; it
 * compares generations.
 */
#include "fastpath/private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "bpf/edge.skel.h"

#define SWEEP_MOST     2000 /* sockets looked up in one call */
#define SWEEP_EVERY_MS 20
#define CLAIM_SPINS    100000

/*
 * A packet may be in the programs while its connection is enrolled, and pass as one of an unknown
 * flow. Nothing is answered for longer than that can take.
 */
#define ENROLMENT_RESTS_NS (100 * NS_PER_MS)

static int flows_fd(const struct fastpath *fp)
{
	return bpf_map__fd(fp->skel->maps.flows);
}

static void add_hint(struct fastpath *fp, const struct tollgate_flow_key *key, uint64_t count)
{
	atomic_add_return(&fp->hints[tollgate_hint(key->client_be32, key->client_port_be16)],
			  count);
}

/* XDP ignores a record with an even generation, so write the odd generation last. */
static uint32_t conn_begin(struct tollgate_conn *conn, const struct fastpath_enrolment *e)
{
	uint32_t generation = conn->generation + 1;

	memset((char *)conn + sizeof(conn->generation), 0,
	       sizeof(*conn) - sizeof(conn->generation));
	conn->flags = e->flags;
	conn->slot = e->slot;
	conn->slot_generation = e->slot_generation;
	conn->answered = e->answered;
	conn->rcv_wscale = e->rcv_wscale;
	conn->snd_wscale = e->snd_wscale;
	conn->answer_from_ns = clock_mono_ns() + ENROLMENT_RESTS_NS;
	atomic_write_release(&conn->generation, generation);
	return generation;
}

static void conn_end(struct tollgate_conn *conn)
{
	atomic_write_release(&conn->generation, (conn->generation | 1) + 1);
}

/* Adopt records that an earlier agent enrolled. Delete entries whose record was reused or freed. */
static void adopt_left(struct fastpath *fp)
{
	struct fastpath_flows *flows = &fp->flows;
	struct tollgate_flow_key key, next;
	struct tollgate_flow flow;
	bool more = bpf_map_get_next_key(flows_fd(fp), NULL, &next) == 0;

	while (more) {
		key = next;
		more = bpf_map_get_next_key(flows_fd(fp), &key, &next) == 0;
		if (bpf_map_lookup_elem(flows_fd(fp), &key, &flow))
			continue;
		if (flow.conn_index >= flows->max || !(flow.generation & 1) ||
		    fp->conns[flow.conn_index].generation != flow.generation) {
			bpf_map_delete_elem(flows_fd(fp), &key);
			continue;
		}
		atomic_fetch_or(&fp->conns[flow.conn_index].claim, TOLLGATE_CLAIM_AGENT);
		flows->keys[flow.conn_index] = key;
		flows->states[flow.conn_index] = RECORD_LEFT;
		flows->left_count++;
		add_hint(fp, &key, 1);
	}
}

int fastpath_flows_init(struct fastpath *fp, uint32_t max)
{
	struct fastpath_flows *flows = &fp->flows;

	flows->keys = calloc(max, sizeof(*flows->keys));
	flows->states = calloc(max, sizeof(*flows->states));
	flows->free = calloc(max, sizeof(*flows->free));
	flows->awaited = calloc(max, sizeof(*flows->awaited));
	flows->diag_fd = fastpath_diag_open();
	flows->max = max;
	pthread_mutex_init(&flows->lock, NULL);
	if (!flows->keys || !flows->states || !flows->free || !flows->awaited)
		return -ENOMEM;
	if (flows->diag_fd < 0)
		return flows->diag_fd;
	adopt_left(fp);
	for (uint32_t i = max; i-- > 0;) {
		if (flows->states[i] != RECORD_FREE)
			continue;
		if (fp->conns[i].generation & 1)
			conn_end(&fp->conns[i]);
		flows->free[flows->free_count++] = i;
	}
	return 0;
}

void fastpath_flows_done(struct fastpath_flows *flows)
{
	if (flows->max) {
		pthread_mutex_destroy(&flows->lock);
		if (flows->diag_fd >= 0)
			close(flows->diag_fd);
	}
	free(flows->keys);
	free(flows->states);
	free(flows->free);
	free(flows->awaited);
	*flows = (struct fastpath_flows){ .diag_fd = -1 };
}

bool fastpath_map_address(const struct sockaddr_storage *from, uint32_t to_be32[4],
			  uint16_t *ret_port_be16)
{
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		to_be32[0] = to_be32[1] = 0;
		to_be32[2] = htonl(0xffff);
		to_be32[3] = in->sin_addr.s_addr;
		*ret_port_be16 = in->sin_port;
		return true;
	}
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

		memcpy(to_be32, &in6->sin6_addr, 16);
		*ret_port_be16 = in6->sin6_port;
		return true;
	}
	return false;
}

/*
 * Free the record and delete its entry in map `flows`, unless a later connection with the same
 * addresses has replaced the entry. The lock is held.
 */
static void free_record(struct fastpath *fp, uint32_t index)
{
	struct fastpath_flows *flows = &fp->flows;
	struct tollgate_flow_key *key = &flows->keys[index];
	struct tollgate_flow flow;

	conn_end(&fp->conns[index]);
	if (bpf_map_lookup_elem(flows_fd(fp), key, &flow) == 0 && flow.conn_index == index)
		bpf_map_delete_elem(flows_fd(fp), key);
	add_hint(fp, key, -1);
	flows->left_count -= flows->states[index] == RECORD_LEFT;
	flows->awaited_count -= flows->awaited[index];
	flows->awaited[index] = false;
	flows->states[index] = RECORD_FREE;
	flows->free[flows->free_count++] = index;
}

static int enter(struct fastpath *fp, const struct tollgate_flow_key *key,
		 const struct fastpath_enrolment *enrolment, uint32_t *ret_index)
{
	struct fastpath_flows *flows = &fp->flows;
	struct tollgate_flow flow;
	int err;

	if (!flows->free_count)
		return -ENOSPC;
	flow.conn_index = flows->free[flows->free_count - 1];
	flow.generation = conn_begin(&fp->conns[flow.conn_index], enrolment);
	add_hint(fp, key, 1); /* before the entry: XDP looks it up only if the hint is not 0 */
	err = bpf_map_update_elem(flows_fd(fp), key, &flow, BPF_ANY);
	if (err) {
		add_hint(fp, key, -1);
		conn_end(&fp->conns[flow.conn_index]);
		return err == -E2BIG ? -ENOSPC : err;
	}
	flows->free_count--;
	flows->keys[flow.conn_index] = *key;
	flows->states[flow.conn_index] = RECORD_LIVE;
	*ret_index = flow.conn_index;
	return 0;
}

int fastpath_enrol(struct fastpath *fp, const struct fastpath_enrolment *enrolment,
		   uint32_t *ret_conn_index)
{
	struct tollgate_flow_key key = { 0 };
	int err;

	if (!fastpath_map_address(enrolment->client, key.client_be32, &key.client_port_be16) ||
	    !fastpath_map_address(enrolment->local, key.local_be32, &key.local_port_be16))
		return -ENOTSUP;
	pthread_mutex_lock(&fp->flows.lock);
	err = enter(fp, &key, enrolment, ret_conn_index);
	pthread_mutex_unlock(&fp->flows.lock);
	return err;
}

struct tollgate_conn *fastpath_conn(struct fastpath *fp, uint32_t conn_index)
{
	return conn_index < fp->flows.max ? &fp->conns[conn_index] : NULL;
}

/*
 * XDP holds its claim for the time of one packet, so spinning is enough. If the bit stays set, it
 * was never released, so stop waiting after CLAIM_SPINS.
 */
static void claim(struct tollgate_conn *conn)
{
	uint32_t seen = atomic_fetch_or(&conn->claim, TOLLGATE_CLAIM_AGENT);

	for (unsigned i = 0; seen & TOLLGATE_CLAIM_XDP && i < CLAIM_SPINS; i++) {
		if (i % 64 == 63)
			sched_yield();
		seen = atomic_read_acquire(&conn->claim);
	}
}

bool fastpath_claim(struct fastpath *fp, uint32_t conn_index, uint64_t since_ns)
{
	struct tollgate_conn *conn = fastpath_conn(fp, conn_index);

	if (!conn)
		return true;
	claim(conn);
	if (atomic_read_acquire(&conn->active_ns) < since_ns)
		return true;
	fastpath_unclaim(fp, conn_index);
	return false;
}

void fastpath_unclaim(struct fastpath *fp, uint32_t conn_index)
{
	atomic_fetch_and(&fp->conns[conn_index].claim, ~TOLLGATE_CLAIM_AGENT);
}

bool fastpath_has_pending(struct fastpath *fp, uint32_t conn_index)
{
	return atomic_read_acquire(&fp->conns[conn_index].shift.pending_len);
}

static bool is_shifted(const struct tollgate_conn *conn)
{
	return atomic_read_acquire(&conn->shift.state) & TOLLGATE_SHIFT_SHIFTED;
}

void fastpath_forget(struct fastpath *fp, uint32_t conn_index)
{
	struct fastpath_flows *flows = &fp->flows;

	if (conn_index >= flows->max)
		return;
	claim(&fp->conns[conn_index]);
	pthread_mutex_lock(&flows->lock);
	if (flows->states[conn_index] == RECORD_LIVE) {
		flows->states[conn_index] = RECORD_LEFT;
		flows->left_count++;
		if (!is_shifted(&fp->conns[conn_index]))
			free_record(fp, conn_index);
	}
	pthread_mutex_unlock(&flows->lock);
}

/* Whether the record @index, in state RECORD_LEFT, may be freed. The lock is held. */
static bool is_over(struct fastpath *fp, uint32_t index, uint32_t *waiting_count)
{
	bool is_waiting = false;

	if (!is_shifted(&fp->conns[index]))
		return true;
	if (atomic_read_acquire(&fp->conns[index].flags) & TOLLGATE_CONN_DEAD)
		return true;
	if (fastpath_diag_find(fp->flows.diag_fd, &fp->flows.keys[index], &is_waiting) == 0)
		return true;
	*waiting_count += is_waiting;
	return false;
}

/*
 * Look at @most records. Returns how many are left; @ret_waiting: how many seen are in TIME_WAIT.
 */
static uint32_t sweep(struct fastpath *fp, uint32_t most, uint32_t *ret_waiting)
{
	struct fastpath_flows *flows = &fp->flows;
	uint32_t left, asked = 0;

	*ret_waiting = 0;
	pthread_mutex_lock(&flows->lock);
	for (uint32_t i = 0; i < flows->max && flows->left_count && asked < most; i++) {
		uint32_t index = flows->sweep_at++ % flows->max;

		if (flows->states[index] != RECORD_LEFT)
			continue;
		asked++;
		if (is_over(fp, index, ret_waiting))
			free_record(fp, index);
	}
	left = flows->left_count;
	pthread_mutex_unlock(&flows->lock);
	return left;
}

uint32_t fastpath_sweep(struct fastpath *fp)
{
	uint32_t waiting;

	return sweep(fp, SWEEP_MOST, &waiting);
}

uint32_t fastpath_sweep_all(struct fastpath *fp, uint64_t wait_ms)
{
	const struct timespec pause = { .tv_nsec = SWEEP_EVERY_MS * NS_PER_MS };
	uint64_t end_ns = clock_mono_ns() + wait_ms * NS_PER_MS;
	uint32_t waiting, left = sweep(fp, UINT32_MAX, &waiting);

	while (left > waiting && clock_mono_ns() < end_ns) {
		nanosleep(&pause, NULL);
		left = sweep(fp, UINT32_MAX, &waiting);
	}
	return left - waiting;
}

uint32_t fastpath_flows_await(struct fastpath *fp)
{
	struct fastpath_flows *flows = &fp->flows;
	uint32_t count;

	pthread_mutex_lock(&flows->lock);
	for (uint32_t i = 0; i < flows->max; i++) {
		if (flows->states[i] == RECORD_FREE || flows->awaited[i] ||
		    !is_shifted(&fp->conns[i]))
			continue;
		flows->awaited[i] = true;
		flows->awaited_count++;
	}
	count = flows->awaited_count;
	pthread_mutex_unlock(&flows->lock);
	return count;
}

uint32_t fastpath_flows_awaited(struct fastpath *fp)
{
	uint32_t count;

	pthread_mutex_lock(&fp->flows.lock);
	count = fp->flows.awaited_count;
	pthread_mutex_unlock(&fp->flows.lock);
	return count;
}

bool fastpath_flows_add_ports(struct fastpath *fp, uint64_t ports[65536 / 64])
{
	struct fastpath_flows *flows = &fp->flows;
	bool is_any_new = false;

	pthread_mutex_lock(&flows->lock);
	for (uint32_t i = 0; i < flows->max; i++) {
		uint16_t port = ntohs(flows->keys[i].local_port_be16);
		uint64_t bit = 1ULL << port % 64;

		if (flows->states[i] == RECORD_FREE || !is_shifted(&fp->conns[i]))
			continue;
		is_any_new |= !(ports[port / 64] & bit);
		ports[port / 64] |= bit;
	}
	pthread_mutex_unlock(&flows->lock);
	return is_any_new;
}

uint32_t fastpath_enrolled(struct fastpath *fp)
{
	uint32_t count;

	pthread_mutex_lock(&fp->flows.lock);
	count = fp->flows.max - fp->flows.free_count;
	pthread_mutex_unlock(&fp->flows.lock);
	return count;
}
