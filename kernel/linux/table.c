// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/syscall.h"

const struct syscall_entry syscall_table[SYSCALLS_MAX] = {
#define X(nr, id, ...) [nr] = {.call = sys_##id, .name = #id, .kinds = {__VA_ARGS__}},
#include "kernel/linux/table_core.h"
#include "kernel/linux/table_socket.h"
#include "kernel/linux/table_vfs.h"
#undef X
};
