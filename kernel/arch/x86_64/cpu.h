// SPDX-License-Identifier: Apache-2.0
#pragma once
/* One CPU's own state, reached through GS, and the registers that an entry into the kernel saves.
 */
#include "abi/boot.h"
#include "base/base.h"
#include "kernel/arch/x86_64/offsets.h"
#include "kernel/sched/task.h"

/* Saved at every entry, at the top of the task's kernel stack. The first six are the arguments of a
 * system call in their order. */
struct regs {
    uint64_t rdi, rsi, rdx, r10, r8, r9;
    uint64_t rax, rcx, r11;
    uint64_t rbx, rbp, r12, r13, r14, r15;
    uint64_t vector; // 0..255, or VECTOR_SYSCALL
    uint64_t error;  // the exception's code; a system call's number
    uint64_t rip, cs, rflags, rsp, ss;
};
_Static_assert(offsetof(struct regs, rax) == REGS_RAX, "entry.S");
_Static_assert(offsetof(struct regs, rip) == REGS_RIP, "entry.S");
_Static_assert(sizeof(struct regs) == REGS_BYTES, "entry.S");

static inline bool regs_user(const struct regs *r)
{
    return (r->cs & 3) != 0;
}

enum { // SDM volume 3, 6.15
    TRAP_DIVIDE = 0,
    TRAP_DEBUG = 1,
    TRAP_NMI = 2,
    TRAP_BREAKPOINT = 3,
    TRAP_OVERFLOW = 4,
    TRAP_BOUND = 5,
    TRAP_OPCODE = 6,
    TRAP_NO_FPU = 7,
    TRAP_DOUBLE = 8,
    TRAP_SEGMENT = 11,
    TRAP_STACK = 12,
    TRAP_GP = 13,
    TRAP_PAGE = 14,
    TRAP_FPU = 16,
    TRAP_ALIGN = 17,
    TRAP_MACHINE = 18,
    TRAP_SIMD = 19,
    VECTOR_DEVICE = 0x30, // first of the devices' vectors
    VECTOR_DEVICE_END = 0xf0,
    VECTOR_TIMER = 0xf0,
    VECTOR_RESCHED = 0xf1,
    VECTOR_CALL = 0xf2,
    VECTOR_SPURIOUS = 0xff,
};

// cpu->need_work: what this CPU does before it returns to user mode.
enum {
    CPU_WORK_DEFERRED = 1, // sched/work.h
    CPU_WORK_RESCHED = 2,
    CPU_WORK_TIMER = 4, // a deadline has passed
};

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, iomap;
} PACKED;
_Static_assert(sizeof(struct tss) == 104, "SDM volume 3, 7.7");

enum { CPUS_MAX = BOOT_CPUS_MAX, IST_COUNT = 2, GDT_WORDS = 7, SLAB_CLASSES = 11 };

struct mm;
struct runq;
struct work;
struct timers;

struct cpu {
    struct cpu *self;        // immutable
    uint64_t kernel_rsp;     // top of the current task's kernel stack; own CPU, interrupts off
    uint64_t user_rsp;       // scratch of the system call entry
    struct task *current;    // own CPU
    uint32_t need_work;      // atomic, CPU_WORK_*
    uint32_t id;             // immutable
    uint64_t stack_guard;    // immutable, one value for all CPUs, for tasks wander between them
    struct task *user_owner; // whose FPU and segment bases were loaded last; own CPU
    struct mm *active_mm;    // whose tables CR3 holds, with a hold on it; own CPU
    bool mm_loaded;          // it does; else the kernel's own: idle, not to be asked to flush
    uint64_t calls;          // atomic: by number, CPUs whose smp_call waits for this one
    struct work *works;      // own CPU, interrupts off: newest first
    struct runq *runq;       // immutable
    struct timers *timers;   // immutable
    uint64_t slice_ns;       // own CPU: end of the current time slice (sched/timer.c)
    uint32_t timer_divide;   // own CPU: of the local APIC's timer, as last written
    struct page *free_pages; // own CPU, not in interrupts: single pages at hand (mm/page.c)
    uint32_t free_count;     // of them; others may read it
    struct {
        void *first;
        uint32_t count;
    } slab[SLAB_CLASSES];    // own CPU: free objects at hand, chained by their first word (slab.c)
    struct tss tss;          // own CPU
    uint64_t gdt[GDT_WORDS]; // immutable
};
_Static_assert(offsetof(struct cpu, kernel_rsp) == CPU_KERNEL_RSP, "entry.S");
_Static_assert(offsetof(struct cpu, user_rsp) == CPU_USER_RSP, "entry.S");
_Static_assert(offsetof(struct cpu, current) == CPU_CURRENT, "entry.S");
_Static_assert(offsetof(struct cpu, need_work) == CPU_NEED_WORK, "entry.S");
_Static_assert(offsetof(struct cpu, stack_guard) == CPU_GUARD, "kernel/meson.build");
_Static_assert(offsetof(struct task, need_work) == TASK_NEED_WORK, "entry.S");

extern struct cpu *cpus[CPUS_MAX];
extern unsigned cpu_count; // started ones, numbered from 0; immutable once the program runs

static inline struct cpu *this_cpu(void)
{
    struct cpu *c;
    // Volatile: a task that slept may run on another CPU.
    __asm__ volatile("movq %%gs:0, %0" : "=r"(c));
    return c;
}

static inline void cpu_need_work(struct cpu *c, uint32_t bits)
{
    __atomic_fetch_or(&c->need_work, bits, __ATOMIC_RELAXED);
}

/* What CPUID offers and cpu_init switched on. Immutable after boot. */
struct cpu_features {
    bool smap, smep, umip, fsgsbase, xsave, xsaveopt, gib_pages, tsc_deadline, rdrand, rdseed;
    bool rdtscp, pge;
    bool emulated; // QEMU without virtualisation (TCG)
    uint64_t xcr0;
    uint32_t fpu_bytes; // size of the FPU area in use
    uint32_t leaf1_edx; // AT_HWCAP
    char brand[49];
};
extern struct cpu_features cpu_features;

/* Tables, control registers, MSRs of the calling CPU, which is number id from now on. */
void cpu_init(struct cpu *c, uint32_t id, bool trace);
/* The stacks of its own that some exceptions have; needs the page allocator, so that the first CPU
 * calls it later. Panics when memory is short. */
NONNULL void cpu_ist_init(struct cpu *c);
void cpu_set_kernel_stack(struct cpu *c, uint64_t top);
