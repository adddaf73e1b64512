// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the host tells the kernel at start: the PVH command line, words separated by spaces. A value
 * may hold any byte written as %XX (space, '%' and bytes below 0x21 must be). The kernel refuses an
 * unknown word that starts with "skerry." and ignores all others.
 *
 *     skerry.ip=dhcp | A.B.C.D/LEN[,GATEWAY]   address of the first network device (default: dhcp
 *                                               when there is a device)
 *     skerry.dns=A.B.C.D[,A.B.C.D]             name servers for /etc/resolv.conf
 *     skerry.host=NAME                         host name (default "skerry")
 *     skerry.epoch=SECONDS.NANOS               wall clock at start (there is no RTC on microvm)
 *     skerry.tsc_khz=N                         TSC frequency when the host knows it
 *     skerry.smp=N                             CPUs of the machine, 1 to BOOT_CPUS_MAX, whose local
 *                                               APIC ids are 0 to N - 1 (default 1: others rest)
 *     skerry.env=NAME=VALUE                    added to the manifest's environment, may repeat
 *     skerry.arg=VALUE                         added to the manifest's arguments, may repeat
 *     skerry.allow_written_exec                files made or changed at run time may be executed or
 *                                               mapped executable, else only the image's own
 *     skerry.deny_anonymous_exec               memory that no file fills may not be executable
 *     skerry.trace                             print system calls on the console
 *     skerry.nokaslr                           run where it is linked, not at a random place
 *     skerry.trial=NAME                        break the kernel: its own tests (boot/trial.c)
 *     virtio_mmio.device=SIZE@ADDR:IRQ         as Linux; QEMU's microvm does not add it by itself
 *                                               with acpi=off unless auto-kernel-cmdline=on;
 *                                               devices on PCI bus 0 (q35) need no word
 *
 * What the kernel tells the host: one byte at a time on I/O port BOOT_STATUS_PORT (QEMU:
 * -chardev ... -device isa-debugcon,iobase=0xe9,chardev=ID), lines of text:
 *
 *     up MICROSECONDS     the program was entered, so long after the kernel's first instruction
 *     exit N              the program ended with status N (0..255)
 *     signal N            the program was killed by signal N
 *     panic TEXT          the kernel gave up
 *     trace ADDRESS...    behind it: the calls that led there, innermost first, hexadecimal, as in
 *                         the kernel's file
 *
 * and then a write of the byte 0 to BOOT_POWEROFF_PORT (QEMU: -device isa-debug-exit,iobase=0x501,
 * iosize=1), which ends QEMU with status 1. A QEMU that ended without a line "exit", "signal" or
 * "panic" was killed from outside or failed to start.
 *
 * What the host asks of a running kernel: a byte on the input of the serial console (COM1).
 * BOOT_CONSOLE_TERM: send SIGTERM to the program; BOOT_CONSOLE_INT (a terminal's Ctrl-C): SIGINT.
 * BOOT_CONSOLE_METRICS: say a line "metrics HEX" on the status channel (abi/metrics.h). None
 * reaches the program as input. */
enum {
    BOOT_CONSOLE_INT = 0x03,
    BOOT_CONSOLE_TERM = 0x14,
    BOOT_CONSOLE_METRICS = 0x1e,
    BOOT_STATUS_PORT = 0xe9,
    BOOT_POWEROFF_PORT = 0x501,
    BOOT_CPUS_MAX = 64,
    BOOT_CMDLINE_MAX = 4096, // bytes, with the final NUL
};
