# SPDX-License-Identifier: Apache-2.0
"""skerry run, seen from outside, with a guest that does what its arguments say
(tests/guest/pvh_guest.c) and, where it is built, with the real kernel."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request

import pytest

from conftest import BUILD

SECONDS_MAX = 60
PROGRAM_C = "int main(void) { return 0; }"


@pytest.fixture
def guest(tmp_path, monkeypatch):
    """A kernel of our own name, so that its QEMU can be told from others."""
    path = tmp_path / "guest.elf"
    shutil.copy(BUILD / "tests/guest/pvh_guest.elf", path)
    monkeypatch.setenv("SKERRY_KERNEL", str(path))
    monkeypatch.setenv("SKERRY_STORE", str(tmp_path / "store"))
    yield path
    assert machines(path) == [], "a QEMU was left"


@pytest.fixture
def image(skerry, guest, tmp_path):
    """An image of the store: its arguments are given on the kernel's command line."""
    program = tmp_path / "hello"
    subprocess.run(["cc", "-static", "-x", "c", "-", "-o", program], input=PROGRAM_C, text=True,
                   check=True)
    assert skerry("image", "create", "img", program).returncode == 0
    return "img"


def machines(kernel):
    """Process ids of the QEMUs that run this kernel."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(kernel).encode() in words and b"-kernel" in words:
            found.append(int(path.parent.name))
    return found


def wait_until(condition):
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def start(*words, **kwargs):
    """Start skerry run and wait for the guest's first line, which is returned with the process."""
    p = subprocess.Popen([str(BUILD / "skerry"), "run", *words], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    return p, p.stdout.readline()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.parametrize("what, status, told", [
    ("exit=0", 0, ""), ("exit=7", 7, ""), ("signal=11", 139, ""),
    ("panic", 125, "the kernel gave up: out of luck"), ("die", 125, "ended without a word"),
])
def test_status_is_passed_on(skerry, image, what, status, told):
    r = skerry("run", image, "-a", what)
    assert r.returncode == status and told in r.stderr
    assert r.stdout.startswith("guest: skerry.host=img ") and f" skerry.arg={what} " in r.stdout
    assert " virtio_mmio.device=" in r.stdout


def test_words_reach_the_guest(skerry, image):
    r = skerry("run", image, "-a", "a b%", "-e", "K=v w", "--trace", "-m", "16M", "--cpus", "2")
    assert " skerry.trace skerry.env=K=v%20w skerry.arg=a%20b%25 " in r.stdout
    assert " skerry.ip=10.0.2.15/24,10.0.2.2 skerry.dns=10.0.2.3" in r.stdout


def test_program_and_image_file(skerry, image, tmp_path):
    # What is given with a program goes into its image, not onto the kernel's command line.
    r = skerry("run", tmp_path / "hello", "-a", "exit=7")
    assert r.returncode == 0 and "skerry.host=hello " in r.stdout and "exit=7" not in r.stdout
    file = next((tmp_path / "store/images").iterdir())
    assert skerry("run", file, "-a", "exit=9").returncode == 9
    (tmp_path / "config.json").write_text('{"Program": "hello"}')
    assert skerry("run", "-c", tmp_path / "config.json").returncode == 0


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143),
                                            (signal.SIGHUP, 143)])
def test_signal_ends_it_cleanly(image, guest, number, status):
    p, _ = start(image, "-a", "wait")
    p.send_signal(number)
    _, err = p.communicate(timeout=SECONDS_MAX)
    assert p.returncode == status and err == ""


def test_second_signal_forces(image, guest):
    p, _ = start(image, "-a", "wait-deaf")
    p.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two pending signals of a kind are one
    assert p.poll() is None
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=SECONDS_MAX)
    assert p.returncode == 130


def test_time_runs_out(image, guest):
    """A program that does not heed the signal is ended by force after five seconds."""
    p, _ = start(image, "-a", "wait-deaf", "--json")
    asked = time.monotonic()
    p.send_signal(signal.SIGTERM)
    _, err = p.communicate(timeout=SECONDS_MAX)
    told = json.loads(err)
    assert p.returncode == told["status"] == 143 and time.monotonic() - asked > 4
    assert told["end"] == "killed" and told["signal"] == signal.SIGTERM


def test_kill_leaves_no_machine(image, guest):
    p, _ = start(image, "-a", "wait")
    assert len(machines(guest)) == 1
    p.kill()
    p.communicate()
    wait_until(lambda: machines(guest) == [])


def test_kill_at_any_moment(image, guest, tmp_path):
    for i in range(10):
        p = subprocess.Popen([str(BUILD / "skerry"), "run", tmp_path / "hello", "-m", "16M"],
                             stdout=subprocess.DEVNULL)
        time.sleep(i * 0.01)
        p.kill()
        p.wait()
    wait_until(lambda: machines(guest) == [])


def test_machine_killed_from_outside(image, guest):
    p, _ = start(image, "-a", "wait")
    os.kill(machines(guest)[0], signal.SIGKILL)
    _, err = p.communicate(timeout=SECONDS_MAX)
    assert p.returncode == 125 and "ended without a word" in err


def test_port_in_use(skerry, image):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        r = skerry("run", image, "-p", f"{port}:80")
    assert r.returncode == 125 and f"port {port} is in use" in r.stderr
    assert len(r.stderr.splitlines()) == 1


def test_forwarded_port_listens(image, guest):
    port = free_port()
    p, _ = start(image, "-a", "wait", "-p", f"{port}:8080")
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    p.terminate()
    assert p.wait(timeout=SECONDS_MAX) == 143


@pytest.mark.parametrize("words, wanted", [
    ((), "no program or image is named"), (("a", "b"), "one program at a time"),
    (("x", "-p", "0"), "port '0'"), (("x", "-p", "70000"), "port '70000'"),
    (("x", "-p", "80:x"), "port '80:x'"), (("x", "-p", "1.2.3:80"), "port '1.2.3:80'"),
    (("x", "-m", "64"), "memory '64'"), (("x", "-m", "1M"), "memory '1M'"),
    (("x", "--smp", "0"), "--smp '0'"), (("x", "--accel", "xen"), "--accel 'xen'"),
    (("x", "--gdb=0"), "--gdb '0'"), (("x", "--nothing"), "unknown option '--nothing'"),
])
def test_usage(skerry, guest, words, wanted):
    r = skerry("run", *words)
    assert r.returncode == 2 and wanted in r.stderr


def test_what_cannot_be_run(skerry, image, guest, tmp_path, monkeypatch):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    for words, wanted in [(("nothing",), "'nothing' is neither a file here nor an image"),
                          (("./nothing",), "./nothing: No such file"),
                          ((script,), "is not executable"), ((tmp_path,), "is a folder"),
                          ((image, "-c", "config.json"), "-c is for making an image"),
                          ((image, "--kernel", script), "not an ELF file"),
                          ((image, "--kernel", "/none"), "kernel /none: No such file"),
                          ((image, "--kernel", tmp_path / "hello"), "has no PVH entry"),
                          ((image, "-e", "K"), "NAME=VALUE")]:
        r = skerry("run", *words)
        assert r.returncode == 125 and wanted in r.stderr, r.stderr
        assert len(r.stderr.splitlines()) == 1
    monkeypatch.setenv("PATH", str(tmp_path))
    r = skerry("run", image)
    assert r.returncode == 125 and "apt install qemu-system-x86" in r.stderr


def test_damaged_programs(skerry, guest, image, tmp_path):
    whole = (tmp_path / "hello").read_bytes()
    arm = whole[:18] + b"\xb7\0" + whole[20:]
    i386 = whole[:4] + b"\1" + whole[5:18] + b"\3\0" + whole[20:]
    for data, wanted in [(whole[:40], "is a truncated ELF file"),
                         (whole[:-len(whole) // 2], "is a truncated ELF file"),
                         (arm, "is built for ARM64"), (i386, "is built for 32-bit x86"),
                         (b"just text\n", "is not an ELF file"), (b"", "is empty")]:
        (tmp_path / "odd").write_bytes(data)
        (tmp_path / "odd").chmod(0o755)
        r = skerry("run", tmp_path / "odd")
        assert r.returncode == 125 and wanted in r.stderr, r.stderr
        assert len(r.stderr.splitlines()) == 1 and r.stdout == ""


def test_damaged_kernels_and_images(skerry, guest, image, tmp_path):
    kernel = guest.read_bytes()
    odd = tmp_path / "odd"
    for data, wanted in [(kernel[:10], "not an ELF file"), (kernel[:60], "ends in its header"),
                         (kernel[:600], "shorter than it says"), (b"", "not an ELF file"),
                         (kernel[:18] + b"\xb7" + kernel[19:], "another processor")]:
        odd.write_bytes(data)
        r = skerry("run", image, "--kernel", odd)
        assert r.returncode == 125 and wanted in r.stderr, r.stderr
        assert "--kernel or SKERRY_KERNEL" in r.stderr and len(r.stderr.splitlines()) == 1
    stored = next((tmp_path / "store/images").iterdir())
    whole = stored.read_bytes()
    for data, wanted in [(whole[:-512], "is a truncated image"), (whole[:20], "is not a skerry"),
                         (whole[:1024] + bytes(64) + whole[1088:], "has a damaged filesystem"),
                         (whole[:-512] + b"\1" + whole[-511:], "has a damaged manifest")]:
        odd.write_bytes(data)
        r = skerry("run", odd)
        assert r.returncode == 125 and wanted in r.stderr, r.stderr
        assert len(r.stderr.splitlines()) == 1
        stored.chmod(0o644)
        stored.write_bytes(data)
        r = skerry("run", image)
        assert r.returncode == 125 and wanted in r.stderr, r.stderr


@pytest.mark.parametrize("what, status, end, rest", [
    ("exit=7", 7, "exited", {"exit": 7}), ("signal=11", 139, "signaled", {"signal": 11}),
    ("panic", 125, "panicked", {"text": "out of luck"}),
])
def test_json(skerry, image, what, status, end, rest):
    r = skerry("run", image, "-a", what, "--json", "-m", "16M", "--accel", "tcg")
    told = json.loads(r.stderr.splitlines()[-1])
    assert r.returncode == told["status"] == status and told["end"] == end
    assert rest.items() <= told.items() and told["accel"] == "tcg" and told["cpus"] == 1
    assert told["memory_bytes"] == 16 << 20 and told["image_bytes"] > 4096
    assert told["peak_bytes"] > 1 << 20 and told["cpu_ms"] > 0 and told["run_ms"] > 0


def test_json_of_a_failure(skerry, guest):
    r = skerry("run", "./nothing", "--json")
    told = json.loads(r.stderr.splitlines()[-1])
    assert r.returncode == told["status"] == 125 and told["end"] == "failed"
    assert told["error"].startswith("./nothing: No such file") and told["accel"] is None


def test_debugger(image, guest):
    """The machine stands still at its first instruction until the debugger lets it go."""
    port = free_port()
    p = subprocess.Popen([str(BUILD / "skerry"), "run", image, "-a", "exit=3", f"--gdb={port}"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    line = p.stderr.readline()
    assert p.poll() is None and f"gdb -ex 'target remote 127.0.0.1:{port}' {guest}" in line

    def connect():
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)
        except ConnectionRefusedError:
            return None

    found = []
    wait_until(lambda: found.append(connect()) or found[-1])
    with found[-1] as s:
        s.sendall(b"$?#3f")
        answer = s.makefile("rb")
        assert answer.read(3) == b"+$T"  # stopped
        assert p.poll() is None
        s.sendall(b"+$c#63")
        out, _ = p.communicate(timeout=SECONDS_MAX)
    assert p.returncode == 3 and " skerry.nokaslr" in out


def test_debugger_port_in_use(skerry, image):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        r = skerry("run", image, f"--gdb={port}")
    assert r.returncode == 125 and f"port {port} is in use" in r.stderr
    assert len(r.stderr.splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="drops privileges, so needs some")
def test_without_privileges(image, guest):
    folder = pathlib.Path("/tmp") / f"skerry-run-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        for path in (BUILD / "skerry", guest, guest.parent / "hello"):
            shutil.copy(path, folder)
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent",
               "SKERRY_KERNEL": str(folder / "guest.elf")}
        r = subprocess.run([folder / "skerry", "run", folder / "hello", "-p", str(free_port())],
                           user=65534, group=65534, extra_groups=[], env=env, cwd=folder,
                           capture_output=True, text=True, timeout=SECONDS_MAX)
        assert r.returncode == 0 and r.stdout.startswith("guest: "), r.stderr
    finally:
        shutil.rmtree(folder)


# With the real kernel.

TALKER_C = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
static void on_term(int number) { _exit(100 + number); }
int main(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        printf("arg=%s\\n", argv[i]);
    for (char **e = environ; *e != NULL; e++)
        printf("env=%s\\n", *e);
    FILE *f = fopen("/data/file.txt", "r");
    char line[64] = "";
    if (f != NULL && fgets(line, sizeof(line), f) != NULL)
        printf("file=%s\\n", line);
    fflush(stdout);
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "abort") == 0)
        abort();
    if (strcmp(what, "wait") == 0 || strcmp(what, "handle") == 0) {
        if (what[0] == 'h')
            signal(SIGTERM, on_term);
        puts("ready");
        fflush(stdout);
        for (;;)
            pause();
    }
    return atoi(what);
}
"""


@pytest.fixture(params=["static", "dynamic"])
def talker(request, tmp_path, monkeypatch):
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    monkeypatch.setenv("SKERRY_STORE", str(tmp_path / "store"))
    path = tmp_path / "talker"
    subprocess.run(["cc", *(["-static"] if request.param == "static" else []), "-x", "c", "-", "-o",
                    path], input=TALKER_C, text=True, check=True)
    return path


def test_program_gets_what_was_given(skerry, talker, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file.txt").write_text("contents")
    (tmp_path / "config.json").write_text(
        '{"Dirs": ["data"], "Env": {"A": "1", "B": "x y%"}, "Args": ["7"]}')
    r = skerry("run", talker, "-c", tmp_path / "config.json", "-a", "two words", "-e", "A=2")
    assert r.returncode == 7, r.stdout + r.stderr
    assert r.stdout.split("\n")[:-1] == ["arg=/talker", "arg=7", "arg=two words", "env=A=2",
                                         "env=B=x y%", "file=contents"]


def test_run_config(skerry, guest, image, tmp_path):
    config = tmp_path / "config.json"
    port = free_port()
    for run, words, wanted in [
            ({"Memory": "64M", "CPUs": 2, "Trace": True, "Accel": "tcg"}, (), (64 << 20, 2)),
            ({"Memory": "64M"}, ("-m", "32M"), (32 << 20, 1)),
            ({"Ports": [f"{port}:80"], "UDPPorts": [str(port)]}, (), (128 << 20, 1))]:
        config.write_text(json.dumps({"RunConfig": run}))
        r = skerry("run", tmp_path / "hello", "-c", config, "--json", *words)
        told = json.loads(r.stderr.splitlines()[-1])
        assert r.returncode == 0, r.stderr
        assert (told["memory_bytes"], told["cpus"]) == wanted
        assert (" skerry.trace" in r.stdout) == ("Trace" in run)
    for run, wanted in [({"Memory": "64"}, "RunConfig.Memory: '64' must be"),
                        ({"Ports": ["x"]}, "port 'x' must be"),
                        ({"Accel": "xen"}, "RunConfig.Accel: 'xen'")]:
        config.write_text(json.dumps({"RunConfig": run}))
        r = skerry("run", tmp_path / "hello", "-c", config)
        assert r.returncode == 125 and wanted in r.stderr, r.stderr


def test_run_config_of_an_image(skerry, image, tmp_path):
    """The image keeps it; what the command line says counts more."""
    config = tmp_path / "config.json"
    port = free_port()
    config.write_text(json.dumps({"Program": "hello", "RunConfig": {
        "Memory": "24M", "CPUs": 2, "Trace": True, "Ports": [f"{port}:80"]}}))
    assert skerry("image", "create", "advised", "-c", config).returncode == 0
    told = json.loads(skerry("image", "inspect", "advised", "--json").stdout)
    assert told["run"] == {"memory": "24M", "cpus": 2, "trace": True, "ports": [f"{port}:80"]}
    r = skerry("run", "advised", "--json")
    assert (json.loads(r.stderr)["memory_bytes"], json.loads(r.stderr)["cpus"]) == (24 << 20, 2)
    assert " skerry.trace" in r.stdout
    r = skerry("run", "advised", "-m", "32M", "--json")
    assert json.loads(r.stderr)["memory_bytes"] == 32 << 20
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen()
        assert f"port {port} is in use" in skerry("run", "advised").stderr
        assert skerry("run", "advised", "-p", str(free_port())).returncode == 0
    config.write_text('{"Program": "hello", "RunConfig": {"Ports": ["1:2:3"]}}')
    assert skerry("image", "create", "advised", "-c", config).returncode == 0
    r = skerry("run", "advised")
    assert r.returncode == 125 and "RunConfig: port '1:2:3' must be" in r.stderr


@pytest.mark.skipif(os.access("/dev/kvm", os.R_OK | os.W_OK), reason="there is KVM")
def test_no_kvm(skerry, image, monkeypatch):
    r = skerry("run", image, "--accel", "kvm")
    assert r.returncode == 125 and "/dev/kvm" in r.stderr and "choose tcg, or auto" in r.stderr
    monkeypatch.setenv("SKERRY_ACCEL", "kvm")
    assert skerry("run", image).returncode == 125
    assert skerry("run", image, "--accel", "auto").returncode == 0


SCRIPTS = {
    "sh": ("#!/bin/sh", 'echo "$0 $1"; exit 3', "/script x\n"),
    "python": ("#!/usr/bin/env python3",
               "import sqlite3, sys; print(sys.argv); sys.exit(3)", "['/script', 'x']\n"),
    "perl": ("#!/usr/bin/perl -w", 'use POSIX; print floor(3.5), "$0 @ARGV\\n"; exit 3;',
             "3/script x\n"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(skerry, tmp_path, monkeypatch, name):
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    line, text, wanted = SCRIPTS[name]
    script = tmp_path / "script"
    script.write_text(f"{line}\n{text}\n")
    script.chmod(0o755)
    r = skerry("run", script, "-m", "256M", "-a", "x")
    assert r.returncode == 3 and r.stdout == wanted, r.stdout + r.stderr


def test_image_gets_more_at_run(skerry, talker):
    assert skerry("image", "create", "talker", talker, "-a", "5", "-e", "A=1").returncode == 0
    r = skerry("run", "talker", "-a", "a b", "-e", "B=%20", "-m", "32M")
    assert r.returncode == 5, r.stdout + r.stderr
    assert r.stdout.split("\n")[:-1] == ["arg=/talker", "arg=5", "arg=a b", "env=A=1", "env=B=%20"]


def test_how_programs_end(skerry, talker):
    assert skerry("run", talker, "-a", "abort").returncode == 128 + signal.SIGABRT
    for what, number, status in [("wait", signal.SIGINT, 130), ("wait", signal.SIGTERM, 143),
                                 ("handle", signal.SIGTERM, 115)]:
        p, line = start(talker, "-a", what)
        while line not in ("", "ready\n"):
            line = p.stdout.readline()
        p.send_signal(number)
        p.communicate(timeout=SECONDS_MAX)
        assert p.returncode == status


EATER_C = """
#include <stdlib.h>
#include <string.h>
int main(void)
{
    for (int i = 0; i < 200; i++)
        memset(malloc(1 << 20), 1, 1 << 20);
    return 0;
}
"""


def test_too_little_memory(skerry, tmp_path, monkeypatch):
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    path = tmp_path / "eater"
    subprocess.run(["cc", "-static", "-x", "c", "-", "-o", path], input=EATER_C, text=True,
                   check=True)
    r = skerry("run", path, "-m", "16M")
    assert r.returncode == 137 and "out of memory" in r.stdout and "-m" in r.stdout, r.stdout
    r = skerry("run", path, "-m", "1M")
    assert r.returncode == 2 and "from 8M" in r.stderr


def test_trace_shows_system_calls(skerry, talker):
    r = skerry("run", talker, "-a", "0", "--trace")
    assert r.returncode == 0 and "write(" in r.stdout and "exit_group(" in r.stdout


def answer_of(process, port, path):
    """What a web server in the machine answers; None while it does not listen yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
            return answer.read()
    except OSError:
        assert process.poll() is None
        return None


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go compiler")
def test_go_web_server(skerry, tmp_path, monkeypatch):
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    app = tmp_path / "app"
    shutil.copytree(BUILD.parent.parent / "examples/region", app)
    subprocess.run(["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "hello",
                    "."], cwd=app, env=dict(os.environ, CGO_ENABLED="0"), check=True,
                   capture_output=True)
    (app / "config.json").write_text('{"Dirs": ["static"], "Env": {"GREETING": "hi"}}')
    port = free_port()
    p = subprocess.Popen([str(BUILD / "skerry"), "run", "hello", "-p", f"{port}:8080", "-m", "64M",
                          "-c", "config.json"], cwd=app, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: answer_of(p, port, "") == b"hi")  # it prints "listening" before it does
        files = [path for path in (app / "static").rglob("*") if path.is_file()]
        for path in files * 3:
            assert answer_of(p, port, path.relative_to(app)) == path.read_bytes()
        assert files and all(answer_of(p, port, "") == b"hi" for _ in range(20))
    finally:
        p.terminate()
        p.communicate(timeout=SECONDS_MAX)
    assert p.returncode == 143


def test_python(skerry, tmp_path, monkeypatch):
    """A large dynamic program with a folder of its own: the interpreter that runs this test."""
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    monkeypatch.setenv("SKERRY_STORE", str(tmp_path / "store"))
    (tmp_path / "config.json").write_text(json.dumps({
        "Dirs": [sysconfig.get_paths()["stdlib"]], "Args": ["-S"]}))
    r = skerry("image", "create", "python", os.path.realpath(sys.executable), "-c",
               tmp_path / "config.json")
    assert r.returncode == 0, r.stderr
    r = skerry("run", "python", "-m", "256M", "-a", "-c", "-a",
               "import json; print(json.dumps([1]))")
    assert r.returncode == 0 and r.stdout == "[1]\n", r.stdout + r.stderr
    port = free_port()
    p = subprocess.Popen([str(BUILD / "skerry"), "run", "python", "-m", "256M", "-p",
                          f"{port}:8080", "-a", "-m", "-a", "http.server", "-a", "8080"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answer_of(p, port, "etc/group") == b"root:x:0:\nnogroup:x:65534:\n")
    finally:
        p.terminate()
        p.communicate(timeout=SECONDS_MAX)
    assert p.returncode == 143


def test_python_takes_compiled_modules(skerry, tmp_path, monkeypatch):
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/python3 -v\nimport json\n")
    script.chmod(0o755)
    library = pathlib.Path("/usr/lib") / os.path.basename(os.path.realpath("/usr/bin/python3"))
    if not list((library / "json/__pycache__").glob("decoder.*.pyc")):
        pytest.skip("Debian's Python has no compiled modules here")
    r = skerry("run", script, "-m", "256M")
    assert r.returncode == 0 and f"code object from '{library}/json/__pycache__/" in r.stdout


def test_cancelled_thread(skerry, tmp_path, monkeypatch):
    """glibc opens libgcc_s.so.1 for it."""
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    program = tmp_path / "cancel"
    subprocess.run(["cc", "-x", "c", "-", "-o", program], check=True, text=True, input="""
#include <pthread.h>
#include <unistd.h>
static void *run(void *arg) { for (;;) pause(); return arg; }
int main(void)
{
    pthread_t t;
    void *result;
    pthread_create(&t, NULL, run, NULL);
    pthread_cancel(t);
    pthread_join(t, &result);
    return result == PTHREAD_CANCELED ? 7 : 1;
}
""")
    r = skerry("run", program)
    assert r.returncode == 7, r.stdout + r.stderr


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java")
def test_java_under_its_own_path(skerry, tmp_path, monkeypatch):
    """A program that looks for its libraries around itself."""
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    java = os.path.realpath(shutil.which("java"))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({
        "Program": java, "ProgramPath": java, "Dirs": [str(pathlib.Path(java).parent.parent)],
        "Args": ["-XX:+UseSerialGC", "-version"], "RunConfig": {"Memory": "512M"}}))
    r = skerry("run", "-c", config)
    assert r.returncode == 0 and "Server VM" in r.stdout, r.stdout + r.stderr
