// SPDX-License-Identifier: Apache-2.0
/* skerry.trace: every system call on the console, in the manner of strace(1):
 *
 *     [pid 3] openat(AT_FDCWD, "/etc/hosts", O_RDONLY|O_CLOEXEC) = 5
 *
 * What a call is given shows before it is made, what it gives back after it. A line is written when
 * it is whole, when the call has not ended after a while, or when another thread has something to
 * say: then it is left unfinished and resumed later. Facts are text, parsed when they are needed.
 *
 * Lock order: trace_lock -> console. */
#pragma GCC optimize("Os")
#include "kernel/linux/trace.h"

#include "base/errno.h"
#include "base/fmt.h"
#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/arch/x86_64/trap.h"
#include "kernel/linux/errno_name.h"
#include "kernel/linux/process.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/sched.h"

enum {
    LINE_MAX = 480,
    STRING_MAX = 48,
    ITEMS_MAX = 8,
    COLUMN = 40, // of the result, as strace's
    PATIENCE_NS = 20 * 1000 * 1000,
    NR_MMAP = 9,
    NR_BRK = 12,
    NR_RT_SIGRETURN = 15,
    NR_MREMAP = 25,
    NR_EXIT = 60,
    NR_EXIT_GROUP = 231,
};

struct line {
    char text[LINE_MAX];
    size_t len, shown;
    struct task *task;
    bool unfinished;
};

static struct spinlock trace_lock;
static struct line *waiting; // whose call has not ended; protected by trace_lock
static struct ktimer patience;
static int first_tid;
static bool several; // threads have been seen; only set

static void add(struct line *l, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    l->len += fmt_v(l->text + l->len, sizeof(l->text) - l->len, format, args);
    va_end(args);
    l->len = MIN(l->len, sizeof(l->text) - 1);
}

/* Names of values by ARG_SET_*: what it is (| bits, = one value), a prefix, then value and name by
 * turns, values in hexadecimal. Larger masks come first. */
static const char *const sets[] = {
    [ARG_OPEN_FLAGS - ARG_OPEN_FLAGS] =
        "|O_ 410000 TMPFILE 101000 SYNC 1 WRONLY 2 RDWR 40 CREAT 80 EXCL 100 NOCTTY 200 TRUNC 400 "
        "APPEND 800 NONBLOCK 1000 DSYNC 4000 DIRECT 10000 DIRECTORY 20000 NOFOLLOW 40000 NOATIME "
        "80000 CLOEXEC 200000 PATH",
    [ARG_MMAP_PROT - ARG_OPEN_FLAGS] = "|PROT_ 0 NONE 1 READ 2 WRITE 4 EXEC",
    [ARG_MMAP_FLAGS - ARG_OPEN_FLAGS] =
        "|MAP_ 3 SHARED_VALIDATE 1 SHARED 2 PRIVATE 10 FIXED 20 ANONYMOUS 40 32BIT 100 GROWSDOWN "
        "800 DENYWRITE 2000 LOCKED 4000 NORESERVE 8000 POPULATE 10000 NONBLOCK 20000 STACK 40000 "
        "HUGETLB 100000 FIXED_NOREPLACE",
    [ARG_CLOCK - ARG_OPEN_FLAGS] =
        "=CLOCK_ 0 REALTIME 1 MONOTONIC 2 PROCESS_CPUTIME_ID 3 THREAD_CPUTIME_ID 4 MONOTONIC_RAW 5 "
        "REALTIME_COARSE 6 MONOTONIC_COARSE 7 BOOTTIME b TAI",
    [ARG_SIGNAL - ARG_OPEN_FLAGS] = "=SIG 1 HUP 2 INT 3 QUIT 4 ILL 5 TRAP 6 ABRT 7 BUS 8 FPE 9 "
                                    "KILL a USR1 b SEGV c USR2 d PIPE e "
                                    "ALRM f TERM 10 STKFLT 11 CHLD 12 CONT 13 STOP 14 TSTP 15 TTIN "
                                    "16 TTOU 17 URG 18 XCPU 19 XFSZ "
                                    "1a VTALRM 1b PROF 1c WINCH 1d IO 1e PWR 1f SYS 20 RTMIN",
    [ARG_CLONE_FLAGS - ARG_OPEN_FLAGS] =
        "|CLONE_ 100 VM 200 FS 400 FILES 800 SIGHAND 1000 PIDFD 2000 PTRACE 4000 VFORK 8000 PARENT "
        "10000 THREAD 20000 NEWNS 40000 SYSVSEM 80000 SETTLS 100000 PARENT_SETTID 200000 "
        "CHILD_CLEARTID 400000 DETACHED 800000 UNTRACED 1000000 CHILD_SETTID",
    [ARG_FUTEX_OP - ARG_OPEN_FLAGS] =
        "=FUTEX_ 0 WAIT 1 WAKE 3 REQUEUE 4 CMP_REQUEUE 5 WAKE_OP 6 LOCK_PI 7 UNLOCK_PI 8 "
        "TRYLOCK_PI "
        "9 WAIT_BITSET a WAKE_BITSET b WAIT_REQUEUE_PI c CMP_REQUEUE_PI d LOCK_PI2",
    [ARG_AT_FLAGS - ARG_OPEN_FLAGS] = "|AT_ 100 SYMLINK_NOFOLLOW 200 REMOVEDIR 400 SYMLINK_FOLLOW "
                                      "800 NO_AUTOMOUNT 1000 EMPTY_PATH "
                                      "2000 STATX_FORCE_SYNC 4000 STATX_DONT_SYNC",
    [ARG_ACCESS - ARG_OPEN_FLAGS] = "| 0 F_OK 4 R_OK 2 W_OK 1 X_OK",
    [ARG_MADVICE - ARG_OPEN_FLAGS] =
        "=MADV_ 0 NORMAL 1 RANDOM 2 SEQUENTIAL 3 WILLNEED 4 DONTNEED 8 FREE 9 REMOVE a DONTFORK b "
        "DOFORK e HUGEPAGE f NOHUGEPAGE 10 DONTDUMP 11 DODUMP 12 WIPEONFORK 13 KEEPONFORK 14 COLD "
        "15 "
        "PAGEOUT 16 POPULATE_READ 17 POPULATE_WRITE",
    [ARG_WHENCE - ARG_OPEN_FLAGS] = "=SEEK_ 0 SET 1 CUR 2 END 3 DATA 4 HOLE",
    [ARG_FCNTL - ARG_OPEN_FLAGS] =
        "=F_ 0 DUPFD 1 GETFD 2 SETFD 3 GETFL 4 SETFL 5 GETLK 6 SETLK 7 SETLKW 8 SETOWN 9 GETOWN 24 "
        "OFD_GETLK 25 OFD_SETLK 26 OFD_SETLKW 406 DUPFD_CLOEXEC 407 SETPIPE_SZ 408 GETPIPE_SZ 409 "
        "ADD_SEALS 40a GET_SEALS",
    [ARG_SIG_HOW - ARG_OPEN_FLAGS] = "=SIG_ 0 BLOCK 1 UNBLOCK 2 SETMASK",
    [ARG_ITIMER - ARG_OPEN_FLAGS] = "=ITIMER_ 0 REAL 1 VIRTUAL 2 PROF",
    [ARG_RLIMIT - ARG_OPEN_FLAGS] = "=RLIMIT_ 0 CPU 1 FSIZE 2 DATA 3 STACK 4 CORE 5 RSS 6 NPROC 7 "
                                    "NOFILE 8 MEMLOCK 9 AS a LOCKS b "
                                    "SIGPENDING c MSGQUEUE d NICE e RTPRIO f RTTIME",
    [ARG_PRIO - ARG_OPEN_FLAGS] = "=PRIO_ 0 PROCESS 1 PGRP 2 USER",
    [ARG_POLICY - ARG_OPEN_FLAGS] = "=SCHED_ 0 OTHER 1 FIFO 2 RR 3 BATCH 5 IDLE 6 DEADLINE",
    [ARG_ARCH - ARG_OPEN_FLAGS] = "=ARCH_ 1001 SET_GS 1002 SET_FS 1003 GET_FS 1004 GET_GS",
    [ARG_PRCTL - ARG_OPEN_FLAGS] =
        "=PR_ 1 SET_PDEATHSIG 2 GET_PDEATHSIG 3 GET_DUMPABLE 4 SET_DUMPABLE 7 GET_KEEPCAPS 8 "
        "SET_KEEPCAPS f SET_NAME 10 GET_NAME 15 GET_SECCOMP 16 SET_SECCOMP 17 CAPBSET_READ 18 "
        "CAPBSET_DROP 1d SET_TIMERSLACK 1e GET_TIMERSLACK 24 SET_CHILD_SUBREAPER 25 "
        "GET_CHILD_SUBREAPER 26 SET_NO_NEW_PRIVS 27 GET_NO_NEW_PRIVS 2f CAP_AMBIENT 53564d41 "
        "SET_VMA",
    [ARG_WAIT - ARG_OPEN_FLAGS] =
        "|W 1 NOHANG 2 STOPPED 4 EXITED 8 CONTINUED 1000000 NOWAIT 40000000 ALL 80000000 CLONE",
    [ARG_DOMAIN - ARG_OPEN_FLAGS] =
        "=AF_ 0 UNSPEC 1 UNIX 2 INET a INET6 10 NETLINK 11 PACKET 28 VSOCK",
    [ARG_SOCK - ARG_OPEN_FLAGS] =
        "|SOCK_ 5 SEQPACKET 3 RAW 1 STREAM 2 DGRAM 800 NONBLOCK 80000 CLOEXEC",
    [ARG_LEVEL - ARG_OPEN_FLAGS] = "=SOL_ 0 IP 1 SOCKET 6 TCP 11 UDP 29 IPV6",
    [ARG_SOCKOPT - ARG_OPEN_FLAGS] =
        "=SO_ 2 REUSEADDR 3 TYPE 4 ERROR 5 DONTROUTE 6 BROADCAST 7 SNDBUF 8 RCVBUF 9 KEEPALIVE a "
        "OOBINLINE d LINGER f REUSEPORT 10 PASSCRED 11 PEERCRED 12 RCVLOWAT 14 RCVTIMEO 15 "
        "SNDTIMEO 1e "
        "ACCEPTCONN 26 PROTOCOL 27 DOMAIN",
    [ARG_MSG - ARG_OPEN_FLAGS] = "|MSG_ 1 OOB 2 PEEK 4 DONTROUTE 8 CTRUNC 20 TRUNC 40 DONTWAIT 80 "
                                 "EOR 100 WAITALL 4000 NOSIGNAL "
                                 "8000 MORE 10000 WAITFORONE 40000000 CMSG_CLOEXEC",
    [ARG_EPOLL_OP - ARG_OPEN_FLAGS] = "=EPOLL_CTL_ 1 ADD 2 DEL 3 MOD",
    [ARG_SHUT - ARG_OPEN_FLAGS] = "=SHUT_ 0 RD 1 WR 2 RDWR",
    [ARG_MREMAP - ARG_OPEN_FLAGS] = "|MREMAP_ 1 MAYMOVE 2 FIXED 4 DONTUNMAP",
    [ARG_RUSAGE - ARG_OPEN_FLAGS] = "=RUSAGE_ 0 SELF 1 THREAD ffffffff CHILDREN",
    [ARG_GRND - ARG_OPEN_FLAGS] = "|GRND_ 1 NONBLOCK 2 RANDOM 4 INSECURE",
    [ARG_EVENTS - ARG_OPEN_FLAGS] =
        "|EPOLL 1 IN 2 PRI 4 OUT 8 ERR 10 HUP 40 RDNORM 100 WRNORM 2000 RDHUP 10000000 EXCLUSIVE "
        "20000000 WAKEUP 40000000 ONESHOT 80000000 ET",
    [ARG_SA - ARG_OPEN_FLAGS] =
        "|SA_ 1 NOCLDSTOP 2 NOCLDWAIT 4 SIGINFO 4000000 RESTORER 8000000 ONSTACK 10000000 RESTART "
        "40000000 NODEFER 80000000 RESETHAND",
    [ARG_FILE_KIND - ARG_OPEN_FLAGS] =
        "=S_IF 1000 IFO 2000 CHR 4000 DIR 6000 BLK 8000 REG a000 LNK c000 SOCK",
};
_Static_assert(ARRAY_LEN(sets) == ARG_SETS_END - ARG_OPEN_FLAGS, "every set has names");

static size_t word(const char **at)
{
    while (**at == ' ')
        ++*at;
    size_t n = 0;
    while ((*at)[n] != '\0' && (*at)[n] != ' ')
        n++;
    return n;
}

static uint32_t hex_word(const char **at)
{
    uint32_t v = 0;
    size_t n = word(at);
    for (size_t i = 0; i < n; i++) {
        char c = (*at)[i];
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *at += n;
    return v;
}

static void add_set(struct line *l, enum arg_kind kind, uint32_t v)
{
    const char *at = sets[kind - ARG_OPEN_FLAGS], *between = "";
    const bool bits = *at++ == '|';
    const char *prefix = at;
    const size_t prefix_len = *at == ' ' ? 0 : word(&at);
    const uint32_t all = v;
    at += prefix_len;
    if (kind == ARG_OPEN_FLAGS && !(v & 3)) {
        add(l, "O_RDONLY");
        between = "|";
    }
    while (*at != '\0') {
        const uint32_t value = hex_word(&at);
        const size_t n = word(&at);
        bool is = bits && value != 0 ? (v & value) == value : all == value;
        if (is) {
            add(l, "%s%.*s%.*s", between, (int)prefix_len, prefix, (int)n, at);
            between = "|";
            v &= ~value;
            if (!bits || all == 0)
                return;
        }
        at += n;
    }
    if (v != 0 && bits)
        add(l, "%s%#x", between, v);
    else if (*between == '\0')
        add(l, "%d", (int)v);
}

static void add_text(struct line *l, uint64_t user, uint64_t len, bool to_nul)
{
    char text[STRING_MAX];
    size_t n = (size_t)MIN(len, sizeof(text));
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
        static const char special[] = "\nn\tt\rr\"\"\\\\\vv\ff";
        uint8_t c = (uint8_t)text[i];
        size_t k = 0;
        while (special[k] != '\0' && special[k] != (char)c)
            k += 2;
        if (c != 0 && special[k] != '\0')
            add(l, "\\%c", special[k + 1]);
        else if (c < ' ' || c > '~') // three digits when a digit follows
            add(l, "\\%0*o", i + 1 < n && text[i + 1] >= '0' && text[i + 1] <= '9' ? 3 : 1, c);
        else
            add(l, "%c", c);
    }
    add(l, len > n ? "\"..." : "\"");
}

static void add_time(struct line *l, const uint64_t t[static 2], const char *unit)
{
    add(l, "{tv_sec=%ld, tv_%s=%ld}", (long)t[0], unit, (long)t[1]);
}

static void add_times(struct line *l, const uint64_t t[static 4], const char *unit)
{
    add(l, "{it_interval=");
    add_time(l, t, unit);
    add(l, ", it_value=");
    add_time(l, t + 2, unit);
    add(l, "}");
}

static void add_sigset(struct line *l, uint64_t set)
{
    const bool most = __builtin_popcountll(set) > 32;
    const char *between = "";
    uint64_t shown = most ? ~set : set;
    add(l, most ? "~[" : "[");
    for (uint32_t n = 1; n <= 64; n++) {
        if (!(shown >> (n - 1) & 1))
            continue;
        struct line name = {.len = 0};
        if (n <= 32)
            add_set(&name, ARG_SIGNAL, n);
        else
            add(&name, "SIGRT_%u", n - 32);
        add(l, "%s%s", between, name.text + 3);
        between = " ";
    }
    add(l, "]");
}

static void add_action(struct line *l, const uint64_t a[static 4])
{
    if (a[0] <= 1)
        add(l, "{sa_handler=%s, sa_mask=", a[0] == 0 ? "SIG_DFL" : "SIG_IGN");
    else
        add(l, "{sa_handler=%#lx, sa_mask=", (unsigned long)a[0]);
    add_sigset(l, a[3]);
    add(l, ", sa_flags=");
    add_set(l, ARG_SA, (uint32_t)a[1]);
    add(l, "}");
}

static void add_address(struct line *l, const uint8_t *a, uint64_t len)
{
    uint16_t family;
    memcpy(&family, a, sizeof(family));
    add(l, "{sa_family=");
    add_set(l, ARG_DOMAIN, family);
    const unsigned port = (unsigned)a[2] << 8 | a[3];
    if (family == 2 && len >= 8) {
        add(l, ", sin_port=htons(%u), sin_addr=inet_addr(\"%u.%u.%u.%u\")", port, a[4], a[5], a[6],
            a[7]);
    } else if (family == 10 && len >= 24) {
        add(l, ", sin6_port=htons(%u), sin6_addr=\"", port);
        for (unsigned i = 8; i < 24; i += 2)
            add(l, "%s%x", i > 8 ? ":" : "", (unsigned)a[i] << 8 | a[i + 1]);
        add(l, "\"");
    } else if (family == 1 && len > 2) {
        const bool abstract = a[2] == 0;
        add(l, ", sun_path=%s\"%.*s\"", abstract ? "@" : "", (int)(len - 2 - abstract),
            (const char *)a + 2 + abstract);
    }
    add(l, "}");
}

static void add_event(struct line *l, const uint8_t *e)
{
    uint32_t events;
    uint64_t data;
    memcpy(&events, e, sizeof(events));
    memcpy(&data, e + 4, sizeof(data));
    add(l, "{events=");
    add_set(l, ARG_EVENTS, events);
    add(l, ", data=%#lx}", (unsigned long)data);
}

static void add_stat(struct line *l, const uint64_t s[static 18])
{
    const uint32_t mode = (uint32_t)s[3];
    add(l, "{st_mode=");
    add_set(l, ARG_FILE_KIND, mode & 0xf000);
    add(l, "|%#o, st_size=%lu, ...}", mode & 07777, (unsigned long)s[6]);
}

static void add_status(struct line *l, uint32_t s)
{
    if ((s & 0x7f) == 0) {
        add(l, "[{WIFEXITED(s) && WEXITSTATUS(s) == %u}]", s >> 8 & 0xff);
    } else {
        bool stopped = (s & 0xff) == 0x7f;
        add(l, "[{WIF%s(s) && W%s(s) == ", stopped ? "STOPPED" : "SIGNALED",
            stopped ? "STOPSIG" : "TERMSIG");
        add_set(l, ARG_SIGNAL, stopped ? s >> 8 & 0xff : s & 0x7f);
        add(l, "}]");
    }
}

static void add_limit_value(struct line *l, const char *name, uint64_t v)
{
    if (v == UINT64_MAX)
        add(l, "%s=RLIM64_INFINITY", name);
    else
        add(l, "%s=%lu", name, (unsigned long)v);
}

/* Bytes of what a pointer of this kind leads to; 0: it is not a fixed structure. */
static size_t bytes_of(enum arg_kind kind)
{
    switch ((int)kind) {
    case ARG_SIGSET_IN:
    case ARG_SIGSET_OUT:
    case ARG_FDS_OUT:
        return 8;
    case ARG_INT_OUT:
    case ARG_STATUS_OUT:
        return 4;
    case ARG_TIME_IN:
    case ARG_TIME_OUT:
    case ARG_TIMEVAL_IN:
    case ARG_TIMEVAL_OUT:
    case ARG_LIMIT_IN:
    case ARG_LIMIT_OUT:
        return 16;
    case ARG_ACTION_IN:
    case ARG_ACTION_OUT:
    case ARG_ITIMERSPEC_IN:
    case ARG_ITIMERSPEC_OUT:
    case ARG_ITIMERVAL_IN:
    case ARG_ITIMERVAL_OUT:
        return 32;
    case ARG_STAT_OUT:
        return 144;
    case ARG_EVENT_IN:
        return 12;
    default:
        return 0;
    }
}

static void add_structure(struct line *l, enum arg_kind kind, const uint64_t *q)
{
    switch ((int)kind) {
    case ARG_SIGSET_IN:
    case ARG_SIGSET_OUT:
        add_sigset(l, q[0]);
        break;
    case ARG_FDS_OUT:
        add(l, "[%d, %d]", (int)q[0], (int)(q[0] >> 32));
        break;
    case ARG_INT_OUT:
        add(l, "[%d]", (int)q[0]);
        break;
    case ARG_STATUS_OUT:
        add_status(l, (uint32_t)q[0]);
        break;
    case ARG_TIME_IN:
    case ARG_TIME_OUT:
        add_time(l, q, "nsec");
        break;
    case ARG_TIMEVAL_IN:
    case ARG_TIMEVAL_OUT:
        add_time(l, q, "usec");
        break;
    case ARG_LIMIT_IN:
    case ARG_LIMIT_OUT:
        add_limit_value(l, "{rlim_cur", q[0]);
        add_limit_value(l, ", rlim_max", q[1]);
        add(l, "}");
        break;
    case ARG_ACTION_IN:
    case ARG_ACTION_OUT:
        add_action(l, q);
        break;
    case ARG_ITIMERSPEC_IN:
    case ARG_ITIMERSPEC_OUT:
        add_times(l, q, "nsec");
        break;
    case ARG_ITIMERVAL_IN:
    case ARG_ITIMERVAL_OUT:
        add_times(l, q, "usec");
        break;
    case ARG_STAT_OUT:
        add_stat(l, q);
        break;
    default:
        add_event(l, (const uint8_t *)q);
        break;
    }
}

/* count items of `bytes` each at user: structures, strings or buffers, in brackets. */
static void add_items(struct line *l, enum arg_kind kind, uint64_t user, uint64_t count,
                      int64_t left)
{
    static const uint8_t bytes[] = {[0] = 16, [1] = 8, [2] = 12, [3] = 8};
    const unsigned which = kind == ARG_IOV_IN || kind == ARG_IOV_OUT ? 0
                           : kind == ARG_POLL_IN                     ? 1
                           : kind == ARG_EVENTS_OUT                  ? 2
                                                                     : 3;
    add(l, "[");
    for (uint64_t i = 0; i < count; i++, user += bytes[which]) {
        uint64_t q[2] = {0};
        if (i > 0)
            add(l, ", ");
        if (i == ITEMS_MAX) {
            add(l, "...");
            break;
        }
        if (copy_from_user(q, user, bytes[which]) < 0) {
            add(l, "%#lx", (unsigned long)user);
            break;
        }
        if (which == 0) {
            const uint64_t n = left < 0 ? q[1] : MIN(q[1], (uint64_t)left);
            add(l, "{iov_base=");
            add_text(l, q[0], n, false);
            add(l, ", iov_len=%lu}", (unsigned long)q[1]);
            left -= left < 0 ? 0 : (int64_t)n;
        } else if (which == 1) {
            add(l, "{fd=%d, events=", (int)q[0]);
            add_set(l, ARG_EVENTS, (uint32_t)(q[0] >> 32 & 0xffff));
            add(l, "}");
        } else if (which == 2) {
            add_event(l, (const uint8_t *)q);
        } else if (q[0] == 0) { // the end of argv
            l->len -= i > 0 ? 2 : 0;
            break;
        } else {
            add_text(l, q[0], UINT64_MAX, true);
        }
    }
    l->text[l->len] = '\0';
    add(l, "]");
}

static bool is_out(enum arg_kind kind)
{
    return kind >= ARG_OUT_FIRST;
}

static void add_pointer(struct line *l, uint64_t v)
{
    if (v == 0)
        add(l, "NULL");
    else
        add(l, "%#lx", (unsigned long)v);
}

/* What lies behind a pointer, once it is there. */
static void add_behind(struct line *l, enum arg_kind kind, const uint64_t *arg, int64_t result)
{
    uint64_t q[18] = {0};
    const uint64_t v = *arg;
    const size_t fixed = bytes_of(kind);
    if (v == 0 || (is_out(kind) && result < 0)) {
        add_pointer(l, v);
    } else if (fixed != 0) {
        if (copy_from_user(q, v, fixed) < 0)
            add_pointer(l, v);
        else
            add_structure(l, kind, q);
    } else if (kind == ARG_BUF_OUT) {
        add_text(l, v, (uint64_t)result, false);
    } else if (kind == ARG_ADDR_IN || kind == ARG_ADDR_OUT) {
        uint8_t address[112] = {0};
        uint32_t len = (uint32_t)arg[1];
        if (kind == ARG_ADDR_OUT && copy_from_user(&len, arg[1], sizeof(len)) < 0)
            len = 0;
        len = MIN(len, (uint32_t)sizeof(address) - 1);
        if (len < 2 || copy_from_user(address, v, len) < 0)
            add_pointer(l, v);
        else
            add_address(l, address, len);
    } else if (kind == ARG_OPTVAL_IN || kind == ARG_OPTVAL_OUT) {
        if (copy_from_user(q, v, 4) < 0)
            add_pointer(l, v);
        else
            add(l, "[%d]", (int)q[0]);
    } else if (kind == ARG_ARGV_IN) {
        add_items(l, kind, v, UINT64_MAX, -1);
    } else {
        const bool events = kind == ARG_EVENTS_OUT;
        add_items(l, kind, v, events ? (uint64_t)result : arg[1],
                  kind == ARG_IOV_OUT ? result : -1);
    }
}

static void add_argument(struct line *l, enum arg_kind kind, const uint64_t *arg, int64_t result)
{
    const uint64_t v = *arg;
    if (kind >= ARG_POINTERS)
        return add_behind(l, kind, arg, result);
    if (kind == ARG_FUTEX_OP) {
        add_set(l, kind, (uint32_t)v & 0x7f);
        add(l, "%s%s", v & 0x80 ? "_PRIVATE" : "", v & 0x100 ? "|FUTEX_CLOCK_REALTIME" : "");
        return;
    }
    if (kind == ARG_CLONE_FLAGS) {
        add_set(l, kind, (uint32_t)v & ~0xffu);
        if (v & 0xff) {
            add(l, "|");
            add_set(l, ARG_SIGNAL, (uint32_t)v & 0xff);
        }
        return;
    }
    if (kind == ARG_SIGNAL && (int)v > 32) {
        add(l, "SIGRT_%d", (int)v - 32);
        return;
    }
    if (kind == ARG_SOCKOPT && arg[-1] != 1) { // the names are SOL_SOCKET's
        add(l, "%d", (int)v);
        return;
    }
    if (kind >= ARG_OPEN_FLAGS)
        return add_set(l, kind, (uint32_t)v);
    switch ((int)kind) {
    case ARG_INT:
    case ARG_FD:
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
        if (v != 0) {
            add_text(l, v, UINT64_MAX, true);
            break;
        }
        add_pointer(l, v);
        break;
    case ARG_BUF_IN:
        add_text(l, v, arg[1], false);
        break;
    case ARG_PTR:
        add_pointer(l, v);
        break;
    default:
        if (v == 0)
            add(l, "0");
        else
            add(l, "%#lx", (unsigned long)v);
        break;
    }
}

static void add_result(struct line *l, uint64_t nr, int64_t result)
{
    static const char *const restarts[] = {"ERESTARTSYS (To be restarted if SA_RESTART is set)",
                                           "ERESTARTNOINTR (To be restarted)",
                                           "ERESTARTNOHAND (To be restarted if no handler)", "",
                                           "ERESTART_RESTARTBLOCK (Interrupted by signal)"};
    add(l, ")");
    while (l->len < COLUMN - 1)
        add(l, " ");
    if (result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK)
        add(l, " = ? %s\n", restarts[-result - ERESTARTSYS]);
    else if (result < 0 && result > -4096)
        add(l, " = -1 %s\n", errno_name((int)-result));
    else if (nr == NR_MMAP || nr == NR_BRK || nr == NR_MREMAP || result > INT32_MAX)
        add(l, " = %#lx\n", (unsigned long)result);
    else
        add(l, " = %ld\n", (long)result);
}

static void show(struct line *l)
{
    console_write(l->text + l->shown, l->len - l->shown);
    l->shown = l->len;
}

/* Somebody else is going to write: what waits for the end of its call is left unfinished. */
static void leave_unfinished(void)
{
    if (waiting == NULL)
        return;
    struct line *l = TAKE(waiting);
    add(l, " <unfinished ...>\n");
    show(l);
    l->unfinished = true;
}

static void patience_ends(UNUSED struct ktimer *k)
{
    spin_lock(&trace_lock);
    if (waiting != NULL)
        show(waiting);
    spin_unlock(&trace_lock);
}

static void add_prefix(struct line *l)
{
    const int tid = l->task->tid;
    first_tid = first_tid == 0 ? tid : first_tid;
    several |= tid != first_tid;
    if (several)
        add(l, "[pid %d] ", tid);
}

static void line_begin(struct line *l)
{
    spin_lock(&trace_lock);
    leave_unfinished();
    waiting = l;
    if (patience.run == NULL)
        ktimer_init(&patience, patience_ends);
    ktimer_arm(&patience, clock_mono_ns() + PATIENCE_NS);
    spin_unlock(&trace_lock);
}

/* The call has ended: its line is whole, or goes on in a new one. */
static void line_resume(struct line *l, const char *name)
{
    spin_lock(&trace_lock);
    if (waiting == l)
        waiting = NULL;
    spin_unlock(&trace_lock);
    if (l->unfinished) {
        l->len = l->shown = 0;
        add_prefix(l);
        add(l, "<... %s resumed>", name);
    }
}

static void line_end(struct line *l)
{
    if (l->text[l->len - 1] != '\n') // it was too long
        l->text[l->len - 1] = '\n';
    spin_lock(&trace_lock);
    leave_unfinished();
    show(l);
    spin_unlock(&trace_lock);
}

void trace_signal(const struct siginfo *info)
{
    struct line l = {.task = current()};
    add_prefix(&l);
    add(&l, "--- ");
    add_set(&l, ARG_SIGNAL, (uint32_t)info->signo);
    add(&l, " {si_signo=%d, si_code=%d, ", info->signo, info->code);
    if (info->code > 0 && info->code < SI_KERNEL)
        add(&l, "si_addr=%#lx} ---\n", (unsigned long)info->fault.address);
    else
        add(&l, "si_pid=%d, si_uid=%u} ---\n", info->sender.pid, info->sender.uid);
    line_end(&l);
}

static int add_arguments(struct line *l, const struct syscall_entry *e, const uint64_t *arg, int i,
                         bool ended, int64_t result)
{
    for (const int start = i; i < 6 && e->kinds[i] != ARG_NONE; i++) {
        if (i > 0 && !(ended && i == start)) // that one was written before
            add(l, ", ");
        if (!ended && is_out(e->kinds[i]))
            break;
        add_argument(l, e->kinds[i], &arg[i], result);
    }
    return i;
}

int64_t syscall_traced(struct regs *r)
{
    const uint64_t nr = r->error;
    const struct syscall_entry *e = nr < SYSCALLS_MAX ? &syscall_table[nr] : NULL;
    uint64_t arg[7] = {0, r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9}; // [0]: before the first
    struct line l = {.task = current()};
    add_prefix(&l);
    if (e == NULL || e->call == NULL) {
        add(&l, "syscall_%lu(%#lx, %#lx, %#lx", (unsigned long)nr, (unsigned long)arg[1],
            (unsigned long)arg[2], (unsigned long)arg[3]);
        add_result(&l, nr, -ENOSYS);
        line_end(&l);
        return -ENOSYS;
    }
    add(&l, "%s(", e->name);
    int i = add_arguments(&l, e, arg + 1, 0, false, 0);
    // A call that does not return shows before it is made.
    if (nr == NR_EXIT || nr == NR_EXIT_GROUP || nr == NR_RT_SIGRETURN) {
        add(&l, nr == NR_RT_SIGRETURN ? "{mask=...}) = ?\n" : ") = ?\n");
        line_end(&l);
        return e->call(&r->rdi);
    }
    line_begin(&l);
    int64_t result = e->call(&r->rdi);
    line_resume(&l, e->name);
    (void)add_arguments(&l, e, arg + 1, i, true, result);
    add_result(&l, nr, result);
    line_end(&l);
    return result;
}
