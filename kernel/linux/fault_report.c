// SPDX-License-Identifier: Apache-2.0
/* The last lines of a program that a fault killed, for people and for addr2line. */
#include "kernel/linux/fault_report.h"

#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/mm/mm.h"
#include "kernel/sched/sched.h"

enum { PLACE_MAX = 160 };

static const char *fault_name(int signo)
{
    switch (signo) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    default:
        return NULL;
    }
}

struct place {
    uint64_t rip;
    char text[PLACE_MAX];
};

/* Offsets are the file's, as addr2line and objdump want them of most executables. */
static int place_find(const struct vma_info *v, void *ctx)
{
    struct place *p = ctx;
    if (p->rip >= v->end)
        return 0;
    if (p->rip >= v->start && v->name[0] != '\0')
        fmt(p->text, sizeof(p->text), " in %s+%lx", v->name,
            (unsigned long)(p->rip - v->start + v->offset));
    return 1;
}

void fault_report(const struct siginfo *info)
{
    const struct task *t = current();
    const struct regs *r = task_regs(t);
    const char *fault = info->code > 0 ? fault_name(info->signo) : NULL;
    if (fault == NULL)
        return; // somebody sent it: no mistake of the program's
    struct place p = {.rip = r->rip};
    if (t->process->mm != NULL)
        (void)!mm_for_each(t->process->mm, place_find, &p);
    kprintf("skerry: program killed by %s at rip %lx%s, address %lx, thread %d", fault,
            (unsigned long)r->rip, p.text, (unsigned long)info->fault.address, t->tid);
    const struct {
        const char *name;
        uint64_t value;
    } list[] = {{"rax", r->rax}, {"rbx", r->rbx}, {"rcx", r->rcx}, {"rdx", r->rdx},
                {"rsi", r->rsi}, {"rdi", r->rdi}, {"rbp", r->rbp}, {"rsp", r->rsp},
                {"r8", r->r8},   {"r9", r->r9},   {"r10", r->r10}, {"r11", r->r11},
                {"r12", r->r12}, {"r13", r->r13}, {"r14", r->r14}, {"r15", r->r15}};
    char line[2 * PLACE_MAX];
    for (size_t i = 0, len = 0; i < ARRAY_LEN(list); i++) {
        len += fmt(line + len, sizeof(line) - len, "%s%s %lx", len == 0 ? "  " : " ", list[i].name,
                   (unsigned long)list[i].value);
        if (i % 8 == 7) {
            kprintf("%s", line);
            len = 0;
        }
    }
}
