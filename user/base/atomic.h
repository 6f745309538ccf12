/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * atomic: the compiler's atomic operations by short names, for members that several threads use.
 *
 * Plain names are relaxed: each access is whole, and nothing else is promised. That fits counters and
 * flags that are merely looked at. A release store publishes everything written before it to whoever
 * reads the new value with an acquire load. Read-modify-write operations that decide who owns or frees
 * something are acquire and release in one.
 *
 * Memory shared with the kernel's programs is accessed with these, too.
 */
#ifndef BASE_ATOMIC_H
#define BASE_ATOMIC_H

#define atomic_read(at)			__atomic_load_n((at), __ATOMIC_RELAXED)
#define atomic_read_acquire(at)		__atomic_load_n((at), __ATOMIC_ACQUIRE)
#define atomic_write(at, value)		__atomic_store_n((at), (value), __ATOMIC_RELAXED)
#define atomic_write_release(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)

/* Counters: relaxed. */
#define atomic_add(at, value) ((void)__atomic_fetch_add((at), (value), __ATOMIC_RELAXED))
#define atomic_sub(at, value) ((void)__atomic_fetch_sub((at), (value), __ATOMIC_RELAXED))

/* References: who sees 0 may free. The result is the value after the operation. */
#define atomic_add_return(at, value) __atomic_add_fetch((at), (value), __ATOMIC_ACQ_REL)
#define atomic_sub_return(at, value) __atomic_sub_fetch((at), (value), __ATOMIC_ACQ_REL)

/* The value before the operation. */
#define atomic_exchange(at, value) __atomic_exchange_n((at), (value), __ATOMIC_ACQ_REL)

/*
 * Store @value if *@at equals *@expected, and return whether it did; else *@expected is what was there.
 * Never fails without a reason.
 */
#define atomic_compare_exchange(at, expected, value)                                    \
	__atomic_compare_exchange_n((at), (expected), (value), false, __ATOMIC_ACQ_REL, \
				    __ATOMIC_ACQUIRE)

/* Tell the CPU that this is a loop that waits for another one. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

#endif
