/* SPDX-License-Identifier: Apache-2.0 */
/* The one entry: PVH (xen docs/misc/pvh.pandoc). 32-bit protected mode, paging off, EBX = physical
 * address of hvm_start_info. We map the first GiB at address 0, enter long mode, let boot_place map
 * the image where it is to run, go on there and call kernel_main on the boot stack; kmap_init
 * replaces the map by the final one. Only distances within the image are used: it is linked for
 * no address. */
#define IMAGE_PHYS 0x100000 /* kernel/mm/layout.h; pvh_start is the image's first byte */
#define PHYS(x) ((x) - pvh_start + IMAGE_PHYS)

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 8, 18 /* name and description size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad IMAGE_PHYS

    .section .boot.text, "ax", @progbits
    .code32
    .globl pvh_start
pvh_start:
    cld
    mov $PHYS(boot_stack_top), %esp
    rdtsc
    mov %eax, PHYS(boot_tsc)
    mov %edx, PHYS(boot_tsc) + 4

    /* 512 large pages of 2 MiB: present, writable. */
    mov $PHYS(boot_pd), %edi
    mov $0x83, %eax
    mov $512, %ecx
1:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    dec %ecx
    jnz 1b
    movl $PHYS(boot_pd) + 3, PHYS(boot_pdpt_low)
    movl $PHYS(boot_pdpt_low) + 3, PHYS(boot_pml4)

    mov %cr4, %eax
    or $0xa0, %eax /* PAE, PGE */
    mov %eax, %cr4
    mov $PHYS(boot_pml4), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx /* EFER: SCE, LME, NXE */
    rdmsr
    or $0x901, %eax
    wrmsr
    mov $0x80010033, %eax /* PG WP NE ET MP PE */
    mov %eax, %cr0
    lgdt PHYS(boot_gdt_pointer)
    ljmp $8, $PHYS(start64)

    .code64
start64:
    lea boot_stack_top(%rip), %rsp
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov %ebx, %edi
    xor %ebp, %ebp
    call boot_place /* all that is virtual is so far above the physical addresses */
    lea start_high(%rip), %rcx
    add %rax, %rcx
    jmp *%rcx
start_high:
    lea boot_stack_top(%rip), %rsp
    mov %ebx, %edi
    xor %ebp, %ebp
    call kernel_main
    ud2

    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 64-bit code, ring 0 */
boot_gdt_pointer:
    .word 15
    .long PHYS(boot_gdt)

    .section .bss
    .align 4096
    .globl boot_pml4
boot_pml4:      .skip 4096
boot_pdpt_low:  .skip 4096
boot_pd:        .skip 4096
    .skip 16384
boot_stack_top:
    .globl boot_tsc
boot_tsc: .skip 8
    .section .note.GNU-stack, "", @progbits
