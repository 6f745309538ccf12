/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of fastpath share. Only they and their tests include this.
 *
 * load.c opens and closes; maps.c creates or reuses the pinned maps; attach.c attaches to
 * interfaces; leave.c detaches from interfaces that no listener names any more; older.c takes
 * interfaces over from another version; listen.c writes listeners and ports into the maps; flows.c
 * keeps the records of connections; answers.c keeps what XDP needs to answer; plane.c implements
 * enforce/xdp_plane.h; check.c tests the programs before they are attached; diag.c asks the kernel
 * for sockets; egress.c attaches the program that translates outgoing packets.
 */
#ifndef FASTPATH_PRIVATE_H
#define FASTPATH_PRIVATE_H

#include <limits.h>
#include <net/if.h>
#include <pthread.h>

#include "fastpath/fastpath.h"

struct edge_bpf;
struct ring_buffer;

/* An interface that the programs are, or should be, attached to. */
struct fastpath_port {
	struct fastpath_interface shown;
	char name[IF_NAMESIZE]; /* shown.name points here */
	int link_fd;		/* owned; the XDP link; -1: not attached */
	int egress_fd;		/* owned; the tcx link; -1: none, or a clsact filter instead */
	bool has_filter;	/* a clsact filter is attached at egress */
	int ifindex;		/* of the last attempt to attach; 0: no such interface then */
	bool is_waiting;	/* until another version's programs are no longer needed */
	bool is_leaving;	/* no listener names it any more */
};

/* A listener's address on an interface. */
struct fastpath_listen {
	struct tollgate_listener_key key; /* ifindex 0: no such interface */
	char name[IF_NAMESIZE];
};

enum record_state {
	RECORD_FREE,
	RECORD_LIVE, /* this agent's connection is open */
	RECORD_LEFT, /* closed, by this agent or an earlier one; kept until its socket is gone */
};

/* Which records of map `conns` are free, and the flow keys of those in use. */
struct fastpath_flows {
	pthread_mutex_t lock;
	struct tollgate_flow_key *keys; /* owned; indexed by record */
	uint8_t *states;		/* owned; enum record_state, indexed by record */
	uint32_t *free;			/* owned; a stack of free records' indices */
	bool *awaited;			/* owned; indexed by record; see fastpath_flows_await() */
	uint32_t free_count, left_count, awaited_count;
	uint32_t sweep_at; /* where the next fastpath_sweep() starts */
	uint32_t max;
	int diag_fd; /* owned; a sock_diag socket, or -1 */
};

/* Longer than TIME_WAIT, and longer than the kernel keeps sending to a client that is gone. */
#define FASTPATH_WAIT_NS (180 * NS_PER_SECOND)

#define FASTPATH_SETS 512   /* sets of templates; set 0 holds those that depend on no tier */
#define FASTPATH_KEYS 65536 /* at most so many fingerprints */

/* One fingerprint that XDP knows. */
struct fastpath_key {
	uint8_t hash[32]; /* the key's hash in the mirror */
	struct tollgate_fingerprint print;
	struct tollgate_known_key known;
	bool is_used;
};

/* The key's hash decides its place. A second key with the same place replaces the first. */
struct fastpath_keys {
	pthread_mutex_t lock;
	struct fastpath_key *places; /* owned; FASTPATH_KEYS elements */
};

/* Sets are allocated in turn, so that a released set stays unused for as long as possible. */
struct fastpath_sets {
	uint64_t free_since_ns[FASTPATH_SETS]; /* UINT64_MAX: in use; 0: never used */
};

struct fastpath {
	struct xdp_plane plane;
	char dir[PATH_MAX / 4];		     /* <bpffs>/tollgate/<instance>/v<ABI> */
	int lock_fd;			     /* owned; `dir`, locked while in use; or -1 */
	int instance_fd;		     /* owned; the directory above `dir`; or -1 */
	char pins[32];			     /* path to `dir` that works without privileges */
	char instance_pins[32];		     /* likewise, to the directory above it */
	struct edge_bpf *skel;		     /* owned */
	struct tollgate_slot *slots;	     /* mapped */
	struct tollgate_conn *conns;	     /* mapped */
	struct tollgate_settings *settings;  /* mapped */
	struct tollgate_template *templates; /* mapped */
	struct tollgate_routes *routes;	     /* mapped */
	uint64_t *hints;		     /* mapped */
	size_t slots_bytes;
	size_t conns_bytes;
	uint32_t max_flows;
	struct ring_buffer *ring; /* owned */
	bool has_older;		  /* there may be directories of other layouts */
	bool was_pinned;	  /* both slots and settings were */
	bool is_checked;	  /* by fastpath_check() */
	uint64_t older_until_ns;  /* when to stop waiting for another layout; 0: none seen */
	unsigned adopted;	  /* bit i: map i of maps.c's table was pinned before */
	enum fastpath_mode mode;

	struct fastpath_flows flows;
	struct fastpath_keys keys;
	struct fastpath_sets sets;

	struct fastpath_port *ports; /* owned */
	unsigned port_count;
	size_t port_room;
	uint64_t leave_until_ns;	 /* when leaving ports are detached at the latest */
	struct fastpath_listen *listens; /* owned */
	unsigned listen_count;
	bool has_old_ports; /* some TCP ports are served only for connections from before */

	/* The callback of fastpath_poll_events(), while it runs. */
	void (*on_event)(void *arg, const struct tollgate_event *event);
	void *event_arg;
};

/* Format the reason, for the operator to act on, into @ret_why. Returns @err. */
int fastpath_refuse(char *ret_why, size_t why_size, int err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* @prefix and @name as a file name on bpffs, which allows neither '.' nor '/'. */
void fastpath_pin_name(char *ret_name, size_t size, const char *prefix, const char *name);

/* Adopt the pinned maps, before loading; pin the new ones, after it; remove all pins. */
int fastpath_maps_adopt(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
			size_t why_size);
int fastpath_maps_pin(struct fastpath *fp, char *ret_why, size_t why_size);
void fastpath_maps_unpin(struct fastpath *fp);

/* Records that the adopted maps use become RECORD_LEFT, and `hints` is computed from them. */
int fastpath_flows_init(struct fastpath *fp, uint32_t max);
void fastpath_flows_done(struct fastpath_flows *flows);

/*
 * fastpath_flows_await() marks all connections that XDP has answered on so far. Both return how
 * many marked connections are not over yet.
 */
uint32_t fastpath_flows_await(struct fastpath *fp);
uint32_t fastpath_flows_awaited(struct fastpath *fp);

/*
 * Add to the bitmap the local ports of connections that XDP has answered on. Returns whether any
 * bit is new.
 */
bool fastpath_flows_add_ports(struct fastpath *fp, uint64_t ports[65536 / 64]);

/* An address as in the maps' keys: IPv4 as IPv4-mapped IPv6. False if it is not IP. */
bool fastpath_map_address(const struct sockaddr_storage *from, uint32_t to_be32[4],
			  uint16_t *ret_port_be16);

int fastpath_keys_init(struct fastpath_keys *keys);
void fastpath_keys_done(struct fastpath_keys *keys);

/* Withdraw this key from XDP, or all keys of the account in @slot. Any thread. */
void fastpath_keys_forget(struct fastpath *fp, const uint8_t hash[32]);
void fastpath_keys_forget_slot(struct fastpath *fp, uint32_t slot);

void fastpath_plane_init(struct fastpath *fp);

void fastpath_sets_init(struct fastpath_sets *sets);

/*
 * Ask the kernel (sock_diag) whether a connection has a socket. Returns 1 if it has one, in
 * whatever state (@ret_is_waiting: TIME_WAIT); 0 if it has none; or a negative errno.
 */
int fastpath_diag_open(void);
int fastpath_diag_find(int fd, const struct tollgate_flow_key *key, bool *ret_is_waiting);

/*
 * Attach the egress program to the interface. Returns 0, or a negative errno with the reason in
 * port->shown.why.
 */
int fastpath_egress_attach(struct fastpath *fp, struct fastpath_port *port, int ifindex);
void fastpath_egress_detach(struct fastpath *fp, struct fastpath_port *port);

/*
 * Remove the clsact filter that an earlier agent has left on the interface, if any. 0: does
 * nothing.
 */
void fastpath_egress_remove_filter(int ifindex);

/*
 * Another layout's pins, see older.c. fastpath_older_is_there(): are the programs whose link is
 * pinned as @link still needed? If true, @ret_why has the reason. If not,
 * fastpath_older_take_over() moves that link's pin to @our_path and detaches the egress program
 * pinned as @egress.
 */
#define FASTPATH_LINK_PREFIX   "link-"
#define FASTPATH_EGRESS_PREFIX "egress-"
bool fastpath_older_is_there(struct fastpath *fp, const char *link, char *ret_why, size_t why_size);
void fastpath_older_take_over(struct fastpath *fp, const char *link, const char *egress,
			      const char *our_path);

/*
 * Copy the configuration's listeners; write them into the maps with the interfaces' current
 * indices; write the ports; free the copy.
 */
int fastpath_listens_set(struct fastpath *fp, const struct fastpath_config *config);
int fastpath_listens_enter(struct fastpath *fp);
void fastpath_listens_enter_ports(struct fastpath *fp);
void fastpath_listens_done(struct fastpath *fp);

/*
 * Deal with pinned links that no port stands for. While there are connections that XDP has answered
 * on, their interfaces become leaving ports, with programs that translate but answer nothing new;
 * else they are detached at once. fastpath_leave_pass() detaches leaving ports when those
 * connections are over. Returns 0 or -ENOMEM.
 */
int fastpath_leave_begin(struct fastpath *fp);
void fastpath_leave_pass(struct fastpath *fp);

/* Detach all pinned links that no port stands for, and remove their pins. */
void fastpath_leave_orphans(struct fastpath *fp);

/* Add a port for the interface @name. Invalidates pointers to ports. Returns 0 or -ENOMEM. */
int fastpath_port_add(struct fastpath *fp, const char *name, bool is_leaving);

/* Detach the port's programs and remove its pins. */
void fastpath_port_remove(struct fastpath *fp, struct fastpath_port *port);

/* The mode of the XDP program on the interface, no matter whose it is. */
enum fastpath_mode fastpath_mode_of(int ifindex);

/* The interface that a link is attached to; 0: none any more. */
int fastpath_link_ifindex(int fd);

/* The path of the XDP link's pin. */
void fastpath_link_path(const struct fastpath *fp, const char *interface, char ret_path[PATH_MAX]);

/* Every second: remove what agents with other layouts have left and nobody needs any more. */
void fastpath_older_sweep(struct fastpath *fp);

/*
 * Detach the link pinned at @path, and the clsact filter that may belong to it, and remove the pin.
 * Returns 0, or -1 with errno set.
 */
int fastpath_remove_pin(const char *path);

/* Whether the file @pin is a link's pin, and whether its interface has a port. */
bool fastpath_is_link(const char *pin);
bool fastpath_has_port_for(const struct fastpath *fp, const char *pin);

/* Close the links; with @detach also detach the programs and remove the pins. Frees the ports. */
void fastpath_ports_done(struct fastpath *fp, bool detach);

/* The XDP program for native mode, and the one for generic mode. */
int fastpath_program_fd(const struct fastpath *fp);
int fastpath_generic_fd(const struct fastpath *fp);

#endif
