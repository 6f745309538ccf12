/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share: how hosts borrow tokens of one account's bucket in Redis. user/enforce/share.{h,c} and
 * user/store/lua/share.lua are what is modelled.
 *
 * A tick is the time between two exchanges of a host, and brings the bucket one token: R*tick = 1. Each
 * host asks once a tick; a call may be lost before it took effect (and arrive later still), or its
 * answer may be. Hosts die and come back with nothing. Totals are counted from a common base that is
 * moved along, so that nothing grows for ever.
 *
 * `debt` is a ghost: the leaky bucket that all allowed requests fill and time empties. That it never
 * passes B + O is the same as saying that in any time T at most B + R*T + O units are allowed.
 */
#ifndef H
#define H 2
#endif
#ifndef B
#define B 2
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef LEASE
#define LEASE 3 /* ticks */
#endif

#define PART  ((B + H - 1) / H)
#define FLOOR (0 - (B + H))

/*
 * O, see user/enforce/share.h: each host's share at once; what is lent and not used yet while the bucket fills
 * again; what two ticks bring (one until it is told, one for the call's way). One more tick for each call that is
 * lost; and for each start a share anew, and what was used of the last one and never told.
 */
#ifndef OVER
#define OVER (H * PART + (B * H + H) / (H + 1) + 2 + LOSSES + 2 * DEATHS * PART)
#endif

short tokens = B, debt;
byte losses, deaths;

/* On each host. */
short used[H], paid[H];
byte lease_left[H], dry_left[H], share_debt[H];
bool has_asked[H];

/* The call under way, and one that was given up and may still arrive. */
bool is_asking[H];
short call_used[H];
byte call_want[H];
bool is_late[H], is_overtaken[H];
short late_used[H];
byte late_want[H];

/* In Redis. */
short told_paid[H];

/* Temporaries. */
hidden short base, grant, least;
hidden byte h;

#define HAS_LEASE(h) (lease_left[h] > 0 && used[h] < paid[h])

inline allow()
{
	used[h]++;
	debt++;
	assert(debt <= B + OVER)
}

/* Redis, with what a call of host h says: in one step. Leaves `grant`. */
inline exchange(says_used, says_want)
{
	least = (tokens < FLOOR -> tokens : FLOOR);
#ifdef NO_PAYING
	tokens = tokens - (says_used < told_paid[h] -> says_used - told_paid[h] : 0);
#else
	tokens = tokens - (says_used - told_paid[h]);
#endif
#ifndef NO_CLAMP
	tokens = (tokens > B -> B : tokens);
#endif
#ifndef NO_FLOOR
	tokens = (tokens < least -> least : tokens);
#endif
	grant = (tokens > 0 -> tokens / 2 : 0);
	grant = (grant > says_want -> says_want : grant);
	if
	:: grant == 0 && says_want > 0 && tokens >= 1 -> grant = 1
	:: else
	fi;
#ifndef NO_TAKING
	tokens = tokens - grant;
#endif
	told_paid[h] = says_used + grant;
	assert(tokens <= B);
	/* So the bucket is full again after as many ticks as lie between: no token is lost for ever. */
	assert(tokens >= FLOOR - 1)
}

/* Count from the lowest number of host h that anyone has. */
inline rebase()
{
	base = (used[h] < paid[h] -> used[h] : paid[h]);
	base = (told_paid[h] < base -> told_paid[h] : base);
	base = (is_asking[h] && call_used[h] < base -> call_used[h] : base);
	base = (is_late[h] && late_used[h] < base -> late_used[h] : base);
	used[h] = used[h] - base;
	paid[h] = paid[h] - base;
	told_paid[h] = told_paid[h] - base;
	call_used[h] = (is_asking[h] -> call_used[h] - base : 0);
	late_used[h] = (is_late[h] -> late_used[h] - base : 0)
}

inline end_call()
{
	is_asking[h] = false;
	call_want[h] = 0;
	rebase()
}

inline drop_late()
{
	is_late[h] = false;
	is_overtaken[h] = false;
	late_want[h] = 0;
	rebase()
}

inline host_step()
{
	if
	/* A request: from the lease, or else from the share. */
	:: HAS_LEASE(h) -> allow()
	:: !HAS_LEASE(h) && dry_left[h] == 0 && share_debt[h] + H <= PART * H ->
#ifndef NO_SHARE_LIMIT
		share_debt[h] = share_debt[h] + H;
#endif
		allow()

	:: !is_asking[h] && !has_asked[h] ->
		has_asked[h] = true;
		is_asking[h] = true;
		call_used[h] = used[h];
		if
		:: call_want[h] = 0
		:: call_want[h] = 1
		:: call_want[h] = B
		fi

	/* It takes effect and is answered, or the answer is lost. */
	:: is_asking[h] ->
		exchange(call_used[h], call_want[h]);
		is_overtaken[h] = is_late[h];
		if
		:: paid[h] = told_paid[h];
			lease_left[h] = LEASE;
			dry_left[h] = (grant == 0 && tokens < 1 -> 1 - tokens : 0)
		:: losses < LOSSES -> losses++
		fi;
		end_call()

	/* Given up before it arrived. */
	:: is_asking[h] && losses < LOSSES && !is_late[h] ->
		losses++;
		is_late[h] = true;
		late_used[h] = call_used[h];
		late_want[h] = call_want[h];
		end_call()

	:: is_late[h] ->
#ifndef NO_SEQ
		if
		:: is_overtaken[h]
		:: else -> exchange(late_used[h], late_want[h])
		fi;
#else
		exchange(late_used[h], late_want[h]);
#endif
		drop_late()
	:: is_late[h] -> drop_late()

	/* A new run of the agent: Redis has never heard of it. */
	:: deaths < DEATHS ->
		deaths++;
		used[h] = 0;
		paid[h] = 0;
		told_paid[h] = 0;
		lease_left[h] = 0;
		dry_left[h] = 0;
		share_debt[h] = 0;
		is_late[h] = false;
		is_overtaken[h] = false;
		late_want[h] = 0;
		end_call()
	:: else
	fi
}

#define LESS(x) x = (x > 0 -> x - 1 : 0)

inline tick()
{
	tokens = (tokens < B -> tokens + 1 : B);
	LESS(debt);
	h = 0;
	do
	:: h < H ->
#ifndef NO_LEASE_END
		LESS(lease_left[h]);
#endif
		LESS(dry_left[h]);
		LESS(share_debt[h]);
		has_asked[h] = false;
		h++
	:: else -> break
	od;
	h = 0
}

#if H == 2
#define ALL_TOLD (has_asked[0] && has_asked[1] && !is_asking[0] && !is_asking[1])
#else
#define ALL_TOLD (has_asked[0] && has_asked[1] && has_asked[2] && \
		  !is_asking[0] && !is_asking[1] && !is_asking[2])
#endif

init {
end:
	do
	:: atomic { h = 0; host_step(); h = 0 }
	:: atomic { h = 1; host_step(); h = 0 }
#if H == 3
	:: atomic { h = 2; host_step(); h = 0 }
#endif
	:: atomic { ALL_TOLD -> tick() }
	od
}
