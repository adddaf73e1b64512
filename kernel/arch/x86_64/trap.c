// SPDX-License-Identifier: Apache-2.0
/* Exceptions and interrupts after entry.S has saved the registers. */
#include "base/errno.h"
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/machine.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/linux/process.h"
#include "kernel/linux/signal.h"
#include "kernel/mm/layout.h"
#include "kernel/mm/space.h"
#include "kernel/mm/vmap.h"
#include "kernel/sched/sched.h"

enum { PF_PRESENT = 1, PF_WRITE = 2, PF_USER = 4, PF_FETCH = 16 };

struct fixup {
    int32_t at, go_on; // each as its distance from itself
};

static uint64_t fixup_address(const int32_t *distance)
{
    return (uint64_t)distance + (uint64_t)(int64_t)*distance;
}

/* Where the kernel goes on after a fault at this instruction, or 0. */
static uint64_t fixup_for(uint64_t rip)
{
    extern const struct fixup fixup_start[], fixup_end[];
    for (const struct fixup *f = fixup_start; f < fixup_end; f++)
        if (fixup_address(&f->at) == rip)
            return fixup_address(&f->go_on);
    return 0;
}

static void kernel_fault(struct regs *r, uint64_t address)
{
    uint64_t go_on = fixup_for(r->rip);
    if (go_on != 0) {
        r->rip = go_on;
        return;
    }
    panic_regs(r, "exception %lu at %lx, address %lx", (unsigned long)r->vector,
               (unsigned long)(r->rip - kernel_slide()), (unsigned long)address);
}

/* A fault that mm_fault could not resolve. */
static COLD void page_fault_failed(struct regs *r, uint64_t address, int result)
{
    struct task *t = current();
    if (result == -ENOMEM && process_out_of_memory())
        return; // somebody else ends: try again
    if (!regs_user(r)) {
        kernel_fault(r, address);
        return;
    }
    if (result == -ENOMEM)
        return; // this process ends: on the way to user mode
    struct siginfo info = {.signo = SIGSEGV, .code = SEGV_MAPERR, .fault = {.address = address}};
    if (result == -EACCES)
        info.code = SEGV_ACCERR;
    if (result == -EIO) {
        info.signo = SIGBUS;
        info.code = BUS_ADRERR;
    }
    signal_force(t, &info);
}

static void page_fault(struct regs *r)
{
    uint64_t address = read_cr2();
    struct task *t = current();
    if (!regs_user(r) && (address >= USER_END || t->arch->no_fault > 0 ||
                          !(r->rflags & RFLAGS_IF) || fixup_for(r->rip) == 0)) {
        kernel_fault(r, address);
        return;
    }
    irq_on();
    unsigned access = r->error & PF_WRITE ? FAULT_WRITE : r->error & PF_FETCH ? FAULT_EXEC : 0;
    int result = t->process->mm == NULL ? -EFAULT : mm_fault(t->process->mm, address, access);
    if (UNLIKELY(result < 0))
        page_fault_failed(r, address, result);
}

/* What a program's exception means to it. Linux 6.1 arch/x86/kernel/traps.c. */
static void user_exception(struct regs *r)
{
    struct siginfo info = {.fault = {.address = r->rip}};
    irq_on();
    switch (r->vector) {
    case TRAP_DIVIDE:
        info.signo = SIGFPE;
        info.code = FPE_INTDIV;
        break;
    case TRAP_DEBUG:
        info.signo = SIGTRAP;
        info.code = TRAP_TRACE;
        break;
    case TRAP_BREAKPOINT:
        info.signo = SIGTRAP;
        info.code = SI_KERNEL;
        info.fault.address = 0;
        break;
    case TRAP_OPCODE:
        info.signo = SIGILL;
        info.code = ILL_ILLOPN;
        break;
    case TRAP_FPU:
    case TRAP_SIMD:
        info.signo = SIGFPE;
        info.code = fpu_error_code(r->vector == TRAP_SIMD);
        break;
    case TRAP_ALIGN:
        info.signo = SIGBUS;
        info.code = BUS_ADRALN;
        info.fault.address = 0;
        break;
    default: // general protection, stack and segment faults
        info.signo = r->vector == TRAP_STACK || r->vector == TRAP_SEGMENT ? SIGBUS : SIGSEGV;
        info.code = SI_KERNEL;
        info.fault.address = 0;
        break;
    }
    signal_force(current(), &info);
}

/* si_code from the status and mask bits of x87 or SSE. */
int fpu_error_code(bool simd)
{
    uint32_t status, masked;
    if (simd) {
        uint32_t mxcsr;
        __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
        status = mxcsr & 0x3f;
        masked = mxcsr >> 7 & 0x3f;
    } else {
        uint16_t fsw, fcw;
        __asm__ volatile("fnstsw %0; fnstcw %1" : "=m"(fsw), "=m"(fcw));
        status = fsw & 0x3f;
        masked = fcw & 0x3f;
    }
    uint32_t raised = status & ~masked;
    if (raised & 1)
        return FPE_FLTINV;
    if (raised & 4)
        return FPE_FLTDIV;
    if (raised & 8)
        return FPE_FLTOVF;
    if (raised & 0x12)
        return FPE_FLTUND;
    return raised & 0x20 ? FPE_FLTRES : FPE_FLTINV;
}

/* An overflow of the kernel's stack ends here: there is no room for the page fault's frame. */
static void double_fault(struct regs *r)
{
    uint64_t address = read_cr2();
    if (kstack_guard_hit(address))
        panic_regs(r, "kernel stack overflow at %lx", (unsigned long)(r->rip - kernel_slide()));
    panic_regs(r, "double fault");
}

static COLD void exception(struct regs *r)
{
    if (r->vector == TRAP_NMI)
        smp_nmi();
    else if (r->vector == TRAP_DOUBLE)
        double_fault(r);
    else if (r->vector == TRAP_MACHINE)
        panic_regs(r, "machine check");
    else if (regs_user(r))
        user_exception(r);
    else
        kernel_fault(r, 0);
}

void trap_dispatch(struct regs *r)
{
    enum { EXCEPTIONS = 32 };
    unsigned vector = (unsigned)r->vector;
    if (LIKELY(vector == TRAP_PAGE)) {
        page_fault(r);
    } else if (vector < EXCEPTIONS) {
        exception(r);
    } else if (vector == VECTOR_TIMER) {
        cpu_need_work(this_cpu(), CPU_WORK_TIMER);
        apic_eoi();
    } else if (vector == VECTOR_RESCHED) {
        apic_eoi(); // the sender has set need_work
    } else if (vector == VECTOR_CALL) {
        apic_eoi();
        smp_answer();
    } else if (vector >= VECTOR_DEVICE && vector < VECTOR_DEVICE_END) {
        irq_dispatch(vector);
    }
}

void return_to_user_work(struct regs *r)
{
    struct cpu *c = this_cpu();
    struct task *t = current();
    for (;;) { // entered and left with interrupts off
        uint32_t cpu_bits = __atomic_load_n(&c->need_work, __ATOMIC_RELAXED);
        uint32_t bits = __atomic_load_n(&t->need_work, __ATOMIC_RELAXED);
        if (cpu_bits == 0 && (bits & ~(uint32_t)TASK_WORK_RETURN) == 0)
            break;
        irq_on();
        if (cpu_bits != 0)
            cpu_do_work(c);
        if (bits & TASK_WORK_EXIT)
            task_end();
        if (bits & TASK_WORK_START)
            task_started();
        if (bits & TASK_WORK_SIGNAL)
            signal_deliver(r);
        irq_off();
        c = this_cpu();
    }
    __atomic_fetch_and(&t->need_work, ~(uint32_t)TASK_WORK_RETURN, __ATOMIC_RELAXED);
}

void bad_return_to_user(void)
{
    const struct siginfo info = {.signo = SIGSEGV, .code = SI_KERNEL};
    process_killed(&info);
}
