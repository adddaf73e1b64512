// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Numbers that assembly and C must agree on; cpu.h asserts them against the structs. */
#define CPU_SELF       0
#define CPU_KERNEL_RSP 8
#define CPU_USER_RSP   16
#define CPU_CURRENT    24
#define CPU_NEED_WORK  32
#define CPU_GUARD      40 // kernel/meson.build tells the compiler

#define TASK_NEED_WORK 48

#define REGS_RAX    48
#define REGS_RIP    136
#define REGS_CS     144
#define REGS_RFLAGS 152
#define REGS_RSP    160
#define REGS_BYTES  176

#define SEL_KERNEL_CODE 0x08
#define SEL_KERNEL_DATA 0x10
#define SEL_USER_DATA   0x1b
#define SEL_USER_CODE   0x23
#define SEL_TSS         0x28

#define VECTOR_SYSCALL 256
#define SYSCALL_ROWS   512
