# SPDX-License-Identifier: Apache-2.0
"""For gdb on a running guest: symbols of the kernel where it runs, and of the program.

    gdb -ex 'target remote localhost:1234' -x tools/gdb.py
    (gdb) skerry-kernel build/dev/kernel.elf
    (gdb) skerry-program ./hello

skerry-kernel asks QEMU where the interrupt table lies, which tells how far the kernel has moved
itself (kernel/boot/place.c): stop it anywhere behind its first instructions. skerry-program finds
the current process's mappings in the kernel's structures; give it the file that was packed.
"""
import re
import struct

import gdb


def text_of(path):
    """The address that a file's first executable segment is linked for, and its offset."""
    with open(path, "rb") as f:
        data = f.read(65536)
    if data[:4] != b"\x7fELF" or data[4] != 2:
        raise gdb.GdbError(f"{path}: no ELF file of 64 bits")
    table, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, flags, offset, address = struct.unpack_from("<IIQQ", data, table + i * size)
        if kind == 1 and flags & 1:
            return address, offset
    raise gdb.GdbError(f"{path}: no executable segment")


class Kernel(gdb.Command):
    """skerry-kernel FILE: load the kernel's symbols at the place where it runs."""

    def __init__(self):
        super().__init__("skerry-kernel", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        path = gdb.string_to_argv(argument)[0]
        gdb.execute(f"symbol-file {path}", to_string=True)
        linked = int(gdb.parse_and_eval("(unsigned long)&idt"))
        registers = gdb.execute("monitor info registers", to_string=True)
        seen = re.search(r"IDT= *([0-9a-f]+)", registers)
        slide = (int(seen[1], 16) - linked) & (2**64 - 1)
        if slide >= 2**31 or slide % 4096 != 0:
            raise gdb.GdbError("the kernel has not set up its interrupt table yet: go on a little")
        gdb.execute(f"symbol-file -o {slide:#x} {path}", to_string=True)
        print(f"kernel at its linked place + {slide:#x}")


def first_mapping():
    """Where the current process's lowest executable mapping of a file starts, and its offset."""
    this = int(gdb.parse_and_eval("$gs_base"))
    cpu = gdb.lookup_type("struct cpu").pointer()
    kernel_gs = this if this >> 63 else int(gdb.parse_and_eval("$k_gs_base"))
    mm = gdb.Value(kernel_gs).cast(cpu)["current"]["process"]["mm"]
    vma = gdb.lookup_type("struct vma")
    found = []

    def walk(node):
        if int(node) == 0:
            return
        v = node.cast(vma.pointer())  # its node comes first
        walk(v["node"]["child"][0])
        if int(v["file"]) != 0 and int(v["prot"]) & 4:
            found.append((int(v["start"]), int(v["offset"])))
        walk(v["node"]["child"][1])

    if int(mm) == 0:
        raise gdb.GdbError("the current task is the kernel's own: stop in the program")
    walk(mm["vmas"]["tree"]["root"])
    if not found:
        raise gdb.GdbError("the current process maps no file executable")
    return found[0]


class Program(gdb.Command):
    """skerry-program FILE: add the program's symbols at the place where it runs."""

    def __init__(self):
        super().__init__("skerry-program", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        path = gdb.string_to_argv(argument)[0]
        address, offset = text_of(path)
        start, mapped = first_mapping()
        slide = (start - mapped) - (address - offset)
        gdb.execute(f"add-symbol-file -o {slide:#x} {path}", to_string=True)
        print(f"program at its linked place + {slide:#x}")


Kernel()
Program()
