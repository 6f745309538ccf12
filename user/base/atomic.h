/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * atomic: atomic operations on ordinary integers, pointers and bools that several threads share.
 *
 * The names state the memory order:
 *
 *   atomic_read, atomic_write, atomic_add, atomic_sub    relaxed: each access is whole, and nothing
 *                                                        else is ordered. For counters and flags.
 *   _acquire, _release                                   a release store publishes all earlier
 * writes to every thread whose acquire load sees it. _seq_cst also takes part in the one total
 * order of all such operations: for a store that must not pass a later load of another word. all
 * operations that return a value                   acquire and release at once.
 *
 * Memory that is shared with the kernel's programs is accessed through these macros, too. An
 * argument may be evaluated more than once.
 */
#ifndef BASE_ATOMIC_H
#define BASE_ATOMIC_H

#include <stdbool.h>

#define atomic_read(at)			__atomic_load_n((at), __ATOMIC_RELAXED)
#define atomic_read_acquire(at)		__atomic_load_n((at), __ATOMIC_ACQUIRE)
#define atomic_read_seq_cst(at)		__atomic_load_n((at), __ATOMIC_SEQ_CST)
#define atomic_write(at, value)		__atomic_store_n((at), (value), __ATOMIC_RELAXED)
#define atomic_write_release(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)
#define atomic_write_seq_cst(at, value) __atomic_store_n((at), (value), __ATOMIC_SEQ_CST)

#define atomic_add(at, value) ((void)__atomic_fetch_add((at), (value), __ATOMIC_RELAXED))
#define atomic_sub(at, value) ((void)__atomic_fetch_sub((at), (value), __ATOMIC_RELAXED))

/* A counter that publishes what was counted before it. */
#define atomic_add_release(at, value) ((void)__atomic_fetch_add((at), (value), __ATOMIC_RELEASE))

/* These return the value after the operation: the thread that sees a count reach 0 may free. */
#define atomic_add_return(at, value) __atomic_add_fetch((at), (value), __ATOMIC_ACQ_REL)
#define atomic_sub_return(at, value) __atomic_sub_fetch((at), (value), __ATOMIC_ACQ_REL)

/* These return the value before the operation. */
#define atomic_exchange(at, value) __atomic_exchange_n((at), (value), __ATOMIC_ACQ_REL)
#define atomic_fetch_or(at, bits)  __atomic_fetch_or((at), (bits), __ATOMIC_ACQ_REL)
#define atomic_fetch_and(at, bits) __atomic_fetch_and((at), (bits), __ATOMIC_ACQ_REL)

/*
 * If *@at equals *@expected, store @value there and return true. Otherwise load *@at into
 * *@expected (acquire) and return false. It does not fail spuriously.
 */
#define atomic_compare_exchange(at, expected, value)                                    \
	__atomic_compare_exchange_n((at), (expected), (value), false, __ATOMIC_ACQ_REL, \
				    __ATOMIC_ACQUIRE)

/*
 * Fences order a group of relaxed accesses at once, as a sequence lock needs: the writer's follows
 * its odd sequence number, the reader's precedes its second look at the number.
 */
#define atomic_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define atomic_fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Tell the CPU that this loop waits for another thread. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif
