// SPDX-License-Identifier: Apache-2.0
/* /proc and /sys: one table says what there is; each file's text is made when it is read.
 *
 * Paths in the table stand for families: PID is a process, TID a thread of it, FD a descriptor.
 * What a name stands for is the inode's node (a row) and node_arg (a number).
 */
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/random.h"
#include "kernel/mm/mm.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/stats.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/linux/process.h"
#include "kernel/vfs/fd.h"
#include "kernel/vfs/tree.h"

enum { TEXT_ORDER_MAX = 10, LINE_BYTES = PATH_MAX_BYTES + 256 };
static const uint64_t DYNAMIC_POS = 1u << 16; // directory positions: rows below, numbers above
#define NS_PER_TICK 10000000                  // USER_HZ 100

// --- text that grows ---

struct text {
    struct page *page; // NULL: empty
    unsigned order;
    size_t len;
    bool failed; // out of memory
};

static size_t text_room(const struct text *t)
{
    return t->page != NULL ? ((size_t)PAGE_SIZE << t->order) - t->len : 0;
}

static void text_grow(struct text *t)
{
    unsigned order = t->page != NULL ? t->order + 1 : 0;
    struct page *bigger = order <= TEXT_ORDER_MAX ? page_alloc(order) : NULL;
    if (bigger == NULL) {
        t->failed = true;
        return;
    }
    if (t->page != NULL) {
        memcpy(page_virt(bigger), page_virt(t->page), t->len);
        page_put(t->page);
    }
    t->page = bigger;
    t->order = order;
}

PRINTF_LIKE(2, 3) static void put(struct text *t, const char *format, ...)
{
    va_list args;
    while (!t->failed) {
        size_t room = text_room(t);
        va_start(args, format);
        size_t n = room > 0 ? fmt_v((char *)page_virt(t->page) + t->len, room, format, args) : room;
        va_end(args);
        if (n < room) {
            t->len += n;
            return;
        }
        text_grow(t);
    }
}

static void put_bytes(struct text *t, const void *data, size_t n)
{
    while (!t->failed && text_room(t) < n)
        text_grow(t);
    if (t->failed)
        return;
    memcpy((char *)page_virt(t->page) + t->len, data, n);
    t->len += n;
}

static void text_free(struct text *t)
{
    if (t->page != NULL)
        page_put(t->page);
    *t = (struct text){0};
}

// --- what the files say ---

/* Number of a file, descriptor or thread, and the process it belongs to (0: the reader): what an
 * inode's node_arg holds. */
static uint64_t arg_of(uint64_t pid, uint64_t number)
{
    return pid << 32 | number;
}

/* From here to look_away the functions below speak of this process. False when it is gone. */
static bool look_at(uint64_t arg)
{
    int pid = (int)(arg >> 32);
    struct process *p = NULL;
    if (pid != 0 && pid != current()->process->pid) {
        p = process_get(pid);
        if (p == NULL)
            return false;
    }
    current()->looks_at = p;
    return true;
}

static void look_away(void)
{
    process_put(current()->looks_at);
    current()->looks_at = NULL;
}

static struct process *me(void)
{
    struct process *p = current()->looks_at;
    return p != NULL ? p : current()->process;
}

/* Its memory, unless it has ended. */
static void each_mapping(int (*fn)(const struct vma_info *v, void *ctx), void *ctx)
{
    struct mm *mm = process_mm(me());
    if (mm == NULL)
        return;
    (void)mm_for_each(mm, fn, ctx);
    mm_put(mm);
}

static struct mm_stats my_memory(void)
{
    struct mm_stats m = {0};
    struct mm *mm = process_mm(me());
    if (mm == NULL)
        return m;
    mm_stats_get(mm, &m);
    mm_put(mm);
    return m;
}

static struct file *my_file(int fd)
{
    struct fdtable *t = process_files(me());
    struct file *f = t != NULL ? fdtable_file(t, fd) : NULL;
    fdtable_put(t);
    return f;
}

static int my_cloexec(int fd)
{
    struct fdtable *t = process_files(me());
    int r = t != NULL ? fdtable_cloexec(t, fd) : -EBADF;
    fdtable_put(t);
    return r;
}

static uint64_t kib(uint64_t bytes)
{
    return bytes / 1024;
}

static void show_meminfo(struct text *t, uint64_t arg UNUSED)
{
    struct mem_stats m;
    uint64_t shmem = 0;
    mem_stats_get(&m);
    LIST_FOR_EACH (at, &vfs_supers)
        shmem += LIST_ENTRY(at, struct super, link)->pages_used * PAGE_SIZE;
    put(t, "MemTotal:       %8lu kB\nMemFree:        %8lu kB\n", kib(m.total_bytes),
        kib(m.free_bytes));
    put(t, "MemAvailable:   %8lu kB\nBuffers:        %8lu kB\n", kib(m.free_bytes + m.cache_bytes),
        0ul);
    put(t, "Cached:         %8lu kB\nSwapCached:     %8lu kB\n", kib(m.cache_bytes + shmem), 0ul);
    put(t, "SwapTotal:      %8lu kB\nSwapFree:       %8lu kB\n", 0ul, 0ul);
    put(t, "Shmem:          %8lu kB\n", kib(shmem));
}

static void show_cpuinfo(struct text *t, uint64_t arg UNUSED)
{
    char cpu[2048];
    size_t len = MIN(stats_cpu_text(cpu, sizeof(cpu)), sizeof(cpu) - 1);
    for (unsigned i = 0; i < stats_cpus(); i++) {
        put(t, "processor\t: %u\n", i);
        put_bytes(t, cpu, len);
        put(t, "\n");
    }
}

static void show_cpu_list(struct text *t, uint64_t arg UNUSED)
{
    unsigned n = stats_cpus();
    if (n == 1)
        put(t, "0\n");
    else
        put(t, "0-%u\n", n - 1);
}

static uint64_t idle_ns(void)
{
    uint64_t all = clock_mono_ns() * stats_cpus(), busy = stats_cpu_busy_ns();
    return all > busy ? all - busy : 0;
}

static void show_stat(struct text *t, uint64_t arg UNUSED)
{
    unsigned cpus = stats_cpus();
    uint64_t user = stats_cpu_busy_ns() / NS_PER_TICK, idle = idle_ns() / NS_PER_TICK;
    put(t, "cpu  %lu 0 0 %lu 0 0 0 0 0 0\n", user, idle);
    for (unsigned i = 0; i < cpus; i++) // work is not counted per CPU: an equal share
        put(t, "cpu%u %lu 0 0 %lu 0 0 0 0 0 0\n", i, user / cpus, idle / cpus);
    put(t, "btime %llu\nprocesses %d\nprocs_running 1\nprocs_blocked 0\n",
        (clock_real_ns() - clock_mono_ns()) / NS_PER_SEC, me()->pid);
}

static void show_uptime(struct text *t, uint64_t arg UNUSED)
{
    uint64_t up = clock_mono_ns() / NS_PER_TICK, idle = idle_ns() / NS_PER_TICK;
    put(t, "%lu.%02lu %lu.%02lu\n", up / 100, up % 100, idle / 100, idle % 100);
}

static void show_loadavg(struct text *t, uint64_t arg UNUSED)
{
    // The load is not averaged over time: what is said is what runs now.
    put(t, "0.00 0.00 0.00 1/%u %d\n", me()->task_count, current()->tid);
}

static void show_version(struct text *t, uint64_t arg UNUSED)
{
    put(t, "Linux version 6.1.0-skerry (skerry) #1 SMP skerry\n");
}

static void show_filesystems(struct text *t, uint64_t arg UNUSED)
{
    put(t, "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\toverlay\n\terofs\n");
}

static const char *mount_path(const struct super *sb, char *to, size_t max)
{
    (void)dentry_path(sb->root, to, max);
    return to;
}

static void show_mounts(struct text *t, uint64_t arg UNUSED)
{
    char path[256];
    LIST_FOR_EACH (at, &vfs_supers) {
        const struct super *sb = LIST_ENTRY(at, struct super, link);
        put(t, "%s %s %s rw,noatime 0 0\n", sb->source, mount_path(sb, path, sizeof(path)),
            sb->ops->type);
    }
}

static void show_mountinfo(struct text *t, uint64_t arg UNUSED)
{
    char path[256];
    LIST_FOR_EACH (at, &vfs_supers) {
        const struct super *sb = LIST_ENTRY(at, struct super, link);
        const struct super *above = sb->mountpoint != NULL ? sb->mountpoint->sb : sb;
        put(t, "%lu %lu 0:%lu / %s rw,noatime - %s %s rw\n", sb->dev, above->dev, sb->dev,
            mount_path(sb, path, sizeof(path)), sb->ops->type, sb->source);
    }
}

/* A value that is a string of the row, behind which a line ends. */
static void show_words(struct text *t, uint64_t arg)
{
    put(t, "%s\n", (const char *)(uintptr_t)arg);
}

static void show_nothing(struct text *t UNUSED, uint64_t arg UNUSED)
{
}

static void show_cpu_index(struct text *t, uint64_t arg)
{
    put(t, "%lu\n", arg);
}

static void show_cpu_bit(struct text *t, uint64_t arg)
{
    put(t, "%lx\n", 1ul << arg % 64);
}

static void show_boot_cmdline(struct text *t, uint64_t arg UNUSED)
{
    for (unsigned i = 0; i < boot_params.arg_count; i++)
        put(t, "%s%s", i > 0 ? " " : "", boot_params.args[i]);
    put(t, "\n");
}

static void show_vmstat(struct text *t, uint64_t arg UNUSED)
{
    struct mem_stats m;
    mem_stats_get(&m);
    put(t, "nr_free_pages %lu\nnr_file_pages %lu\nnr_shmem %lu\n", m.free_bytes / PAGE_SIZE,
        m.cache_bytes / PAGE_SIZE + memfs_pages_used(), memfs_pages_used());
}

static void show_number(struct text *t, uint64_t arg)
{
    put(t, "%lu\n", arg);
}

static void show_hostname(struct text *t, uint64_t arg UNUSED)
{
    put(t, "%s\n", boot_params.host);
}

static void show_osrelease(struct text *t, uint64_t arg UNUSED)
{
    put(t, "6.1.0-skerry\n");
}

static void show_ostype(struct text *t, uint64_t arg UNUSED)
{
    put(t, "Linux\n");
}

static void put_uuid(struct text *t, const uint8_t id[static 16])
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned byte = i == 6 ? (id[i] & 0x0f) | 0x40u : i == 8 ? (id[i] & 0x3f) | 0x80u : id[i];
        put(t, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", byte);
    }
    put(t, "\n");
}

static void show_uuid(struct text *t, uint64_t arg UNUSED)
{
    uint8_t id[16];
    random_bytes(id, sizeof(id));
    put_uuid(t, id);
}

static void show_boot_id(struct text *t, uint64_t arg UNUSED)
{
    static uint8_t id[16];
    static struct spinlock lock; // protects made and id
    static bool made;
    spin_lock(&lock);
    if (!made)
        random_bytes(id, sizeof(id));
    made = true;
    spin_unlock(&lock);
    put_uuid(t, id);
}

/* Bytes of the program's own memory, from start up to end. */
static void put_user(struct text *t, uint64_t start, uint64_t end)
{
    char block[256];
    struct mm *mm = process_mm(me());
    while (mm != NULL && start < end) {
        size_t n = MIN(sizeof(block), end - start);
        if (mm_read(mm, start, block, n) < 0)
            break;
        put_bytes(t, block, n);
        start += n;
    }
    mm_put(mm);
}

static void show_cmdline(struct text *t, uint64_t arg UNUSED)
{
    put_user(t, me()->arg_start, me()->arg_end);
}

static void show_environ(struct text *t, uint64_t arg UNUSED)
{
    put_user(t, me()->env_start, me()->env_end);
}

static int show_mapping(const struct vma_info *v, void *ctx)
{
    struct text *t = ctx;
    size_t line = t->len;
    put(t, "%08lx-%08lx %c%c%c%c %08lx 00:00 0 ", v->start, v->end, v->prot & MM_READ ? 'r' : '-',
        v->prot & MM_WRITE ? 'w' : '-', v->prot & MM_EXEC ? 'x' : '-', v->shared ? 's' : 'p',
        v->offset);
    if (v->name[0] != 0) // Linux pads to column 73
        put(t, "%*s%s", (int)MAX(73 - (int64_t)(t->len - line), 1l), "", v->name);
    put(t, "\n");
    return t->failed;
}

struct smaps {
    struct text *t;
    uint64_t rss, shared, total; // of all mappings, bytes
    uint64_t first, last;
};

/* What is resident is known, what of it is shared with whom is not: a mapping that may be written
 * and is private counts as private and dirty, others as shared and clean. */
static int show_smap(const struct vma_info *v, void *ctx)
{
    struct smaps *s = ctx;
    bool dirty = (v->prot & MM_WRITE) != 0, own = !v->shared && dirty;
    uint64_t rss = kib(v->resident_bytes), all = kib(v->end - v->start);
    int r = show_mapping(v, s->t);
    put(s->t, "Size:           %8lu kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n",
        all);
    put(s->t, "Rss:            %8lu kB\nPss:            %8lu kB\n", rss, rss);
    put(s->t, "Shared_Clean:   %8lu kB\nShared_Dirty:   %8lu kB\n", own || dirty ? 0ul : rss,
        !own && dirty ? rss : 0ul);
    put(s->t, "Private_Clean:  %8lu kB\nPrivate_Dirty:  %8lu kB\n", 0ul, own ? rss : 0ul);
    put(s->t, "Anonymous:      %8lu kB\nSwap:           %8lu kB\n", own ? rss : 0ul, 0ul);
    put(s->t, "VmFlags:%s%s%s%s\n", v->prot & MM_READ ? " rd" : "", dirty ? " wr" : "",
        v->prot & MM_EXEC ? " ex" : "", v->shared ? " sh" : "");
    return r;
}

static void show_smaps(struct text *t, uint64_t arg UNUSED)
{
    struct smaps s = {.t = t};
    each_mapping(show_smap, &s);
}

static int add_smap(const struct vma_info *v, void *ctx)
{
    struct smaps *s = ctx;
    if (s->total == 0)
        s->first = v->start;
    s->last = v->end;
    s->total += v->end - v->start;
    s->rss += v->resident_bytes;
    if (v->shared || (v->prot & MM_WRITE) == 0)
        s->shared += v->resident_bytes;
    return 0;
}

static void show_smaps_rollup(struct text *t, uint64_t arg UNUSED)
{
    struct smaps s = {.t = t};
    each_mapping(add_smap, &s);
    put(t, "%08lx-%08lx ---p 00000000 00:00 0 %*s[rollup]\n", s.first, s.last, 26, "");
    put(t, "Rss:            %8lu kB\nPss:            %8lu kB\n", kib(s.rss), kib(s.rss));
    put(t, "Shared_Clean:   %8lu kB\nPrivate_Dirty:  %8lu kB\n", kib(s.shared),
        kib(s.rss - s.shared));
    put(t, "Anonymous:      %8lu kB\nSwap:           %8lu kB\n", kib(s.rss - s.shared), 0ul);
}

static void show_auxv(struct text *t, uint64_t arg UNUSED)
{
    put_user(t, me()->auxv_start, me()->auxv_end);
}

static void show_maps(struct text *t, uint64_t arg UNUSED)
{
    each_mapping(show_mapping, t);
}

/* The name of a thread (0: the process's first one) into to[TASK_NAME_MAX]. */
static void task_name(uint64_t tid, char *to)
{
    struct process *p = me();
    to[0] = 0;
    spin_lock(&p->lock);
    LIST_FOR_EACH (at, &p->tasks) {
        const struct task *task = LIST_ENTRY(at, struct task, process_link);
        if (task->tid == (tid == 0 ? p->pid : (int)tid) || to[0] == 0)
            memcpy(to, task->name, TASK_NAME_MAX);
    }
    spin_unlock(&p->lock);
    to[TASK_NAME_MAX - 1] = 0;
}

static void show_comm(struct text *t, uint64_t arg)
{
    char name[TASK_NAME_MAX];
    task_name(arg, name);
    put(t, "%s\n", name);
}

/* Linux's letter and word. */
static const char *state_of(struct process *p)
{
    if (p->zombie)
        return "Z (zombie)";
    if (process_stopped(p))
        return "T (stopped)";
    return p == current()->process || process_runs(p) ? "R (running)" : "S (sleeping)";
}

static void show_pid_stat(struct text *t, uint64_t arg)
{
    struct process *p = me();
    const struct mm_stats m = my_memory();
    char name[TASK_NAME_MAX];
    task_name(arg, name);
    int id = arg != 0 ? (int)arg : p->pid;
    put(t, "%d (%s) %c %d %d %d 34816 %d 0 0 0 0 0 ", id, name, state_of(p)[0], p->ppid, p->pgid,
        p->sid, p->pgid);
    put(t, "%lu 0 0 0 20 0 %u 0 ", stats_process_ns(p) / NS_PER_TICK, p->task_count);
    put(t, "%lu %lu %lu %lu 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 ",
        p->start_ns / NS_PER_TICK, m.virtual_bytes, m.resident_bytes / PAGE_SIZE, UINT64_MAX);
    put(t, "%lu %lu %lu %lu 0\n", p->arg_start, p->arg_end, p->env_start, p->env_end);
}

static void show_statm(struct text *t, uint64_t arg UNUSED)
{
    const struct mm_stats m = my_memory();
    put(t, "%lu %lu 0 %lu 0 %lu 0\n", m.virtual_bytes / PAGE_SIZE, m.resident_bytes / PAGE_SIZE,
        m.text_bytes / PAGE_SIZE, (m.data_bytes + m.stack_bytes) / PAGE_SIZE);
}

static uint32_t my_umask(void)
{
    struct fs_context *fs = process_fs(me());
    uint32_t mask = fs != NULL ? fs->umask : 0;
    fs_context_put(fs);
    return mask;
}

static void show_status(struct text *t, uint64_t arg)
{
    struct process *p = me();
    const struct creds *c = &p->creds;
    const struct mm_stats m = my_memory();
    char name[TASK_NAME_MAX];
    task_name(arg, name);
    put(t, "Name:\t%s\nUmask:\t%04o\nState:\t%s\n", name, my_umask(), state_of(p));
    put(t, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", p->pid,
        arg != 0 ? (int)arg : p->pid, p->ppid);
    put(t, "Uid:\t%u\t%u\t%u\t%u\n", c->uid, c->euid, c->suid, c->euid);
    put(t, "Gid:\t%u\t%u\t%u\t%u\n", c->gid, c->egid, c->sgid, c->egid);
    put(t, "FDSize:\t%u\nGroups:\t", 256u);
    for (uint32_t i = 0; i < c->group_count; i++)
        put(t, "%u ", c->groups[i]);
    put(t, " \n");
    put(t, "VmSize:\t%8lu kB\nVmRSS:\t%8lu kB\n", kib(m.virtual_bytes), kib(m.resident_bytes));
    put(t, "VmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\n", kib(m.data_bytes),
        kib(m.stack_bytes), kib(m.text_bytes));
    put(t, "Threads:\t%u\n", p->task_count);
    uint64_t cpus = stats_cpus() >= 64 ? UINT64_MAX : (1ull << stats_cpus()) - 1;
    put(t, "Cpus_allowed:\t%lx\nCpus_allowed_list:\t", cpus);
    show_cpu_list(t, 0);
}

static void show_cgroup(struct text *t, uint64_t arg UNUSED)
{
    put(t, "0::/\n");
}

static void show_limits(struct text *t, uint64_t arg UNUSED)
{
    static const char *const names[][2] = {
        {"Max cpu time", "seconds"},     {"Max file size", "bytes"},
        {"Max data size", "bytes"},      {"Max stack size", "bytes"},
        {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
        {"Max processes", "processes"},  {"Max open files", "files"},
        {"Max locked memory", "bytes"},  {"Max address space", "bytes"},
        {"Max file locks", "locks"},     {"Max pending signals", "signals"},
        {"Max msgqueue size", "bytes"},  {"Max nice priority", ""},
        {"Max realtime priority", ""},   {"Max realtime timeout", "us"},
    };
    uint64_t value[2];
    put(t, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (unsigned i = 0; i < ARRAY_LEN(names) && stats_rlimit(i, &value[0], &value[1]); i++) {
        put(t, "%-25s ", names[i][0]);
        for (unsigned k = 0; k < 2; k++)
            if (value[k] == UINT64_MAX)
                put(t, "%-20s ", "unlimited");
            else
                put(t, "%-20lu ", value[k]);
        put(t, "%-10s\n", names[i][1]);
    }
}

static void show_fdinfo(struct text *t, uint64_t arg)
{
    struct file *f = my_file((int)arg);
    if (f == NULL)
        return;
    uint32_t flags = f->flags | (my_cloexec((int)arg) > 0 ? (uint32_t)OPEN_CLOEXEC : 0);
    put(t, "pos:\t%lu\nflags:\t0%o\nmnt_id:\t%lu\n", f->pos, flags,
        f->inode != NULL ? f->inode->sb->dev : (uint64_t)ANON_DEV);
    file_put(f);
}

/* PR_SET_NAME's relative: the thread's name. */
static int write_comm(uint64_t arg, const char *data, size_t len)
{
    struct process *p = me();
    int r = -ESRCH;
    len = MIN(len, (size_t)TASK_NAME_MAX - 1);
    if (len > 0 && data[len - 1] == '\n')
        len--;
    spin_lock(&p->lock);
    LIST_FOR_EACH (at, &p->tasks) {
        struct task *task = LIST_ENTRY(at, struct task, process_link);
        if (task->tid == (arg == 0 ? p->pid : (int)arg)) {
            memset(task->name, 0, TASK_NAME_MAX);
            memcpy(task->name, data, len);
            r = 0;
        }
    }
    spin_unlock(&p->lock);
    return r;
}

// --- links ---

static size_t link_self(char *to, size_t max, uint64_t arg UNUSED)
{
    return fmt(to, max, "%d", me()->pid);
}

static size_t link_thread_self(char *to, size_t max, uint64_t arg UNUSED)
{
    return fmt(to, max, "%d/task/%d", me()->pid, current()->tid);
}

static size_t link_mounts(char *to, size_t max, uint64_t arg UNUSED)
{
    return fmt(to, max, "self/mounts");
}

static size_t link_exe(char *to, size_t max, uint64_t arg UNUSED)
{
    return fmt(to, max, "%s", me()->exe_path);
}

static size_t link_cwd(char *to, size_t max, uint64_t arg UNUSED)
{
    struct fs_context *fs = process_fs(me());
    if (fs == NULL)
        return 0;
    spin_lock(&fs->lock);
    struct dentry *d = dentry_get(fs->cwd);
    spin_unlock(&fs->lock);
    fs_context_put(fs);
    size_t n = dentry_path(d, to, max);
    dentry_put(d);
    return n;
}

static size_t link_root(char *to, size_t max, uint64_t arg UNUSED)
{
    return fmt(to, max, "/");
}

static size_t link_fd(char *to, size_t max, uint64_t arg)
{
    struct file *f = my_file((int)arg);
    size_t n = f != NULL ? file_describe(f, to, max) : 0;
    file_put(f);
    return n;
}

// --- the table ---

struct node {
    const char *path;
    uint32_t mode;
    void (*show)(struct text *t, uint64_t arg);
    uint64_t number;                                          // show_number's
    int (*write)(uint64_t arg, const char *data, size_t len); // NULL: -EIO
    size_t (*link)(char *to, size_t max, uint64_t arg);
};

#define DIR(path_)                                                                                 \
    {                                                                                              \
        .path = path_, .mode = S_DIR | 0555                                                        \
    }
#define FILE_(path_, show_)                                                                        \
    {                                                                                              \
        .path = path_, .mode = S_REG | 0444, .show = show_                                         \
    }
#define NUM(path_, n)                                                                              \
    {                                                                                              \
        .path = path_, .mode = S_REG | 0444, .show = show_number, .number = n                      \
    }
#define LINK(path_, link_)                                                                         \
    {                                                                                              \
        .path = path_, .mode = S_LNK | 0777, .link = link_                                         \
    }

#define WORDS(path_, words_)                                                                       \
    {                                                                                              \
        .path = path_, .mode = S_REG | 0444, .show = show_words,                                   \
        .number = (uint64_t)(uintptr_t)(words_)                                                    \
    }

static const struct node proc_nodes[] = {
    DIR(""),
    DIR("PID"),
    LINK("self", link_self),
    LINK("thread-self", link_thread_self),
    FILE_("cmdline", show_boot_cmdline),
    FILE_("cpuinfo", show_cpuinfo),
    FILE_("filesystems", show_filesystems),
    FILE_("loadavg", show_loadavg),
    FILE_("meminfo", show_meminfo),
    FILE_("modules", show_nothing),
    LINK("mounts", link_mounts),
    FILE_("stat", show_stat),
    FILE_("uptime", show_uptime),
    FILE_("version", show_version),
    FILE_("vmstat", show_vmstat),
    WORDS("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"),
    DIR("sys"),
    DIR("sys/fs"),
    DIR("sys/fs/epoll"),
    NUM("sys/fs/epoll/max_user_watches", 1 << 20),
    NUM("sys/fs/file-max", FD_LIMIT_MAX),
    DIR("sys/fs/inotify"),
    NUM("sys/fs/inotify/max_queued_events", 16384),
    NUM("sys/fs/inotify/max_user_instances", 128),
    NUM("sys/fs/inotify/max_user_watches", 1 << 16),
    NUM("sys/fs/leases-enable", 0),
    NUM("sys/fs/nr_open", FD_LIMIT_MAX),
    NUM("sys/fs/overflowgid", 65534),
    NUM("sys/fs/overflowuid", 65534),
    NUM("sys/fs/pipe-max-size", 1048576),
    NUM("sys/fs/protected_hardlinks", 0),
    NUM("sys/fs/protected_symlinks", 0),
    NUM("sys/fs/suid_dumpable", 0),
    DIR("sys/kernel"),
    NUM("sys/kernel/cap_last_cap", 40),
    WORDS("sys/kernel/core_pattern", "core"),
    WORDS("sys/kernel/domainname", "(none)"),
    FILE_("sys/kernel/hostname", show_hostname),
    NUM("sys/kernel/ngroups_max", 65536),
    FILE_("sys/kernel/osrelease", show_osrelease),
    FILE_("sys/kernel/ostype", show_ostype),
    NUM("sys/kernel/overflowgid", 65534),
    NUM("sys/kernel/overflowuid", 65534),
    NUM("sys/kernel/panic", 0),
    NUM("sys/kernel/pid_max", 32768),
    NUM("sys/kernel/randomize_va_space", 2),
    NUM("sys/kernel/tainted", 0),
    NUM("sys/kernel/threads-max", TASKS_MAX),
    WORDS("sys/kernel/version", "#1 SMP skerry"),
    DIR("sys/kernel/random"),
    FILE_("sys/kernel/random/boot_id", show_boot_id),
    NUM("sys/kernel/random/entropy_avail", 256),
    NUM("sys/kernel/random/poolsize", 256),
    FILE_("sys/kernel/random/uuid", show_uuid),
    DIR("sys/net"),
    DIR("sys/net/core"),
    NUM("sys/net/core/somaxconn", 4096),
    DIR("sys/net/ipv4"),
    WORDS("sys/net/ipv4/ip_local_port_range", "32768\t60999"),
    DIR("sys/vm"),
    NUM("sys/vm/max_map_count", 65530),
    NUM("sys/vm/mmap_min_addr", 65536),
    NUM("sys/vm/nr_hugepages", 0),
    NUM("sys/vm/overcommit_memory", 1),
    NUM("sys/vm/overcommit_ratio", 50),
    NUM("sys/vm/swappiness", 0),
    {.path = "PID/auxv", .mode = S_REG | 0400, .show = show_auxv},
    FILE_("PID/cgroup", show_cgroup),
    FILE_("PID/cmdline", show_cmdline),
    {.path = "PID/comm", .mode = S_REG | 0644, .show = show_comm, .write = write_comm},
    LINK("PID/cwd", link_cwd),
    {.path = "PID/environ", .mode = S_REG | 0400, .show = show_environ},
    LINK("PID/exe", link_exe),
    {.path = "PID/fd", .mode = S_DIR | 0500},
    {.path = "PID/fd/FD", .mode = S_LNK | 0700, .link = link_fd},
    DIR("PID/fdinfo"),
    {.path = "PID/fdinfo/FD", .mode = S_REG | 0444, .show = show_fdinfo},
    FILE_("PID/limits", show_limits),
    FILE_("PID/maps", show_maps),
    FILE_("PID/mountinfo", show_mountinfo),
    FILE_("PID/mounts", show_mounts),
    {.path = "PID/oom_score", .mode = S_REG | 0444, .show = show_number},
    // There is no choice among victims that it could adjust: writing says -EIO.
    {.path = "PID/oom_score_adj", .mode = S_REG | 0644, .show = show_number},
    LINK("PID/root", link_root),
    FILE_("PID/smaps", show_smaps),
    FILE_("PID/smaps_rollup", show_smaps_rollup),
    FILE_("PID/stat", show_pid_stat),
    FILE_("PID/statm", show_statm),
    FILE_("PID/status", show_status),
    DIR("PID/task"),
    DIR("PID/task/TID"),
    {.path = "PID/task/TID/comm", .mode = S_REG | 0644, .show = show_comm, .write = write_comm},
    FILE_("PID/task/TID/stat", show_pid_stat),
    FILE_("PID/task/TID/status", show_status),
};

static const struct node sys_nodes[] = {
    DIR(""),
    DIR("devices"),
    DIR("devices/system"),
    DIR("devices/system/cpu"),
    DIR("devices/system/cpu/CPU"),
    DIR("devices/system/cpu/CPU/topology"),
    FILE_("devices/system/cpu/CPU/topology/core_id", show_cpu_index),
    FILE_("devices/system/cpu/CPU/topology/core_cpus_list", show_cpu_index),
    FILE_("devices/system/cpu/CPU/topology/core_siblings_list", show_cpu_list),
    FILE_("devices/system/cpu/CPU/topology/package_cpus_list", show_cpu_list),
    NUM("devices/system/cpu/CPU/topology/physical_package_id", 0),
    FILE_("devices/system/cpu/CPU/topology/thread_siblings", show_cpu_bit),
    FILE_("devices/system/cpu/CPU/topology/thread_siblings_list", show_cpu_index),
    WORDS("devices/system/cpu/isolated", ""),
    NUM("devices/system/cpu/kernel_max", 63),
    WORDS("devices/system/cpu/offline", ""),
    FILE_("devices/system/cpu/online", show_cpu_list),
    FILE_("devices/system/cpu/possible", show_cpu_list),
    FILE_("devices/system/cpu/present", show_cpu_list),
    DIR("devices/system/node"),
    DIR("devices/system/node/node0"),
    FILE_("devices/system/node/node0/cpulist", show_cpu_list),
    NUM("devices/system/node/online", 0),
    NUM("devices/system/node/possible", 0),
    DIR("fs"),
    DIR("fs/cgroup"),
    DIR("kernel"),
    DIR("kernel/mm"),
};

// What a numbered name stands for in a directory.
struct family {
    const char *dir, *child;
    const char *prefix; // of the name, before the number
    bool (*exists)(uint64_t n);
    int64_t (*next)(int64_t n); // first number >= n, or -1
};

static bool pid_exists(uint64_t n)
{
    struct process *p = n <= INT32_MAX ? process_get((int)n) : NULL;
    process_put(p);
    return p != NULL;
}

static int64_t pid_next(int64_t n)
{
    return n <= INT32_MAX ? process_next((int)n) : -1;
}

static bool fd_exists(uint64_t n)
{
    return n <= INT32_MAX && my_cloexec((int)n) >= 0;
}

static int64_t fd_next_open(int64_t n)
{
    struct fdtable *t = process_files(me());
    int fd = t != NULL && n <= INT32_MAX ? fd_next(t, (int)n) : -1;
    fdtable_put(t);
    return fd;
}

static int64_t tid_next(int64_t n)
{
    struct process *p = me();
    int64_t next = -1;
    spin_lock(&p->lock);
    LIST_FOR_EACH (at, &p->tasks) {
        int64_t tid = LIST_ENTRY(at, struct task, process_link)->tid;
        if (tid >= n && (next < 0 || tid < next))
            next = tid;
    }
    spin_unlock(&p->lock);
    return next;
}

static bool tid_exists(uint64_t n)
{
    return n <= INT32_MAX && tid_next((int64_t)n) == (int64_t)n;
}

static bool cpu_exists(uint64_t n)
{
    return n < stats_cpus();
}

static int64_t cpu_next(int64_t n)
{
    return cpu_exists((uint64_t)n) ? n : -1;
}

static const struct family families[] = {
    {"", "PID", "", pid_exists, pid_next},
    {"PID/fd", "PID/fd/FD", "", fd_exists, fd_next_open},
    {"PID/fdinfo", "PID/fdinfo/FD", "", fd_exists, fd_next_open},
    {"PID/task", "PID/task/TID", "", tid_exists, tid_next},
};

static const struct family cpu_family = {"devices/system/cpu", "devices/system/cpu/CPU", "cpu",
                                         cpu_exists, cpu_next};

static bool is_proc(const struct super *sb)
{
    return sb->ops == &proc_ops;
}

static const struct node *nodes_of(const struct super *sb, size_t *ret_count)
{
    *ret_count = is_proc(sb) ? ARRAY_LEN(proc_nodes) : ARRAY_LEN(sys_nodes);
    return is_proc(sb) ? proc_nodes : sys_nodes;
}

static const struct family *family_of(const struct super *sb, const struct node *dir)
{
    if (!is_proc(sb))
        return strcmp(dir->path, cpu_family.dir) == 0 ? &cpu_family : NULL;
    for (unsigned i = 0; i < ARRAY_LEN(families); i++)
        if (strcmp(families[i].dir, dir->path) == 0)
            return &families[i];
    return NULL;
}

/* The name of a row in a directory, or NULL when it does not lie right there. */
static const char *name_in(const struct node *dir, const struct node *n)
{
    size_t len = strlen(dir->path);
    const char *name = n->path;
    if (len > 0) {
        if (strncmp(name, dir->path, len) != 0 || name[len] != '/')
            return NULL;
        name += len + 1;
    }
    bool stands_for_numbers = name[0] >= 'A' && name[0] <= 'Z';
    return name[0] == 0 || strchr(name, '/') != NULL || stands_for_numbers ? NULL : name;
}

static int make_inode(struct super *sb, const struct node *n, uint64_t arg, struct inode **ret)
{
    size_t count;
    const struct node *all = nodes_of(sb, &count);
    uint64_t ino = (uint64_t)(n - all) + 1 + ((arg & UINT32_MAX) << 16) + (arg >> 32 << 40);
    struct inode *inode = inode_new(sb, ino, n->mode);
    if (inode == NULL)
        return -ENOMEM;
    inode->node = n;
    inode->node_arg = arg;
    inode->nlink = (n->mode & S_FMT) == S_DIR ? 2 : 1;
    inode->size = (n->mode & S_FMT) == S_LNK && all == proc_nodes ? 64 : 0;
    *ret = inode;
    return 0;
}

int pseudo_root(struct super *sb, struct inode **ret)
{
    size_t count;
    return make_inode(sb, nodes_of(sb, &count), 0, ret);
}

/* A decimal number without leading zeroes, or UINT64_MAX. */
static uint64_t parse_number(const char *s, size_t len)
{
    uint64_t n = 0;
    if (len == 0 || len > 10 || (s[0] == '0' && len > 1))
        return UINT64_MAX;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return UINT64_MAX;
        n = n * 10 + (uint64_t)(s[i] - '0');
    }
    return n;
}

/* node_arg of a family's member in a directory. */
static uint64_t member(const struct family *f, uint64_t dir_arg, uint64_t number)
{
    return f->dir[0] == 0 ? arg_of(number, 0) : arg_of(dir_arg >> 32, number);
}

static int lookup_seen(struct inode *dir, const char *name, size_t len, struct inode **ret)
{
    const struct node *d = dir->node;
    size_t count;
    const struct node *all = nodes_of(dir->sb, &count);
    const struct family *family = family_of(dir->sb, d);
    const char *prefix = family != NULL ? family->prefix : "";
    size_t skip = strlen(prefix);
    uint64_t number = len > skip && memcmp(name, prefix, skip) == 0
                          ? parse_number(name + skip, len - skip)
                          : UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *there = name_in(d, &all[i]);
        if (there != NULL && strlen(there) == len && memcmp(there, name, len) == 0)
            return make_inode(dir->sb, &all[i], dir->node_arg, ret);
        if (family != NULL && number != UINT64_MAX && strcmp(all[i].path, family->child) == 0)
            return family->exists(number)
                       ? make_inode(dir->sb, &all[i], member(family, dir->node_arg, number), ret)
                       : -ENOENT;
    }
    return -ENOENT;
}

static int pseudo_lookup(struct inode *dir, const char *name, size_t len, struct inode **ret)
{
    if (!look_at(dir->node_arg))
        return -ENOENT;
    int r = lookup_seen(dir, name, len, ret);
    look_away();
    return r;
}

static int iterate_seen(struct dentry *dir, uint64_t *pos, struct dirbuf *buf)
{
    const struct node *d = dir->inode->node;
    size_t count;
    const struct node *all = nodes_of(dir->sb, &count);
    const struct family *family = family_of(dir->sb, d);
    if (!dirbuf_dots(buf, dir, pos))
        return 0;
    while (*pos < DYNAMIC_POS) {
        size_t i = *pos - 2;
        if (i >= count) {
            *pos = DYNAMIC_POS;
            break;
        }
        const char *name = name_in(d, &all[i]);
        unsigned type = (all[i].mode & S_FMT) >> 12;
        if (name != NULL && !dirbuf_add(buf, name, strlen(name), i + 1, *pos + 1, type))
            return 0;
        ++*pos;
    }
    while (family != NULL) {
        char name[24];
        int64_t n = family->next((int64_t)(*pos - DYNAMIC_POS));
        if (n < 0)
            break;
        size_t len = fmt(name, sizeof(name), "%s%ld", family->prefix, n);
        uint64_t next = DYNAMIC_POS + (uint64_t)n + 1;
        unsigned type = family->exists == fd_exists && strcmp(d->path, "PID/fd") == 0 ? S_LNK >> 12
                        : family->exists == fd_exists                                 ? S_REG >> 12
                                                                                      : S_DIR >> 12;
        if (!dirbuf_add(buf, name, len, ((uint64_t)n << 16) + 1, next, type))
            return 0;
        *pos = next;
    }
    return 0;
}

static int pseudo_iterate(struct dentry *dir, uint64_t *pos, struct dirbuf *buf)
{
    if (!look_at(dir->inode->node_arg))
        return -ENOENT;
    int r = iterate_seen(dir, pos, buf);
    look_away();
    return r;
}

static int64_t pseudo_readlink(struct inode *inode, char *to, size_t max)
{
    const struct node *n = inode->node;
    if (!look_at(inode->node_arg))
        return -ENOENT;
    size_t len = n->link(to, max, inode->node_arg & UINT32_MAX);
    look_away();
    return len > 0 ? (int64_t)MIN(len, max - 1) : -ENOENT;
}

/* /proc/self/fd/N leads to the open file's own place, whatever its path says by now. */
static int pseudo_jump(struct inode *inode, struct dentry **ret, struct file **ret_file)
{
    const struct node *n = inode->node;
    if (n->link != link_fd)
        return -ENOENT;
    if (!look_at(inode->node_arg))
        return -ENOENT;
    struct file *f = my_file((int)(inode->node_arg & UINT32_MAX));
    look_away();
    if (f == NULL)
        return -EBADF;
    if (f->dentry == NULL) {
        *ret_file = f;
        return 0;
    }
    *ret = dentry_get(f->dentry);
    file_put(f);
    return 0;
}

// --- open files ---

struct open_text {
    struct mutex lock; // protects text
    struct text text;
};

/* False when the process is gone. */
static bool make_text(struct text *t, const struct inode *inode)
{
    const struct node *n = inode->node;
    bool own_number = n->show == show_number || n->show == show_words;
    text_free(t);
    if (!look_at(inode->node_arg))
        return false;
    n->show(t, own_number ? n->number : inode->node_arg & UINT32_MAX);
    look_away();
    return true;
}

static int64_t pseudo_read(struct file *f, struct uio *u, uint64_t *pos, bool nonblock UNUSED)
{
    struct open_text *o = f->priv;
    int64_t r = 0;
    mutex_lock(&o->lock);
    if (*pos == 0 || o->text.page == NULL) // reading from the start asks anew
        r = make_text(&o->text, f->inode) ? 0 : -ESRCH;
    if (r < 0) {
        text_free(&o->text);
    } else if (o->text.failed) {
        text_free(&o->text);
        r = -ENOMEM;
    } else if (*pos < o->text.len) {
        size_t n = MIN(u->left, o->text.len - *pos), before = u->left;
        r = uio_put(u, (const char *)page_virt(o->text.page) + *pos, n);
        *pos += before - u->left;
        r = before > u->left ? (int64_t)(before - u->left) : r;
    }
    mutex_unlock(&o->lock);
    return r;
}

static int64_t pseudo_write(struct file *f, struct uio *u, uint64_t *pos UNUSED,
                            bool nonblock UNUSED)
{
    const struct node *n = f->inode->node;
    char data[128];
    size_t len = u->left;
    if (n->write == NULL)
        return -EIO;
    if (uio_take(u, data, MIN(len, sizeof(data))) < 0)
        return -EFAULT;
    if (!look_at(f->inode->node_arg))
        return -ESRCH;
    int r = n->write(f->inode->node_arg & UINT32_MAX, data, MIN(len, sizeof(data)));
    look_away();
    return r < 0 ? r : (int64_t)len;
}

static int64_t pseudo_seek(struct file *f, int64_t offset, int whence)
{
    if (whence == 1)
        offset += (int64_t)f->pos;
    else if (whence != 0)
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    f->pos = (uint64_t)offset;
    return offset;
}

static int pseudo_stat(struct file *f, struct kstat *ret)
{
    inode_stat(f->inode, ret);
    return 0;
}

static void pseudo_release(struct file *f)
{
    struct open_text *o = f->priv;
    text_free(&o->text);
    kfree(o);
}

static const struct file_ops pseudo_file_ops = {
    .name = "proc",
    .read = pseudo_read,
    .write = pseudo_write,
    .poll = file_always_ready,
    .ioctl = file_no_ioctl,
    .seek = pseudo_seek,
    .stat = pseudo_stat,
    .get_page = file_no_page,
    .release = pseudo_release,
};

static int pseudo_open(struct inode *inode, struct file *f)
{
    if ((inode->mode & S_FMT) == S_DIR) {
        f->ops = &dir_file_ops;
        return 0;
    }
    struct open_text *o = kzalloc(sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    mutex_init(&o->lock);
    f->priv = o;
    f->ops = &pseudo_file_ops;
    return 0;
}

// A new name in /proc is not found; /sys refuses it (Linux proc_root_lookup, kernfs).
#define PSEUDO_OPS(type_name, type_magic, error)                                                   \
    {                                                                                              \
        .type = type_name, .magic = type_magic, .make_error = error, .lookup = pseudo_lookup,      \
        .iterate = pseudo_iterate, .readlink = pseudo_readlink, .jump = pseudo_jump,               \
        .open = pseudo_open,                                                                       \
    }
const struct super_ops proc_ops = PSEUDO_OPS("proc", 0x9fa0, -ENOENT);
const struct super_ops sys_ops = PSEUDO_OPS("sysfs", 0x62656572, -EACCES);
