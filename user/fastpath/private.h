/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of fastpath share; nobody else includes this but their tests.
 *
 * load.c opens and closes; maps.c makes or reuses the pinned maps; attach.c deals with interfaces,
 * leave.c with interfaces that no listener names any more, older.c with interfaces that another
 * version holds; listen.c enters listeners and ports; flows.c keeps the records of connections;
 * answers.c holds what XDP needs in order to answer; plane.c implements enforce/xdp_plane.h; check.c
 * tries the programs before they are attached; diag.c asks the kernel for sockets; egress.c attaches
 * the program that translates what leaves.
 */
#ifndef FASTPATH_PRIVATE_H
#define FASTPATH_PRIVATE_H

#include <limits.h>
#include <net/if.h>
#include <pthread.h>

#include "fastpath/fastpath.h"

struct edge_bpf;
struct ring_buffer;

struct fastpath_port {
	struct fastpath_interface shown;
	char name[IF_NAMESIZE]; /* what shown.name points to */
	int link_fd;		/* owned; -1: not attached */
	int egress_fd;		/* owned: its link; -1: none, or a filter of clsact */
	bool has_filter;
	int ifindex;	 /* that is attached to, or cannot be; 0: there was no such interface */
	bool is_waiting; /* for another version's programs */
	bool is_leaving; /* no listener names it any more */
};

/* A listener's address on an interface. */
struct fastpath_listen {
	struct tollgate_listener_key key; /* ifindex 0: no such interface */
	char name[IF_NAMESIZE];
};

enum record_state {
	RECORD_FREE,
	RECORD_LIVE, /* of a connection of ours */
	RECORD_LEFT, /* closed by us or by an agent before us: translated until its socket is gone */
};

/* The records of `conns`: which are free, and the keys of those in use. */
struct fastpath_flows {
	pthread_mutex_t lock;
	struct tollgate_flow_key *keys; /* owned; by record */
	uint8_t *states;		/* owned; enum record_state, by record */
	uint32_t *free;			/* owned; a stack of records */
	bool *awaited;			/* owned; by record: see fastpath_flows_await() */
	uint32_t free_count, left_count, awaited_count;
	uint32_t sweep_at; /* where fastpath_sweep() goes on */
	uint32_t max;
	int diag_fd; /* asks the kernel for sockets; or -1 */
};

/* Longer than TIME_WAIT and than the kernel goes on trying to send to a client that is gone. */
#define FASTPATH_WAIT_NS (180 * NS_PER_SECOND)

#define FASTPATH_SETS 512   /* of templates; one holds those that depend on no tier */
#define FASTPATH_KEYS 65536 /* fingerprints at most */

/* One fingerprint that XDP knows. */
struct fastpath_key {
	uint8_t hash[32]; /* as the mirror knows the key */
	struct tollgate_fingerprint print;
	struct tollgate_known_key known;
	bool is_used;
};

/* A key's place goes by its hash; another key that falls there takes it over. */
struct fastpath_keys {
	pthread_mutex_t lock;
	struct fastpath_key *places; /* owned; FASTPATH_KEYS */
};

/* Sets of templates are given out in turn, so that one given back rests as long as can be. */
struct fastpath_sets {
	uint64_t free_since_ns[FASTPATH_SETS]; /* UINT64_MAX while it is not free */
};

struct fastpath {
	struct xdp_plane plane;
	char dir[PATH_MAX / 4];		     /* <bpffs>/tollgate/<instance>/v<ABI> */
	int lock_fd;			     /* that folder, locked as long as we use it; or -1 */
	int instance_fd;		     /* the one above it; or -1 */
	char pins[32];			     /* a path to `dir` that we may always go */
	char instance_pins[32];		     /* likewise to the one above it */
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
	bool has_older;		  /* folders of other layouts, perhaps */
	bool was_pinned;
	bool is_checked;
	uint64_t
		older_until_ns; /* so long another layout's programs are waited for; 0: none seen */
	unsigned adopted;	/* bits: which maps were pinned already, by maps.c's table */
	enum fastpath_mode mode;

	struct fastpath_flows flows;
	struct fastpath_keys keys;
	struct fastpath_sets sets;

	struct fastpath_port *ports; /* owned */
	unsigned port_count;
	size_t port_room;
	uint64_t leave_until_ns;	 /* so long those that are leaving stay at most */
	struct fastpath_listen *listens; /* owned */
	unsigned listen_count;
	bool has_old_ports; /* ports count as ours for the sake of earlier connections */

	/* whom fastpath_poll_events() calls, while it runs */
	void (*on_event)(void *arg, const struct tollgate_event *event);
	void *event_arg;
};

/* Write the sentence for the person who must act, and return @err. */
int fastpath_refuse(char *ret_why, size_t why_size, int err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* @name as a file's name on bpffs, which wants neither '.' nor '/'. */
void fastpath_pin_name(char *ret_name, size_t size, const char *prefix, const char *name);

/* What was pinned is adopted, before loading; what is new is pinned, after it. */
int fastpath_maps_adopt(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
			size_t why_size);
int fastpath_maps_pin(struct fastpath *fp, char *ret_why, size_t why_size);
void fastpath_maps_unpin(struct fastpath *fp);

/* Records in use by the adopted maps are left ones; hints are drawn up from them. */
int fastpath_flows_init(struct fastpath *fp, uint32_t max);
void fastpath_flows_done(struct fastpath_flows *flows);

/*
 * From now on the connections on which has been answered are waited for: how many there are of them
 * now, or are left of those.
 */
uint32_t fastpath_flows_await(struct fastpath *fp);
uint32_t fastpath_flows_awaited(struct fastpath *fp);

/* Add the local ports of connections on which has been answered. Whether any was not there. */
bool fastpath_flows_add_ports(struct fastpath *fp, uint64_t ports[65536 / 64]);

/* An address as packets show it: IPv4 mapped. False when it is not IP. */
bool fastpath_map_address(const struct sockaddr_storage *from, uint32_t to_be32[4],
			  uint16_t *ret_port_be16);

int fastpath_keys_init(struct fastpath_keys *keys);
void fastpath_keys_done(struct fastpath_keys *keys);

/* XDP forgets this key, or all keys of the account in @slot. Any thread. */
void fastpath_keys_forget(struct fastpath *fp, const uint8_t hash[32]);
void fastpath_keys_forget_slot(struct fastpath *fp, uint32_t slot);

void fastpath_plane_init(struct fastpath *fp);

void fastpath_sets_init(struct fastpath_sets *sets);

/*
 * Ask the kernel for a connection's socket (sock_diag). 1: there is one, also one that only waits
 * (@ret_is_waiting: TIME_WAIT); 0: there is none; or a negative errno.
 */
int fastpath_diag_open(void);
int fastpath_diag_find(int fd, const struct tollgate_flow_key *key, bool *ret_is_waiting);

/* Let what leaves the interface be translated. 0, or a negative errno with the reason in the port. */
int fastpath_egress_attach(struct fastpath *fp, struct fastpath_port *port, int ifindex);
void fastpath_egress_detach(struct fastpath *fp, struct fastpath_port *port);

/* Take a filter of clsact off that an earlier agent has left there, if there is an interface. */
void fastpath_egress_remove_filter(int ifindex);

/*
 * Another layout's pins, see older.c: are its programs, whose link is pinned as @link, still
 * needed? True with the reason. When they are not, its link is taken over to @our_path, and what it has
 * at egress is detached.
 */
#define FASTPATH_LINK_PREFIX   "link-"
#define FASTPATH_EGRESS_PREFIX "egress-"
bool fastpath_older_is_there(struct fastpath *fp, const char *link, char *ret_why, size_t why_size);
void fastpath_older_take_over(struct fastpath *fp, const char *link, const char *egress,
			      const char *our_path);

/* The configuration's listeners; and entered into the maps, with interfaces' numbers as they are now. */
int fastpath_listens_set(struct fastpath *fp, const struct fastpath_config *config);
int fastpath_listens_enter(struct fastpath *fp);
void fastpath_listens_enter_ports(struct fastpath *fp);
void fastpath_listens_done(struct fastpath *fp);

/*
 * Links that are pinned and that no port stands for: while connections on which was answered are left,
 * their interfaces become ports that are leaving, with programs that translate and answer nothing new;
 * else they are let go at once. fastpath_leave_pass() does it when those connections are over.
 */
int fastpath_leave_begin(struct fastpath *fp);
void fastpath_leave_pass(struct fastpath *fp);

/* Take all links off that are pinned and that no port stands for. */
void fastpath_leave_strangers(struct fastpath *fp);

/* Add a port for the interface @name. Pointers to ports are void then. 0 or -ENOMEM. */
int fastpath_port_add(struct fastpath *fp, const char *name, bool is_leaving);

/* Detach what a port has, and remove its pins. */
void fastpath_port_remove(struct fastpath *fp, struct fastpath_port *port);

/* How the interface is served by whatever program. */
enum fastpath_mode fastpath_mode_of(int ifindex);

/* Where a link is; 0: nowhere any more. */
int fastpath_link_ifindex(int fd);

/* The path of the link's pin. */
void fastpath_link_path(const struct fastpath *fp, const char *interface, char ret_path[PATH_MAX]);

/* Every second: what other layouts' agents have left and nobody needs any more is removed. */
void fastpath_older_sweep(struct fastpath *fp);

/* Detach what is pinned at @path, with the filter that may belong to it, and remove the pin. */
int fastpath_remove_pin(const char *path);

/* Of a file's name in a folder of pins: is it a link's, and of an interface that we have a port for? */
bool fastpath_is_link(const char *pin);
bool fastpath_has_port_for(const struct fastpath *fp, const char *pin);

/* Close the links' descriptors; with @detach take the programs off the interfaces and unpin them. */
void fastpath_ports_done(struct fastpath *fp, bool detach);

/* The program for frames as the driver has them, or for generic mode. */
int fastpath_program_fd(const struct fastpath *fp);
int fastpath_generic_fd(const struct fastpath *fp);

#endif
