// SPDX-License-Identifier: Apache-2.0
/* Users and groups, real, effective and saved; capabilities that go with root and come back with
 * it; names of the machine; prctl's small things. Begins as root. */
#include <grp.h>
#include <linux/capability.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest.h"

static void users(const char *when)
{
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    printf("%s: users %u %u %u", when, r, e, s);
    getresgid(&r, &e, &s);
    printf(", groups %u %u %u\n", r, e, s);
}

enum { CAP_SETUID_BIT = 1 << CAP_SETUID };

/* Has it CAP_SETUID: effective, permitted, inheritable? */
static void caps(const char *when)
{
    struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2];
    if (syscall(SYS_capget, &h, d) < 0)
        return show("capget", -1);
    printf("%s: setuid %d %d %d\n", when, !!(d[0].effective & CAP_SETUID_BIT),
           !!(d[0].permitted & CAP_SETUID_BIT), !!(d[0].inheritable & CAP_SETUID_BIT));
}

static void groups(void)
{
    gid_t set[40] = {30, 10, 20}, got[40];
    show("setgroups", setgroups(3, set));
    show("how many", syscall(SYS_getgroups, 0, NULL));
    show("too small", syscall(SYS_getgroups, 2, got));
    show("negative", syscall(SYS_getgroups, -1, got));
    int n = getgroups(40, got);
    for (int i = 0; i < n; i++)
        printf("group %u\n", got[i]);
    show("too many", syscall(SYS_setgroups, 1 << 20, set));
    show("from nowhere", syscall(SYS_setgroups, 3, 8));
    show("none", setgroups(0, NULL));
    show("how many", syscall(SYS_getgroups, 0, NULL));
}

static void capabilities(void)
{
    struct __user_cap_header_struct h = {.version = 1};
    struct __user_cap_data_struct d[2];
    show("version unknown", syscall(SYS_capget, &h, d));
    show_bool("newest told", h.version == _LINUX_CAPABILITY_VERSION_3);
    h.version = 1;
    show("version asked", syscall(SYS_capget, &h, NULL));
    h.pid = -1;
    show("negative", syscall(SYS_capget, &h, d));
    h.pid = 0x3ffffff0;
    show("nobody", syscall(SYS_capget, &h, d));
    show("of another", syscall(SYS_capset, &h, d));
    h.pid = 0;
    caps("root");
    show("get", syscall(SYS_capget, &h, d));
    d[0].effective &= ~(uint32_t)CAP_SETUID_BIT;
    show("put down", syscall(SYS_capset, &h, d));
    caps("put down");
    show("setresuid without", setresuid(5, 6, 7));
    d[0].effective |= CAP_SETUID_BIT;
    show("take up", syscall(SYS_capset, &h, d));
    d[0].inheritable |= CAP_SETUID_BIT;
    show("inheritable", syscall(SYS_capset, &h, d));
    caps("inheritable");
    show("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0));
    show("is ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SETUID, 0, 0));
    show("clear", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    show("is ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SETUID, 0, 0));
    show("bounding", prctl(PR_CAPBSET_READ, CAP_SETUID));
    show("bounding, unknown", prctl(PR_CAPBSET_READ, 99));
    show("drop unknown", prctl(PR_CAPBSET_DROP, 99));
    show("drop", prctl(PR_CAPBSET_DROP, CAP_SETUID));
    show("bounding", prctl(PR_CAPBSET_READ, CAP_SETUID));
}

static void change(void)
{
    users("start");
    show("setregid", syscall(SYS_setregid, 11, 12));
    users("setregid");
    show("setresgid", syscall(SYS_setresgid, -1, 21, -1));
    users("setresgid");
    show("setgid", syscall(SYS_setgid, 31));
    users("setgid");
    show("setgid -1", syscall(SYS_setgid, -1));
    show("setreuid, effective", syscall(SYS_setreuid, -1, 1000));
    users("setreuid");
    caps("effective user");
    show("setgid without", syscall(SYS_setgid, 99));
    show("setgroups without", syscall(SYS_setgroups, 0, NULL));
    show("sethostname without", sethostname("x", 1));
    show("setreuid back", syscall(SYS_setreuid, -1, 0));
    users("back");
    caps("back");
    show("setfsuid", syscall(SYS_setfsuid, 0));
    show("setresuid", syscall(SYS_setresuid, 1, 2, 3));
    users("setresuid");
    caps("nobody special");
    show("setuid to saved", syscall(SYS_setuid, 3));
    users("setuid");
    show("setuid to effective before", syscall(SYS_setuid, 2));
    show("setuid to another", syscall(SYS_setuid, 77));
    show("setreuid to another", syscall(SYS_setreuid, 77, -1));
    show("setreuid swaps", syscall(SYS_setreuid, 3, 1));
    users("swapped");
    show("root again", syscall(SYS_setuid, 0));
    show("setfsuid", syscall(SYS_setfsuid, -1));
}

/* The host's own name stays as it is. */
static void names(void)
{
    show("too long", syscall(SYS_sethostname, "x", 65));
    show("negative", syscall(SYS_sethostname, "x", -1));
    show("domain too long", syscall(SYS_setdomainname, "x", 65));
    show("from nowhere", syscall(SYS_sethostname, 8, 4));
}

static void small(void)
{
    show("dumpable", prctl(PR_GET_DUMPABLE));
    show("set", prctl(PR_SET_DUMPABLE, 0));
    show("dumpable", prctl(PR_GET_DUMPABLE));
    show("senseless", prctl(PR_SET_DUMPABLE, 7));
    show("dumpable again", prctl(PR_SET_DUMPABLE, 1));
    show("keep", prctl(PR_SET_KEEPCAPS, 1));
    show("keeps", prctl(PR_GET_KEEPCAPS));
    show("keep 2", prctl(PR_SET_KEEPCAPS, 2));
    show("not", prctl(PR_SET_KEEPCAPS, 0));
    show("slack", prctl(PR_GET_TIMERSLACK));
    show("set", prctl(PR_SET_TIMERSLACK, 1000));
    show("slack", prctl(PR_GET_TIMERSLACK));
    show("back", prctl(PR_SET_TIMERSLACK, 0));
    show("slack", prctl(PR_GET_TIMERSLACK));
    show("timing", prctl(PR_GET_TIMING));
    show("timing set", prctl(PR_SET_TIMING, 1));
    int tsc = 0;
    show("tsc", prctl(PR_GET_TSC, &tsc));
    printf("tsc %d\n", tsc);
    show("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    show("set to 2", prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
    show("set", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    show("no new privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    show("unknown", prctl(12345, 0, 0, 0, 0));
    show("personality", personality(0xffffffff));
    char name[16] = "";
    show("name", prctl(PR_SET_NAME, "a name longer than it may be"));
    show("name", prctl(PR_GET_NAME, name));
    printf("name %s\n", name);
}

int main(void)
{
    small();
    names();
    groups();
    capabilities();
    change();
    return 0;
}
