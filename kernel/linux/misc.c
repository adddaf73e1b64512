// SPDX-License-Identifier: Apache-2.0
/* Who and where am I: identities, limits, names, scheduling parameters, small inquiries. */
#include "base/errno.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/asm.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/boot/params.h"
#include "kernel/drivers/random.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/linux/thread.h"
#include "kernel/mm/kmem.h"
#include "kernel/mm/space.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"
#include "kernel/sched/stats.h"
#include "kernel/vfs/fd.h"

static struct process *me(void)
{
    return current()->process;
}

int64_t sys_getpid(UNUSED const uint64_t arg[static 6])
{
    return me()->pid;
}

int64_t sys_getppid(UNUSED const uint64_t arg[static 6])
{
    return me()->ppid;
}

int64_t sys_gettid(UNUSED const uint64_t arg[static 6])
{
    return current()->tid;
}

int64_t sys_getuid(UNUSED const uint64_t arg[static 6])
{
    return me()->creds.uid;
}

int64_t sys_geteuid(UNUSED const uint64_t arg[static 6])
{
    return me()->creds.euid;
}

int64_t sys_getgid(UNUSED const uint64_t arg[static 6])
{
    return me()->creds.gid;
}

int64_t sys_getegid(UNUSED const uint64_t arg[static 6])
{
    return me()->creds.egid;
}

static int64_t three_to_user(const uint64_t arg[static 6], uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t ids[3] = {a, b, c};
    for (int i = 0; i < 3; i++)
        if (copy_to_user(arg[i], &ids[i], sizeof(ids[i])) < 0)
            return -EFAULT;
    return 0;
}

int64_t sys_getresuid(const uint64_t arg[static 6])
{
    const struct creds *c = &me()->creds;
    return three_to_user(arg, c->uid, c->euid, c->suid);
}

int64_t sys_getresgid(const uint64_t arg[static 6])
{
    const struct creds *c = &me()->creds;
    return three_to_user(arg, c->gid, c->egid, c->sgid);
}

/* Linux 6.1 kernel/sys.c: root may take any identity, others one of the three they have. */
static bool may_be(uint32_t id, uint32_t a, uint32_t b, uint32_t c)
{
    return id == UINT32_MAX || me()->creds.euid == 0 || id == a || id == b || id == c;
}

static int set_three(uint32_t *real, uint32_t *effective, uint32_t *saved, uint32_t r, uint32_t e,
                     uint32_t s)
{
    struct process *p = me();
    spin_lock(&p->lock);
    bool ok = may_be(r, *real, *effective, *saved) && may_be(e, *real, *effective, *saved) &&
              may_be(s, *real, *effective, *saved);
    if (ok) {
        *real = r != UINT32_MAX ? r : *real;
        *effective = e != UINT32_MAX ? e : *effective;
        *saved = s != UINT32_MAX ? s : *saved;
    }
    spin_unlock(&p->lock);
    return ok ? 0 : -EPERM;
}

int64_t sys_setresuid(const uint64_t arg[static 6])
{
    struct creds *c = &me()->creds;
    return set_three(&c->uid, &c->euid, &c->suid, (uint32_t)arg[0], (uint32_t)arg[1],
                     (uint32_t)arg[2]);
}

int64_t sys_setresgid(const uint64_t arg[static 6])
{
    struct creds *c = &me()->creds;
    return set_three(&c->gid, &c->egid, &c->sgid, (uint32_t)arg[0], (uint32_t)arg[1],
                     (uint32_t)arg[2]);
}

int64_t sys_setuid(const uint64_t arg[static 6])
{
    struct creds *c = &me()->creds;
    uint32_t id = (uint32_t)arg[0], all = c->euid == 0 ? id : UINT32_MAX;
    return id == UINT32_MAX ? -EINVAL : set_three(&c->uid, &c->euid, &c->suid, all, id, all);
}

int64_t sys_setgid(const uint64_t arg[static 6])
{
    struct creds *c = &me()->creds;
    uint32_t id = (uint32_t)arg[0], all = c->euid == 0 ? id : UINT32_MAX;
    return id == UINT32_MAX ? -EINVAL : set_three(&c->gid, &c->egid, &c->sgid, all, id, all);
}

int64_t sys_getgroups(const uint64_t arg[static 6])
{
    return (int)arg[0] < 0 ? -EINVAL : 0; // no supplementary groups
}

int64_t sys_uname(const uint64_t arg[static 6])
{
    enum { FIELD = 65, FIELDS = 6 };
    // Programs compare the release with what they need of Linux: this kernel's model is 6.1.
    const char *const text[FIELDS] = {"Linux",         boot_params.host, "6.1.0-skerry",
                                      "#1 SMP skerry", "x86_64",         "(none)"};
    char out[FIELDS][FIELD] = {0};
    for (int i = 0; i < FIELDS; i++)
        memcpy(out[i], text[i], strnlen(text[i], FIELD - 1));
    return copy_to_user(arg[0], out, sizeof(out));
}

int64_t sys_sysinfo(const uint64_t arg[static 6])
{
    struct {
        int64_t uptime;
        uint64_t loads[3], total, free, shared, buffers, swap_total, swap_free;
        uint16_t processes, pad;
        uint32_t pad2;
        uint64_t high_total, high_free;
        uint32_t unit, pad3;
    } s = {.unit = 1};
    _Static_assert(sizeof(s) == 112, "Linux struct sysinfo");
    struct mem_stats m;
    mem_stats_get(&m);
    s.uptime = (int64_t)(clock_mono_ns() / NS_PER_SEC);
    s.total = m.total_bytes;
    s.free = m.free_bytes;
    s.buffers = m.cache_bytes;
    s.processes = (uint16_t)me()->task_count;
    return copy_to_user(arg[0], &s, sizeof(s));
}

struct rlimit {
    uint64_t soft, hard;
};

enum {
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_DATA,
    RLIMIT_STACK,
    RLIMIT_CORE,
    RLIMIT_RSS,
    RLIMIT_NPROC,
    RLIMIT_NOFILE,
    RLIMIT_MEMLOCK,
    RLIMIT_AS,
    RLIMIT_LOCKS,
    RLIMIT_SIGPENDING,
    RLIMIT_MSGQUEUE,
    RLIMIT_NICE,
    RLIMIT_RTPRIO,
    RLIMIT_RTTIME,
    RLIMITS,
};
#define UNLIMITED                                                                                  \
    {                                                                                              \
        UINT64_MAX, UINT64_MAX                                                                     \
    }
/* What holds. Limits that this kernel does not enforce are unlimited and stay so: an attempt to set
 * them lower is refused rather than forgotten. */
static struct rlimit rlimits[RLIMITS] = {
    [RLIMIT_CPU] = UNLIMITED,
    [RLIMIT_FSIZE] = UNLIMITED,
    [RLIMIT_DATA] = UNLIMITED,
    [RLIMIT_STACK] = {8 << 20, UINT64_MAX},
    [RLIMIT_CORE] = {0, 0},
    [RLIMIT_RSS] = UNLIMITED,
    [RLIMIT_NPROC] = {TASKS_MAX, TASKS_MAX},
    [RLIMIT_NOFILE] = {FD_LIMIT_DEFAULT, FD_LIMIT_MAX},
    [RLIMIT_MEMLOCK] = UNLIMITED,
    [RLIMIT_AS] = UNLIMITED,
    [RLIMIT_LOCKS] = UNLIMITED,
    [RLIMIT_SIGPENDING] = {4096, 4096},
    [RLIMIT_MSGQUEUE] = {0, 0},
    [RLIMIT_NICE] = {0, 0},
    [RLIMIT_RTPRIO] = {0, 0},
    [RLIMIT_RTTIME] = UNLIMITED,
};
static struct spinlock rlimits_lock;

bool stats_rlimit(unsigned n, uint64_t *ret_soft, uint64_t *ret_hard)
{
    if (n >= RLIMITS)
        return false;
    spin_lock(&rlimits_lock);
    *ret_soft = rlimits[n].soft;
    *ret_hard = rlimits[n].hard;
    spin_unlock(&rlimits_lock);
    return true;
}

static int rlimit_set(unsigned which, struct rlimit new)
{
    struct rlimit *l = &rlimits[which];
    int r = 0;
    if (new.soft > new.hard)
        return -EINVAL;
    spin_lock(&rlimits_lock);
    if (which == RLIMIT_NOFILE && new.hard > FD_LIMIT_MAX)
        r = -EPERM;
    else if (which == RLIMIT_NOFILE || which == RLIMIT_STACK || which == RLIMIT_CORE)
        *l = new;
    else if (new.soft != l->soft || new.hard != l->hard)
        r = -EPERM;
    spin_unlock(&rlimits_lock);
    if (r == 0 && which == RLIMIT_STACK)
        me()->mm->stack_limit = new.soft;
    if (r == 0 && which == RLIMIT_NOFILE)
        fdtable_limit_set(me()->files, (uint32_t) new.soft);
    return r;
}

static int64_t prlimit(int pid, uint64_t which, uint64_t user_new, uint64_t user_old)
{
    struct rlimit new;
    if (which >= RLIMITS)
        return -EINVAL;
    if (pid != 0 && pid != me()->pid)
        return -ESRCH;
    if (user_new != 0 && copy_from_user(&new, user_new, sizeof(new)) < 0)
        return -EFAULT;
    spin_lock(&rlimits_lock);
    const struct rlimit old = rlimits[which];
    spin_unlock(&rlimits_lock);
    int r = user_new != 0 ? rlimit_set((unsigned)which, new) : 0;
    return r < 0 || user_old == 0 ? r : copy_to_user(user_old, &old, sizeof(old));
}

int64_t sys_prlimit64(const uint64_t arg[static 6])
{
    return prlimit((int)arg[0], arg[1], arg[2], arg[3]);
}

int64_t sys_getrlimit(const uint64_t arg[static 6])
{
    return arg[1] == 0 ? -EFAULT : prlimit(0, arg[0], 0, arg[1]);
}

int64_t sys_setrlimit(const uint64_t arg[static 6])
{
    return arg[1] == 0 ? -EFAULT : prlimit(0, arg[0], arg[1], 0);
}

int64_t sys_prctl(const uint64_t arg[static 6])
{
    enum {
        SET_PDEATHSIG = 1,
        GET_PDEATHSIG = 2,
        GET_DUMPABLE = 3,
        SET_NAME = 15,
        GET_NAME = 16,
        CAPBSET_READ = 23,
        SET_CHILD_SUBREAPER = 36,
        GET_CHILD_SUBREAPER = 37,
        SET_NO_NEW_PRIVS = 38,
        GET_NO_NEW_PRIVS = 39,
    };
    static uint32_t no_new_privs; // of the one process; never goes back
    struct task *t = current();
    char name[TASK_NAME_MAX] = {0};
    switch ((int)arg[0]) {
    case SET_NAME: {
        int64_t r = strncpy_from_user(name, arg[1], sizeof(name) - 1);
        if (r < 0 && r != -ENAMETOOLONG)
            return r;
        spin_lock(&t->process->lock);
        memcpy(t->name, name, sizeof(name));
        spin_unlock(&t->process->lock);
        return 0;
    }
    case GET_NAME:
        return copy_to_user(arg[1], t->name, sizeof(t->name));
    case GET_DUMPABLE:
        return 0; // no core is ever written
    case SET_NO_NEW_PRIVS:
        if (arg[1] != 1 || arg[2] != 0 || arg[3] != 0 || arg[4] != 0)
            return -EINVAL;
        no_new_privs = 1; // nothing here gives privileges on exec
        return 0;
    case GET_NO_NEW_PRIVS:
        return no_new_privs;
    case SET_PDEATHSIG:
    case GET_PDEATHSIG:
    case SET_CHILD_SUBREAPER:
    case GET_CHILD_SUBREAPER:
        return process_prctl(arg);
    default:
        return -EINVAL;
    }
}

int64_t sys_sched_yield(UNUSED const uint64_t arg[static 6])
{
    sched_yield_task();
    return 0;
}

/* Is this a thread of ours (0: the caller)? */
static bool task_exists(int tid)
{
    if (tid == 0)
        return true;
    bool found = task_find(tid) != NULL;
    task_find_end();
    return found;
}

static uint64_t all_cpus(void)
{
    return cpu_count == CPUS_MAX ? UINT64_MAX : (1ull << cpu_count) - 1;
}

int64_t sys_sched_getaffinity(const uint64_t arg[static 6])
{
    uint64_t mask = 0, bytes = arg[1];
    if (bytes % sizeof(mask) != 0 || bytes * 8 < cpu_count)
        return -EINVAL;
    struct task *t = (int)arg[0] != 0 ? task_find((int)arg[0]) : current();
    if (t != NULL)
        mask = sched_allowed(t) & all_cpus();
    if ((int)arg[0] != 0)
        task_find_end();
    if (t == NULL)
        return -ESRCH;
    if (copy_to_user(arg[2], &mask, sizeof(mask)) < 0)
        return -EFAULT;
    return sizeof(mask);
}

int64_t sys_sched_setaffinity(const uint64_t arg[static 6])
{
    uint64_t mask = 0;
    if (copy_from_user(&mask, arg[2], MIN((uint64_t)(uint32_t)arg[1], sizeof(mask))) < 0)
        return -EFAULT;
    mask &= all_cpus();
    struct task *t = (int)arg[0] != 0 ? task_find((int)arg[0]) : current();
    if (t != NULL && mask != 0)
        sched_allow(t, mask);
    if ((int)arg[0] != 0)
        task_find_end();
    return t == NULL ? -ESRCH : mask == 0 ? -EINVAL : 0;
}

enum { SCHED_OTHER = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5 };

int64_t sys_sched_getscheduler(const uint64_t arg[static 6])
{
    return (int)arg[0] < 0 ? -EINVAL : task_exists((int)arg[0]) ? SCHED_OTHER : -ESRCH;
}

int64_t sys_sched_getparam(const uint64_t arg[static 6])
{
    const int32_t priority = 0;
    if (arg[1] == 0 || (int)arg[0] < 0)
        return -EINVAL;
    if (!task_exists((int)arg[0]))
        return -ESRCH;
    return copy_to_user(arg[1], &priority, sizeof(priority));
}

int64_t sys_sched_get_priority_max(const uint64_t arg[static 6])
{
    int policy = (int)arg[0];
    if (policy == SCHED_FIFO || policy == SCHED_RR)
        return 99;
    return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE ? 0 : -EINVAL;
}

int64_t sys_sched_get_priority_min(const uint64_t arg[static 6])
{
    int64_t max = sys_sched_get_priority_max(arg);
    return max == 99 ? 1 : max;
}

int64_t sys_getpriority(const uint64_t arg[static 6])
{
    enum { WHO_KINDS = 3, NICE_0 = 20 };
    return arg[0] < WHO_KINDS ? NICE_0 : -EINVAL; // 20 - nice
}

int64_t sys_getcpu(const uint64_t arg[static 6])
{
    const uint32_t cpu = this_cpu()->id, node = 0;
    if (arg[0] != 0 && copy_to_user(arg[0], &cpu, sizeof(cpu)) < 0)
        return -EFAULT;
    return arg[1] != 0 ? copy_to_user(arg[1], &node, sizeof(node)) : 0;
}

int64_t sys_getrandom(const uint64_t arg[static 6])
{
    enum { NONBLOCK = 1, RANDOM = 2, INSECURE = 4, CHUNK = 256 };
    if ((arg[2] & ~(uint64_t)(NONBLOCK | RANDOM | INSECURE)) ||
        (arg[2] & (RANDOM | INSECURE)) == (RANDOM | INSECURE))
        return -EINVAL;
    uint64_t want = MIN(arg[1], (uint64_t)INT32_MAX), done = 0;
    uint8_t chunk[CHUNK];
    while (done < want) {
        size_t n = MIN(want - done, (uint64_t)CHUNK);
        random_bytes(chunk, n);
        if (copy_to_user(arg[0] + done, chunk, n) < 0)
            return done > 0 ? (int64_t)done : -EFAULT;
        done += n;
        if (done < want && signal_pending(current()))
            break;
    }
    return (int64_t)done;
}

static void serialize(UNUSED const void *arg)
{
    (void)cpuid(0, 0); // for SYNC_CORE; the interrupt's locked instructions are the full barrier
}

/* Linux 6.1 kernel/sched/membarrier.c, without the restartable sequences. */
int64_t sys_membarrier(const uint64_t arg[static 6])
{
    enum {
        QUERY = 0,
        GLOBAL = 1,
        GLOBAL_EXPEDITED = 2,
        REGISTER_GLOBAL_EXPEDITED = 4,
        PRIVATE_EXPEDITED = 8,
        REGISTER_PRIVATE_EXPEDITED = 16,
        PRIVATE_EXPEDITED_SYNC_CORE = 32,
        REGISTER_PRIVATE_EXPEDITED_SYNC_CORE = 64,
        ALL = 127,
    };
    struct mm *mm = current()->process->mm;
    const uint32_t command = (uint32_t)arg[0];
    uint64_t others = smp_others();
    if (arg[1] != 0)
        return -EINVAL;
    switch (command) {
    case QUERY:
        return ALL;
    case REGISTER_GLOBAL_EXPEDITED:
    case REGISTER_PRIVATE_EXPEDITED:
    case REGISTER_PRIVATE_EXPEDITED_SYNC_CORE:
        __atomic_fetch_or(&mm->membarrier, command, __ATOMIC_SEQ_CST);
        return 0;
    case PRIVATE_EXPEDITED:
    case PRIVATE_EXPEDITED_SYNC_CORE:
        if (!(__atomic_load_n(&mm->membarrier, __ATOMIC_RELAXED) & command * 2))
            return -EPERM;
        __atomic_thread_fence(__ATOMIC_SEQ_CST); // pairs with tlb_load
        others &= __atomic_load_n(&mm->cpus, __ATOMIC_RELAXED);
        break;
    case GLOBAL:
    case GLOBAL_EXPEDITED: // every CPU: more than asked for
        break;
    default:
        return -EINVAL;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (others != 0)
        smp_call(others, serialize, NULL);
    return 0;
}
