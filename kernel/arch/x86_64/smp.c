// SPDX-License-Identifier: Apache-2.0
#include "kernel/arch/x86_64/smp.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"

struct call {
    void (*run)(const void *arg);
    const void *arg;
    uint64_t pending; // atomic: who has not answered yet
} __attribute__((aligned(64)));

static struct call calls[CPUS_MAX]; // by caller: one at a time, the caller is not pre-empted

static uint64_t bit_of(const struct cpu *c)
{
    return 1ull << c->id;
}

uint64_t smp_others(void)
{
    uint64_t all = cpu_count == CPUS_MAX ? UINT64_MAX : (1ull << cpu_count) - 1;
    return all & ~bit_of(this_cpu());
}

void smp_answer(void)
{
    struct cpu *me = this_cpu();
    uint64_t callers = __atomic_exchange_n(&me->calls, 0, __ATOMIC_ACQ_REL);
    for (; callers != 0; callers &= callers - 1) {
        struct call *c = &calls[__builtin_ctzll(callers)];
        c->run(c->arg);
        __atomic_fetch_and(&c->pending, ~bit_of(me), __ATOMIC_ACQ_REL);
    }
}

void smp_call(uint64_t targets, void (*run)(const void *arg), const void *arg)
{
    struct cpu *me = this_cpu();
    struct call *c = &calls[me->id];
    ASSERT(c->pending == 0);
    c->run = run;
    c->arg = arg;
    __atomic_store_n(&c->pending, targets, __ATOMIC_RELEASE);
    for (uint64_t left = targets; left != 0; left &= left - 1) {
        struct cpu *to = cpus[__builtin_ctzll(left)];
        __atomic_fetch_or(&to->calls, bit_of(me), __ATOMIC_ACQ_REL);
        apic_send(to->id, VECTOR_CALL);
    }
    // Others may wait for us likewise, and we may have interrupts off.
    while (__atomic_load_n(&c->pending, __ATOMIC_ACQUIRE) != 0) {
        if (__atomic_load_n(&me->calls, __ATOMIC_RELAXED) != 0)
            smp_answer();
        cpu_relax();
    }
}
