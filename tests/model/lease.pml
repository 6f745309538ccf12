/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lease: one host at a time processes events and reports usage. The model of the lease in
 * user/store/redis/lua/fleet.lua, and of fenced_off() in common.lua, which checks each write of its
 * holder.
 *
 * A host may be frozen between any two steps, for a while or forever, so it cannot rely on time. It
 * writes when it believes that it holds the lease, although another host may have taken it over
 * long ago.
 */
#ifndef H
#define H 3
#endif
#ifndef TERMS
#define TERMS 4 /* how often the lease gets a new holder */
#endif

byte holder = H, fence; /* in Redis; H: no holder */
bool is_over;		/* the lease has expired, by Redis's clock */
byte mine[H];		/* the fence of the lease, as each host believes; 0: no lease */

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
	/*
	 * The host gives up by its own clock, long before another can get the lease, unless it is
	 * frozen.
	 */
	:: mine[me] > 0 -> mine[me] = 0
	:: mine[me] > 0 ->
		/* The host may have been frozen here. */
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
