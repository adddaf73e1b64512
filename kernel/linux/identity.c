// SPDX-License-Identifier: Apache-2.0
/* Who a process is: user, groups, capabilities (Linux 6.1 kernel/sys.c, security/commoncap.c). All
 * threads of a process share one identity; C libraries give their threads the same anyway.
 *
 * Root has the capabilities that have a meaning here. File access asks for user 0, as do the calls
 * that need CAP_CHOWN, CAP_FOWNER and their like. */
#include "kernel/linux/identity.h"

#include "base/errno.h"
#include "base/mem.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"

#define CAP(n) (1ull << (n))
enum { CAP_LAST = 40, SECURE_NOTHING = 0 };
static const uint64_t CAPS_KNOWN = CAP(CAP_LAST + 1) - 1;
static const uint64_t CAPS_HERE =
    CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) | CAP(CAP_FOWNER) |
    CAP(CAP_FSETID) | CAP(CAP_KILL) | CAP(CAP_SETGID) | CAP(CAP_SETUID) | CAP(CAP_SETPCAP) |
    CAP(CAP_NET_BIND_SERVICE) | CAP(CAP_IPC_LOCK) | CAP(CAP_SYS_CHROOT) | CAP(CAP_SYS_ADMIN) |
    CAP(CAP_SYS_RESOURCE) | CAP(CAP_MKNOD);

static struct process *me(void)
{
    return current()->process;
}

static bool has(const struct creds *c, int cap)
{
    return (CAPS_HERE & ~c->lost_effective) >> cap & 1;
}

bool capable(int cap)
{
    return has(&me()->creds, cap);
}

void creds_caps(const struct creds *c, struct cap_sets *ret)
{
    *ret = (struct cap_sets){.effective = CAPS_HERE & ~c->lost_effective,
                             .permitted = CAPS_HERE & ~c->lost_permitted,
                             .bounding = CAPS_HERE & ~c->lost_bounding,
                             .inheritable = c->inheritable,
                             .ambient = c->ambient};
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

/* The user has changed from `old` to what *c says: root's rights come and go (Linux
 * cap_emulate_setxuid). */
static void user_changed(struct creds *c, const struct creds *old)
{
    bool was_root = old->uid == 0 || old->euid == 0 || old->suid == 0;
    bool is_root = c->uid == 0 || c->euid == 0 || c->suid == 0;
    if (was_root && !is_root) {
        if (!c->keep_caps)
            c->lost_permitted = c->lost_effective = CAPS_KNOWN;
        c->ambient = 0;
    }
    if (old->euid == 0 && c->euid != 0)
        c->lost_effective = CAPS_KNOWN;
    if (old->euid != 0 && c->euid == 0)
        c->lost_effective = c->lost_permitted;
}

struct three {
    uint32_t real, effective, saved;
};

static bool one_of(uint32_t id, const struct three *t)
{
    return id == UINT32_MAX || id == t->real || id == t->effective || id == t->saved;
}

/* Linux setresuid, setresgid: without the capability, only among the three one has. */
static int set_res(struct three *t, const uint64_t arg[static 6], bool may)
{
    const uint32_t r = (uint32_t)arg[0], e = (uint32_t)arg[1], s = (uint32_t)arg[2];
    if (!may && !(one_of(r, t) && one_of(e, t) && one_of(s, t)))
        return -EPERM;
    *t = (struct three){.real = r != UINT32_MAX ? r : t->real,
                        .effective = e != UINT32_MAX ? e : t->effective,
                        .saved = s != UINT32_MAX ? s : t->saved};
    return 0;
}

static int set_re(struct three *t, const uint64_t arg[static 6], bool may)
{
    const uint32_t r = (uint32_t)arg[0], e = (uint32_t)arg[1];
    const struct three old = *t;
    if (r != UINT32_MAX && r != old.real && r != old.effective && !may)
        return -EPERM;
    if (!may && !one_of(e, &old))
        return -EPERM;
    t->real = r != UINT32_MAX ? r : old.real;
    t->effective = e != UINT32_MAX ? e : old.effective;
    if (r != UINT32_MAX || (e != UINT32_MAX && e != old.real))
        t->saved = t->effective;
    return 0;
}

static int set_one(struct three *t, const uint64_t arg[static 6], bool may)
{
    const uint32_t id = (uint32_t)arg[0];
    if (id == UINT32_MAX)
        return -EINVAL;
    if (may)
        *t = (struct three){id, id, id};
    else if (id != t->real && id != t->saved)
        return -EPERM;
    t->effective = id;
    return 0;
}

typedef int set_ids(struct three *t, const uint64_t arg[static 6], bool may);

static int64_t change_user(set_ids *set, const uint64_t arg[static 6])
{
    struct process *p = me();
    struct creds *c = &p->creds;
    spin_lock(&p->lock);
    const struct creds old = *c;
    struct three t = {c->uid, c->euid, c->suid};
    int r = set(&t, arg, has(c, CAP_SETUID));
    if (r == 0) {
        c->uid = t.real;
        c->euid = t.effective;
        c->suid = t.saved;
        user_changed(c, &old);
    }
    spin_unlock(&p->lock);
    return r;
}

static int64_t change_group(set_ids *set, const uint64_t arg[static 6])
{
    struct process *p = me();
    struct creds *c = &p->creds;
    spin_lock(&p->lock);
    struct three t = {c->gid, c->egid, c->sgid};
    int r = set(&t, arg, has(c, CAP_SETGID));
    if (r == 0) {
        c->gid = t.real;
        c->egid = t.effective;
        c->sgid = t.saved;
    }
    spin_unlock(&p->lock);
    return r;
}

int64_t sys_setuid(const uint64_t arg[static 6])
{
    return change_user(set_one, arg);
}

int64_t sys_setgid(const uint64_t arg[static 6])
{
    return change_group(set_one, arg);
}

int64_t sys_setreuid(const uint64_t arg[static 6])
{
    return change_user(set_re, arg);
}

int64_t sys_setregid(const uint64_t arg[static 6])
{
    return change_group(set_re, arg);
}

int64_t sys_setresuid(const uint64_t arg[static 6])
{
    return change_user(set_res, arg);
}

int64_t sys_setresgid(const uint64_t arg[static 6])
{
    return change_group(set_res, arg);
}

/* The identity for files is the effective one. As setfsuid(2) says, what was comes back whether or
 * not it could be changed. */
int64_t sys_setfsuid(UNUSED const uint64_t arg[static 6])
{
    return me()->creds.euid;
}

int64_t sys_setfsgid(UNUSED const uint64_t arg[static 6])
{
    return me()->creds.egid;
}

int64_t sys_getgroups(const uint64_t arg[static 6])
{
    const struct creds *c = &me()->creds;
    const int max = (int)arg[0], count = (int)c->group_count;
    if (max < 0 || (max != 0 && count > max))
        return -EINVAL;
    if (max == 0)
        return count;
    return copy_to_user(arg[1], c->groups, (size_t)count * sizeof(c->groups[0])) < 0 ? -EFAULT
                                                                                     : count;
}

int64_t sys_setgroups(const uint64_t arg[static 6])
{
    struct process *p = me();
    uint32_t new[CREDS_GROUPS_MAX];
    const uint64_t count = arg[0] & UINT32_MAX;
    if (!capable(CAP_SETGID))
        return -EPERM;
    if (count > CREDS_GROUPS_MAX)
        return -EINVAL;
    if (copy_from_user(new, arg[1], count * sizeof(new[0])) < 0)
        return -EFAULT;
    for (uint64_t i = 1; i < count; i++) // kept in order, as Linux does
        for (uint64_t k = i; k > 0 && new[k - 1] > new[k]; k--) {
            uint32_t t = new[k];
            new[k] = new[k - 1];
            new[k - 1] = t;
        }
    spin_lock(&p->lock);
    memcpy(p->creds.groups, new, sizeof(new));
    p->creds.group_count = (uint32_t)count;
    spin_unlock(&p->lock);
    return 0;
}

enum { CAP_V1 = 0x19980330, CAP_V2 = 0x20071026, CAP_V3 = 0x20080522 };

struct cap_header {
    uint32_t version;
    int32_t pid;
};

struct cap_data { // of 32 capabilities
    uint32_t effective, permitted, inheritable;
};

/* The header, with the number of struct cap_data that its version has. -EINVAL: an unknown version,
 * in whose place the newest one is written. */
static int header_from_user(uint64_t user, struct cap_header *ret, unsigned *ret_words)
{
    const uint32_t newest = CAP_V3;
    if (copy_from_user(ret, user, sizeof(*ret)) < 0)
        return -EFAULT;
    *ret_words = ret->version == CAP_V1 ? 1 : 2;
    if (ret->version == CAP_V1 || ret->version == CAP_V2 || ret->version == CAP_V3)
        return 0;
    return copy_to_user(user, &newest, sizeof(newest)) < 0 ? -EFAULT : -EINVAL;
}

int64_t sys_capget(const uint64_t arg[static 6])
{
    struct cap_header h;
    unsigned words;
    struct cap_sets s;
    int r = header_from_user(arg[0], &h, &words);
    if (arg[1] == 0 || r < 0)
        return arg[1] == 0 && r == -EINVAL ? 0 : r;
    if (h.pid < 0)
        return -EINVAL;
    const struct task *t = h.pid == 0 ? current() : task_find(h.pid);
    if (t != NULL)
        creds_caps(&t->process->creds, &s);
    if (h.pid != 0)
        task_find_end();
    if (t == NULL)
        return -ESRCH;
    struct cap_data d[2];
    for (unsigned i = 0; i < 2; i++)
        d[i] = (struct cap_data){.effective = (uint32_t)(s.effective >> 32 * i),
                                 .permitted = (uint32_t)(s.permitted >> 32 * i),
                                 .inheritable = (uint32_t)(s.inheritable >> 32 * i)};
    return copy_to_user(arg[1], d, words * sizeof(d[0]));
}

static bool within(uint64_t set, uint64_t of)
{
    return (set & ~of) == 0;
}

int64_t sys_capset(const uint64_t arg[static 6])
{
    struct process *p = me();
    struct creds *c = &p->creds;
    struct cap_header h;
    struct cap_data d[2] = {0};
    struct cap_sets old;
    unsigned words;
    int r = header_from_user(arg[0], &h, &words);
    if (r < 0)
        return r;
    if (h.pid != 0 && h.pid != current()->tid)
        return -EPERM;
    if (copy_from_user(d, arg[1], words * sizeof(d[0])) < 0)
        return -EFAULT;
    const uint64_t effective = (d[0].effective | (uint64_t)d[1].effective << 32) & CAPS_KNOWN;
    const uint64_t permitted = (d[0].permitted | (uint64_t)d[1].permitted << 32) & CAPS_KNOWN;
    const uint64_t inherit = (d[0].inheritable | (uint64_t)d[1].inheritable << 32) & CAPS_KNOWN;
    spin_lock(&p->lock);
    creds_caps(c, &old);
    bool ok = (has(c, CAP_SETPCAP) || within(inherit, old.inheritable | old.permitted)) &&
              within(inherit, old.inheritable | old.bounding) && within(permitted, old.permitted) &&
              within(effective, permitted);
    if (ok) {
        c->lost_effective = ~effective & CAPS_KNOWN;
        c->lost_permitted = ~permitted & CAPS_KNOWN;
        c->inheritable = inherit;
        c->ambient &= permitted & inherit;
    }
    spin_unlock(&p->lock);
    return ok ? 0 : -EPERM;
}

/* Linux 6.1 security/commoncap.c handle_privileged_root, cap_bprm_creds_from_file. */
void creds_exec(struct process *p)
{
    struct creds *c = &p->creds;
    spin_lock(&p->lock);
    const bool root = c->uid == 0 || c->euid == 0;
    c->lost_permitted = root ? c->lost_bounding & ~c->inheritable : CAPS_KNOWN & ~c->ambient;
    c->lost_effective = c->euid == 0 ? c->lost_permitted : CAPS_KNOWN & ~c->ambient;
    c->keep_caps = false;
    spin_unlock(&p->lock);
}

/* prctl(PR_CAP_AMBIENT). */
static int ambient(struct creds *c, const uint64_t arg[static 6])
{
    enum { IS_SET = 1, RAISE, LOWER, CLEAR_ALL };
    struct cap_sets s;
    const uint64_t which = arg[1], cap = arg[2];
    if (which == CLEAR_ALL) {
        if (arg[2] != 0 || arg[3] != 0 || arg[4] != 0)
            return -EINVAL;
        c->ambient = 0;
        return 0;
    }
    if (arg[3] != 0 || arg[4] != 0 || cap > CAP_LAST)
        return -EINVAL;
    if (which == IS_SET)
        return c->ambient >> cap & 1;
    if (which != RAISE && which != LOWER)
        return -EINVAL;
    creds_caps(c, &s);
    if (which == RAISE && !((s.permitted & s.inheritable) >> cap & 1))
        return -EPERM;
    c->ambient = which == RAISE ? c->ambient | CAP(cap) : c->ambient & ~CAP(cap);
    return 0;
}

int64_t creds_prctl(const uint64_t arg[static 6])
{
    enum {
        GET_KEEPCAPS = 7,
        SET_KEEPCAPS = 8,
        CAPBSET_READ = 23,
        CAPBSET_DROP = 24,
        GET_SECUREBITS = 27,
        SET_NO_NEW_PRIVS = 38,
        GET_NO_NEW_PRIVS = 39,
        CAP_AMBIENT = 47,
    };
    struct process *p = me();
    struct creds *c = &p->creds;
    int64_t r = 0;
    spin_lock(&p->lock);
    switch ((int)arg[0]) {
    case GET_KEEPCAPS:
        r = c->keep_caps;
        break;
    case SET_KEEPCAPS:
        if (arg[1] > 1)
            r = -EINVAL;
        else
            c->keep_caps = arg[1] == 1;
        break;
    case CAPBSET_READ:
        r = arg[1] > CAP_LAST ? -EINVAL : (int64_t)((CAPS_HERE & ~c->lost_bounding) >> arg[1] & 1);
        break;
    case CAPBSET_DROP:
        if (!has(c, CAP_SETPCAP))
            r = -EPERM;
        else if (arg[1] > CAP_LAST)
            r = -EINVAL;
        else
            c->lost_bounding |= CAP(arg[1]);
        break;
    case GET_SECUREBITS:
        r = SECURE_NOTHING;
        break;
    case SET_NO_NEW_PRIVS:
        if (arg[1] != 1 || arg[2] != 0 || arg[3] != 0 || arg[4] != 0)
            r = -EINVAL;
        else
            c->no_new_privs = true; // and nothing here gives privileges on exec
        break;
    case GET_NO_NEW_PRIVS:
        r = arg[1] != 0 || arg[2] != 0 || arg[3] != 0 || arg[4] != 0 ? -EINVAL : c->no_new_privs;
        break;
    case CAP_AMBIENT:
        r = ambient(c, arg);
        break;
    default:
        r = -EINVAL;
        break;
    }
    spin_unlock(&p->lock);
    return r;
}
