// SPDX-License-Identifier: Apache-2.0
/* What a signal handler finds on its stack, and rt_sigreturn, which takes it back: Linux x86-64
 * struct rt_sigframe (arch/x86/include/asm/sigframe.h, uapi/asm/sigcontext.h). */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/linux/signal.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/layout.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

struct sigcontext {
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, vector, oldmask, cr2, fpstate, reserved[8];
};

struct ucontext {
    uint64_t flags, link;
    uint64_t stack_sp;
    uint32_t stack_flags, pad;
    uint64_t stack_bytes;
    struct sigcontext context;
    uint64_t mask;
};

struct sigframe {
    uint64_t return_address;
    struct ucontext uc;
    struct siginfo info;
};
_Static_assert(sizeof(struct sigframe) == 440, "Linux struct rt_sigframe");

struct fpx_software { // in the FXSAVE area's last 48 bytes
    uint32_t magic1, extended_bytes;
    uint64_t features;
    uint32_t bytes, padding[7];
};
_Static_assert(sizeof(struct fpx_software) == 48, "Linux struct _fpx_sw_bytes");

enum {
    UC_FP_XSTATE = 1,
    UC_SIGCONTEXT_SS = 2,
    UC_STRICT_RESTORE_SS = 4,
    FP_XSTATE_MAGIC1 = 0x46505853,
    FP_XSTATE_MAGIC2 = 0x46505845,
    SOFTWARE_AT = 464,
    FXSAVE_BYTES = 512,
    XSTATE_BV_AT = 512,
    XSAVE_HEADER_BYTES = 64,
    MXCSR_AT = 24,
    RED_ZONE = 128,
};
static const uint64_t SA_ONSTACK = 0x08000000;
// rflags that a program may set: CF PF AF ZF SF TF DF OF RF AC.
static const uint64_t RFLAGS_USER = 0x50dd5;

static uint32_t fpu_frame_bytes(void)
{
    return cpu_features.fpu_bytes + (cpu_features.xsave ? 4u : 0u);
}

/* The current FPU state to user memory at `to` (64-byte aligned). */
static int fpu_put(uint64_t to, struct task *t)
{
    uint8_t *area = t->arch->fpu;
    arch_user_save(t);
    if (!cpu_features.xsave)
        return copy_to_user(to, area, FXSAVE_BYTES);
    const uint32_t magic2 = FP_XSTATE_MAGIC2;
    struct fpx_software sw = {.magic1 = FP_XSTATE_MAGIC1,
                              .extended_bytes = fpu_frame_bytes(),
                              .features = cpu_features.xcr0,
                              .bytes = cpu_features.fpu_bytes};
    memcpy(area + SOFTWARE_AT, &sw, sizeof(sw)); // not used by the CPU
    int r = copy_to_user(to, area, cpu_features.fpu_bytes);
    return r < 0 ? r : copy_to_user(to + cpu_features.fpu_bytes, &magic2, sizeof(magic2));
}

/* Take FPU state back. What the program may have changed is made safe to load. */
static int fpu_get(uint64_t from, struct task *t)
{
    uint8_t *area = t->arch->fpu;
    uint32_t bytes = FXSAVE_BYTES;
    struct fpx_software sw;
    arch_user_save(t); // the segment bases stay
    if (copy_from_user(&sw, from + SOFTWARE_AT, sizeof(sw)) < 0)
        return -EFAULT;
    uint32_t magic2 = 0;
    if (cpu_features.xsave && sw.magic1 == FP_XSTATE_MAGIC1 && sw.bytes == cpu_features.fpu_bytes &&
        copy_from_user(&magic2, from + sw.bytes, sizeof(magic2)) == 0 && magic2 == FP_XSTATE_MAGIC2)
        bytes = sw.bytes;
    if (copy_from_user(area, from, bytes) < 0)
        return -EFAULT;
    uint32_t mxcsr;
    memcpy(&mxcsr, area + MXCSR_AT, sizeof(mxcsr));
    mxcsr &= 0xffff;
    memcpy(area + MXCSR_AT, &mxcsr, sizeof(mxcsr));
    if (cpu_features.xsave) {
        uint64_t features = 3; // x87 and SSE: all there is without the extended part
        if (bytes > FXSAVE_BYTES)
            memcpy(&features, area + XSTATE_BV_AT, sizeof(features));
        features &= cpu_features.xcr0;
        memset(area + XSTATE_BV_AT, 0, XSAVE_HEADER_BYTES);
        memcpy(area + XSTATE_BV_AT, &features, sizeof(features));
    }
    arch_user_load(t);
    return 0;
}

static void context_put(struct sigcontext *c, const struct regs *r)
{
    *c = (struct sigcontext){.r8 = r->r8,
                             .r9 = r->r9,
                             .r10 = r->r10,
                             .r11 = r->r11,
                             .r12 = r->r12,
                             .r13 = r->r13,
                             .r14 = r->r14,
                             .r15 = r->r15,
                             .rdi = r->rdi,
                             .rsi = r->rsi,
                             .rbp = r->rbp,
                             .rbx = r->rbx,
                             .rdx = r->rdx,
                             .rax = r->rax,
                             .rcx = r->rcx,
                             .rsp = r->rsp,
                             .rip = r->rip,
                             .rflags = r->rflags,
                             .cs = (uint16_t)r->cs,
                             .ss = (uint16_t)r->ss};
    bool exception = r->vector < 32;
    c->vector = exception ? r->vector : 0;
    c->error = exception ? r->error : 0;
    c->cr2 = r->vector == TRAP_PAGE ? read_cr2() : 0;
}

static void context_get(const struct sigcontext *c, struct regs *r)
{
    *r = (struct regs){.r8 = c->r8,
                       .r9 = c->r9,
                       .r10 = c->r10,
                       .r11 = c->r11,
                       .r12 = c->r12,
                       .r13 = c->r13,
                       .r14 = c->r14,
                       .r15 = c->r15,
                       .rdi = c->rdi,
                       .rsi = c->rsi,
                       .rbp = c->rbp,
                       .rbx = c->rbx,
                       .rdx = c->rdx,
                       .rax = c->rax,
                       .rcx = c->rcx,
                       .rsp = c->rsp,
                       .rip = c->rip,
                       .rflags = (r->rflags & ~RFLAGS_USER) | (c->rflags & RFLAGS_USER),
                       .cs = SEL_USER_CODE,
                       .ss = SEL_USER_DATA,
                       .vector = 0};
}

int sigframe_push(struct regs *r, const struct siginfo *info, const struct sigaction *action,
                  uint64_t mask)
{
    struct task *t = current();
    struct thread *th = t->thread;
    bool on_alt = alt_stack_on(th, r->rsp);
    uint64_t sp = r->rsp - RED_ZONE;
    if ((action->flags & SA_ONSTACK) && th->alt_bytes != 0 && !on_alt)
        sp = th->alt_sp + th->alt_bytes;
    uint64_t fpu = ALIGN_DOWN(sp - fpu_frame_bytes(), 64ull);
    uint64_t at = ALIGN_DOWN(fpu - sizeof(struct sigframe), 16ull) - 8;
    if (on_alt && at < th->alt_sp) // the alternative stack has overflown
        return -EFAULT;
    struct sigframe f = {.return_address = action->restorer, .info = *info};
    f.uc.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS | (cpu_features.xsave ? UC_FP_XSTATE : 0u);
    f.uc.stack_sp = th->alt_sp;
    f.uc.stack_bytes = th->alt_bytes;
    f.uc.stack_flags = th->alt_flags | (th->alt_bytes == 0 ? SS_DISABLE : on_alt ? SS_ONSTACK : 0u);
    context_put(&f.uc.context, r);
    f.uc.context.fpstate = fpu;
    f.uc.mask = mask;
    if (fpu_put(fpu, t) < 0 || copy_to_user(at, &f, sizeof(f)) < 0)
        return -EFAULT;
    if (th->alt_flags & (uint32_t)SS_AUTODISARM)
        th->alt_sp = th->alt_bytes = th->alt_flags = 0;
    r->rdi = (uint64_t)info->signo;
    r->rsi = at + offsetof(struct sigframe, info);
    r->rdx = at + offsetof(struct sigframe, uc);
    r->rax = 0;
    r->rsp = at;
    r->rip = action->handler;
    r->rflags &= ~(uint64_t)(RFLAGS_DF | RFLAGS_RF | RFLAGS_TF);
    return 0;
}

int64_t sys_rt_sigreturn(UNUSED const uint64_t arg[static 6])
{
    struct task *t = current();
    struct regs *r = task_regs(t);
    struct ucontext uc;
    const uint64_t at = r->rsp - 8 + offsetof(struct sigframe, uc);
    const struct siginfo segv = {.signo = SIGSEGV, .code = SI_KERNEL};
    if (copy_from_user(&uc, at, sizeof(uc)) < 0 ||
        (uc.context.fpstate != 0 && fpu_get(uc.context.fpstate, t) < 0) ||
        uc.context.rip >= USER_END) {
        signal_force(t, &segv);
        return 0;
    }
    signal_block(uc.mask);
    if (!(uc.stack_flags & SS_DISABLE)) {
        t->thread->alt_sp = uc.stack_sp;
        t->thread->alt_bytes = uc.stack_bytes;
        t->thread->alt_flags = uc.stack_flags & (uint32_t)SS_AUTODISARM;
    }
    context_get(&uc.context, r);
    __atomic_fetch_or(&t->need_work, TASK_WORK_RETURN, __ATOMIC_RELAXED);
    return (int64_t)r->rax;
}
