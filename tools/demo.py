#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What ./demo shows: a planet, an application on it, faults, a new version.

Everything is done by `skerry` itself; this only calls it in order and says what to look at. All
state lives in the lab's own folder, so that `skerry lab down` removes it also after a kill -9.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKERRY = ROOT / "build/dev/skerry"
EXAMPLE = ROOT / "examples/region"
LAB = "sk"
STATE = pathlib.Path("/run/skerry/lab")
SERVICE = "198.51.100.10"
GREETINGS = ("Welcome to my website!", "Welcome to my second website!")
SILENT_SECONDS, ROLLOUT_SECONDS_MAX = 8, 120
START = time.monotonic()


def say(text):
    print(f"\n\033[1m[{time.monotonic() - START:5.1f} s] {text}\033[0m" if sys.stdout.isatty()
          else f"\n[{time.monotonic() - START:5.1f} s] {text}", flush=True)


def skerry(*words, quiet=False):
    """Run a command of skerry; its output is the demo's unless quiet. Failure ends the demo."""
    r = subprocess.run([str(SKERRY), *words], stdin=subprocess.DEVNULL, text=True, check=False,
                       stdout=subprocess.PIPE if quiet else None)
    if r.returncode != 0:
        raise SystemExit(f"demo: 'skerry {' '.join(words)}' ended with status {r.returncode}")
    return r.stdout


def start(*words):
    return subprocess.Popen([str(SKERRY), *words], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, text=True)


def instances():
    """region -> (address, port) of its instance, as the controller knows them."""
    status = json.loads(skerry("status", "--json", quiet=True))
    app = next(a for a in status["apps"] if a["app"] == "hello")
    return {r["name"]: (r["instances"][0]["address"], r["instances"][0]["port"])
            for r in app["regions"]}


def fetched(process):
    """The outcome of a `skerry lab fetch --json`, by city."""
    out, _ = process.communicate()
    if process.returncode != 0:
        raise SystemExit("demo: 'skerry lab fetch' failed")
    return {r["city"]: r for r in json.loads(out)}


def names(counts):
    return ", ".join(f"{k} {v}" for k, v in sorted(counts.items(), key=lambda x: -x[1]))


def show_silence():
    watchers = [start("lab", "fetch", city, f"http://{SERVICE}/", "--every", "20",
                      "--for", str(SILENT_SECONDS), "--timeout", "1000", "--json")
                for city in ("london", "frankfurt")]
    time.sleep(2)  # part of the story: clients are being served when it happens
    skerry("lab", "cut", "london-pop")
    print("  london-pop cut: no packet gets in or out, nobody was told")
    for w in watchers:
        for city, r in fetched(w).items():
            print(f"  {city}: {r['sent']} requests, longest time without an answer "
                  f"{r['longest_gap_ms'] / 1000:.2f} s; answered by {names(r['pops'])}")
    skerry("lab", "heal", "london-pop")
    print("  london-pop back")


def show_rollout():
    watcher = start("lab", "fetch", "all", f"http://{SERVICE}/", "--every", "100",
                    "--for", str(ROLLOUT_SECONDS_MAX), "--timeout", "5000", "--json")
    try:
        skerry("up", str(EXAMPLE / "skerry-v2.yaml"), "--yes")
        time.sleep(1)  # so that the new version alone is seen too
    finally:
        watcher.send_signal(signal.SIGINT)  # no more requests; those under way are awaited
    results = fetched(watcher)
    total, failed, bodies = 0, 0, {}
    for r in results.values():
        total, failed = total + r["sent"], failed + r["failed"]
        for body, n in r["bodies"].items():
            bodies[body] = bodies.get(body, 0) + n
    print(f"  {len(results)} cities, {total} requests during the rollout, {failed} failed")
    for body, n in bodies.items():
        print(f"  {n:6} x {body!r}")
    for city, r in results.items():
        if r["failed"]:
            print(f"  {city}: {names(r['errors'])}")
    return failed == 0 and set(bodies) == set(GREETINGS)


def left_behind():
    """What the demo should not leave: namespaces, processes, files."""
    out = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    left = [f"namespace {line.split()[0]}" for line in out.splitlines()
            if line.startswith(LAB + "-")]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if f"{STATE}/" in line:
            left.append(f"process {pid}: {line[:80]}")
    return left + ([str(STATE)] if STATE.exists() else [])


def main():
    if os.geteuid() != 0:
        os.execvp("sudo", ["sudo", "/usr/bin/python3", *sys.argv])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["SKERRY_STORE"] = str(STATE / "store")
    ok = True
    try:
        say("A planet: cities, measured round trips, BGP routers, four regions with a POP each")
        skerry("lab", "up", str(ROOT / "examples/planet.yaml"), quiet=True)
        say("skerry up examples/region/skerry.yaml")
        skerry("up", str(EXAMPLE / "skerry.yaml"), "--yes")
        say("From every city: each region's instance directly, then the one anycast address")
        skerry("lab", "settle", SERVICE)
        targets = [f"{region}=http://{address}:{port}/"
                   for region, (address, port) in instances().items()]
        skerry("lab", "probe", *targets, f"anycast=http://{SERVICE}/", "--expect", GREETINGS[0])
        say("London's POP dies without warning while London and Frankfurt fetch every 20 ms")
        show_silence()
        skerry("lab", "settle", SERVICE)  # BGP has to find the way back
        say("Version 2 in all regions while every city fetches ten times a second")
        ok &= show_rollout()
        say("skerry down")
        skerry("down", "hello")
    except KeyboardInterrupt:
        ok = False
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        skerry("lab", "down")
    left = left_behind()
    say("Nothing is left: no process, namespace or file" if not left else "LEFT BEHIND")
    print("\n".join(left) if left else "", end="")
    return 0 if ok and not left else 1


if __name__ == "__main__":
    sys.exit(main())
