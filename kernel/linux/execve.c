// SPDX-License-Identifier: Apache-2.0
/* execve(2), execveat(2): a running process becomes another program. Everything that can be found
 * wrong is found while the old program can still be told; from process_become_single on there is no
 * way back. Linux 6.1 fs/exec.c and fs/binfmt_script.c. */
#include "base/errno.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/linux/exec.h"
#include "kernel/linux/identity.h"
#include "kernel/linux/limits.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/linux/timers.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/open.h"

enum {
    STRING_ORDER = 5, // of the pages one string may fill, with its NUL (Linux MAX_ARG_STRLEN)
    STRING_MAX = PAGE_SIZE << STRING_ORDER,
    STRINGS_MAX = 2 << 20, // a quarter of the stack, with the pointers
    COUNT_MAX = 16000,     // arguments, and environment: what one block of pointers holds
    SCRIPT_DEPTH = 5,
    SCRIPT_ARGS = 2 * SCRIPT_DEPTH, // that may come before the first
    SCRIPT_LINE = 256,
};

/* Strings in kernel memory. */
struct strings {
    char **slots; // from `first` on, `count` of them
    unsigned first, count;
};

static void strings_free(struct strings *s)
{
    for (unsigned i = 0; s->slots != NULL && i < s->count; i++)
        kfree(s->slots[s->first + i]);
    kfree(s->slots);
    s->slots = NULL;
}

static char *string_copy(const char *text, size_t len)
{
    char *copy = kmalloc(len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

/* How many pointers lie at `user` before the NULL: -EFAULT, -E2BIG. */
static int count_strings(uint64_t user)
{
    uint64_t at;
    for (int n = 0; user != 0; n++, user += sizeof(at)) {
        if (copy_from_user(&at, user, sizeof(at)) < 0)
            return -EFAULT;
        if (at == 0)
            return n;
        if (n == COUNT_MAX)
            return -E2BIG;
        if (n % 64 == 63 && task_dies())
            return -ERESTARTNOHAND;
    }
    return 0;
}

/* One string of the program, through the pages at `buf`; *total counts what all take. */
static int copy_one(uint64_t user, char *buf, size_t *total, char **ret)
{
    int64_t len = strncpy_from_user(buf, user, STRING_MAX);
    if (len < 0)
        return len == -ENAMETOOLONG ? -E2BIG : (int)len;
    *total += (size_t)len + 1 + sizeof(uint64_t);
    if (*total > STRINGS_MAX)
        return -E2BIG;
    *ret = string_copy(buf, (size_t)len);
    return *ret != NULL ? 0 : -ENOMEM;
}

static int copy_all(uint64_t user, unsigned count, char *buf, size_t *total, struct strings *s)
{
    *s = (struct strings){.first = SCRIPT_ARGS};
    s->slots = kzalloc((SCRIPT_ARGS + count + 1) * sizeof(char *));
    if (s->slots == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++, s->count++) {
        uint64_t at;
        if (copy_from_user(&at, user + i * sizeof(at), sizeof(at)) < 0)
            return -EFAULT;
        int r = copy_one(at, buf, total, &s->slots[s->first + i]);
        if (r < 0)
            return r;
        sched_breathe();
    }
    return 0;
}

struct execve {
    char *name; // what the program was called by: AT_EXECFN, the thread's name
    struct strings argv, envp;
    struct file *file; // the program, or what interprets the script
};

static int copy_strings(struct execve *e, uint64_t argv, uint64_t envp)
{
    int argc = count_strings(argv);
    if (argc < 0)
        return argc;
    int envc = count_strings(envp);
    if (envc < 0)
        return envc;
    if (argc + envc > COUNT_MAX)
        return -E2BIG;
    struct page *buf = page_alloc(STRING_ORDER);
    if (buf == NULL)
        return -ENOMEM;
    size_t total = 0;
    int r = copy_all(envp, (unsigned)envc, page_virt(buf), &total, &e->envp);
    if (r == 0)
        r = copy_all(argv, (unsigned)argc, page_virt(buf), &total, &e->argv);
    page_put(buf);
    if (r < 0 || argc > 0)
        return r;
    // Linux since 5.18: no program goes without its name.
    e->argv.slots[e->argv.first] = string_copy("", 0);
    e->argv.count = e->argv.slots[e->argv.first] != NULL;
    return e->argv.count == 1 ? 0 : -ENOMEM;
}

/* May the file be executed? Linux do_open_execat. */
static int check_file(const struct file *f)
{
    if (f->inode == NULL || (f->inode->mode & S_FMT) != S_REG)
        return -EACCES;
    int r = inode_permission(f->inode, MAY_EXEC);
    return r == 0 ? file_claim_exec(f) : r;
}

static int open_program(int dirfd, const char *path, unsigned flags, struct file **ret)
{
    struct dentry *start;
    int r = walk_start(dirfd, path, &start);
    if (r < 0)
        return r;
    if (path[0] == '\0') {
        r = open_dentry(start, FILE_NONBLOCK, ret);
    } else {
        // Not to wait for a pipe that is no program.
        r = open_path(start, path, FILE_NONBLOCK | flags, 0, 0, ret);
    }
    dentry_put(start);
    if (r == 0 && (r = check_file(*ret)) < 0)
        file_put(*ret);
    return r;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The line behind "#!": the interpreter and its one argument ("": none), both cut out of `line`,
 * which ends with a NUL. False when that is no script. Linux load_script. */
static bool parse_script(char *line, size_t len, char **ret_interp, char **ret_arg)
{
    char *end = memchr(line, '\n', len);
    if (end == NULL) { // a name that is cut off could be that of something else
        bool whole = memchr(line, '\0', len) != NULL;
        char *at = line;
        while (is_blank(*at))
            at++;
        while (*at != '\0' && !is_blank(*at))
            at++;
        if (!whole && *at == '\0')
            return false;
        end = line + strnlen(line, len);
    }
    while (end > line && is_blank(end[-1]))
        end--;
    *end = '\0';
    while (is_blank(*line))
        line++;
    if (*line == '\0')
        return false;
    *ret_interp = line;
    while (*line != '\0' && !is_blank(*line))
        line++;
    while (is_blank(*line))
        *line++ = '\0';
    *ret_arg = line;
    return true;
}

/* Put a string before the others, which takes it over; NULL: memory was short. */
static int push_front(struct strings *s, char *text)
{
    if (text == NULL)
        return -ENOMEM;
    s->slots[--s->first] = text;
    s->count++;
    return 0;
}

/* argv becomes: interpreter, its argument, the path of the script, what followed its name. */
static int script_args(struct strings *argv, const char *path, const char *interp, const char *arg)
{
    kfree(argv->slots[argv->first]);
    argv->first++;
    argv->count--;
    int r = push_front(argv, string_copy(path, strlen(path)));
    if (r == 0 && arg[0] != '\0')
        r = push_front(argv, string_copy(arg, strlen(arg)));
    return r == 0 ? push_front(argv, string_copy(interp, strlen(interp))) : r;
}

/* Follow "#!" to a program. */
static int follow_scripts(struct execve *e)
{
    char line[SCRIPT_LINE + 1];
    for (int depth = 0;; depth++) {
        if (depth > SCRIPT_DEPTH)
            return -ELOOP;
        int64_t n = file_read_kernel(e->file, line, SCRIPT_LINE, 0);
        if (n < 0)
            return (int)n;
        memset(line + n, 0, sizeof(line) - (size_t)n);
        if (line[0] != '#' || line[1] != '!')
            return 0;
        char *interp, *arg;
        if (!parse_script(line + 2, SCRIPT_LINE - 2, &interp, &arg))
            return -ENOEXEC;
        if (depth == SCRIPT_DEPTH)
            return -ELOOP;
        const char *path = depth == 0 ? e->name : e->argv.slots[e->argv.first];
        char *path_copy = string_copy(path, strlen(path));
        int r = path_copy != NULL ? script_args(&e->argv, path_copy, interp, arg) : -ENOMEM;
        kfree(path_copy);
        struct file *next;
        if (r == 0)
            r = open_program(AT_FDCWD, interp, 0, &next);
        if (r < 0)
            return r;
        file_put(e->file);
        e->file = next;
    }
}

/* What of the old program's does not go on in the new one. */
static void shed(struct task *t, const char *name)
{
    struct process *p = t->process;
    struct thread *th = t->thread;
    fdtable_close_on_exec(p->files);
    signal_state_exec(p->signals);
    posix_timers_clear(p);
    creds_exec(p);
    th->alt_sp = th->alt_bytes = 0;
    th->alt_flags = 0;
    th->restart = (struct restart){0};
    arch_task_reset_user(t);
    const char *base = strrchr(name, '/');
    base = base != NULL ? base + 1 : name;
    spin_lock(&p->lock);
    memset(t->name, 0, TASK_NAME_MAX);
    memcpy(t->name, base, strnlen(base, TASK_NAME_MAX - 1));
    spin_unlock(&p->lock);
    process_table_lock();
    p->executed = true;
    p->exit_signal = SIGCHLD;
    p->death_signal = 0;
    process_table_unlock();
}

/* No way back. `mm` and `files` (NULL: as before) become the process's. */
static void become(struct execve *e, struct exec_image *image, struct mm *mm,
                   struct fdtable *files)
{
    struct task *t = current();
    struct process *p = t->process;
    const char *why;
    const struct program_spec spec = {.path = e->name,
                                      .argv = (const char *const *)e->argv.slots + e->argv.first,
                                      .envp = (const char *const *)e->envp.slots + e->envp.first,
                                      .argc = e->argv.count,
                                      .envc = e->envp.count};
    process_leave_memory(mm);
    if (files != NULL) {
        spin_lock(&p->lock);
        struct fdtable *shared = p->files;
        p->files = files;
        spin_unlock(&p->lock);
        fdtable_put(shared);
    }
    shed(t, e->name);
    if (exec_map(p, &spec, image, task_regs(t), &why) < 0) {
        const struct siginfo info = {.signo = SIGSEGV, .code = SI_KERNEL};
        process_killed(&info);
    }
    limits_apply(p);
    __atomic_fetch_or(&t->need_work, TASK_WORK_RETURN, __ATOMIC_RELAXED);
}

static int execute(struct execve *e)
{
    struct process *p = current()->process;
    struct exec_image *image = NULL;
    struct fdtable *files = NULL;
    const char *why;
    int r = follow_scripts(e);
    if (r == 0)
        r = exec_open(e->file, &image, &why);
    struct mm *mm = r == 0 ? mm_new() : NULL;
    bool shared = fdtable_shared(p->files);
    if (r == 0 && shared)
        files = fdtable_copy(p->files);
    if (r == 0 && (mm == NULL || (shared && files == NULL)))
        r = -ENOMEM;
    if (r == 0)
        r = process_become_single();
    if (r == 0) {
        become(e, image, mm, files);
    } else {
        mm_put(mm);
        fdtable_put(files);
    }
    exec_close(image);
    return r;
}

static int64_t do_execve(int dirfd, uint64_t user_path, uint64_t argv, uint64_t envp,
                         unsigned flags, bool may_be_empty)
{
    struct execve e = {0};
    char *path = kmalloc(PATH_MAX_BYTES);
    int r = -ENOMEM;
    if (path == NULL)
        return r;
    int64_t len = strncpy_from_user(path, user_path, PATH_MAX_BYTES);
    if (len < 0)
        r = (int)len;
    else if (len == 0 && !may_be_empty)
        r = -ENOENT;
    else
        r = copy_strings(&e, argv, envp);
    if (r == 0)
        r = open_program(dirfd, path, flags, &e.file);
    if (r == 0) {
        char *name = kmalloc(PATH_MAX_BYTES + 32);
        if (name != NULL && (dirfd == AT_FDCWD || path[0] == '/'))
            memcpy(name, path, (size_t)len + 1);
        else if (name != NULL)
            fmt(name, PATH_MAX_BYTES + 32, len == 0 ? "/dev/fd/%d" : "/dev/fd/%d/%s", dirfd, path);
        e.name = name;
        r = name != NULL ? execute(&e) : -ENOMEM;
        file_put(e.file);
        kfree(name);
    }
    strings_free(&e.argv);
    strings_free(&e.envp);
    kfree(path);
    return r;
}

int64_t sys_execve(const uint64_t arg[static 6])
{
    return do_execve(AT_FDCWD, arg[0], arg[1], arg[2], 0, false);
}

int64_t sys_execveat(const uint64_t arg[static 6])
{
    enum { NOFOLLOW = 0x100, EMPTY_PATH = 0x1000 };
    if (arg[4] & ~(uint64_t)(NOFOLLOW | EMPTY_PATH))
        return -EINVAL;
    return do_execve((int)arg[0], arg[1], arg[2], arg[3],
                     arg[4] & NOFOLLOW ? (unsigned)OPEN_NOFOLLOW : 0,
                     (arg[4] & EMPTY_PATH) != 0);
}
