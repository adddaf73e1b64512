// SPDX-License-Identifier: Apache-2.0
/* A program that makes any socket calls in any order with any arguments, over the kernel's socket
 * code on the host (kernel/socket/shim_host.c) and the loopback network. Nothing may assert, touch
 * memory that is not the program's, or leak a descriptor. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "kernel/drivers/block.h"
#include "kernel/linux/syscall.h"
#include "kernel/sched/timer.h"
#include "kernel/socket/inet.h"
#include "kernel/socket/shim_host.h"
#include "kernel/vfs/fd.h"

enum { FDS = 8, MEMORY = 4096, STEPS_MAX = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The program's memory: addresses, lengths, messages and buffers all lie here, on each other. */
static _Alignas(16) uint8_t memory[MEMORY];
static int fds[FDS];

static const struct {
    uint16_t number; // of kernel/linux/table_socket.h, or below
    uint8_t kinds[6];
} calls[] = {
#define X(nr, name, ...) {nr, {__VA_ARGS__}},
#include "kernel/linux/table_socket.h"
#undef X
};
enum {
    CALLS = ARRAY_LEN(calls),
    CALL_CLOSE = CALLS,
    CALL_READ,
    CALL_WRITE,
    CALL_SCRIBBLE,
    CALLS_ALL
};

static int64_t table_call(uint16_t number, const uint64_t *arg)
{
    switch (number) {
#define X(nr, name, ...)                                                                           \
    case nr:                                                                                       \
        return sys_##name(arg);
#include "kernel/linux/table_socket.h"
#undef X
    default:
        return -ENOSYS;
    }
}

/* Small numbers that mean something, most of the time. */
static uint64_t number(uint8_t kind, uint8_t v, uint16_t wide)
{
    switch (kind) {
    case ARG_FD:
        return (uint64_t)(int64_t)fds[v % FDS];
    case ARG_PTR:
    case ARG_BUF_IN:
        return v < 240 ? (uint64_t)(uintptr_t)memory + v * 8u : v < 248 ? 0 : 16;
    case ARG_SIZE:
        return v < 200 ? v : wide % 2048; // stays within memory
    case ARG_HEX:
        return v < 64 ? 0 : wide;
    default:
        return v < 250 ? v : (uint64_t)(int64_t)-1;
    }
}

static void io_call(unsigned what, int fd, uint64_t at, uint64_t n)
{
    struct uio_seg seg;
    struct uio u = uio_one(&seg, at, n, false);
    struct file *f = fd_get_io(fd);
    if (f == NULL)
        return;
    int64_t r =
        what == CALL_READ ? f->ops->read(f, &u, NULL, true) : f->ops->write(f, &u, NULL, true);
    ASSERT(r <= (int64_t)n);
    file_put(f);
}

static void step(struct cursor *c)
{
    uint8_t what = 0, v[6] = {0};
    uint16_t wide = 0;
    if (cursor_u8(c, &what) < 0 || cursor_copy(c, v, sizeof(v)) < 0 || cursor_le16(c, &wide) < 0)
        return;
    unsigned call = what % CALLS_ALL;
    if (call == CALL_CLOSE) {
        if (fd_close(fds[v[0] % FDS]) == 0)
            fds[v[0] % FDS] = -1;
    } else if (call == CALL_READ || call == CALL_WRITE) {
        io_call(call, fds[v[0] % FDS], (uintptr_t)memory + v[1] * 8u, wide % 2048);
    } else if (call == CALL_SCRIBBLE) {
        memcpy(memory + v[0] * 8, &v[1], 5);
        memcpy(memory + v[0] * 8 + 5, &wide, 2);
    } else {
        uint64_t arg[6];
        for (int i = 0; i < 6; i++)
            arg[i] = number(calls[call].kinds[i], v[i], wide);
        int64_t r = table_call(calls[call].number, arg);
        bool makes =
            calls[call].number == 41 || calls[call].number == 43 || calls[call].number == 288;
        if (makes && r >= 0) {
            int slot = v[5] % FDS;
            if (fds[slot] >= 0 && fd_close(fds[slot]) < 0)
                abort();
            fds[slot] = (int)r;
        }
    }
}

/* struct sockaddr_in of 127.0.0.1 with a few ports lie ready, at every 16 bytes of the start. */
static void memory_init(void)
{
    memset(memory, 0, sizeof(memory));
    for (uint16_t i = 0; i < 8; i++) {
        struct inet_addr a = {.family = DOMAIN_INET,
                              .port = __builtin_bswap16((uint16_t)(7000 + i)),
                              .ip = __builtin_bswap32(NET_IP_LOOPBACK)};
        memcpy(memory + i * sizeof(a), &a, sizeof(a));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        signal(SIGPIPE, SIG_IGN);
        shim_never_sleep = true;
        shim_start_timers();
        shim_user_start = (uintptr_t)memory;
        shim_user_end = shim_user_start + sizeof(memory);
    }
    shim_enter();
    if (!ready)
        socket_init();
    ready = true;
    memory_init();
    for (int i = 0; i < FDS; i++)
        fds[i] = -1;
    struct cursor c = cursor_of(data, size);
    for (int i = 0; i < STEPS_MAX && c.left > 0; i++) {
        size_t before = c.left;
        step(&c);
        if (c.left == before)
            break;
    }
    for (int i = 0; i < FDS; i++) {
        if (fds[i] >= 0 && fd_close(fds[i]) < 0)
            abort();
    }
    shim_leave();
    return 0;
}
