// SPDX-License-Identifier: Apache-2.0
/* Memory that is short when it should not be. Linked only into kernel-fail.elf, where the linker
 * leads all calls of the allocators here (--wrap): one in N of a program's allocations fails, by
 * dice of a seed: the word skerry.env=FAIL=N,SEED. Single pages fail 16 times as rarely, because a
 * page fault without one ends the program. */
#include "base/mem.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/boot/params.h"
#include "kernel/mm/kmem.h"
#include "kernel/sched/sched.h"

enum { PAGES_RARER = 16 };

void *__real_kmalloc(size_t bytes);
void *__real_kzalloc(size_t bytes);
struct page *__real_page_alloc(unsigned order);
struct page *__real_page_alloc_zero(unsigned order);
void *__wrap_kmalloc(size_t bytes);
void *__wrap_kzalloc(size_t bytes);
struct page *__wrap_page_alloc(unsigned order);
struct page *__wrap_page_alloc_zero(unsigned order);

static uint32_t one_in, seed; // the dice: races between CPUs make them better
static bool looked;

static uint32_t number(const char **text)
{
    uint32_t n = 0;
    for (; **text >= '0' && **text <= '9'; (*text)++)
        n = n * 10 + (uint32_t)(**text - '0');
    return n;
}

static void look(void)
{
    looked = true;
    for (unsigned i = 0; i < boot_params.env_count; i++) {
        const char *text = boot_params.env[i];
        if (strncmp(text, "FAIL=", 5) != 0)
            continue;
        text += 5;
        one_in = number(&text);
        text += *text == ',';
        seed = number(&text);
    }
}

static bool fails(uint32_t rarer)
{
    const struct task *t = this_cpu()->current;
    if (t == NULL || t->arch == NULL || !t->arch->user)
        return false;
    if (!looked)
        look();
    seed = seed * 1664525 + 1013904223;
    return one_in != 0 && (seed >> 8) % (one_in * rarer) == 0;
}

void *__wrap_kmalloc(size_t bytes)
{
    return fails(1) ? NULL : __real_kmalloc(bytes);
}

void *__wrap_kzalloc(size_t bytes)
{
    return fails(1) ? NULL : __real_kzalloc(bytes);
}

struct page *__wrap_page_alloc(unsigned order)
{
    return fails(order == 0 ? PAGES_RARER : 1) ? NULL : __real_page_alloc(order);
}

struct page *__wrap_page_alloc_zero(unsigned order)
{
    return fails(order == 0 ? PAGES_RARER : 1) ? NULL : __real_page_alloc_zero(order);
}
