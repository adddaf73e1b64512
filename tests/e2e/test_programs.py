# SPDX-License-Identifier: Apache-2.0
"""Programs that people really run, unmodified: the same output and exit status as on this machine,
on one CPU and on four. What is not installed here is skipped, and said."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

PROGRAMS = ROOT / "tests/programs"
SECONDS_MAX = 240
JAVA = pathlib.Path("/usr/lib/jvm/java-17-openjdk-amd64")

pytestmark = pytest.mark.skipif(not (BUILD / "kernel.elf").exists(), reason="no kernel.elf")


def need(*programs):
    for p in programs:
        if shutil.which(p) is None:
            pytest.skip(f"{p} is not installed")


def build(*words, **env):
    subprocess.run([str(w) for w in words], check=True, timeout=SECONDS_MAX, capture_output=True,
                   env=dict(os.environ, **env))


def c_program(compiler, *options):
    def make(folder):
        need(compiler)
        build(compiler, "-O1", *options, "-o", folder / "program", PROGRAMS / "threads.c", "-lm",
              "-pthread")
        return {"Program": str(folder / "program"), "Args": ["one", "two words"]}

    return make


def cpp_program(folder):
    need("g++")
    build("g++", "-O1", "-o", folder / "program", PROGRAMS / "exceptions.cpp", "-pthread")
    return {"Program": str(folder / "program")}


def go_program(cgo):
    def make(folder):
        need("go")
        subprocess.run(["go", "build", "-o", str(folder / "program"), "."], check=True,
                       cwd=PROGRAMS / "gopher", timeout=SECONDS_MAX,
                       env=dict(os.environ, CGO_ENABLED=cgo))
        return {"Program": str(folder / "program")}

    return make


def rust_program(folder):
    need("rustc")
    build("rustc", "-O", "-o", folder / "program", PROGRAMS / "threads.rs")
    return {"Program": str(folder / "program")}


def script(name, *interpreters):
    def make(_folder):
        for i in interpreters:
            if not os.path.exists(i):
                pytest.skip(f"{i} is not installed")
        return {"Program": str(PROGRAMS / name)}

    return make


def sqlite(folder):
    need("sqlite3")
    shutil.copy(PROGRAMS / "query.sql", folder)
    return {"Program": shutil.which("sqlite3"), "Files": [f"{folder}/query.sql"],
            "Args": ["/tmp/query.db", f".read {folder}/query.sql"]}


def java(folder):
    need("javac")
    if not (JAVA / "bin/java").exists():
        pytest.skip("openjdk-17 is not installed")
    build("javac", "-d", folder, PROGRAMS / "Threads.java")
    return {"Program": str(JAVA / "bin/java"), "ProgramPath": str(JAVA / "bin/java"),
            "Dirs": [str(JAVA / "lib"), str(JAVA / "conf"), "/etc/java-17-openjdk", str(folder)],
            "Args": ["-Xmx256m", "-cp", str(folder), "Threads"]}


CASES = {
    "c-dynamic": c_program("gcc"), "c-static": c_program("gcc", "-static"),
    "c-musl": c_program("musl-gcc"), "c-musl-static": c_program("musl-gcc", "-static"),
    "cpp": cpp_program, "go-static": go_program("0"), "go-cgo": go_program("1"),
    "rust": rust_program, "python": script("script.py", "/usr/bin/python3"),
    "node": script("script.js", "/usr/bin/node"), "lua": script("script.lua", "/usr/bin/lua5.4"),
    "perl": script("script.pl", "/usr/bin/perl"), "ruby": script("script.rb", "/usr/bin/ruby"),
    "busybox": script("script.sh", "/bin/busybox"), "sqlite": sqlite, "java": java,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """name -> (config.json's content, what it prints here, its status here)."""
    known = {}

    def make(name):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            config = CASES[name](folder)
            # A unikernel has one console for both.
            r = subprocess.run([config["Program"], *config.get("Args", [])], cwd="/",
                               timeout=SECONDS_MAX, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            pathlib.Path("/tmp/query.db").unlink(missing_ok=True)
            known[name] = config, r.stdout, r.returncode
        return known[name]

    return make


@pytest.mark.parametrize("cpus", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_same_as_here(name, cpus, made, tmp_path, monkeypatch):
    monkeypatch.setenv("SKERRY_STORE", str(tmp_path / "store"))
    config, output, status = made(name)
    (tmp_path / "config.json").write_text(json.dumps(config))
    more = ["--smp", str(cpus)] if cpus > 1 else []
    r = subprocess.run([str(BUILD / "skerry"), "run", "-c", str(tmp_path / "config.json"), "-m",
                        "1G", *more], capture_output=True, timeout=SECONDS_MAX,
                       stdin=subprocess.DEVNULL)
    assert r.stdout.decode(errors="replace") == output.decode(errors="replace"), r.stderr
    assert r.returncode == status
