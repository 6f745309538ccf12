/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share: hosts borrow tokens from one account's bucket in Redis. The model of
 * user/enforce/share.{h,c} and user/store/redis/lua/share.lua.
 *
 * A tick is the time between two exchanges of a host, in which the bucket gains one token: R*tick =
 * 1. Each host calls once per tick. A call may be lost before it takes effect, and may still arrive
 * later; or its answer may be lost. Hosts die, and restart without any state. Totals count from a
 * common base that moves along, so that no number grows forever.
 *
 * `debt` exists only in the model: a leaky bucket that every allowed request fills and time drains.
 * That it never exceeds B + O means that in any time T at most B + R*T + O units are allowed.
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
 * O, see user/enforce/share.h, is the sum of: each host's share, used at once; units that are lent
 * and not yet used while the bucket refills; the tokens of two ticks (one until use is reported,
 * one for the call on its way); one more tick for each lost call; and for each restart a new share,
 * plus the used part of the last share that was never reported.
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

/* The current call, and one that was given up but may still arrive. */
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

/* Redis processes a call of host h in one step. The result is in `grant`. */
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
	/* So the bucket refills within a bounded number of ticks, and no token is lost forever. */
	assert(tokens >= FLOOR - 1)
}

/* Make the lowest total of host h, on the host, in Redis or in a call, the new base. */
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
	/* A request is paid from the borrowed units, or else from the host's share. */
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

	/* The call takes effect, and is answered or the answer is lost. */
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

	/* The host gives the call up before it arrives. */
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

	/* The agent restarts: a new run, which Redis does not know. */
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
