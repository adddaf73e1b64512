// SPDX-License-Identifier: Apache-2.0
#include "kernel/sched/sched.h"

#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/vmap.h"

enum {
    SLICE_NS = 3 * 1000 * 1000,
    WAKE_BONUS_NS = 2 * 1000 * 1000, // what a sleeper may be behind at most
    PREEMPT_NS = 500 * 1000,         // a woken task this far behind runs at once
};

struct runq {
    struct spinlock lock;
    struct rb_tree tree;   // protected by lock: tasks that wait for the CPU
    struct rb_node *first; // protected by lock
    uint64_t min_vruntime; // protected by lock; only grows
    struct task *idle;     // immutable
};

static struct runq runqs[CPUS_MAX];
static struct task_full idle_tasks[CPUS_MAX];
struct process kernel_process;

static struct sched_task *entry(struct rb_node *n)
{
    return RB_ENTRY(n, struct sched_task, node);
}

static struct task *task_of(struct sched_task *s)
{
    return &CONTAINER_OF(s, struct task_full, sched)->task;
}

static void enqueue(struct runq *q, struct sched_task *s)
{
    struct rb_node **at = &q->tree.root, *parent = NULL;
    bool leftmost = true;
    while (*at != NULL) {
        parent = *at;
        bool right = s->vruntime >= entry(parent)->vruntime;
        leftmost &= !right;
        at = &parent->child[right];
    }
    rb_insert(&q->tree, &s->node, parent, at);
    if (leftmost)
        q->first = &s->node;
    s->queued = true;
}

static struct sched_task *dequeue_first(struct runq *q)
{
    struct sched_task *s = entry(q->first);
    q->first = rb_next(q->first);
    rb_remove(&q->tree, &s->node);
    return s;
}

/* Charge the running task up to now. */
static void account(struct runq *q, struct sched_task *s, uint64_t now)
{
    uint64_t ran = now - s->run_start;
    s->run_start = now;
    s->run_ns += ran;
    s->vruntime += ran;
    uint64_t least = s->vruntime;
    if (q->first != NULL)
        least = MIN(least, entry(q->first)->vruntime);
    q->min_vruntime = MAX(q->min_vruntime, least);
}

/* In the task that came, after the switch: the queue is still locked by the one that went. */
static void finish_switch(struct task *before)
{
    struct cpu *c = this_cpu();
    struct runq *q = c->runq;
    bool others = q->first != NULL;
    uint64_t now = c->current->sched->run_start;
    bool dead = before->sched->state == TASK_DEAD;
    spin_unlock(&q->lock);
    timers_arm_slice(others && c->current != q->idle ? now + SLICE_NS : DEADLINE_NEVER);
    if (dead)
        task_free(before);
}

void task_first_run(struct task *before)
{
    finish_switch(before);
    irq_on();
}

void schedule(void)
{
    uint64_t flags = irq_save();
    struct cpu *c = this_cpu();
    struct runq *q = c->runq;
    struct task *me = c->current;
    struct sched_task *s = me->sched;
    spin_lock(&q->lock);
    __atomic_fetch_and(&c->need_work, ~(uint32_t)CPU_WORK_RESCHED, __ATOMIC_RELAXED);
    uint64_t now = clock_mono_ns();
    if (me == q->idle) {
        s->run_ns += now - s->run_start;
    } else {
        account(q, s, now);
        s->queued = false;
        if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) == TASK_RUNNING) {
            enqueue(q, s);
            s->switches_forced++;
        } else {
            s->switches_wanted++;
        }
    }
    struct task *next = q->first != NULL ? task_of(dequeue_first(q)) : q->idle;
    next->sched->run_start = now;
    c->current = next;
    finish_switch(next == me ? me : arch_switch(me, next));
    irq_restore(flags);
}

void sched_yield_task(void)
{
    struct sched_task *s = current()->sched;
    struct runq *q = s->cpu->runq;
    uint64_t flags = spin_lock_irqsave(&q->lock);
    struct rb_node *last = rb_end(&q->tree, 1);
    if (last != NULL)
        s->vruntime = MAX(s->vruntime, entry(last)->vruntime);
    spin_unlock_irqrestore(&q->lock, flags);
    if (last != NULL)
        schedule();
}

void task_prepare_sleep(void)
{
    // Full barrier: the caller's test of its condition comes after this in every CPU's eyes.
    __atomic_store_n(&current()->sched->state, TASK_SLEEPING, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void task_cancel_sleep(void)
{
    __atomic_store_n(&current()->sched->state, TASK_RUNNING, __ATOMIC_RELAXED);
}

bool signal_pending(const struct task *t)
{
    return (__atomic_load_n(&t->need_work, __ATOMIC_RELAXED) & TASK_WORK_SIGNAL) != 0;
}

static void sleep_timeout(struct ktimer *k)
{
    struct sched_task *s = CONTAINER_OF(k, struct sched_task, sleep_timer);
    s->timed_out = true;
    task_wake(task_of(s));
}

int task_sleep(uint64_t deadline_ns, bool interruptible)
{
    struct task *me = current();
    struct sched_task *s = me->sched;
    bool signal = interruptible && signal_pending(me);
    if (signal || (deadline_ns != DEADLINE_NEVER && clock_mono_ns() >= deadline_ns)) {
        task_cancel_sleep();
        return signal ? -EINTR : -ETIMEDOUT;
    }
    s->timed_out = false;
    if (deadline_ns != DEADLINE_NEVER)
        ktimer_arm(&s->sleep_timer, deadline_ns);
    if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) == TASK_SLEEPING)
        schedule();
    if (deadline_ns != DEADLINE_NEVER)
        (void)ktimer_cancel(&s->sleep_timer);
    if (s->timed_out)
        return -ETIMEDOUT;
    return interruptible && signal_pending(me) ? -EINTR : 0;
}

/* s has become runnable on q's CPU: does it run now, or at the end of a slice? */
static void check_preempt(struct cpu *c, struct sched_task *s)
{
    struct sched_task *running = c->current->sched;
    uint64_t now = clock_mono_ns();
    uint64_t its = running->vruntime + (now - running->run_start);
    if (c->current == c->runq->idle || s->vruntime + PREEMPT_NS < its)
        cpu_need_work(c, CPU_WORK_RESCHED);
    else if (c == this_cpu())
        timers_arm_slice(MIN(timers_slice(), now + SLICE_NS));
    if (c != this_cpu()) {
        cpu_need_work(c, CPU_WORK_RESCHED);
        apic_kick(c);
    }
}

void task_wake(struct task *t)
{
    struct sched_task *s = t->sched;
    struct cpu *c = s->cpu;
    struct runq *q = c->runq;
    uint64_t flags = spin_lock_irqsave(&q->lock);
    if (__atomic_load_n(&s->state, __ATOMIC_RELAXED) == TASK_SLEEPING) {
        __atomic_store_n(&s->state, TASK_RUNNING, __ATOMIC_RELAXED);
        if (!s->queued) {
            uint64_t floor = q->min_vruntime - MIN(q->min_vruntime, (uint64_t)WAKE_BONUS_NS);
            s->vruntime = MAX(s->vruntime, floor);
            enqueue(q, s);
            check_preempt(c, s);
        }
    }
    spin_unlock_irqrestore(&q->lock, flags);
}

uint64_t task_cpu_ns(struct task *t)
{
    struct sched_task *s = t->sched;
    struct runq *q = s->cpu->runq;
    uint64_t flags = spin_lock_irqsave(&q->lock);
    uint64_t ns = s->run_ns;
    if (s->cpu->current == t)
        ns += clock_mono_ns() - s->run_start;
    spin_unlock_irqrestore(&q->lock, flags);
    return ns;
}

uint64_t sched_busy_ns(const struct cpu *c)
{
    struct runq *q = c->runq;
    uint64_t flags = spin_lock_irqsave(&q->lock);
    uint64_t now = clock_mono_ns(), idle = q->idle->sched->run_ns;
    if (c->current == q->idle)
        idle += now - q->idle->sched->run_start;
    spin_unlock_irqrestore(&q->lock, flags);
    return now - idle;
}

struct task *task_new(struct process *p, void (*first)(void), uint64_t r12, uint64_t r13)
{
    struct task_full *f = kzalloc(sizeof(*f));
    uint64_t stack = f != NULL ? kstack_new() : 0;
    if (stack == 0) {
        kfree(f);
        return NULL;
    }
    f->task.process = p;
    f->task.arch = &f->arch;
    f->task.sched = &f->sched;
    list_init(&f->task.process_link);
    f->arch.stack_top = stack;
    arch_task_init(&f->arch, first, r12, r13);
    ktimer_init(&f->sched.sleep_timer, sleep_timeout);
    f->sched.cpu = this_cpu();
    f->sched.state = TASK_SLEEPING;
    return &f->task;
}

void task_free(struct task *t)
{
    arch_task_deinit(t);
    kstack_free(t->arch->stack_top);
    kfree(CONTAINER_OF(t, struct task_full, task));
}

void task_start(struct task *t)
{
    t->sched->vruntime = t->sched->cpu->runq->min_vruntime;
    task_wake(t);
}

void task_finish(void)
{
    __atomic_store_n(&current()->sched->state, TASK_DEAD, __ATOMIC_RELAXED);
    schedule();
    panic("a dead task ran");
}

void kthread_finished(void);
void kthread_finished(void)
{
    task_finish();
}

int kthread_start(const char *name, void (*run)(void *ctx), void *ctx)
{
    extern void kthread_first(void);
    struct task *t = task_new(&kernel_process, kthread_first, (uint64_t)run, (uint64_t)ctx);
    if (t == NULL)
        return -ENOMEM;
    memcpy(t->name, name, strnlen(name, TASK_NAME_MAX - 1));
    task_start(t);
    return 0;
}

void sched_init_cpu(struct cpu *c)
{
    struct task_full *f = &idle_tasks[c->id];
    f->task = (struct task){.process = &kernel_process, .arch = &f->arch, .sched = &f->sched};
    list_init(&f->task.process_link);
    memcpy(f->task.name, "idle", 5);
    f->sched.cpu = c;
    c->runq = &runqs[c->id];
    c->runq->idle = &f->task;
    c->current = &f->task;
}

void cpu_do_work(struct cpu *c)
{
    uint32_t bits = __atomic_load_n(&c->need_work, __ATOMIC_RELAXED);
    if (bits & CPU_WORK_TIMER)
        timers_run();
    if (bits & CPU_WORK_DEFERRED)
        work_run();
    if (__atomic_load_n(&c->need_work, __ATOMIC_RELAXED) & CPU_WORK_RESCHED)
        schedule();
}

void sched_idle(void)
{
    struct cpu *c = this_cpu();
    for (;;) {
        cpu_do_work(c);
        irq_off();
        if (__atomic_load_n(&c->need_work, __ATOMIC_RELAXED) == 0)
            __asm__ volatile("sti; hlt" : : : "memory");
        else
            irq_on();
    }
}
