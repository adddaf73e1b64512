// SPDX-License-Identifier: Apache-2.0
/* The serial console as a file. A terminal in raw mode without echo: bytes pass unchanged, reads
 * wait for at least one byte and there is no end of file. TCGETS tells just that, so that programs
 * that ask isatty() learn the truth; a change that would need more than raw mode is refused. */
#include "kernel/vfs/console_file.h"

#include "base/mem.h"
#include "kernel/arch/x86_64/console.h"
#include "kernel/linux/syscall.h"
#include "kernel/mm/uaccess.h"
#include "kernel/sched/task.h"
#include "kernel/sched/timer.h"
#include "kernel/vfs/open.h"
#include "kernel/vfs/tree.h"

enum { SLOW_BYTES = 4096 }; // written between two looks at signals

enum { // Linux include/uapi/asm-generic/ioctls.h, termbits.h
    TCGETS = 0x5401,
    TCSETS = 0x5402, // and TCSETSW, TCSETSF
    TCSETSF = 0x5404,
    TCSBRK = 0x5409,
    TIOCGPGRP = 0x540f,
    TIOCGWINSZ = 0x5413,
    B38400 = 0xf,
    CS8 = 060,
    CREAD = 0200,
    CLOCAL = 04000,
    ROWS = 24,
    COLUMNS = 80,
    // What a raw terminal does not do. iflag: ISTRIP INLCR IGNCR ICRNL IUCLC IXON IXANY IXOFF;
    // oflag: OPOST; lflag: ISIG ICANON ECHO and its relatives.
    IFLAG_COOKED = 0x1fe0,
    OFLAG_COOKED = 1,
    LFLAG_COOKED = 0x7b,
};

struct user_termios {
    uint32_t iflag, oflag, cflag, lflag;
    uint8_t line, cc[19];
};
_Static_assert(sizeof(struct user_termios) == 36, "Linux struct termios");

static int64_t console_file_read(struct file *f UNUSED, struct uio *u, uint64_t *pos UNUSED,
                                 bool nonblock)
{
    uint8_t block[256];
    if (u->left == 0)
        return 0;
    for (;;) {
        size_t n = console_read(block, MIN(u->left, sizeof(block)));
        if (n > 0)
            return uio_put(u, block, n) < 0 ? -EFAULT : (int64_t)n;
        if (nonblock)
            return -EAGAIN;
        if (WAIT_EVENT(&console_waitq, EV_IN, console_readable(), DEADLINE_NEVER, true) < 0)
            return -ERESTARTSYS;
    }
}

static int64_t console_file_write(struct file *f UNUSED, struct uio *u, uint64_t *pos UNUSED,
                                  bool nonblock UNUSED)
{
    uint8_t block[256];
    size_t before = u->left;
    while (u->left > 0) {
        size_t n = MIN(u->left, sizeof(block));
        if (uio_take(u, block, n) < 0)
            return before > u->left ? (int64_t)(before - u->left) : -EFAULT;
        console_write(block, n);
        if ((before - u->left) % SLOW_BYTES == 0) { // a serial line takes its time
            task_breathe();
            if (signal_pending(current()))
                break;
        }
    }
    return (int64_t)(before - u->left);
}

static uint32_t console_file_poll(struct file *f UNUSED, struct waitq **ret_queue)
{
    *ret_queue = &console_waitq;
    return EV_OUT | EV_WRNORM | (console_readable() ? EV_IN | EV_RDNORM : 0);
}

static struct user_termios termios = {.cflag = B38400 | CS8 | CREAD | CLOCAL}; // under termios_lock
static struct spinlock termios_lock;

static int64_t termios_get(uint64_t user)
{
    spin_lock(&termios_lock);
    struct user_termios t = termios;
    spin_unlock(&termios_lock);
    return copy_to_user(user, &t, sizeof(t));
}

/* Keeps what changes nothing in how bytes pass; refuses what would. */
static int64_t termios_set(uint64_t user)
{
    struct user_termios t;
    if (copy_from_user(&t, user, sizeof(t)) < 0)
        return -EFAULT;
    if ((t.iflag & IFLAG_COOKED) || (t.oflag & OFLAG_COOKED) || (t.lflag & LFLAG_COOKED))
        return -EINVAL;
    spin_lock(&termios_lock);
    termios = t;
    spin_unlock(&termios_lock);
    return 0;
}

static int64_t console_file_ioctl(struct file *f UNUSED, uint32_t cmd, uint64_t arg)
{
    static const uint16_t window[4] = {ROWS, COLUMNS, 0, 0};
    static const int32_t group = 1;
    switch (cmd) {
    case TCGETS:
        return termios_get(arg);
    case TCSETS:
    case TCSETS + 1:
    case TCSETSF:
        return termios_set(arg);
    case TCSBRK: // with an argument: tcdrain; what was written is out
        return arg != 0 ? 0 : -ENOTTY;
    case TIOCGWINSZ:
        return copy_to_user(arg, window, sizeof(window));
    case TIOCGPGRP:
        return copy_to_user(arg, &group, sizeof(group));
    default:
        return -ENOTTY;
    }
}

static int console_file_stat(struct file *f, struct kstat *ret)
{
    inode_stat(f->inode, ret);
    return 0;
}

const struct file_ops console_file_ops = {
    .name = "console",
    .read = console_file_read,
    .write = console_file_write,
    .poll = console_file_poll,
    .ioctl = console_file_ioctl,
    .seek = file_no_seek,
    .stat = console_file_stat,
    .get_page = file_no_page,
    .release = file_no_release,
    .async = true,
};

struct file *console_file_new(uint32_t flags)
{
    struct file *f;
    return vfs_open("/dev/console", (int)flags, 0, &f) == 0 ? f : NULL;
}
