/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lease: one host at a time works and reports. user/store/lua/fleet.lua hands the lease out, fenced_off() in
 * common.lua is what each write of its holder meets.
 *
 * A host may be frozen between any two steps, for ever or for a while, so time is nothing that it can
 * rely on: it writes when it believes that it holds the lease, which may long be another's.
 */
#ifndef H
#define H 3
#endif
#ifndef TERMS
#define TERMS 4 /* times that the lease changes hands */
#endif

byte holder = H, fence; /* in Redis; H: nobody */
bool is_over;		/* the lease has expired, by Redis's clock */
byte mine[H];		/* what each host believes its fence to be; 0: it does not hold the lease */

active [H] proctype host()
{
	byte me = _pid;

	do
	:: atomic { fence < TERMS && (holder == H || is_over || holder == me) ->
		if
		:: holder == me && !is_over
		:: else -> fence++
		fi;
		holder = me;
		is_over = false;
		mine[me] = fence
	}
	/* By its own clock, long before another one can have it; unless it is frozen. */
	:: mine[me] > 0 -> mine[me] = 0
	:: mine[me] > 0 ->
		/* Frozen here, perhaps. */
		atomic {
			if
#ifndef NO_FENCE
			:: mine[me] != fence -> mine[me] = 0
			:: mine[me] == fence ->
#else
			:: true ->
#endif
				assert(holder == me)
			fi
		}
	:: fence == TERMS && mine[me] == 0 -> break
	od
}

active proctype time()
{
	do
	:: holder < H && !is_over -> is_over = true
	:: fence == TERMS -> break
	od
}
