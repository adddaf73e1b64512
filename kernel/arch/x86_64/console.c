// SPDX-License-Identifier: Apache-2.0
/* The first serial port (16550A, COM1), the status channel and power-off. */
#include "kernel/arch/x86_64/console.h"

#include "abi/boot.h"
#include "base/errno.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/irq.h"
#include "kernel/arch/x86_64/machine.h"
#include "kernel/sched/metrics.h"
#include "kernel/sched/task.h"
#include "kernel/sched/work.h"

enum { // registers from COM1 on, and their bits
    COM1 = 0x3f8,
    COM1_GSI = 4,
    UART_DATA = COM1,
    UART_IER = COM1 + 1,
    UART_FCR = COM1 + 2,
    UART_LCR = COM1 + 3,
    UART_MCR = COM1 + 4,
    UART_LSR = COM1 + 5,
    IER_RECEIVE = 1,
    FCR_ON = 7, // enable and clear both FIFOs
    LCR_8N1 = 3,
    LCR_DIVISOR = 0x80,
    MCR_ON = 0xb, // DTR, RTS, OUT2: lets interrupts out
    LSR_DATA = 1,
    LSR_EMPTY = 0x20,
    LSR_IDLE = 0x40, // the last byte has left
    LSR_ABSENT = 0xff,
    FIFO_BYTES = 16,
    SPIN_MAX = 100000,
    INPUT_MAX = 4096, // a power of two
    LINE_MAX = 512,
};

static struct spinlock output_lock; // with interrupts off: panic and interrupt handlers print too
static bool present;
static uint8_t input[INPUT_MAX];        // written by the interrupt handler, read under input_lock
static uint32_t input_head, input_tail; // atomic; head: the handler's, tail: the readers'
static struct spinlock input_lock;
struct waitq console_waitq = {.waiters = {&console_waitq.waiters, &console_waitq.waiters}};

void console_init(void)
{
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_DIVISOR);
    outb(UART_DATA, 1); // 115200 baud
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_8N1);
    outb(UART_FCR, FCR_ON);
    outb(UART_MCR, MCR_ON);
    present = inb(UART_LSR) != LSR_ABSENT;
}

static void write_raw(const uint8_t *p, size_t len)
{
    while (present && len > 0) {
        for (int i = 0; i < SPIN_MAX && !(inb(UART_LSR) & LSR_EMPTY); i++)
            cpu_relax();
        for (size_t n = MIN(len, (size_t)FIFO_BYTES); n > 0; n--, len--)
            outb(UART_DATA, *p++);
    }
}

void console_write(const void *data, size_t len)
{
    uint64_t flags = spin_lock_irqsave(&output_lock);
    write_raw(data, len);
    spin_unlock_irqrestore(&output_lock, flags);
}

void console_break_lock(void)
{
    output_lock = (struct spinlock){0};
}

void kprintf(const char *format, ...)
{
    char line[LINE_MAX];
    va_list args;
    va_start(args, format);
    size_t len = fmt_v(line, sizeof(line) - 1, format, args);
    va_end(args);
    len = MIN(len, sizeof(line) - 2);
    line[len++] = '\n';
    console_write(line, len);
}

void status_line(const char *text)
{
    for (; *text != '\0'; text++)
        outb(BOOT_STATUS_PORT, (uint8_t)*text);
    outb(BOOT_STATUS_PORT, '\n');
}

void power_off(void)
{
    irq_off();
    for (int i = 0; present && i < SPIN_MAX && !(inb(UART_LSR) & LSR_IDLE); i++)
        cpu_relax(); // what the host has not taken yet would be lost
    outb(BOOT_POWEROFF_PORT, 0);
    outb(0x64, 0xfe); // no such port: reset by the keyboard controller, by the chipset
    outb(0xcf9, 6);
    for (;;)
        __asm__ volatile("hlt");
}

static uint32_t asked_signal;  // atomic: what the host asked for, 0 nothing
static uint32_t asked_metrics; // atomic

static void input_work(UNUSED struct work *w)
{
    uint32_t signo = __atomic_exchange_n(&asked_signal, 0, __ATOMIC_RELAXED);
    if (signo != 0)
        machine_signal((int)signo);
    if (__atomic_exchange_n(&asked_metrics, 0, __ATOMIC_RELAXED))
        metrics_say();
    waitq_wake(&console_waitq, EV_IN | EV_RDNORM, 1);
}

static struct work work = {.run = input_work};

static void receive(UNUSED void *ctx)
{
    for (int i = 0; i < INPUT_MAX && (inb(UART_LSR) & LSR_DATA); i++) {
        uint8_t byte = inb(UART_DATA);
        if (byte == BOOT_CONSOLE_INT || byte == BOOT_CONSOLE_TERM) {
            enum { SIGINT = 2, SIGTERM = 15 };
            uint32_t signo = byte == BOOT_CONSOLE_INT ? SIGINT : SIGTERM;
            __atomic_store_n(&asked_signal, signo, __ATOMIC_RELAXED);
            continue;
        }
        if (byte == BOOT_CONSOLE_METRICS) {
            __atomic_store_n(&asked_metrics, 1, __ATOMIC_RELAXED);
            continue;
        }
        uint32_t head = input_head;
        if (head - __atomic_load_n(&input_tail, __ATOMIC_ACQUIRE) == INPUT_MAX)
            continue; // full: as a terminal, we drop
        input[head % INPUT_MAX] = byte;
        __atomic_store_n(&input_head, head + 1, __ATOMIC_RELEASE); // pairs with console_read
    }
    work_raise(&work);
}

void console_input_init(void)
{
    if (!present)
        return;
    if (irq_register(COM1_GSI, false, receive, NULL) < 0) {
        kprintf("console: no interrupt, no input");
        return;
    }
    outb(UART_IER, IER_RECEIVE);
}

bool console_readable(void)
{
    return __atomic_load_n(&input_head, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(&input_tail, __ATOMIC_RELAXED);
}

size_t console_read(void *to, size_t max)
{
    uint8_t *p = to;
    size_t n = 0;
    spin_lock(&input_lock);
    uint32_t tail = input_tail, head = __atomic_load_n(&input_head, __ATOMIC_ACQUIRE);
    for (; n < max && tail != head; tail++)
        p[n++] = input[tail % INPUT_MAX];
    __atomic_store_n(&input_tail, tail, __ATOMIC_RELEASE);
    spin_unlock(&input_lock);
    return n;
}
