# SPDX-License-Identifier: Apache-2.0
"""The control plane with real controllers and agents; instances are processes (provider fake)."""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests/e2e"))
from fake.edge import Edge, UnixConnection  # noqa: E402

REGIONS = ("r-one", "r-two")
WAIT_SECONDS = 20


def until(what, seconds=WAIT_SECONDS):
    """The first true value of what(), which is asked again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def listens(address, port):
    try:
        socket.create_connection((address, port), 2).close()
        return True
    except OSError:
        return False


class Cloud:
    """A controller, an agent a region, and two stand-ins for edges (or one real edge)."""

    def __init__(self, folder, number, real_edge=False):
        self.folder, self.number = folder, number
        self.control = f"unix:{folder}/c.sock"
        self.processes = {}
        self.service = f"127.89.{number}.1"
        self.edges = []
        self.start_controller()
        for n, region in enumerate(REGIONS):
            self.start_agent(n, region)
        if real_edge:
            self.start_edge()
            until(lambda: len(self.status()["pops"]) == 1)
            return
        for n, region in enumerate(REGIONS):
            self.edges.append(Edge(f"{folder}/c.sock", f"pop-{n}", region,
                                   f"127.89.{number}.{n + 1}", 8000))
        until(lambda: len(self.status()["pops"]) == 2)

    def start_edge(self):
        self.spawn("edge", "--pop", "pop-0", "--region", REGIONS[0], "--control", self.control,
                   "--backbone", f"127.89.{self.number}.3:7070", "--workers", "1", "--no-pin",
                   "--state", str(self.folder / "edge"), program="skerry-edge")

    def spawn(self, name, *words, program="skerryd"):
        env = dict(os.environ, SKERRY_FAKE_PROGRAM=str(ROOT / "tests/e2e/fake/instance.py"))
        log = open(self.folder / f"{name}.log", "ab")
        self.processes[name] = subprocess.Popen([str(BUILD / program), *words], env=env,
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()

    def start_controller(self):
        self.spawn("controller", "controller", "--listen", self.control, "--state",
                   str(self.folder / "controller"))
        until(lambda: (self.folder / "c.sock").exists() and self.answers())

    def start_agent(self, n, region):
        self.spawn(f"agent-{region}", "agent", "--region", region, "--control", self.control,
                   "--bridge", "none", "--subnet", f"127.{100 + self.number}.{n}.0/24",
                   "--gateway", f"127.{100 + self.number}.{n}.1", "--state",
                   str(self.folder / region), "--provider", "fake")

    def kill(self, name):
        p = self.processes.pop(name)
        p.kill()
        p.wait()

    def call(self, method, path, body=None):
        c = UnixConnection(f"{self.folder}/c.sock", 5)
        c.request(method, path, body)
        answer = c.getresponse()
        text = answer.read()
        c.close()
        return answer.status, json.loads(text)

    def answers(self):
        try:
            return self.call("GET", "/v1/status")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def status(self):
        return self.call("GET", "/v1/status")[1]

    def instances(self, app="web"):
        for a in self.status()["apps"]:
            if a["app"] == app:
                return [i for r in a["regions"] for i in r["instances"]]
        return []

    def pids(self):
        """Processes of instances that agents remember, by instance."""
        return {p.stem: int(p.read_text().split()[0])
                for r in REGIONS for p in (self.folder / r / "instances").glob("*.pid")}

    def app(self, name="web", port=8000, counts=(1, 1), surge=1, unavailable=0, timeout="20s",
            **env):
        """Write skerry.yaml and return its path."""
        path = self.folder / f"{name}.yaml"
        env.setdefault("PORT", 8080)
        lines = [f"app: {name}", "image:", "  program: /bin/true", "  env:"]
        lines += [f"    {k}: '{v}'" for k, v in env.items()]
        lines += ["instance:", f"  port: {env['PORT']}", "service:", f"  address: {self.service}",
                  f"  port: {port}", "  health:", "    interval: 100ms", "rollout:",
                  f"  surge: {surge}", f"  unavailable: {unavailable}", f"  timeout: {timeout}",
                  "regions:"]
        for region, count in zip(REGIONS, counts):
            lines += [f"  - name: {region}", f"    count: {count}"]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def fetch(self, edge=0):
        return self.edges[edge].fetch("/")

    def close(self):
        for e in self.edges:
            e.close()
        for p in self.processes.values():
            p.terminate()
        for p in self.processes.values():
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
        for pid in self.pids().values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


numbers = iter(range(200))


@pytest.fixture
def cloud(tmp_path):
    c = Cloud(tmp_path, os.getpid() % 40 + 40 * (next(numbers) % 3))
    yield c
    c.close()


@pytest.fixture
def cli(cloud, skerry):
    return lambda *words, **kwargs: skerry(*words, "--control", cloud.control, **kwargs)


class Load:
    """Users who fetch all the time through both edges."""

    def __init__(self, cloud, edges=(0, 1)):
        self.answers, self.failed, self.stop = {}, [], threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(cloud, e)) for e in edges * 2]
        for t in self.threads:
            t.start()

    def run(self, cloud, edge):
        address = f"127.89.{cloud.number}.{edge + 1}"
        while not self.stop.wait(0.005):
            try:
                c = http.client.HTTPConnection(address, 8000, timeout=10)
                c.request("GET", "/")
                answer = c.getresponse()
                body = answer.read().decode()
                c.close()
                failed = answer.status != 200
            except (OSError, http.client.HTTPException) as e:
                failed, body = True, repr(e)
            with self.lock:
                if failed:
                    self.failed.append(body)
                else:
                    self.answers[body] = self.answers.get(body, 0) + 1

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()
        return self.answers, self.failed


def ok(result):
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_up_serves_and_is_idempotent(cloud, cli):
    path = cloud.app(GREETING="one")
    assert cli("plan", path).returncode == 3
    out = ok(cli("up", path))
    assert "+ region r-one: 1 instance" in out and "serves at" in out
    assert cloud.fetch(0) == (200, b"one") and cloud.fetch(1) == (200, b"one")
    before = {i["id"] for i in cloud.instances()}
    assert cli("plan", path).returncode == 0
    out = ok(cli("up", path))
    assert "no change" in out
    assert {i["id"] for i in cloud.instances()} == before
    status = ok(cli("status"))
    assert "web: steady" in status and "announces web" in status
    assert json.loads(ok(cli("status", "--json")))["apps"][0]["state"] == "steady"


def test_json_outcome(cloud, cli):
    out = json.loads(ok(cli("up", cloud.app(), "--json")))
    assert out["ok"] and out["changed"] and [r["name"] for r in out["regions"]] == list(REGIONS)
    assert all(r["serves"] and r["seconds"] > 0 for r in out["regions"])


def test_scale_up_and_down_loses_nothing(cloud, cli):
    ok(cli("up", cloud.app()))
    load = Load(cloud)
    out = ok(cli("up", cloud.app(counts=(3, 2))))
    assert "~ region r-one: 1 -> 3 instances" in out
    assert len(cloud.instances()) == 5
    ok(cli("up", cloud.app(counts=(1, 0))))
    answers, failed = load.end()
    assert len(cloud.instances()) == 1 and len(cloud.pids()) == 1
    assert not failed and answers["hello"] > 50


@pytest.mark.parametrize("surge,unavailable,counts",
                         [(1, 0, (1, 1)), (2, 1, (3, 2)), (0, 1, (2, 2))])
def test_rollout_without_a_failed_request(cloud, cli, surge, unavailable, counts):
    rules = {"surge": surge, "unavailable": unavailable, "counts": counts}
    ok(cli("up", cloud.app(GREETING="old", **rules)))
    load = Load(cloud)
    out = ok(cli("up", cloud.app(GREETING="new", BOOT_SECONDS="0.3", **rules)))
    answers, failed = load.end()
    assert "~ image" in out
    assert not failed and answers["old"] > 20 and set(answers) == {"old", "new"}
    assert cloud.fetch() == (200, b"new")
    assert len(cloud.instances()) == len(cloud.pids()) == sum(counts)


@pytest.fixture
def real_edge_cloud(tmp_path):
    c = Cloud(tmp_path, os.getpid() % 40 + 40 * (next(numbers) % 3), real_edge=True)
    yield c
    c.close()


def test_rollout_through_the_real_edge(real_edge_cloud, skerry):
    cloud = real_edge_cloud
    rules = {"counts": (2, 0)}
    ok(skerry("up", cloud.app(GREETING="old", **rules), "--control", cloud.control))
    load = Load(cloud, edges=(0,))
    ok(skerry("up", cloud.app(GREETING="new", BOOT_SECONDS="0.3", **rules), "--control",
              cloud.control))
    cloud.kill("controller")
    cloud.start_controller()
    ok(skerry("up", cloud.app(GREETING="newer", **rules), "--control", cloud.control))
    r = skerry("up", cloud.app(GREETING="bad", EXIT="1", **rules), "--control", cloud.control)
    assert r.returncode == 1
    ok(skerry("up", cloud.app(GREETING="newer", counts=(1, 0)), "--control", cloud.control))
    answers, failed = load.end()
    assert not failed and set(answers) == {"old", "new", "newer"}
    ok(skerry("down", "web", "--control", cloud.control))
    until(lambda: not listens(cloud.service, 8000))


def test_bad_version_rolls_back_by_itself(cloud, cli):
    ok(cli("up", cloud.app(GREETING="good", counts=(2, 1))))
    load = Load(cloud)
    r = cli("up", cloud.app(GREETING="bad", EXIT="7", counts=(2, 1)))
    answers, failed = load.end()
    assert r.returncode == 1
    assert "exited with status 7" in r.stderr and "cannot go on: EXIT is set" in r.stderr
    assert "serves again" in r.stdout
    assert not failed and set(answers) == {"good"}
    assert all(i["ready"] for i in cloud.instances()) and len(cloud.instances()) == 3
    assert len({i["version"] for i in cloud.instances()}) == 1
    # The same wish once more is tried once more.
    assert cli("up", cloud.app(GREETING="bad", EXIT="7", counts=(2, 1))).returncode == 1


def test_version_that_never_answers_is_given_up_in_time(cloud, cli):
    ok(cli("up", cloud.app(GREETING="good")))
    r = cli("up", cloud.app(GREETING="slow", BOOT_SECONDS="60", timeout="2s"))
    assert r.returncode == 1 and "not healthy within 2 s" in r.stderr
    r = cli("up", cloud.app(GREETING="sick", STATUS="500", timeout="2s"))
    assert r.returncode == 1 and "answered with 500" in r.stderr
    assert cloud.fetch() == (200, b"good")


def test_first_version_that_fails_leaves_nothing_running(cloud, cli):
    r = cli("up", cloud.app(EXIT="1"))
    assert r.returncode == 1 and "no version before it" in r.stderr
    assert cloud.instances() == [] and cloud.pids() == {}
    assert "failed" in ok(cli("status"))
    ok(cli("up", cloud.app()))
    assert cloud.fetch() == (200, b"hello")


def test_instance_killed_is_healed(cloud, cli):
    ok(cli("up", cloud.app()))
    pids = cloud.pids()
    identity, pid = sorted(pids.items())[0]
    os.kill(pid, signal.SIGKILL)
    until(lambda: cloud.pids().get(identity) not in (pid, None))
    until(lambda: all(i["ready"] for i in cloud.instances()))
    assert {i["id"] for i in cloud.instances()} == set(pids)
    assert sum(i["restarts"] for i in cloud.instances()) == 1


def test_controller_killed_loses_no_request(cloud, cli):
    ok(cli("up", cloud.app(GREETING="old", counts=(2, 1))))
    load = Load(cloud)
    up = subprocess.Popen([str(BUILD / "skerry"), "up", cloud.app(GREETING="new", counts=(2, 1),
                                                                  BOOT_SECONDS="0.5"),
                           "--control", cloud.control], stdout=subprocess.PIPE, text=True)
    until(lambda: cloud.status()["apps"][0]["generation"] == 2)
    for _ in range(4):
        time.sleep(0.25)
        cloud.kill("controller")
        time.sleep(0.15)
        cloud.start_controller()
    out, _ = up.communicate(timeout=60)
    answers, failed = load.end()
    assert up.returncode == 0, out
    assert not failed and set(answers) == {"old", "new"}
    until(lambda: len(cloud.instances()) == 3 and all(i["ready"] for i in cloud.instances()))
    assert len(cloud.pids()) == 3


def test_agent_goes_on_without_controller(cloud, cli):
    ok(cli("up", cloud.app()))
    cloud.kill("controller")
    identity, pid = sorted(cloud.pids().items())[0]
    os.kill(pid, signal.SIGKILL)
    new = until(lambda: cloud.pids().get(identity) not in (pid, None) and cloud.pids()[identity])
    cloud.kill("agent-r-one")
    cloud.start_agent(0, "r-one")  # knows from its disk what it was told last
    os.kill(new, signal.SIGKILL)
    until(lambda: cloud.pids().get(identity) not in (pid, new, None))
    cloud.start_controller()
    until(lambda: len(cloud.instances()) == 2 and all(i["ready"] for i in cloud.instances()))


def test_agent_killed_adopts_its_instances(cloud, cli):
    ok(cli("up", cloud.app(counts=(2, 1))))
    before = cloud.pids()
    load = Load(cloud)
    cloud.kill("agent-r-one")
    cloud.start_agent(0, "r-one")
    until(lambda: "instance adopted" in (cloud.folder / "agent-r-one.log").read_text())
    until(lambda: all(i["ready"] for i in cloud.instances()))
    _, failed = load.end()
    assert not failed and cloud.pids() == before
    # One that died while its agent was dead is started again.
    identity = [i["id"] for i in cloud.instances() if "r-one" in i["id"]][0]
    cloud.kill("agent-r-one")
    os.kill(before[identity], signal.SIGKILL)
    cloud.start_agent(0, "r-one")
    until(lambda: cloud.pids().get(identity) not in (before[identity], None))
    until(lambda: all(i["ready"] for i in cloud.instances()))


def test_down_leaves_nothing(cloud, cli):
    path = cloud.app(counts=(2, 2))
    ok(cli("up", path))
    pids = list(cloud.pids().values())
    assert "web is down" in ok(cli("down", path))
    assert not [p for p in pids if alive(p)]
    assert cloud.pids() == {} and cloud.status()["apps"] == []
    left = [str(f) for f in cloud.folder.rglob("*") if f.is_file()
            and (f.name.startswith("sha256:") or "consoles" in f.parts)]
    assert left == []
    r = cli("down", "web")
    assert r.returncode == 1 and "there is no app 'web'" in r.stderr


def test_two_apps_side_by_side(cloud, cli):
    ok(cli("up", cloud.app(GREETING="first")))
    r = cli("up", cloud.app(name="other", GREETING="second"))
    assert r.returncode == 1 and "belongs to app 'web'" in r.stderr
    ok(cli("up", cloud.app(name="other", port=8001, GREETING="second")))
    ok(cli("down", "other"))
    assert [a["app"] for a in cloud.status()["apps"]] == ["web"]
    assert cloud.fetch() == (200, b"first")


def test_logs(cloud, cli):
    ok(cli("up", cloud.app()))
    until(lambda: ok(cli("logs", "web")).count("serving on") == 2)
    follow = subprocess.Popen([str(BUILD / "skerry"), "logs", "web", "-f", "--control",
                               cloud.control], stdout=subprocess.PIPE, text=True)
    os.kill(sorted(cloud.pids().values())[0], signal.SIGKILL)
    lines = [follow.stdout.readline() for _ in range(6)]  # 2 x (booting, serving), then again
    follow.kill()
    follow.wait()
    assert sum("booting" in line for line in lines) == 3


def test_region_without_agent_is_said(cloud, cli):
    cloud.kill("agent-r-two")
    r = cli("up", cloud.app(), "--timeout", "5")
    assert r.returncode == 1
    assert "r-two: no agent reports from this region" in r.stderr
    cloud.start_agent(1, "r-two")
    ok(cli("up", cloud.app()))


def test_errors_are_one_clear_line(cloud, cli, skerry, tmp_path):
    bad = pathlib.Path(cloud.app(name="bad"))
    bad.write_text(bad.read_text().replace("program:", "progam:"))
    r = cli("up", bad)
    assert r.returncode == 1
    assert f"{bad}:3: key 'image.progam': unknown key; did you mean 'program'?" in r.stderr
    missing = pathlib.Path(cloud.app())
    missing.write_text(missing.read_text().replace("/bin/true", "no-such-program"))
    r = cli("up", missing)
    assert r.returncode == 1 and "no-such-program" in r.stderr
    r = cli("up", tmp_path / "absent.yaml")
    assert r.returncode == 1 and "absent.yaml" in r.stderr
    r = skerry("up", cloud.app(), "--control", f"unix:{tmp_path}/nobody.sock")
    assert r.returncode == 1 and "no controller answers" in r.stderr
    assert "skerryd controller" in r.stderr
    r = cli("logs", "nobody")
    assert r.returncode == 1 and "there is no app 'nobody'" in r.stderr
    assert cloud.instances() == [] and cloud.pids() == {}


def test_second_controller_is_refused(cloud):
    r = subprocess.run([str(BUILD / "skerryd"), "controller", "--listen",
                        f"unix:{cloud.folder}/other.sock", "--state",
                        str(cloud.folder / "controller")], capture_output=True, text=True,
                       timeout=20)
    assert r.returncode == 1 and "in use" in r.stderr
    r = subprocess.run([str(BUILD / "skerryd"), "controller", "--listen", cloud.control, "--state",
                        str(cloud.folder / "controller-2")], capture_output=True, text=True,
                       timeout=20)
    assert r.returncode == 1 and "another controller listens" in r.stderr
    assert cloud.answers()
