// SPDX-License-Identifier: Apache-2.0
/* The kernel gives up: say why on both channels, with registers and the calls that led here. Uses
 * as little of the kernel as it can. Addresses of calls are printed as linked, without the slide:
 * `addr2line -fe kernel.elf ADDRESS...` names the lines. */
#include "base/fmt.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/machine.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/mm/layout.h"

enum { DEPTH_MAX = 24, TEXT_MAX = 256 };

/* On the console, and on the status channel for who knows the names. rip: 0, or where it began. */
static void backtrace(uint64_t rip, uint64_t rbp)
{
    char line[32 + DEPTH_MAX * 20] = "trace";
    size_t len = 5;
    const uint64_t text = (uint64_t)kernel_start, text_end = (uint64_t)rodata_start;
    if (rip >= text && rip < text_end)
        len += fmt(line + len, sizeof(line) - len, " %lx", (unsigned long)(rip - kernel_slide()));
    for (int i = 0; i < DEPTH_MAX && rbp % 8 == 0; i++) {
        // Frames lie on kernel stacks: VMAP or the image's boot stack.
        bool boot_stack = rbp >= (uint64_t)data_start && rbp < (uint64_t)kernel_end - 16;
        if (!boot_stack && (rbp < VMAP || rbp >= VMAP + DIRECT_BYTES))
            break;
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1] < text || frame[1] >= text_end)
            break;
        len +=
            fmt(line + len, sizeof(line) - len, " %lx", (unsigned long)(frame[1] - kernel_slide()));
        if (frame[0] <= rbp)
            break;
        rbp = frame[0];
    }
    kprintf("called from%s, slide %lx", line + 5, (unsigned long)kernel_slide());
    status_line(line);
}

static void registers(const struct regs *r)
{
    kprintf("rip %016lx rsp %016lx rflags %lx vector %lu error %lx cr2 %016lx",
            (unsigned long)r->rip, (unsigned long)r->rsp, (unsigned long)r->rflags,
            (unsigned long)r->vector, (unsigned long)r->error, (unsigned long)read_cr2());
    kprintf("rax %016lx rbx %016lx rcx %016lx rdx %016lx", (unsigned long)r->rax,
            (unsigned long)r->rbx, (unsigned long)r->rcx, (unsigned long)r->rdx);
    kprintf("rsi %016lx rdi %016lx rbp %016lx r8  %016lx", (unsigned long)r->rsi,
            (unsigned long)r->rdi, (unsigned long)r->rbp, (unsigned long)r->r8);
    kprintf("r9  %016lx r10 %016lx r11 %016lx r12 %016lx", (unsigned long)r->r9,
            (unsigned long)r->r10, (unsigned long)r->r11, (unsigned long)r->r12);
    kprintf("r13 %016lx r14 %016lx r15 %016lx", (unsigned long)r->r13, (unsigned long)r->r14,
            (unsigned long)r->r15);
}

NORETURN static void give_up(const struct regs *r, uint64_t rbp, const char *format, va_list args)
{
    static uint32_t panicking; // atomic: 1 + the number of the CPU that does
    uint32_t me = 1 + (cpuid(1, 0).b >> 24), nobody = 0;
    irq_off();
    if (!__atomic_compare_exchange_n(&panicking, &nobody, me, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        if (nobody == me)
            power_off(); // a panic in the panic
        for (;;)
            __asm__ volatile("hlt"); // another CPU was first
    }
    smp_stop_others();
    console_break_lock();
    char text[TEXT_MAX] = "panic ";
    fmt_v(text + 6, sizeof(text) - 6, format, args);
    kprintf("skerry: %s", text);
    if (r != NULL)
        registers(r);
    status_line(text);
    backtrace(r != NULL ? r->rip : 0, rbp);
    power_off();
}

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    give_up(NULL, (uint64_t)__builtin_frame_address(0), format, args);
}

void panic_regs(const struct regs *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    give_up(r, r->rbp, format, args);
}

/* The compiler's call when the guard at the end of a frame has changed. */
NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
    panic("stack frame overwritten in the caller of this");
}

void assert_failed(const char *what, const char *file, int line)
{
    panic("%s:%d: assertion failed: %s", file, line, what);
}
