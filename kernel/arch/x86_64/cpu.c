// SPDX-License-Identifier: Apache-2.0
/* Bringing one CPU into the state that the rest of the kernel expects. SDM volume 3, chapters 2, 3,
 * 6 and 13. */
#include "kernel/arch/x86_64/cpu.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/boot/memory.h"
#include "kernel/drivers/vq.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/vmap.h"

_Static_assert(SYSCALLS_MAX == SYSCALL_ROWS, "entry.S");
_Static_assert(sizeof(struct syscall_entry) == 24, "entry.S");

struct cpu_features cpu_features;
struct cpu *cpus[CPUS_MAX];
unsigned cpu_count = 1;

extern char trap_stubs[], syscall_entry[], syscall_entry_traced[];

enum {
    CR0_MP = 1 << 1,
    CR0_EM = 1 << 2,
    CR0_TS = 1 << 3,
    CR4_DE = 1 << 3,
    CR4_OSFXSR = 1 << 9,
    CR4_OSXMMEXCPT = 1 << 10,
    CR4_UMIP = 1 << 11,
    CR4_FSGSBASE = 1 << 16,
    CR4_OSXSAVE = 1 << 18,
    CR4_SMEP = 1 << 20,
    CR4_SMAP = 1 << 21,
    XCR0_WANTED = 0xe7, // x87, SSE, AVX, AVX-512
    XCR0_AVX512 = 0xe0,
    FXSAVE_BYTES = 512,
    STUB_BYTES = 16,
    VECTORS = 256,
};

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};
_Static_assert(sizeof(struct idt_gate) == 16, "SDM volume 3, 6.14.1");

static struct idt_gate idt[VECTORS];

static bool is_emulated(uint32_t leaf1_ecx)
{
    enum { HYPERVISOR = 1u << 31, HYPERVISOR_BASE = 0x40000000 };
    if (!(leaf1_ecx & HYPERVISOR))
        return false;
    struct cpuid h = cpuid(HYPERVISOR_BASE, 0);
    return h.b == 0x54474354 && h.c == 0x43544743 && h.d == 0x47435447; // "TCGTCGTCGTCG"
}

static void features_find(struct cpu_features *f)
{
    struct cpuid l1 = cpuid(1, 0), l7 = {0}, x1 = {0};
    if (cpuid(0, 0).a >= 7)
        l7 = cpuid(7, 0);
    uint32_t max_extended = cpuid(0x80000000, 0).a;
    if (max_extended >= 0x80000001)
        x1 = cpuid(0x80000001, 0);
    f->emulated = is_emulated(l1.c);
    f->leaf1_edx = l1.d;
    f->pge = l1.d >> 13 & 1;
    f->tsc_deadline = l1.c >> 24 & 1;
    f->xsave = l1.c >> 26 & 1;
    f->rdrand = l1.c >> 30 & 1;
    f->fsgsbase = l7.b & 1;
    f->smep = l7.b >> 7 & 1;
    f->rdseed = l7.b >> 18 & 1;
    f->smap = l7.b >> 20 & 1;
    f->umip = l7.c >> 2 & 1;
    f->gib_pages = x1.d >> 26 & 1;
    f->rdtscp = x1.d >> 27 & 1;
    for (uint32_t i = 0; i < 3 && max_extended >= 0x80000004; i++) {
        struct cpuid b = cpuid(0x80000002 + i, 0);
        memcpy(f->brand + i * 16, &b, 16);
    }
}

static void fpu_init(struct cpu_features *f)
{
    write_cr0((read_cr0() | CR0_MP) & ~(uint64_t)(CR0_EM | CR0_TS));
    f->fpu_bytes = FXSAVE_BYTES;
    if (!f->xsave)
        return;
    struct cpuid l = cpuid(0xd, 0);
    f->xcr0 = (l.d * 0x100000000ull | l.a) & XCR0_WANTED;
    if ((f->xcr0 & XCR0_AVX512) != XCR0_AVX512)
        f->xcr0 &= ~(uint64_t)XCR0_AVX512;
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)f->xcr0), "d"(0));
    f->fpu_bytes = cpuid(0xd, 0).b;
    f->xsaveopt = cpuid(0xd, 1).a & 1;
}

static void control_registers(const struct cpu_features *f)
{
    uint64_t cr4 = read_cr4() | CR4_DE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cr4 |= f->umip ? CR4_UMIP : 0;
    cr4 |= f->fsgsbase ? CR4_FSGSBASE : 0;
    cr4 |= f->xsave ? CR4_OSXSAVE : 0;
    cr4 |= f->smep ? CR4_SMEP : 0;
    cr4 |= f->smap ? CR4_SMAP : 0;
    write_cr4(cr4);
}

/* Put stac and clac where the code has left room for them. Runs while the kernel's text is still
 * writable (before kmap_init). */
static void smap_patch(void)
{
    extern const struct {
        int32_t at, is_clac;
    } smap_patch_start[], smap_patch_end[];
    for (__auto_type p = &smap_patch_start[0]; p < &smap_patch_end[0]; p++) {
        uint8_t *code = (uint8_t *)((uint64_t)&p->at + (uint64_t)(int64_t)p->at);
        code[1] = 0x01;
        code[2] = p->is_clac ? 0xca : 0xcb;
    }
}

static void gdt_init(struct cpu *c)
{
    uint64_t tss = (uint64_t)&c->tss;
    c->gdt[0] = 0;
    c->gdt[SEL_KERNEL_CODE / 8] = 0x00af9b000000ffff;
    c->gdt[SEL_KERNEL_DATA / 8] = 0x00cf93000000ffff;
    c->gdt[SEL_USER_DATA / 8] = 0x00cff3000000ffff;
    c->gdt[SEL_USER_CODE / 8] = 0x00affb000000ffff;
    c->gdt[SEL_TSS / 8] =
        (sizeof(c->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
    c->gdt[SEL_TSS / 8 + 1] = tss >> 32;
    c->tss.iomap = sizeof(c->tss);
    struct {
        uint16_t limit;
        uint64_t base;
    } PACKED pointer = {.limit = sizeof(c->gdt) - 1, .base = (uint64_t)c->gdt};
    __asm__ volatile("lgdt %0\n"
                     "pushq %1\n"
                     "lea 1f(%%rip), %%rax\n"
                     "pushq %%rax\n"
                     "lretq\n"
                     "1: mov %2, %%ss\n"
                     "ltr %w3"
                     :
                     : "m"(pointer), "i"(SEL_KERNEL_CODE), "r"(SEL_KERNEL_DATA), "r"(SEL_TSS)
                     : "rax", "memory");
}

void cpu_ist_init(struct cpu *c)
{
    for (unsigned i = 0; i < IST_COUNT; i++) {
        uint64_t top = kstack_new_page();
        if (top == 0)
            panic("out of memory at start");
        *(struct cpu **)(top - 16) = c; // trap_paranoid finds its CPU here
        c->tss.ist[i] = top - 16;
    }
}

static void idt_init(void)
{
    for (unsigned v = 0; v < VECTORS; v++) {
        uint64_t at = (uint64_t)trap_stubs + v * STUB_BYTES;
        unsigned ist = v == TRAP_NMI || v == TRAP_DOUBLE || v == TRAP_MACHINE ? 1
                       : v == TRAP_DEBUG                                      ? 2
                                                                              : 0;
        bool from_user = v == TRAP_BREAKPOINT || v == TRAP_OVERFLOW; // int3, into
        idt[v] = (struct idt_gate){.offset_low = (uint16_t)at,
                                   .selector = SEL_KERNEL_CODE,
                                   .ist = (uint8_t)ist,
                                   .type = from_user ? 0xee : 0x8e,
                                   .offset_middle = (uint16_t)(at >> 16),
                                   .offset_high = (uint32_t)(at >> 32)};
    }
}

static void idt_load(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } PACKED pointer = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void syscall_msrs(bool trace)
{
    wrmsr(MSR_STAR, (uint64_t)SEL_KERNEL_CODE << 32 | (uint64_t)(SEL_KERNEL_DATA | 3) << 48);
    wrmsr(MSR_LSTAR, (uint64_t)(trace ? syscall_entry_traced : syscall_entry));
    wrmsr(MSR_SFMASK, RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | 3 << 12 | RFLAGS_NT | RFLAGS_RF |
                          RFLAGS_AC | RFLAGS_CF);
}

void cpu_set_kernel_stack(struct cpu *c, uint64_t top)
{
    c->kernel_rsp = top;
    c->tss.rsp[0] = top;
}

/* The guard of stack frames changes under this function: it has none itself. */
__attribute__((no_stack_protector)) void cpu_init(struct cpu *c, uint32_t id, bool trace)
{
    bool first = id == 0;
    c->self = c;
    c->id = id;
    c->stack_guard = boot_stack_guard;
    wrmsr(MSR_GS_BASE, (uint64_t)c);
    if (first) {
        features_find(&cpu_features);
        idt_init();
    }
    control_registers(&cpu_features);
    fpu_init(&cpu_features);
    if (first && cpu_features.smap)
        smap_patch();
    gdt_init(c);
    idt_load();
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    wrmsr(MSR_FS_BASE, 0);
    if (!first)
        cpu_ist_init(c);
    if (cpu_features.rdtscp)
        wrmsr(MSR_TSC_AUX, id);
    syscall_msrs(trace);
    cpus[id] = c;
}

/* QEMU before 8.1 translates fences and locked instructions to nothing while the machine has one
 * CPU, although its devices run in another thread: an interrupt or a notification gets lost, and
 * the queue stands still for ever. Flushing a translation takes a real lock of its own there. */
void vq_fence(void)
{
    if (cpu_features.emulated)
        invlpg(0);
    else
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
