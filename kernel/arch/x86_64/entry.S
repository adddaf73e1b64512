/* SPDX-License-Identifier: Apache-2.0 */
/* Every way into the kernel and out of it, and the switch between tasks. struct regs: cpu.h. */
#include "kernel/arch/x86_64/offsets.h"

.macro SMAP_CLAC
9:  .byte 0x0f, 0x1f, 0x00
    .pushsection .smap_patch, "a"
    .long 9b - ., 1
    .popsection
.endm

.macro PUSH_GENERAL
    push %r15
    push %r14
    push %r13
    push %r12
    push %rbp
    push %rbx
    push %r11
    push %rcx
    push %rax
    push %r9
    push %r8
    push %r10
    push %rdx
    push %rsi
    push %rdi
.endm

.macro POP_GENERAL
    pop %rdi
    pop %rsi
    pop %rdx
    pop %r10
    pop %r8
    pop %r9
    pop %rax
    pop %rcx
    pop %r11
    pop %rbx
    pop %rbp
    pop %r12
    pop %r13
    pop %r14
    pop %r15
.endm

/* SYSCALL leaves rip in rcx and rflags in r11, clears the flags of MSR_SFMASK and switches no
 * stack. */
.macro SYSCALL_FRAME
    swapgs
    mov %rsp, %gs:CPU_USER_RSP
    mov %gs:CPU_KERNEL_RSP, %rsp
    push $SEL_USER_DATA
    push %gs:CPU_USER_RSP
    push %r11
    push $SEL_USER_CODE
    push %rcx
    push %rax
    push $VECTOR_SYSCALL
    PUSH_GENERAL
    sti
.endm

    .text
    .globl syscall_entry
    .align 16
syscall_entry:
    SYSCALL_FRAME
    cmp $SYSCALL_ROWS, %rax
    jae 1f
    lea (%rax, %rax, 2), %rcx
    lea syscall_table(%rip), %r11
    mov (%r11, %rcx, 8), %rcx
    test %rcx, %rcx
    jz 1f
    mov %rsp, %rdi
    call *%rcx
2:  mov %rax, REGS_RAX(%rsp)
syscall_leave:
    cli
    mov %gs:CPU_CURRENT, %rcx
    mov TASK_NEED_WORK(%rcx), %ecx
    or %gs:CPU_NEED_WORK, %ecx
    jnz return_work
    /* Nothing to do: the callee-saved registers are what they were, the others come back. */
    pop %rdi
    pop %rsi
    pop %rdx
    pop %r10
    pop %r8
    pop %r9
    pop %rax
    mov REGS_RIP - 56(%rsp), %rcx
    mov REGS_RFLAGS - 56(%rsp), %r11
    mov REGS_RSP - 56(%rsp), %rsp
    swapgs
    sysretq
1:  mov $-38, %rax /* -ENOSYS */
    jmp 2b

    .globl syscall_entry_traced
    .align 16
syscall_entry_traced:
    SYSCALL_FRAME
    mov %rsp, %rdi
    call syscall_traced
    mov %rax, REGS_RAX(%rsp)
    jmp syscall_leave

/* Interrupts off, struct regs on the stack, something to do before user mode. */
return_work:
    mov %rsp, %rdi
    call return_to_user_work
    /* Fall through: always by iretq, because signals may have changed every register. */
    .globl return_to_user
return_to_user:
    POP_GENERAL
    add $16, %rsp
    swapgs
return_iretq:
    iretq

    .globl user_fork_return /* a new thread's first instruction */
user_fork_return:
    mov %rax, %rdi
    call task_first_run
    cli
    mov %rsp, %rdi
    call return_to_user_work
    jmp return_to_user

/* Exceptions and interrupts. The stub pushes the error code where the CPU does not. */
    .align 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .align 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
    push $0
    .endif
    pushq $vector
    .if vector == 1 || vector == 2 || vector == 8 || vector == 18
    jmp trap_paranoid
    .else
    jmp trap_common
    .endif
    .set vector, vector + 1
    .endr

    .align 16
trap_common:
    cld
    SMAP_CLAC
    testb $3, 24(%rsp)
    jz 1f
    swapgs
    PUSH_GENERAL
    xor %ebp, %ebp
2:  mov %rsp, %rdi
    call trap_dispatch
    cli
    mov %gs:CPU_CURRENT, %rcx
    mov TASK_NEED_WORK(%rcx), %ecx
    or %gs:CPU_NEED_WORK, %ecx
    jnz return_work
    jmp return_to_user
1:  push %rax
    lea return_iretq(%rip), %rax
    cmp %rax, 24(%rsp) /* iretq itself failed: GS is the user's already */
    pop %rax
    jne 3f
    swapgs
3:  PUSH_GENERAL
    mov %rsp, %rdi
    call trap_dispatch
    POP_GENERAL
    add $16, %rsp
    iretq

/* #DB, NMI, #DF, #MC come on a stack of their own and may hit the few instructions in which the
 * kernel runs with the user's GS. From user mode: move to the task's stack and go on as usual. From
 * the kernel: take our CPU from the top of the stack, whatever GS says. */
    .align 16
trap_paranoid:
    cld
    SMAP_CLAC
    testb $3, 24(%rsp)
    jz 1f
    swapgs
    push %rax
    mov %rsp, %rax
    mov %gs:CPU_KERNEL_RSP, %rsp
    push 56(%rax)
    push 48(%rax)
    push 40(%rax)
    push 32(%rax)
    push 24(%rax)
    push 16(%rax)
    push 8(%rax)
    mov (%rax), %rax
    PUSH_GENERAL
    xor %ebp, %ebp
    jmp 2b
1:  PUSH_GENERAL
    mov $0xc0000101, %ecx
    rdmsr
    shl $32, %rdx
    or %rdx, %rax
    mov %rax, %rbx /* what GS held */
    mov REGS_BYTES(%rsp), %rax /* our CPU */
    mov %rax, %rdx
    shr $32, %rdx
    wrmsr
    mov %rsp, %rdi
    call trap_dispatch
    mov $0xc0000101, %ecx
    mov %rbx, %rax
    mov %rbx, %rdx
    shr $32, %rdx
    wrmsr
    POP_GENERAL
    add $16, %rsp
    iretq

/* uint64_t switch_stack(uint64_t *save_rsp, uint64_t next_rsp, uint64_t pass): returns in the next
 * task with what the switching one passed. */
    .globl switch_stack
    .align 16
switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    mov %rdx, %rax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

/* A kernel thread's first instruction: r12 = function, r13 = its argument. */
    .globl kthread_first
kthread_first:
    mov %rax, %rdi
    call task_first_run
    mov %r13, %rdi
    call *%r12
    call kthread_finished
    ud2

    .section .fixup, "a"
    .long return_iretq - ., return_iretq_bad - .
    .text
/* iretq refused the user's registers (a bad address from rt_sigreturn): the process ends. */
return_iretq_bad:
    mov %gs:CPU_KERNEL_RSP, %rsp
    sti
    call bad_return_to_user
    ud2
    .section .note.GNU-stack, "", @progbits
