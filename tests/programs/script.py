#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Python: threads, files, JSON, SQLite, compression, regular expressions, the event loop."""
import asyncio
import hashlib
import json
import os
import queue
import re
import sqlite3
import struct
import sys
import tempfile
import threading
import zlib

results = queue.Queue()


def work(n):
    results.put((n, hashlib.sha256(str(n).encode()).hexdigest()[:8]))


threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print(sorted(results.get() for _ in threads)[::5])

with tempfile.TemporaryDirectory(dir="/tmp") as folder:
    path = os.path.join(folder, "data.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"name": "skërry", "list": [1, 2.5, None]}, f)
    with open(path, encoding="utf-8") as f:
        print(json.load(f), os.stat(path).st_size, os.listdir(folder))
    base = sqlite3.connect(os.path.join(folder, "data.db"))
    base.execute("PRAGMA journal_mode=WAL")
    with base:
        base.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)")
        base.executemany("INSERT INTO t(text) VALUES (?)", [(f"row {i}",) for i in range(1000)])
    print(base.execute("SELECT count(*), max(text), sum(id) FROM t WHERE id % 3 = 0").fetchone())
    base.close()

packed = zlib.compress(b"skerry " * 1000)
print(len(zlib.decompress(packed)), struct.pack(">Id", 7, 1.5).hex(),
      re.sub(r"(\w+) (\w+)", r"\2 \1", "hello world"))


async def later(n):
    await asyncio.sleep(0.001 * n)
    return n * n


async def main():
    return await asyncio.gather(*(later(n) for n in range(10)))


print(asyncio.run(main()))
sys.exit(9)
