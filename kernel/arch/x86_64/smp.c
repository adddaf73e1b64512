// SPDX-License-Identifier: Apache-2.0
#include "kernel/arch/x86_64/smp.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/pt.h"
#include "kernel/boot/memory.h"
#include "kernel/boot/params.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/layout.h"
#include "kernel/mm/vmap.h"
#include "kernel/sched/sched.h"

enum {
    AP_CODE_PHYS = 0x7000, // boot/memory.c keeps it free
    ICR_ASSERT = 1 << 14,
    ICR_NMI = 4 << 8,
    ICR_INIT = 5 << 8,
    ICR_STARTUP = 6 << 8,
};
static const uint64_t START_NS = 10 * NS_PER_SEC, AGAIN_NS = 20 * 1000 * 1000;

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

// ---- start

struct ap_facts {
    uint64_t boot_root, kernel_root, entry;
};

NORETURN void ap_main(uint32_t id);
uint64_t ap_stacks[CPUS_MAX]; // ap.S
static unsigned wanted = 1;
static uint64_t there = 1; // atomic: by number, CPUs that are up

static void send_all(uint64_t mask, uint32_t command)
{
    for (; mask != 0; mask &= mask - 1)
        apic_send((uint32_t)__builtin_ctzll(mask), command);
}

static uint64_t missing(void)
{
    uint64_t all = wanted == CPUS_MAX ? UINT64_MAX : (1ull << wanted) - 1;
    return all & ~__atomic_load_n(&there, __ATOMIC_ACQUIRE);
}

void smp_start(unsigned count)
{
    extern char ap_code[], ap_code_end[], ap_facts[], ap_entry[], boot_pml4[];
    if (count == 1)
        return;
    char *code = virt_of(AP_CODE_PHYS);
    const struct ap_facts facts = {.boot_root = image_phys(boot_pml4),
                                   .kernel_root = pt_kernel_root(),
                                   .entry = (uint64_t)ap_entry};
    memcpy(code, ap_code, (size_t)(ap_code_end - ap_code));
    memcpy(code + (ap_facts - ap_code), &facts, sizeof(facts));
    for (unsigned id = 1; id < count; id++) {
        cpus[id] = kzalloc(sizeof(struct cpu));
        ap_stacks[id] = kstack_new();
        if (cpus[id] == NULL || ap_stacks[id] == 0)
            panic("out of memory: cannot start %u CPUs", count);
    }
    wanted = count;
    send_all(missing(), ICR_INIT | ICR_ASSERT);
    send_all(missing(), ICR_STARTUP | ICR_ASSERT | AP_CODE_PHYS >> PAGE_SHIFT);
}

/* On its stack, with nothing else set up. */
__attribute__((no_stack_protector)) void ap_main(uint32_t id)
{
    struct cpu *c = cpus[id];
    cpu_init(c, id, boot_params.trace);
    sched_init_cpu(c);
    apic_init_cpu();
    timers_init(c);
    __atomic_fetch_or(&there, bit_of(c), __ATOMIC_RELEASE); // pairs with missing
    irq_on();
    sched_idle();
}

void smp_wait(void)
{
    uint64_t start = clock_mono_ns(), again = start + AGAIN_NS, absent;
    while ((absent = missing()) != 0) {
        uint64_t now = clock_mono_ns();
        if (now > start + START_NS)
            panic("CPU %d of %u does not start", __builtin_ctzll(absent) + 1, wanted);
        if (now > again) { // SDM volume 3, 8.4.4.1: the start may have to be sent twice
            again = UINT64_MAX;
            send_all(absent, ICR_STARTUP | ICR_ASSERT | AP_CODE_PHYS >> PAGE_SHIFT);
        }
        sched_breathe();
        cpu_relax();
    }
    cpu_count = wanted;
}

// ---- end

static bool stopping; // atomic

void smp_stop_others(void)
{
    __atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
    if (cpu_count > 1)
        send_all(smp_others(), ICR_NMI | ICR_ASSERT);
}

void smp_nmi(void)
{
    while (__atomic_load_n(&stopping, __ATOMIC_ACQUIRE))
        __asm__ volatile("cli; hlt");
}
