// SPDX-License-Identifier: Apache-2.0
/* The least that a PVH guest can be: it prints one line on the serial console, says "exit 0" on the
 * status port and ends the machine (abi/boot.h). The floor of every boot-time measurement. */
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18              // name and value sizes, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long start

    .text
    .code32
    .globl start
start:
    mov $console, %esi
    mov $0x3f8, %dx
    mov $(console_end - console), %ecx
    rep outsb
    mov $status, %esi
    mov $0xe9, %dx              // BOOT_STATUS_PORT
    mov $(status_end - status), %ecx
    rep outsb
    xor %eax, %eax
    mov $0x501, %dx             // BOOT_POWEROFF_PORT
    out %al, %dx
halt:
    hlt
    jmp halt

    .section .rodata
console:
    .ascii "hello\n"
console_end:
status:
    .ascii "up 0\nexit 0\n"
status_end:
