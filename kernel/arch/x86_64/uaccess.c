// SPDX-License-Identifier: Apache-2.0
#include "kernel/mm/uaccess.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/mm/layout.h"
#include "kernel/sched/sched.h"

static bool range_ok(uint64_t user, size_t n)
{
    return n <= USER_END && user <= USER_END - n;
}

/* The instruction before this note may fault on a user address; the trap handler goes on at the
 * label `fault` then (trap.c). */
#define MAY_FAULT(at) ".pushsection .fixup, \"a\"\n.long " #at "b - ., %l[fault] - .\n.popsection\n"

static int copy(void *to, const void *from, size_t n)
{
    size_t words = n / 8, rest = n % 8;
    user_access_begin();
    __asm__ volatile goto(
        "1: rep movsq\n" MAY_FAULT(1) "mov %[rest], %%rcx\n2: rep movsb\n" MAY_FAULT(2)
        : "+D"(to), "+S"(from), "+c"(words)
        : [rest] "r"(rest)
        : "memory"
        : fault);
    user_access_end();
    return 0;
fault:
    user_access_end();
    return -EFAULT;
}

int copy_from_user(void *to, uint64_t from_user, size_t n)
{
    return LIKELY(range_ok(from_user, n)) ? copy(to, (const void *)from_user, n) : -EFAULT;
}

int copy_to_user(uint64_t to_user, const void *from, size_t n)
{
    return LIKELY(range_ok(to_user, n)) ? copy((void *)to_user, from, n) : -EFAULT;
}

int clear_user(uint64_t to_user, size_t n)
{
    void *to = (void *)to_user;
    size_t words = n / 8, rest = n % 8;
    if (!range_ok(to_user, n))
        return -EFAULT;
    user_access_begin();
    __asm__ volatile goto(
        "1: rep stosq\n" MAY_FAULT(1) "mov %[rest], %%rcx\n2: rep stosb\n" MAY_FAULT(2)
        : "+D"(to), "+c"(words)
        : [rest] "r"(rest), "a"(0)
        : "memory"
        : fault);
    user_access_end();
    return 0;
fault:
    user_access_end();
    return -EFAULT;
}

static int load_byte(uint64_t user, char *ret)
{
    char c;
    __asm__ volatile goto("1: movb (%1), %0\n" MAY_FAULT(1)
                          : "=q"(c)
                          : "r"(user)
                          : "memory"
                          : fault);
    *ret = c;
    return 0;
fault:
    return -EFAULT;
}

int64_t strncpy_from_user(char *to, uint64_t from_user, size_t max)
{
    int64_t r = -ENAMETOOLONG;
    user_access_begin();
    for (size_t i = 0; i < max; i++) {
        if (!range_ok(from_user + i, 1) || load_byte(from_user + i, &to[i]) < 0) {
            r = -EFAULT;
            break;
        }
        if (to[i] == '\0') {
            r = (int64_t)i;
            break;
        }
    }
    user_access_end();
    return r;
}

int copy_from_user_atomic(void *to, uint64_t from_user, size_t n)
{
    current()->arch->no_fault++;
    int r = copy_from_user(to, from_user, n);
    current()->arch->no_fault--;
    return r;
}

int copy_to_user_atomic(uint64_t to_user, const void *from, size_t n)
{
    current()->arch->no_fault++;
    int r = copy_to_user(to_user, from, n);
    current()->arch->no_fault--;
    return r;
}

static int cmpxchg_locked(uint32_t *at, uint32_t *expected, uint32_t desired)
{
    uint32_t seen = *expected;
    __asm__ volatile goto("1: lock cmpxchgl %[desired], (%[at])\n" MAY_FAULT(1)
                          : "+a"(seen)
                          : [at] "r"(at), [desired] "r"(desired)
                          : "memory", "cc"
                          : fault);
    *expected = seen;
    return 0;
fault:
    return -EFAULT;
}

int cmpxchg_user(uint64_t user, uint32_t *expected, uint32_t desired)
{
    if (!range_ok(user, sizeof(*expected)) || user % sizeof(*expected) != 0)
        return -EFAULT;
    user_access_begin();
    int r = cmpxchg_locked((uint32_t *)user, expected, desired);
    user_access_end();
    return r;
}
