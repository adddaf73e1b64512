// SPDX-License-Identifier: Apache-2.0
/* A task's registers. User state (FPU, FS and GS bases) is saved when the task leaves the CPU, so
 * that any other may take it up; a task that comes back to the CPU whose registers still hold its
 * newest state (cpu->user_owner and arch->loaded_on name each other) does not load it again. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/space.h"
#include "kernel/sched/sched.h"

struct task *switch_stack(uint64_t *save_rsp, uint64_t next_rsp, struct task *pass);

struct regs *task_regs(const struct task *t)
{
    return (struct regs *)(t->arch->stack_top - sizeof(struct regs));
}

void arch_task_init(struct arch_task *a, void (*first)(void), uint64_t r12, uint64_t r13)
{
    // What switch_stack pops: r15 r14 r13 r12 rbx rbp and the return address.
    const uint64_t frame[7] = {0, 0, r13, r12, 0, 0, (uint64_t)first};
    a->rsp = a->stack_top - sizeof(struct regs) - sizeof(frame);
    memcpy((void *)a->rsp, frame, sizeof(frame));
}

ALWAYS_INLINE void fpu_save(uint8_t *area)
{
    if (cpu_features.xsave)
        __asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

ALWAYS_INLINE void fpu_load(const uint8_t *area)
{
    if (cpu_features.xsave)
        __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
    else
        __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

ALWAYS_INLINE void bases_save(struct arch_task *a)
{
    if (!cpu_features.fsgsbase)
        return; // only arch_prctl changes them
    a->fs_base = rdfsbase();
    a->gs_base = rdmsr(MSR_KERNEL_GS_BASE);
}

ALWAYS_INLINE void bases_load(const struct arch_task *a)
{
    if (cpu_features.fsgsbase)
        wrfsbase(a->fs_base);
    else
        wrmsr(MSR_FS_BASE, a->fs_base);
    wrmsr(MSR_KERNEL_GS_BASE, a->gs_base);
}

ALWAYS_INLINE void user_save(struct arch_task *a)
{
    fpu_save(a->fpu);
    bases_save(a);
}

void arch_user_save(struct task *t)
{
    if (this_cpu()->user_owner == t)
        user_save(t->arch);
}

ALWAYS_INLINE void user_load(struct cpu *c, struct task *t, struct arch_task *a)
{
    c->user_owner = t;
    a->loaded_on = c;
    fpu_load(a->fpu);
    bases_load(a);
}

void arch_user_load(struct task *t)
{
    user_load(this_cpu(), t, t->arch);
}

/* As Linux and the System V ABI start a program. */
static void fpu_fresh(struct arch_task *a)
{
    const uint16_t control_word = 0x37f;
    const uint32_t mxcsr = 0x1f80;
    memset(a->fpu, 0, cpu_features.fpu_bytes);
    memcpy(a->fpu, &control_word, sizeof(control_word));
    memcpy(a->fpu + 24, &mxcsr, sizeof(mxcsr));
}

void arch_task_reset_user(struct task *t)
{
    fpu_fresh(t->arch);
    t->arch->fs_base = t->arch->gs_base = 0;
    arch_user_load(t);
}

int arch_task_init_user(struct task *t, bool inherit)
{
    struct arch_task *a = t->arch;
    size_t bytes = 64; // kmalloc aligns powers of two to themselves
    while (bytes < cpu_features.fpu_bytes)
        bytes *= 2;
    a->fpu = kzalloc(bytes);
    if (a->fpu == NULL)
        return -ENOMEM;
    a->user = true;
    if (inherit) {
        const struct arch_task *from = current()->arch;
        arch_user_save(current());
        memcpy(a->fpu, from->fpu, cpu_features.fpu_bytes);
        a->fs_base = from->fs_base;
        a->gs_base = from->gs_base;
        return 0;
    }
    fpu_fresh(a);
    return 0;
}

void arch_task_deinit(struct task *t)
{
    kfree(t->arch->fpu); // a new task at the same place is loaded nowhere: loaded_on
}

struct task *arch_switch(struct task *from, struct task *to)
{
    struct cpu *c = this_cpu();
    struct arch_task *old = from->arch, *new = to->arch;
    c->kernel_rsp = c->tss.rsp[0] = new->stack_top;
    if (old->user && c->user_owner == from)
        user_save(old);
    struct mm *mm = to->process->mm;
    if (mm != NULL && (mm != c->active_mm || !c->mm_loaded)) // kernel threads stay where they are
        mm_activate(mm);
    if (new->user && (c->user_owner != to || new->loaded_on != c))
        user_load(c, to, new);
    return switch_stack(&old->rsp, new->rsp, from);
}
