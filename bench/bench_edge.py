#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""skerry-edge beside Debian's haproxy and nginx: CPU time per request, one worker pinned to one
core, the load and the server behind it on another. Medians of ROUNDS rounds, taken in turn. Peers
that are not installed are left out (apt-get install haproxy nginx). The noted figures were taken
on a quiet machine of this kind; `floor` is a featureless proxy: what the kernel's sockets allow.

usage: bench/bench_edge.py [SECONDS_A_RUN]
"""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))

from edge_world import Controller, Edge, Namespace, service, table, wait_for  # noqa: E402

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ROUNDS = 3
BUILD = pathlib.Path(os.environ.get("SKERRY_BUILD", ROOT / "build/dev"))
ORIGIN = 9000
PORTS = {"skerry-edge": 9001, "haproxy": 9002, "nginx": 9003}
# name, path, connections, new connection a request, noted figures: haproxy nginx floor
WORKS = [
    ("keep-alive, 64 connections, 22 B", "/22", 64, False, "20.7 20.4 15.9"),
    ("new connection a request, 22 B", "/22", 64, True, "55 48 45"),
    ("keep-alive, 16 connections, 64 KiB", "/65536", 16, False, "53 75 44"),
    ("keep-alive, 8 connections, 4 MiB", "/4194304", 8, False, "2814 4084 1819"),
]
HAPROXY = """
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{origin} pool-max-conn 1000
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 8000; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream o {{ server 127.0.0.1:{origin}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


def children(pid):
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found


def cpu_ns(pid):
    """Time on a CPU of a process and its children, all threads."""
    total = 0
    for p in children(pid):
        for task in pathlib.Path(f"/proc/{p}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def run_load(port, path, connections, close):
    words = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{SECONDS}", "--latency",
             f"http://127.0.0.1:{port}{path}"]
    if close:
        words[-1:-1] = ["-H", "Connection: close"]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise RuntimeError(out)
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    p50, p99 = (re.search(rf"{p}%\s+(\S+)", out).group(1) for p in (50, 99))
    return requests, p50, p99


def measure(pid, *work):
    before = cpu_ns(pid)
    requests, p50, p99 = run_load(*work)
    return (cpu_ns(pid) - before) / 1000 / requests, p50, p99


def start_peers(folder, started):
    """Name -> pid of those that are installed; everything started goes into `started`."""
    pids = {}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
             "stderr": subprocess.DEVNULL}
    for name, text in ("haproxy", HAPROXY), ("nginx", NGINX):
        program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if program is None:
            print(f"skipped: {name} is not installed")
            continue
        conf = folder / f"{name}.conf"
        conf.write_text(text.format(port=PORTS[name], origin=ORIGIN, folder=folder))
        flag = "-f" if name == "haproxy" else "-c"
        p = subprocess.Popen(["taskset", "-c", "0", program, flag, str(conf)], **quiet)
        started.append(p)
        pids[name] = p.pid
    return pids


def start_edge(folder, started):
    controller = Controller(folder / "control.sock")
    edge = Edge(folder, controller, prefix=["taskset", "-c", "0"],
                options=["--workers", "1", "--no-pin"])
    started.append(edge.process)
    origin = {"id": "origin", "region": "r1", "address": "127.0.0.1", "port": ORIGIN,
              "state": "serving", "capacity": 100000}
    controller.publish(table(1, [service([origin], address="127.0.0.1",
                                         port=PORTS["skerry-edge"])]))
    edge.ready(1)
    return edge.process.pid


def answers(port):
    r = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/22"], capture_output=True,
                       check=False)
    return len(r.stdout) == 22


def bench(folder):
    started = [subprocess.Popen(["taskset", "-c", "1", str(BUILD / "bench/edge_origin"),
                                 str(ORIGIN)])]
    try:
        wait_for(lambda: answers(ORIGIN))
        pids = {"skerry-edge": start_edge(folder, started), **start_peers(folder, started)}
        for name in pids:

            def ready():
                return answers(PORTS[name])

            ready.__name__ = f"{name} answers"
            wait_for(ready)
        print(f"CPU microseconds per request (p50 / p99 at full load); noted: {'haproxy':>8}"
              f"{'nginx':>7}{'floor':>7}")
        print(f"{'':37}" + "".join(f"{name:>26}" for name in pids))
        for title, path, connections, close, noted in WORKS:
            rounds = {name: [] for name in pids}
            for _ in range(ROUNDS):
                for name, pid in pids.items():
                    rounds[name].append(measure(pid, PORTS[name], path, connections, close))
            cells = ""
            for name in pids:
                us = statistics.median(r[0] for r in rounds[name])
                _, p50, p99 = sorted(rounds[name])[ROUNDS // 2]
                cells += f"{us:12.1f} {p50:>6}/{p99:>6}"
            print(f"{title:37}{cells}   noted:" + "".join(f"{n:>7}" for n in noted.split()),
                  flush=True)
    finally:
        for p in started:
            p.terminate()
        for p in started:
            p.wait(20)


def main():
    if os.geteuid() != 0 or shutil.which("wrk") is None or (os.cpu_count() or 1) < 2:
        print("skipped: needs root, wrk and two cores")
        return 0
    with tempfile.TemporaryDirectory() as folder, Namespace():
        bench(pathlib.Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
