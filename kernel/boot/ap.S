/* SPDX-License-Identifier: Apache-2.0 */
/* What a further CPU runs first: copied to a page below 1 MiB, entered in real mode at its start
 * with cs = page / 16 (SDM volume 3, 8.4). It takes the boot map, enters long mode and goes on in
 * the image; what it must know stands at the end, written by smp_start. Only distances are used. */
#define AT(x) ((x) - ap_code)

    .section .rodata
    .globl ap_code, ap_code_end, ap_facts
    .align 16
    .code16
ap_code:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    xor %ebx, %ebx
    mov %ax, %bx
    shl $4, %ebx /* where we lie */
    lea AT(ap_gdt)(%ebx), %eax
    mov %eax, AT(ap_gdt_pointer) + 2
    lea AT(ap_long)(%ebx), %eax
    mov %eax, AT(ap_target)
    mov %cr4, %eax
    or $0xa0, %eax /* PAE, PGE */
    mov %eax, %cr4
    mov AT(ap_facts), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx /* EFER: SCE, LME, NXE */
    rdmsr
    or $0x901, %eax
    wrmsr
    lgdtl AT(ap_gdt_pointer)
    mov $0x80010033, %eax /* PG WP NE ET MP PE: real mode to long mode (SDM volume 3, 9.8.5) */
    mov %eax, %cr0
    ljmpl *AT(ap_target)

    .code64
ap_long:
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov AT(ap_facts) + 8(%rbx), %rdx
    mov AT(ap_facts) + 16(%rbx), %rcx
    jmp *%rcx

    .align 8
ap_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 64-bit code, ring 0 */
ap_gdt_pointer:
    .word 15
    .long 0
ap_target:
    .long 0
    .word 8
    .align 8
ap_facts: /* struct ap_facts, smp.c */
    .quad 0, 0, 0
ap_code_end:

/* In the image, on the boot map, rdx = the kernel's own tables: the stack lies in those. */
    .text
    .globl ap_entry
ap_entry:
    mov %rdx, %cr3
    mov $1, %eax
    cpuid
    shr $24, %ebx /* the local APIC's id is the CPU's number */
    lea ap_stacks(%rip), %rax
    mov (%rax, %rbx, 8), %rsp
    mov %ebx, %edi
    xor %ebp, %ebp
    call ap_main
    ud2
    .section .note.GNU-stack, "", @progbits
