// SPDX-License-Identifier: Apache-2.0
#include "kernel/arch/x86_64/tlb.h"

#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/pt.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/mm/space.h"
#include "kernel/sched/sched.h"

enum { FLUSH_SINGLE_MAX = 32 };

struct request {
    uint64_t root, start, end;
};

static void flush_pages(uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end; at += PAGE_SIZE)
        invlpg(at);
}

/* What is loaded holds no translations that another load of the same tables would keep. */
static void flush_here(uint64_t root, uint64_t start, uint64_t end)
{
    if ((end - start) >> PAGE_SHIFT > FLUSH_SINGLE_MAX)
        write_cr3(root);
    else
        flush_pages(start, end);
}

/* An idle CPU leaves the space for good instead: it is not asked again. */
static void answer(const void *arg)
{
    const struct request *r = arg;
    struct cpu *c = this_cpu();
    struct mm *mm = c->active_mm;
    if (mm == NULL || !c->mm_loaded || mm->root != r->root)
        return; // has gone to others meanwhile
    if (!cpu_idle(c)) {
        flush_here(r->root, r->start, r->end);
        return;
    }
    c->mm_loaded = false;
    write_cr3(pt_kernel_root());
    __atomic_fetch_and(&mm->cpus, ~(1ull << c->id), __ATOMIC_RELEASE);
}

void tlb_flush(const uint64_t *cpus_mask, uint64_t root, uint64_t start, uint64_t end)
{
    const uint64_t me = 1ull << this_cpu()->id;
    if (cpu_count > 1) // the entries are changed before the mask is read; pairs with tlb_load
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint64_t mask = __atomic_load_n(cpus_mask, __ATOMIC_RELAXED);
    if (mask & me)
        flush_here(root, start, end);
    const struct request r = {.root = root, .start = start, .end = end};
    if (UNLIKELY((mask & ~me) != 0))
        smp_call(mask & ~me, answer, &r);
}

static void answer_kernel(const void *arg)
{
    const struct request *r = arg;
    flush_pages(r->start, r->end);
}

void tlb_flush_kernel(uint64_t start, uint64_t end)
{
    const struct request r = {.start = start, .end = end};
    uint64_t others = smp_others();
    flush_pages(start, end);
    if (others != 0)
        smp_call(others, answer_kernel, &r);
}

void tlb_load(uint64_t *old_cpus, uint64_t *new_cpus, uint64_t root)
{
    struct cpu *c = this_cpu();
    const uint64_t me = 1ull << c->id;
    __atomic_fetch_or(new_cpus, me, __ATOMIC_SEQ_CST); // before the first walk of the tables
    write_cr3(root);
    if (old_cpus != NULL && old_cpus != new_cpus)
        __atomic_fetch_and(old_cpus, ~me, __ATOMIC_RELEASE);
    c->mm_loaded = true;
}
