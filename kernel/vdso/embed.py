#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: embed.py IN OUT   write a file as the C array vdso_image[], padded to whole pages."""
import pathlib
import sys

PAGE = 4096
data = pathlib.Path(sys.argv[1]).read_bytes()
data += bytes(-len(data) % PAGE)
lines = [", ".join(str(b) for b in data[i:i + 20]) + "," for i in range(0, len(data), 20)]
pathlib.Path(sys.argv[2]).write_text(
    "// Written by kernel/vdso/embed.py\n"
    '#include "kernel/linux/vdso.h"\n'
    f"const uint8_t vdso_image[{len(data)}] = {{\n" + "\n".join(lines) + "\n};\n"
    f"const uint32_t vdso_image_bytes = {len(data)};\n")
