// SPDX-License-Identifier: Apache-2.0
/* skerry.trace: every system call on the console, in the manner of strace(1):
 *
 *     [3] openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 5
 */
#include "base/errno.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/linux/errno_name.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"

enum { LINE_MAX = 480, STRING_MAX = 48, ERRNO_RESTART = 512 };

struct line {
    char text[LINE_MAX];
    size_t len;
};

static void add(struct line *l, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    l->len += fmt_v(l->text + l->len, sizeof(l->text) - l->len, format, args);
    va_end(args);
    l->len = MIN(l->len, sizeof(l->text) - 1);
}

struct flag_name {
    uint64_t bit;
    const char *name;
};

static void add_flags(struct line *l, uint64_t v, const struct flag_name *names, size_t count,
                      const char *zero)
{
    const char *between = "";
    if (zero != NULL) {
        add(l, "%s", zero);
        between = "|";
    }
    for (size_t i = 0; i < count; i++) {
        if (!(v & names[i].bit))
            continue;
        add(l, "%s%s", between, names[i].name);
        between = "|";
        v &= ~names[i].bit;
    }
    if (v != 0 || (between[0] == '\0'))
        add(l, "%s%#lx", between, (unsigned long)v);
}

static void add_bytes(struct line *l, uint64_t user, size_t len, bool to_nul)
{
    char text[STRING_MAX];
    size_t n = MIN(len, sizeof(text));
    for (size_t i = 0; i < n; i++) {
        if (copy_from_user(&text[i], user + i, 1) < 0) {
            add(l, "%#lx", (unsigned long)user);
            return;
        }
        if (to_nul && text[i] == '\0')
            len = n = i;
    }
    add(l, "\"");
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == '\n')
            add(l, "\\n");
        else if (c == '\r')
            add(l, "\\r");
        else if (c == '"' || c == '\\')
            add(l, "\\%c", c);
        else if (c < ' ' || c > '~')
            add(l, "\\%o", c);
        else
            add(l, "%c", c);
    }
    add(l, len > n ? "\"..." : "\"");
}

static const struct flag_name open_flags[] = {
    {01, "O_WRONLY"},        {02, "O_RDWR"},           {0100, "O_CREAT"},
    {0200, "O_EXCL"},        {01000, "O_TRUNC"},       {02000, "O_APPEND"},
    {04000, "O_NONBLOCK"},   {0200000, "O_DIRECTORY"}, {0400000, "O_NOFOLLOW"},
    {02000000, "O_CLOEXEC"}, {010000000, "O_PATH"},
};
static const struct flag_name mmap_prot[] = {{1, "PROT_READ"}, {2, "PROT_WRITE"}, {4, "PROT_EXEC"}};
static const struct flag_name mmap_flags[] = {
    {1, "MAP_SHARED"},         {2, "MAP_PRIVATE"},
    {0x10, "MAP_FIXED"},       {0x20, "MAP_ANONYMOUS"},
    {0x4000, "MAP_NORESERVE"}, {0x8000, "MAP_POPULATE"},
    {0x20000, "MAP_STACK"},    {0x100000, "MAP_FIXED_NOREPLACE"},
};
static const char *const clocks[] = {"CLOCK_REALTIME", "CLOCK_MONOTONIC",
                                     "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID"};

static void add_argument(struct line *l, enum arg_kind kind, const uint64_t *arg)
{
    const uint64_t v = *arg;
    switch (kind) {
    case ARG_INT:
    case ARG_FD:
    case ARG_SIGNAL:
        add(l, "%d", (int)v);
        break;
    case ARG_AT_FD:
        if ((int)v == -100)
            add(l, "AT_FDCWD");
        else
            add(l, "%d", (int)v);
        break;
    case ARG_UINT:
        add(l, "%u", (unsigned)v);
        break;
    case ARG_LONG:
        add(l, "%ld", (long)v);
        break;
    case ARG_SIZE:
        add(l, "%lu", (unsigned long)v);
        break;
    case ARG_OCTAL:
        add(l, "%#o", (unsigned)v);
        break;
    case ARG_STR:
        add_bytes(l, v, SIZE_MAX, true);
        break;
    case ARG_BUF_IN:
        add_bytes(l, v, arg[1], false);
        break;
    case ARG_OPEN_FLAGS:
        add_flags(l, v, open_flags, ARRAY_LEN(open_flags), v & 3 ? NULL : "O_RDONLY");
        break;
    case ARG_MMAP_PROT:
        add_flags(l, v, mmap_prot, ARRAY_LEN(mmap_prot), v == 0 ? "PROT_NONE" : NULL);
        break;
    case ARG_MMAP_FLAGS:
        add_flags(l, v, mmap_flags, ARRAY_LEN(mmap_flags), NULL);
        break;
    case ARG_CLOCK:
        if (v < ARRAY_LEN(clocks))
            add(l, "%s", clocks[v]);
        else
            add(l, "%d", (int)v);
        break;
    case ARG_PTR:
        if (v == 0)
            add(l, "NULL");
        else
            add(l, "%#lx", (unsigned long)v);
        break;
    case ARG_HEX:
    case ARG_NONE:
    default:
        add(l, "%#lx", (unsigned long)v);
        break;
    }
}

static void add_result(struct line *l, int64_t result)
{
    if (result < 0 && result > -4096)
        add(l, " = -%s", result <= -ERRNO_RESTART ? "ERESTART" : errno_name((int)-result));
    else if (result > INT32_MAX)
        add(l, " = %#lx", (unsigned long)result);
    else
        add(l, " = %ld", (long)result);
}

int64_t syscall_traced(struct regs *r)
{
    const uint64_t nr = r->error, *arg = &r->rdi;
    const struct syscall_entry *e = nr < SYSCALLS_MAX ? &syscall_table[nr] : NULL;
    struct line l = {.len = 0};
    add(&l, "[%d] ", current()->tid);
    if (e == NULL || e->call == NULL) {
        add(&l, "syscall_%lu(%#lx, %#lx, %#lx) = -ENOSYS\n", (unsigned long)nr,
            (unsigned long)arg[0], (unsigned long)arg[1], (unsigned long)arg[2]);
        console_write(l.text, l.len);
        return -ENOSYS;
    }
    add(&l, "%s(", e->name);
    for (int i = 0; i < 6 && e->kinds[i] != ARG_NONE; i++) {
        if (i > 0)
            add(&l, ", ");
        add_argument(&l, e->kinds[i], &arg[i]);
    }
    add(&l, ")");
    // A call that may never return shows before it is made.
    bool no_return = strcmp(e->name, "exit") == 0 || strcmp(e->name, "exit_group") == 0;
    if (no_return) {
        add(&l, " = ?\n");
        console_write(l.text, l.len);
        return e->call(arg);
    }
    int64_t result = e->call(arg);
    add_result(&l, result);
    add(&l, "\n");
    console_write(l.text, l.len);
    return result;
}
