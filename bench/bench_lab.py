# SPDX-License-Identifier: Apache-2.0
"""The planet on one machine: how exact its links are, what they cost, how fast it heals."""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import lib

ENV = dict(os.environ, SKERRY_LAB=f"bench{os.getpid() % 100000}")
SERVICE = "198.51.100.10"
POPS = ["los-angeles", "london", "mumbai", "santiago"]
LINK, FROM, TO = "backbone-london-mumbai", "london-pop", "10.90.0.3"
SINK = """
import socket
s = socket.create_server(("", 9000))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    n = 0
    while part := c.recv(1 << 20):
        n += len(part)
    c.close()
"""
SOURCE = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 9000))
end, part, n = time.monotonic() + 5, bytes(1 << 20), 0
while time.monotonic() < end:
    n += s.send(part)
s.shutdown(socket.SHUT_WR)
s.recv(1)
print(n)
"""


def lab(*words):
    return lib.run(lib.SKERRY, "lab", *words, env=ENV)


def start(*words):
    return subprocess.Popen([str(lib.SKERRY), "lab", *words], env=ENV, text=True,
                            stdout=subprocess.PIPE, preexec_fn=lib.die_with_parent)


def ping_us(count=100):
    """Round trips in microseconds over one link; ping's own digits are too few above 100 ms."""
    out = lib.run(lib.SKERRY, "lab", "exec", FROM, "ping", "-n", "-c", count, "-i", "0.02",
                  "-q", TO, env=ENV)
    return float(re.search(r"= [0-9.]+/([0-9.]+)/", out).group(1)) * 1e3


def accuracy():
    rows = []
    for rtt in [15, 30, 70, 140, 250]:
        lab("set", LINK, "--delay", str(rtt / 2))
        quiet = ping_us()
        burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"],
                                    preexec_fn=lib.die_with_parent)
                   for _ in range(os.cpu_count())]
        busy = ping_us()
        for b in burners:
            b.kill()
            b.wait()
        rows.append([f"{rtt} ms", f"+{quiet - rtt * 1e3:.0f} us", f"+{busy - rtt * 1e3:.0f} us"])
    lib.table("link accuracy: mean round trip of 100 pings over one link, less what was asked for",
              ["asked", "as it is", "all cores busy"], rows)


def throughput():
    sink = start("exec", "mumbai-pop", sys.executable, "-c", SINK)
    sink.stdout.readline()
    rows = []
    for rtt in [1, 20, 140]:
        lab("set", LINK, "--delay", str(rtt / 2))
        begin = time.monotonic()
        sent = int(lab("exec", FROM, sys.executable, "-c", SOURCE, TO))
        rows.append([f"{rtt} ms", f"{sent * 8 / (time.monotonic() - begin) / 1e9:.2f} Gbit/s"])
    sink.kill()
    lib.table("one TCP connection over one link for 5 s, to its last acknowledged byte",
              ["round trip", "rate"], rows)


def links_pid():
    return next(p["pid"] for p in json.loads(lab("status", "--json"))["processes"]
                if p["name"] == "links")


def share_of_core(pid, seconds=10):
    def ticks():
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[0])

    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) / seconds / 1e9


def full_mesh(bfd):
    """A planet of 10 cities and 45 links, and as little talk on them as wished."""
    names = ["san-francisco", "new-york", "london", "frankfurt", "mumbai", "singapore", "tokyo",
             "sydney", "santiago", "johannesburg"]
    lines = [f"bfd: {{interval: {bfd}}}", "pops: []", "cities:"]
    lines += [f"  - {{name: {n}, client: false}}" for n in names]
    lines += ["links:"] + [f"  - {{between: [{a}, {b}]}}"
                           for i, a in enumerate(names) for b in names[i + 1:]]
    return "\n".join(lines) + "\n"


def idle():
    rows = []
    for what, bfd in [("45 links, quiet (BFD every 60 s)", "60s"),
                      ("45 links, BFD at 100 ms on each", "100ms")]:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(full_mesh(bfd))
            f.flush()
            if bfd == "60s":
                up_without_waiting(f.name)
            else:
                lab("up", "--no-daemons", f.name)
            rows.append([what, f"{share_of_core(links_pid()) * 100:.2f} %"])
            lab("down")
    lib.table("idle cost of the link process, of one core", ["", "share"], rows)


def up_without_waiting(path):
    """BFD at 60 s takes minutes to come up, and `lab up` would wait: the routes are enough."""
    up = subprocess.Popen([str(lib.SKERRY), "lab", "up", "--no-daemons", path], env=ENV, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for line in up.stderr:
        if "every city" in line:
            break
    up.kill()
    up.wait()


def silent_death():
    servers = [start("exec", f"{p}-pop", sys.executable,
                     str(lib.ROOT / "tests/e2e/lab_pop.py"), p) for p in POPS]
    for s, p in zip(servers, POPS):
        s.stdout.readline()
        lab("exec", f"{p}-pop", "ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
    cities = ["london", "frankfurt", "johannesburg"]
    gaps = {c: [] for c in cities}
    for _ in range(3):
        time.sleep(6)  # BGP's own pause before it speaks to a neighbour again
        running = start("fetch", ",".join(cities), f"http://{SERVICE}/", "--for", "4", "--json")
        time.sleep(1.5)
        lab("cut", "london-pop")
        for r in json.loads(running.communicate()[0]):
            gaps[r["city"]].append(r["longest_gap_ms"])
        lab("heal", "london-pop")
    for s in servers:
        s.kill()
        s.wait()
    lib.table("London's POP dies silently (BFD 100 ms x 3): longest time without an answer, of 3",
              ["client in", "median", "all"],
              [[c, f"{statistics.median(g):.0f} ms", " ".join(f"{x:.0f}" for x in g)]
               for c, g in gaps.items()])


def main():
    if os.geteuid() != 0:
        print("bench lab: needs root")
        return
    try:
        begin = time.monotonic()
        lab("up", "--no-daemons")
        up = time.monotonic() - begin
        silent_death()
        accuracy()
        throughput()
        pid = links_pid()
        share = share_of_core(pid)
        begin = time.monotonic()
        lab("down")
        lib.table("the demo's planet: 25 namespaces, 15 routers, 28 links", ["", ""],
                  [["up, all routes and BFD there", f"{up:.2f} s"],
                   ["down", f"{time.monotonic() - begin:.2f} s"],
                   ["link process, idle with BFD at 100 ms", f"{share * 100:.2f} % of a core"]])
        idle()
    finally:
        lab("down")


main()
