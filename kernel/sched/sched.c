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
    SLICE_NS = SCHED_SLICE_NS,
    WAKE_BONUS_NS = 2 * 1000 * 1000, // what a sleeper may be behind at most
    PREEMPT_NS = 500 * 1000,         // a woken task this far behind runs at once
};

/* A nice value is worth a quarter more or less, as on Linux (kernel/sched/core.c
 * sched_prio_to_weight): 1,024 is nice 0's weight, 3 that of SCHED_IDLE. */
enum { SCALE_ONE = 4096, SCALE_IDLE = 1024 * SCALE_ONE / 3 };

struct runq {
    struct spinlock lock __attribute__((aligned(64)));
    unsigned waiting;      // atomic; changes under lock: tasks in the tree
    struct rb_tree tree;   // protected by lock: tasks that wait for the CPU
    struct rb_node *first; // protected by lock
    uint64_t min_vruntime; // protected by lock; only grows
    struct task *idle;     // immutable
};

static struct runq runqs[CPUS_MAX];
static struct task_full idle_tasks[CPUS_MAX];
static uint64_t idle_cpus; // atomic: by number, CPUs that have nothing to do and are not promised
static uint32_t user_tasks; // atomic
struct process kernel_process;

static struct sched_task *entry(struct rb_node *n)
{
    return RB_ENTRY(n, struct sched_task, node);
}

static struct task *task_of(struct sched_task *s)
{
    return &CONTAINER_OF(s, struct task_full, sched)->task;
}

static __attribute__((noinline)) void enqueue_among(struct runq *q, struct sched_task *s)
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
}

/* Most often nobody else waits: both do without the tree's work then. */
ALWAYS_INLINE void enqueue(struct runq *q, struct sched_task *s)
{
    if (LIKELY(q->waiting == 0)) {
        rb_insert_first(&q->tree, &s->node);
        q->first = &s->node;
    } else {
        enqueue_among(q, s);
    }
    s->queued = s->waiting = true;
    __atomic_store_n(&q->waiting, q->waiting + 1, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) void dequeue_among(struct runq *q, struct sched_task *s)
{
    if (q->first == &s->node)
        q->first = rb_next(q->first);
    rb_remove(&q->tree, &s->node);
}

ALWAYS_INLINE void dequeue(struct runq *q, struct sched_task *s)
{
    if (LIKELY(q->waiting == 1))
        q->tree.root = q->first = NULL;
    else
        dequeue_among(q, s);
    s->waiting = false;
    __atomic_store_n(&q->waiting, q->waiting - 1, __ATOMIC_RELAXED);
}

static uint64_t bit_of(const struct cpu *c)
{
    return 1ull << c->id;
}

bool cpu_idle(const struct cpu *c)
{
    return c->current == c->runq->idle;
}

/* Lock the queue of the CPU that s belongs to. With interrupts off. */
ALWAYS_INLINE struct runq *lock_queue_of(const struct sched_task *s)
{
    for (;;) {
        const struct cpu *c = __atomic_load_n(&s->cpu, __ATOMIC_RELAXED);
        spin_lock(&c->runq->lock);
        if (LIKELY(c == __atomic_load_n(&s->cpu, __ATOMIC_RELAXED)))
            return c->runq;
        spin_unlock(&c->runq->lock);
    }
}

/* Charge the running task up to now. */
static void account(struct runq *q, struct sched_task *s, uint64_t now)
{
    uint64_t ran = now - s->run_start;
    s->run_start = now;
    s->run_ns += ran;
    s->vruntime += LIKELY(s->scale == 0) ? ran : ran * s->scale / SCALE_ONE;
    uint64_t least = s->vruntime;
    if (q->first != NULL)
        least = MIN(least, entry(q->first)->vruntime);
    q->min_vruntime = MAX(q->min_vruntime, least);
}

/* Have CPU c, whose queue is locked, look at its queue. */
static void resched(struct cpu *c)
{
    uint32_t before = __atomic_fetch_or(&c->need_work, CPU_WORK_RESCHED, __ATOMIC_ACQ_REL);
    if (c != this_cpu() && !(before & CPU_WORK_RESCHED)) // else it is on its way
        apic_kick(c);
}

/* s waits in c's locked queue now: does it run at once, or at the end of a slice? */
ALWAYS_INLINE void check_preempt(struct cpu *c, const struct sched_task *s)
{
    struct sched_task *running = c->current->sched;
    uint64_t now = clock_mono_ns();
    uint64_t its = running->vruntime + (now - running->run_start);
    if (cpu_idle(c) || s->vruntime + PREEMPT_NS < its)
        resched(c);
    else if (c == this_cpu())
        timers_arm_slice_by(now + SLICE_NS);
    else if (c->runq->waiting == 1)
        resched(c); // so that it ends its slices from now on
}

static __attribute__((noinline)) struct cpu *choose_of_many(const struct sched_task *s)
{
    struct cpu *me = this_cpu();
    for (uint64_t idle; (idle = s->allowed & __atomic_load_n(&idle_cpus, __ATOMIC_RELAXED)) != 0;) {
        uint64_t bit = idle & bit_of(me)       ? bit_of(me)
                       : idle & bit_of(s->cpu) ? bit_of(s->cpu)
                                               : idle & -idle;
        if (__atomic_fetch_and(&idle_cpus, ~bit, __ATOMIC_RELAXED) & bit)
            return cpus[__builtin_ctzll(bit)];
    }
    return s->allowed & bit_of(s->cpu) ? s->cpu : cpus[__builtin_ctzll(s->allowed)];
}

/* The CPU for a task that has become runnable, and which is promised it if it is idle. */
ALWAYS_INLINE struct cpu *choose(const struct sched_task *s)
{
    return cpu_count == 1 ? s->cpu : choose_of_many(s);
}

/* An idle CPU may have looked at this queue before a task came: have it look again. */
static void call_thief(const struct sched_task *s)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST); // pairs with the setting of idle_cpus
    uint64_t idle = s->allowed & __atomic_load_n(&idle_cpus, __ATOMIC_RELAXED);
    if (UNLIKELY(idle != 0))
        resched(cpus[__builtin_ctzll(idle)]);
}

/* Put s, which runs nowhere and is in no tree, into its CPU's queue q, which is locked before and
 * unlocked after. */
ALWAYS_INLINE void place(struct runq *q, struct sched_task *s, struct cpu *to)
{
    uint64_t floor = q->min_vruntime - MIN(q->min_vruntime, (uint64_t)WAKE_BONUS_NS);
    s->vruntime = MAX(s->vruntime, floor);
    enqueue(q, s);
    check_preempt(to, s);
    if (cpu_count > 1 && !cpu_idle(to))
        call_thief(s);
    spin_unlock(&q->lock);
}

/* The same into `to`'s queue; q is the one it belongs to so far. */
static void move(struct runq *q, struct sched_task *s, struct cpu *to)
{
    s->queued = true;
    while (to->runq != q) {
        // Its run time counts relative to the others of its queue.
        int64_t lag = (int64_t)(s->vruntime - q->min_vruntime);
        __atomic_store_n(&s->cpu, to, __ATOMIC_RELAXED);
        spin_unlock(&q->lock);
        q = to->runq;
        spin_lock(&q->lock);
        s->vruntime =
            lag < 0 && (uint64_t)-lag > q->min_vruntime ? 0 : q->min_vruntime + (uint64_t)lag;
        if (UNLIKELY(!(s->allowed & bit_of(to)))) // changed on the way
            to = choose(s);
    }
    place(q, s, to);
}

/* Take a task that waits for another CPU. True when there was one. */
static bool steal(struct cpu *c)
{
    enum { LOOK_MAX = 16 };
    for (unsigned i = 1; i < cpu_count; i++) {
        struct runq *q = cpus[(c->id + i) % cpu_count]->runq;
        if (__atomic_load_n(&q->waiting, __ATOMIC_RELAXED) == 0)
            continue;
        uint64_t flags = spin_lock_irqsave(&q->lock);
        struct rb_node *n = q->first;
        for (int look = 0; n != NULL && look < LOOK_MAX; look++, n = rb_next(n))
            if (entry(n)->allowed & bit_of(c))
                break;
        if (n != NULL && (entry(n)->allowed & bit_of(c))) {
            dequeue(q, entry(n));
            move(q, entry(n), c);
            irq_restore(flags);
            return true;
        }
        spin_unlock_irqrestore(&q->lock, flags);
    }
    return false;
}

ALWAYS_INLINE bool wake(struct task *t, bool notify)
{
    struct sched_task *s = t->sched;
    uint64_t flags = irq_save();
    struct runq *q = lock_queue_of(s);
    struct cpu *c = s->cpu;
    bool slept = __atomic_load_n(&s->state, __ATOMIC_RELAXED) == TASK_SLEEPING;
    if (slept) {
        __atomic_store_n(&s->state, TASK_RUNNING, __ATOMIC_RELAXED);
        if (!s->queued) {
            struct cpu *to = choose(s);
            if (LIKELY(to == c))
                place(q, s, c);
            else
                move(q, s, to);
            irq_restore(flags);
            return true;
        }
    }
    if (notify && c->current == t && c != this_cpu())
        apic_kick(c);
    spin_unlock_irqrestore(&q->lock, flags);
    return slept;
}

bool task_wake(struct task *t)
{
    return wake(t, false);
}

void task_notify(struct task *t)
{
    (void)wake(t, true);
}

uint64_t sched_allowed(struct task *t)
{
    uint64_t flags = irq_save();
    struct runq *q = lock_queue_of(t->sched);
    uint64_t allowed = t->sched->allowed;
    spin_unlock_irqrestore(&q->lock, flags);
    return allowed;
}

void sched_allow(struct task *t, uint64_t allowed)
{
    struct sched_task *s = t->sched;
    uint64_t flags = irq_save();
    struct runq *q = lock_queue_of(s);
    struct cpu *c = s->cpu;
    s->allowed = allowed;
    if (!(allowed & bit_of(c)) && s->waiting) {
        dequeue(q, s);
        move(q, s, choose(s));
        irq_restore(flags);
        return;
    }
    if (!(allowed & bit_of(c)) && c->current == t)
        resched(c);
    spin_unlock_irqrestore(&q->lock, flags);
}

/* In the task that came, after the switch: the queue is still locked by the one that went. */
ALWAYS_INLINE void finish_switch(struct task *before)
{
    struct cpu *c = this_cpu();
    struct runq *q = c->runq;
    bool others = q->first != NULL;
    uint64_t now = c->current->sched->run_start;
    bool dead = before->sched->state == TASK_DEAD;
    // Still wanting a CPU, but in no queue: this one is forbidden to it now.
    bool leaves = before->sched->queued && !before->sched->waiting && before != c->current;
    if (leaves)
        move(q, before->sched, choose(before->sched));
    else
        spin_unlock(&q->lock);
    timers_drop_slice();
    if (others && c->current != q->idle)
        timers_arm_slice_by(now + SLICE_NS);
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
            if (LIKELY((s->allowed & bit_of(c)) != 0))
                enqueue(q, s);
            else
                s->queued = true; // finish_switch sends it on
            s->switches_forced++;
        } else {
            s->switches_wanted++;
        }
    }
    struct task *next = q->idle;
    if (q->first != NULL) {
        next = task_of(entry(q->first));
        dequeue(q, next->sched);
    }
    if (next == q->idle)
        __atomic_fetch_or(&idle_cpus, bit_of(c), __ATOMIC_SEQ_CST); // before the look at queues
    else if (me == q->idle)
        __atomic_fetch_and(&idle_cpus, ~bit_of(c), __ATOMIC_RELAXED);
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
    const uint32_t bits = TASK_WORK_SIGNAL | TASK_WORK_EXIT;
    return (__atomic_load_n(&t->need_work, __ATOMIC_RELAXED) & bits) != 0;
}

static void sleep_timeout(struct ktimer *k)
{
    struct sched_task *s = CONTAINER_OF(k, struct sched_task, sleep_timer);
    s->timed_out = true;
    task_wake(task_of(s));
}

/* task_sleep without a deadline. */
ALWAYS_INLINE int sleep_on(struct task *me, bool interruptible)
{
    if (interruptible && UNLIKELY(signal_pending(me))) {
        task_cancel_sleep();
        return -EINTR;
    }
    if (__atomic_load_n(&me->sched->state, __ATOMIC_RELAXED) == TASK_SLEEPING)
        schedule();
    return interruptible && UNLIKELY(signal_pending(me)) ? -EINTR : 0;
}

static __attribute__((noinline)) int sleep_until(struct task *me, uint64_t deadline_ns,
                                                 bool interruptible)
{
    struct sched_task *s = me->sched;
    if (clock_mono_ns() >= deadline_ns && !(interruptible && signal_pending(me))) {
        task_cancel_sleep();
        return -ETIMEDOUT;
    }
    s->timed_out = false;
    ktimer_arm(&s->sleep_timer, deadline_ns);
    int r = sleep_on(me, interruptible);
    (void)ktimer_cancel(&s->sleep_timer);
    return s->timed_out ? -ETIMEDOUT : r;
}

int task_sleep(uint64_t deadline_ns, bool interruptible)
{
    struct task *me = current();
    return deadline_ns == DEADLINE_NEVER ? sleep_on(me, interruptible)
                                         : sleep_until(me, deadline_ns, interruptible);
}

uint64_t task_cpu_ns(struct task *t)
{
    struct sched_task *s = t->sched;
    uint64_t flags = irq_save();
    struct runq *q = lock_queue_of(s);
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
    f->sched.allowed = p == &kernel_process ? UINT64_MAX : current()->sched->allowed;
    f->sched.state = TASK_SLEEPING;
    if (p != &kernel_process)
        __atomic_fetch_add(&user_tasks, 1, __ATOMIC_RELAXED);
    return &f->task;
}

void task_free(struct task *t)
{
    if (t->process != &kernel_process)
        __atomic_fetch_sub(&user_tasks, 1, __ATOMIC_RELAXED);
    arch_task_deinit(t);
    kstack_free(t->arch->stack_top);
    kfree(CONTAINER_OF(t, struct task_full, task));
}

void sched_count(uint32_t *ret_tasks, uint32_t *ret_runnable)
{
    *ret_tasks = __atomic_load_n(&user_tasks, __ATOMIC_RELAXED);
    *ret_runnable = 0;
    for (unsigned i = 0; i < cpu_count; i++)
        *ret_runnable +=
            __atomic_load_n(&cpus[i]->runq->waiting, __ATOMIC_RELAXED) + !cpu_idle(cpus[i]);
}

void sched_weigh(struct task *t, int policy, int nice)
{
    struct sched_task *s = t->sched;
    uint32_t scale = SCALE_ONE * 1024u;
    for (int i = 0; i < nice; i++)
        scale += scale / 4;
    for (int i = 0; i > nice; i--)
        scale -= scale / 5;
    uint64_t flags = irq_save();
    struct runq *q = lock_queue_of(s);
    s->policy = (uint8_t)policy;
    s->nice = (int8_t)nice;
    s->scale = policy == SCHED_IDLE ? SCALE_IDLE : nice == 0 ? 0 : scale / 1024;
    spin_unlock_irqrestore(&q->lock, flags);
}

void sched_inherit(struct task *t)
{
    const struct sched_task *from = current()->sched;
    if (!from->reset_on_fork)
        sched_weigh(t, from->policy, from->nice);
    else // Linux sched_fork: the policy goes, and a nice value better than 0
        sched_weigh(t, SCHED_OTHER, MAX((int)from->nice, 0));
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
    f->sched.allowed = UINT64_MAX;
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
        if (cpu_count > 1 && steal(c))
            continue;
        irq_off();
        if (__atomic_load_n(&c->need_work, __ATOMIC_RELAXED) == 0)
            __asm__ volatile("sti; hlt" : : : "memory");
        else
            irq_on();
    }
}

void task_breathe(void)
{
    sched_breathe();
}
