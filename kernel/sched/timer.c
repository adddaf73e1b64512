// SPDX-License-Identifier: Apache-2.0
/* One-shot timers: a tree a CPU, ordered by deadline; the hardware is armed for the first one, and
 * only when that is earlier than what it is armed for already.
 *
 * ktimers run in work context on the CPU that armed them. timers.lock is taken by tasks and work
 * only; the interrupt just notes CPU_WORK_TIMER. */
#include "kernel/sched/timer.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/sched/sched.h"

enum { IDLE, ARMED, RUNNING };

struct timers {
    struct spinlock lock __attribute__((aligned(64)));
    struct rb_tree tree;    // protected by lock
    struct rb_node *first;  // protected by lock
    struct ktimer *running; // atomic; set under lock
    uint64_t hardware_ns;   // own CPU: what the hardware is armed for
};

static struct timers all_timers[CPUS_MAX];

void timers_init(struct cpu *c)
{
    c->timers = &all_timers[c->id];
    c->slice_ns = c->timers->hardware_ns = DEADLINE_NEVER;
}

/* Make sure that this CPU is interrupted by `deadline`. */
static void hardware_arm(struct timers *t, uint64_t deadline)
{
    uint64_t flags = irq_save();
    if (deadline < t->hardware_ns) {
        uint64_t now = clock_mono_ns();
        t->hardware_ns = deadline;
        apic_timer_arm(deadline > now ? deadline - now : 1, clock_tsc_at(deadline));
    }
    irq_restore(flags);
}

static struct ktimer *first_of(const struct timers *t)
{
    return t->first != NULL ? RB_ENTRY(t->first, struct ktimer, node) : NULL;
}

static void take_out(struct timers *t, struct ktimer *k)
{
    if (t->first == &k->node)
        t->first = rb_next(&k->node);
    rb_remove(&t->tree, &k->node);
    k->state = IDLE;
}

void ktimer_init(struct ktimer *k, void (*run)(struct ktimer *t))
{
    *k = (struct ktimer){.run = run};
}

/* Lock the tree that k is in, or was in last. */
static struct timers *lock_timers_of(const struct ktimer *k)
{
    for (;;) {
        uint32_t cpu = __atomic_load_n(&k->cpu, __ATOMIC_RELAXED);
        spin_lock(&all_timers[cpu].lock);
        if (LIKELY(cpu == __atomic_load_n(&k->cpu, __ATOMIC_RELAXED)))
            return &all_timers[cpu];
        spin_unlock(&all_timers[cpu].lock);
    }
}

bool ktimer_stop(struct ktimer *k)
{
    struct timers *t = lock_timers_of(k);
    bool was = k->state == ARMED;
    if (was)
        take_out(t, k);
    spin_unlock(&t->lock);
    return was;
}

void ktimer_arm(struct ktimer *k, uint64_t deadline_ns)
{
    (void)ktimer_stop(k);
    struct cpu *c = this_cpu();
    struct timers *t = c->timers;
    spin_lock(&t->lock);
    k->deadline_ns = deadline_ns;
    __atomic_store_n(&k->cpu, c->id, __ATOMIC_RELAXED);
    k->state = ARMED;
    struct rb_node **at = &t->tree.root, *parent = NULL;
    bool leftmost = true;
    while (*at != NULL) {
        parent = *at;
        bool right = deadline_ns >= RB_ENTRY(parent, struct ktimer, node)->deadline_ns;
        leftmost &= !right;
        at = &parent->child[right];
    }
    rb_insert(&t->tree, &k->node, parent, at);
    if (leftmost)
        t->first = &k->node;
    spin_unlock(&t->lock);
    if (leftmost)
        hardware_arm(t, deadline_ns);
}

bool ktimer_cancel(struct ktimer *k)
{
    struct timers *t = lock_timers_of(k);
    bool was = k->state == ARMED;
    if (was)
        take_out(t, k);
    spin_unlock(&t->lock);
    // The run in progress may be on a CPU that it was armed on before.
    for (unsigned i = 0; i < cpu_count; i++)
        while (i != this_cpu()->id &&
               __atomic_load_n(&all_timers[i].running, __ATOMIC_ACQUIRE) == k)
            cpu_relax();
    return was;
}

void timers_run(void)
{
    struct cpu *c = this_cpu();
    struct timers *t = c->timers;
    __atomic_fetch_and(&c->need_work, ~(uint32_t)CPU_WORK_TIMER, __ATOMIC_RELAXED);
    t->hardware_ns = DEADLINE_NEVER;
    uint64_t now = clock_mono_ns();
    spin_lock(&t->lock);
    for (struct ktimer *k; (k = first_of(t)) != NULL && k->deadline_ns <= now;) {
        take_out(t, k);
        __atomic_store_n(&t->running, k, __ATOMIC_RELAXED);
        spin_unlock(&t->lock);
        k->run(k);
        __atomic_store_n(&t->running, NULL, __ATOMIC_RELEASE); // pairs with ktimer_cancel
        spin_lock(&t->lock);
    }
    uint64_t next = t->first != NULL ? first_of(t)->deadline_ns : DEADLINE_NEVER;
    spin_unlock(&t->lock);
    if (c->slice_ns <= now) {
        c->slice_ns = DEADLINE_NEVER;
        cpu_need_work(c, CPU_WORK_RESCHED);
    }
    next = MIN(next, c->slice_ns);
    if (next != DEADLINE_NEVER)
        hardware_arm(t, next);
}

void timers_arm_slice(uint64_t deadline_ns)
{
    struct cpu *c = this_cpu();
    c->slice_ns = deadline_ns;
    // Mostly it is armed for an earlier slice, which ended before its time: that stays so, for one
    // interrupt too many each slice costs less than one more arming each switch.
    if (deadline_ns < c->timers->hardware_ns)
        hardware_arm(c->timers, deadline_ns);
}
