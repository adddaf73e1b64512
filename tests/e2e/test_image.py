# SPDX-License-Identifier: Apache-2.0
"""skerry image: what goes in, what is told about it, and that the store survives its killers."""
import hashlib
import json
import os
import pathlib
import py_compile
import random
import shutil
import signal
import struct
import subprocess
import time

import pytest

from conftest import BUILD

STATIC_C = """
#include <unistd.h>
int main(void) { return write(1, "static\\n", 7) == 7 ? 0 : 1; }
"""


def compile_c(path, text, *options):
    subprocess.run(["cc", "-O1", "-x", "c", "-", "-x", "none", "-o", str(path),
                    *map(str, options)], input=text, text=True, check=True)
    return path


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "store"
    monkeypatch.setenv("SKERRY_STORE", str(folder))
    return folder


@pytest.fixture
def program(tmp_path):
    return compile_c(tmp_path / "hello", STATIC_C, "-static")


def create(skerry, name, *words, **kwargs):
    r = skerry("image", "create", name, *words, "--json", **kwargs)
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def files_of(skerry, name, folder="/"):
    """All paths of an image below a folder, with what ls says of each."""
    found = {}
    for entry in json.loads(skerry("image", "ls", name, folder, "--json").stdout):
        path = folder.rstrip("/") + "/" + entry["name"]
        found[path] = entry
        if entry["kind"] == "directory":
            found.update(files_of(skerry, name, path))
    return found


def test_create_and_look(skerry, store, program):
    made = create(skerry, "hello", program, "-a", "-v", "-a", "x y", "-e", "A=b", "-e", "A=c")
    assert made["digest"].startswith("sha256:")
    path = store / "images" / made["digest"][7:]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made["digest"][7:]
    assert made["bytes"] == path.stat().st_size <= program.stat().st_size + 64 * 1024
    info = json.loads(skerry("image", "inspect", "hello", "--json").stdout)
    assert info["program"] == "/hello" and info["args"] == ["/hello", "-v", "x y"]
    assert info["env"] == ["A=c"] and info["digest"] == made["digest"]
    assert [e["name"] for e in json.loads(skerry("image", "list", "--json").stdout)] == ["hello"]
    assert "hello" in skerry("image", "list").stdout
    out = subprocess.run([BUILD / "skerry", "image", "cat", "hello", "/hello"], check=True,
                         capture_output=True).stdout
    assert out == program.read_bytes()
    assert "root:x:0:0:" in skerry("image", "cat", "hello", "/etc/passwd").stdout
    assert "/etc/ssl" not in files_of(skerry, "hello")
    if shutil.which("fsck.erofs"):
        assert subprocess.run(["fsck.erofs", str(path)], capture_output=True).returncode == 0


def test_same_contents_same_digest(skerry, store, program, tmp_path):
    site = tmp_path / "site"
    (site / "static/deep").mkdir(parents=True)
    for i in range(300):
        (site / f"static/deep/{i:03}").write_text(f"file {i}\n" * i)
    (site / "config.json").write_text('{"Dirs": ["static"], "Args": ["-x"]}')
    other = tmp_path / "other"
    shutil.copytree(site, other)
    shutil.copy(program, other / "hello")
    for i, path in enumerate(sorted(other.rglob("*"))):
        os.utime(path, (i, i * 1000))
    (other / "static/deep/007").chmod(0o600)
    one = create(skerry, "one", program, "-c", site / "config.json")
    two = create(skerry, "two", "hello", "-c", "config.json", cwd=other)
    assert one["digest"] == two["digest"]
    (other / "static/deep/007").write_text("changed")
    changed = create(skerry, "two", "hello", "-c", "config.json", cwd=other)
    assert changed["digest"] != one["digest"]


def test_config(skerry, store, program, tmp_path):
    site = tmp_path / "site"
    (site / "src/sub").mkdir(parents=True)
    (site / "src/sub/a.txt").write_text("a")
    (site / "src/link").symlink_to("sub/a.txt")
    (site / "one.txt").write_text("one")
    shutil.copy(program, site / "hello")
    (site / "config.json").write_text(json.dumps({
        "Program": "hello", "Args": ["a"], "Env": {"K": "v w"}, "Files": ["one.txt", "/etc/passwd"],
        "Dirs": ["src"], "MapDirs": {"src/*": "/var/www"}}))
    create(skerry, "site", "-c", site / "config.json", "-a", "b", "-e", "K=x")
    info = json.loads(skerry("image", "inspect", "site", "--json").stdout)
    assert info["args"] == ["/hello", "a", "b"] and info["env"] == ["K=x"]
    files = files_of(skerry, "site")
    assert files["/src/sub/a.txt"]["bytes"] == files["/var/www/sub/a.txt"]["bytes"] == 1
    assert files["/var/www/link"]["target"] == "sub/a.txt"
    assert files["/one.txt"]["kind"] == "file"
    assert skerry("image", "cat", "site", "/var/www/link").stdout == "a"
    users = pathlib.Path("/etc/passwd").read_text()
    assert skerry("image", "cat", "site", "/etc/passwd").stdout == users


@pytest.mark.parametrize("text, wanted", [
    ('{"Agrs": []}', "unknown key 'Agrs' (did you mean 'Args'?)"),
    ('{"Args": [1]}', "Args[0]: must be a string, not an integer"),
    ('{"Files": ["missing.txt"]}', "missing.txt: No such file"),
    ('{"Args": [', "config.json:1:"),
    ('{"RunConfig": {"Memry": "1G"}}', "RunConfig: unknown key 'Memry' (did you mean 'Memory'?)"),
    ('{"RunConfig": {"CPUs": 65}}', "RunConfig.CPUs"),
    ('{"Mounts": {"a": "/b"}}', "key 'Mounts' means nothing here: there are no volumes"),
    ('{"NSS": ["../x"]}', "NSS[0]: '../x' is no name of a service"),
    ('{"NSS": ["compat"]}', "is a static program"),
    ('{"Timezone": "../../etc/shadow"}', "'../../etc/shadow' is not in /usr/share/zoneinfo"),
    ('{"Timezone": "Mars/Base"}', "'Mars/Base' is not in"), ('{"Defaults": 1}', "Defaults"),
])
def test_bad_config(skerry, store, program, tmp_path, text, wanted):
    config = tmp_path / "config.json"
    config.write_text(text)
    r = skerry("image", "create", "x", program, "-c", config)
    assert r.returncode == 1 and wanted in r.stderr and len(r.stderr.splitlines()) == 1
    assert json.loads(skerry("image", "list", "--json").stdout) == []
    assert list((store / "images").iterdir()) == []


def test_dynamic_program_brings_its_libraries(skerry, store, tmp_path):
    app = tmp_path / "app"
    (app / "lib").mkdir(parents=True)
    (app / "bin").mkdir()
    compile_c(app / "lib/libdeep.so.2", "int deep(void) { return 2; }", "-shared", "-fPIC",
              "-Wl,-soname,libdeep.so.2")
    compile_c(app / "lib/libnear.so.1", "int deep(void); int near(void) { return deep(); }",
              "-shared", "-fPIC", "-Wl,-soname,libnear.so.1,-rpath,$ORIGIN",
              app / "lib/libdeep.so.2")
    compile_c(app / "bin/prog", "int near(void); int main(void) { return near(); }",
              "-Wl,-rpath,$ORIGIN/../lib", "-Wl,--allow-shlib-undefined", app / "lib/libnear.so.1")
    create(skerry, "prog", app / "bin/prog")
    files = files_of(skerry, "prog")
    assert {"/prog", "/lib/libnear.so.1", "/lib/libdeep.so.2",
            "/lib64/ld-linux-x86-64.so.2"} <= files.keys()
    libc = [p for p in files if p.endswith("/libc.so.6")]
    assert len(libc) == 1
    on_host = subprocess.run(["ldd", "/bin/cat"], capture_output=True, text=True).stdout
    assert libc[0] in on_host
    (app / "lib/libdeep.so.2").unlink()
    r = skerry("image", "create", "prog", app / "bin/prog")
    assert r.returncode == 1
    assert "libnear.so.1: needs the library 'libdeep.so.2'" in r.stderr


def test_library_path_of_the_image(skerry, store, tmp_path):
    (tmp_path / "own").mkdir()
    lib = compile_c(tmp_path / "own/libown.so.1", "int own(void) { return 0; }", "-shared",
                    "-fPIC", "-Wl,-soname,libown.so.1")
    program = compile_c(tmp_path / "prog", "int own(void); int main(void) { return own(); }", lib)
    r = skerry("image", "create", "prog", program)
    assert r.returncode == 1 and "needs the library 'libown.so.1'" in r.stderr
    config = tmp_path / "config.json"
    config.write_text('{"Dirs": ["own"], "Env": {"LD_LIBRARY_PATH": "/none:/own"}}')
    create(skerry, "prog", program, "-c", config)
    files = files_of(skerry, "prog")
    assert "/own/libown.so.1" in files and any(p.endswith("/libc.so.6") for p in files)


def write_script(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def test_libraries_for_better_processors(skerry, store, tmp_path):
    """Beside a library, those in glibc-hwcaps; what a packed module needs, where it is found."""
    lib = tmp_path / "lib"
    (lib / "glibc-hwcaps/x86-64-v3").mkdir(parents=True)
    one = compile_c(lib / "libone.so.1", "int one(void) { return 0; }", "-shared", "-fPIC",
                    "-Wl,-soname,libone.so.1")
    shutil.copy(one, lib / "glibc-hwcaps/x86-64-v3")
    program = compile_c(tmp_path / "prog", "int one(void); int main(void) { return one(); }", one,
                        f"-Wl,-rpath,{lib}")
    modules = tmp_path / "modules"
    modules.mkdir()
    compile_c(modules / "zip.so", "int f(void) { return 0; }", "-shared", "-fPIC",
              "-Wl,--no-as-needed", "-l:libz.so.1")
    compile_c(modules / "lost.so", "int one(void); int g(void) { return one(); }", "-shared",
              "-fPIC", compile_c(tmp_path / "libgone.so", "int one(void) { return 0; }", "-shared",
                                 "-fPIC", "-Wl,-soname,libgone.so"))
    (tmp_path / "config.json").write_text('{"Dirs": ["modules"]}')
    create(skerry, "prog", program, "-c", tmp_path / "config.json")
    files = files_of(skerry, "prog")
    assert f"{lib}/libone.so.1" in files
    assert f"{lib}/glibc-hwcaps/x86-64-v3/libone.so.1" in files
    assert any(path.endswith("/libz.so.1") for path in files)


def test_scripts(skerry, store, tmp_path):
    shell = write_script(tmp_path / "a.sh", "#!/bin/sh -e", "exit 0")
    create(skerry, "sh", shell, "-a", "x")
    info = json.loads(skerry("image", "inspect", "sh", "--json").stdout)
    assert info["program"] == os.path.realpath("/bin/sh")
    assert info["args"] == ["/bin/sh", "-e", "/a.sh", "x"]
    files = files_of(skerry, "sh")
    assert files["/a.sh"]["mode"] == 0o755 and any(p.endswith("/libc.so.6") for p in files)
    # A script of a script, and env with words.
    write_script(tmp_path / "b.sh", f"#!{shell} two words", "")
    create(skerry, "nested", tmp_path / "b.sh")
    info = json.loads(skerry("image", "inspect", "nested", "--json").stdout)
    assert info["args"] == ["/bin/sh", "-e", str(shell), "two words", "/b.sh"]
    write_script(tmp_path / "c.sh", "#!/usr/bin/env -S sh -e -u", "")
    create(skerry, "env", tmp_path / "c.sh", "-e", "PATH=/nowhere:/bin")
    info = json.loads(skerry("image", "inspect", "env", "--json").stdout)
    assert info["args"] == ["/bin/sh", "-e", "-u", "/c.sh"]


@pytest.mark.parametrize("line, wanted", [
    ("#!/none/sh", "needs the interpreter '/none/sh', which its first line names"),
    ("#!sh", "give its whole path"), ("#!", "names no interpreter"),
    ("#!/bin/sh\r", "carriage return"), ("#!/usr/bin/env no-such-thing", "asks env for"),
    ("#!/usr/bin/env -i sh", "only '-S NAME WORD...'"), ("#!/usr/bin/env A=b sh", "only '-S"),
    ("#!SELF", "too deep"), ("#!/etc/passwd", "not there"),
])
def test_bad_scripts(skerry, store, tmp_path, line, wanted):
    script = tmp_path / "script"
    write_script(script, line.replace("SELF", str(script)))
    r = skerry("image", "create", "x", script)
    assert r.returncode == 1 and wanted in r.stderr, r.stderr
    assert len(r.stderr.splitlines()) == 1


def test_python_script_brings_its_library(skerry, store, tmp_path):
    script = write_script(tmp_path / "s.py", "#!/usr/bin/python3", "import sqlite3")
    create(skerry, "s", script)
    names = {pathlib.PurePath(path).name for path in files_of(skerry, "s")}
    assert "os.py" in names and "__pycache__" in names
    assert any(name.startswith("libsqlite3.so") for name in names)
    (tmp_path / "config.json").write_text('{"Runtime": false}')
    create(skerry, "bare", script, "-c", tmp_path / "config.json")
    assert "/usr/lib" not in files_of(skerry, "bare")


def test_what_is_asked_for(skerry, store, program, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"Defaults": false}')
    create(skerry, "none", program, "-c", config)
    assert "/etc" not in files_of(skerry, "none")
    config.write_text('{"CACertificates": true, "Timezone": "Europe/Berlin"}')
    wanted = [pathlib.Path("/etc/ssl/certs/ca-certificates.crt"),
              pathlib.Path("/usr/share/zoneinfo/Europe/Berlin")]
    r = skerry("image", "create", "all", program, "-c", config)
    if all(path.exists() for path in wanted):
        files = files_of(skerry, "all")
        assert files[str(wanted[0])]["bytes"] == wanted[0].stat().st_size
        assert files["/etc/localtime"]["bytes"] == wanted[1].stat().st_size
    else:
        assert r.returncode == 1 and "install the package" in r.stderr
    config.write_text('{"NSS": ["hesiod"]}')
    dynamic = compile_c(tmp_path / "dyn", "int main(void) { return 0; }")
    create(skerry, "nss", dynamic, "-c", config)
    assert any(path.endswith("/libnss_hesiod.so.2") for path in files_of(skerry, "nss"))
    config.write_text('{"NSS": ["nosuch"]}')
    r = skerry("image", "create", "nss", dynamic, "-c", config)
    assert r.returncode == 1 and "needs the library 'libnss_nosuch.so.2'" in r.stderr


def test_tree_and_copy(skerry, store, program, tmp_path):
    site = tmp_path / "site"
    (site / "sub/deep").mkdir(parents=True)
    (site / "sub/a.txt").write_text("a" * 9000)
    (site / "link").symlink_to("sub/a.txt")
    config = tmp_path / "config.json"
    config.write_text('{"MapDirs": {"site": "/srv"}}')
    made = create(skerry, "hello", program, "-c", config)
    r = skerry("image", "tree", "hello", "/srv")
    assert r.stdout == ("/srv\n├── link -> sub/a.txt\n└── sub\n    ├── a.txt (9000)\n"
                        "    └── deep\n\n2 folders, 2 files\n")
    top = json.loads(skerry("image", "tree", "hello", "/srv", "--json").stdout)
    assert [entry["name"] for entry in top["entries"]] == ["link", "sub"]
    assert top["entries"][1]["entries"][0] == {"name": "a.txt", "kind": "file", "mode": 0o644,
                                               "bytes": 9000}
    out = tmp_path / "out"
    assert skerry("image", "cp", "hello:/srv", out).returncode == 0
    assert (out / "sub/a.txt").read_text() == "a" * 9000 and (out / "sub/deep").is_dir()
    assert os.readlink(out / "link") == "sub/a.txt"
    assert skerry("image", "cp", f"{made['digest']}:/srv/link", out).returncode == 0
    assert (out / "link").read_text() == "a" * 9000 and not (out / "link").is_symlink()
    r = skerry("image", "cp", "hello:/hello", out / "sub/a.txt", "--json")
    assert json.loads(r.stdout)["path"] == "/hello"
    assert (out / "sub/a.txt").read_bytes() == program.read_bytes()
    assert os.access(out / "sub/a.txt", os.X_OK)
    for words, wanted in [(("hello", out), "must be IMAGE:PATH"),
                          (("hello:/none", out), "/none: No such file"),
                          (("hello:/srv", tmp_path / "no/where"), "no: No such file"),
                          (("hello:/srv", program), "cannot copy to")]:
        r = skerry("image", "cp", *words)
        assert r.returncode == 1 and wanted in r.stderr, r.stderr


def test_copy_does_not_follow_what_is_there(skerry, store, program, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/file").write_text("new")
    (tmp_path / "config.json").write_text('{"MapDirs": {"site": "/srv"}}')
    create(skerry, "hello", program, "-c", tmp_path / "config.json")
    (tmp_path / "out/srv").mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("old")
    (tmp_path / "out/srv/file").symlink_to(victim)
    assert skerry("image", "cp", "hello:/srv", tmp_path / "out").returncode == 0
    assert victim.read_text() == "old" and (tmp_path / "out/srv/file").read_text() == "new"


def test_diff(skerry, store, program, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    for name in ("same", "gone", "longer", "other", "mode"):
        (site / name).write_text(name)
    (tmp_path / "config.json").write_text('{"MapDirs": {"site": "/s"}}')
    create(skerry, "a", program, "-c", tmp_path / "config.json")
    r = skerry("image", "diff", "a", "a")
    assert (r.returncode, r.stdout) == (0, "")
    (site / "gone").unlink()
    (site / "longer").write_text("much longer")
    (site / "other").write_text("OTHER")
    (site / "mode").chmod(0o755)
    (site / "new").write_text("new")
    create(skerry, "b", program, "-c", tmp_path / "config.json", "-a", "x")
    r = skerry("image", "diff", "a", "b")
    assert r.returncode == 1
    assert r.stdout.splitlines() == [
        "* args: /hello -> /hello x", "- /s/gone (4)", "* /s/longer: contents, 6 -> 11 bytes",
        "* /s/mode: mode, -0644 -> -0755, 4 -> 4 bytes", "+ /s/new (3)",
        "* /s/other: contents, 5 -> 5 bytes"]
    r = skerry("image", "diff", "a", "b", "--json")
    told = {o.get("path"): o for o in json.loads(r.stdout)}
    assert r.returncode == 1 and len(told) == 6
    assert told["/s/new"]["change"] == "added" and told["/s/gone"]["change"] == "removed"
    assert told["/s/mode"]["old"]["mode"] == 0o644 and told["/s/mode"]["new"]["mode"] == 0o755
    r = skerry("image", "diff", "a", "none")
    assert r.returncode == 2 and "no image 'none'" in r.stderr


def test_interpreter_missing(skerry, store, tmp_path):
    program = compile_c(tmp_path / "odd", "int main(void) { return 0; }",
                        "-Wl,--dynamic-linker=/lib/ld-none.so.1")
    r = skerry("image", "create", "odd", program)
    assert r.returncode == 1
    assert "needs the interpreter '/lib/ld-none.so.1', which is not there" in r.stderr


def test_not_a_program(skerry, store, tmp_path):
    arm = tmp_path / "arm"
    arm.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100))
    arm.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_bytes(pathlib.Path("/bin/true").read_bytes())
    for words, wanted in [((plain,), "is not executable: chmod +x"), ((tmp_path,), "is a folder"),
                          ((tmp_path / "none",), "No such file"), ((arm,), "ARM64"),
                          ((), "no program")]:
        r = skerry("image", "create", "x", *words)
        assert r.returncode == 1 and wanted in r.stderr, r.stderr
        assert len(r.stderr.splitlines()) == 1


def test_delete(skerry, store, program):
    digest = create(skerry, "a", program)["digest"]
    create(skerry, "b", program)
    image = store / "images" / digest[7:]
    assert skerry("image", "delete", "a").returncode == 0
    assert image.exists() and skerry("image", "ls", digest).returncode == 0
    assert skerry("image", "delete", "b").returncode == 0
    assert not image.exists()
    r = skerry("image", "delete", "b")
    assert r.returncode == 1 and "no image 'b'" in r.stderr


@pytest.mark.parametrize("words, wanted", [
    ((), "a verb is missing"), (("creat",), "did you mean 'create'?"), (("create",), "NAME"),
    (("list", "x"), "no arguments"), (("ls", "--bogus"), "unknown option '--bogus'"),
    (("create", "x", "-c"), "option '-c' needs a value"), (("ls", "x", "-e", "A=b"), "no -c"),
])
def test_usage(skerry, store, words, wanted):
    r = skerry("image", *words)
    assert r.returncode == 2 and wanted in r.stderr


def test_missing_names_and_files(skerry, store, program):
    create(skerry, "hello", program)
    for words, wanted in [(("inspect", "none"), "no image 'none'"),
                          (("ls", "hello", "/none"), "/none: No such file"),
                          (("cat", "hello", "/etc"), "/etc: Is a directory"),
                          (("inspect", "../x"), "image name '../x'"),
                          (("create", "x", program, "-e", "bad"), "NAME=VALUE")]:
        r = skerry("image", *words)
        assert r.returncode == 1 and wanted in r.stderr, r.stderr


def test_kill_leaves_the_store_whole(skerry, store, tmp_path):
    """Kill create at many moments: each image has its digest, each name an image."""
    big = tmp_path / "big"
    big.mkdir()
    for i in range(40):
        (big / str(i)).write_bytes(os.urandom(1 << 20))
    program = compile_c(tmp_path / "hello", STATIC_C, "-static")
    config = tmp_path / "config.json"
    config.write_text('{"Dirs": ["big"]}')
    words = [str(BUILD / "skerry"), "image", "create", "big", str(program), "-c", str(config)]
    start = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    whole = time.monotonic() - start
    for i in range(12):
        (big / "0").write_bytes(os.urandom(1 << 20))
        p = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            p.wait(timeout=whole * i / 10)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
        for image in (store / "images").glob("[0-9a-f]*"):
            assert hashlib.sha256(image.read_bytes()).hexdigest() == image.name
        for entry in json.loads(skerry("image", "list", "--json").stdout):
            assert entry["bytes"] > 40 << 20
    subprocess.run(words, check=True, capture_output=True)
    assert list((store / "images").glob(".tmp-*")) == []


def check_store(skerry, store):
    """Each image has its digest, each name an image; returns the images' digests and the names."""
    images = {path.name for path in (store / "images").glob("[0-9a-f]*")}
    for name in images:
        assert hashlib.sha256((store / "images" / name).read_bytes()).hexdigest() == name
    listed = json.loads(skerry("image", "list", "--json").stdout)
    names = {path.name for path in (store / "names").glob("[a-z]*")}
    assert names == {entry["name"] for entry in listed}
    assert {entry["digest"][7:] for entry in listed} <= images
    return images, {entry["name"]: entry["digest"][7:] for entry in listed}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_seeded_moments(skerry, store, tmp_path, seed):
    """Create and delete, killed anywhere from their first instruction to their last: the store is
    whole each time, and neither temporaries nor images without a name pile up."""
    rng = random.Random(seed)
    program = compile_c(tmp_path / "hello", STATIC_C, "-static")
    big = tmp_path / "big"
    big.mkdir()
    for i in range(4):
        (big / str(i)).write_bytes(rng.randbytes(1 << 20))
    config = tmp_path / "config.json"
    config.write_text('{"Dirs": ["big"]}')
    start = time.monotonic()
    create(skerry, "a", program, "-c", config)
    whole = time.monotonic() - start
    killed = 0
    for _ in range(40):
        name = rng.choice("abc")
        (big / "0").write_bytes(rng.randbytes(100))
        words = (["delete", name] if rng.random() < 0.3
                 else ["create", name, str(program), "-c", str(config)])
        p = subprocess.Popen([str(BUILD / "skerry"), "image", *words], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        try:
            p.wait(timeout=whole * rng.random() * (0.5 if words[0] == "delete" else 1.5))
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            killed += 1
        images, names = check_store(skerry, store)
        # At most what the last one left, besides what has a name.
        assert len(images - set(names.values())) <= 1
        assert len([*store.glob("*/.tmp-*")]) <= 2
    assert killed > 5
    create(skerry, "a", program, "-c", config)
    images, names = check_store(skerry, store)
    assert images == set(names.values()) and [*store.glob("*/.tmp-*")] == []
    for name in names:
        assert skerry("image", "delete", name).returncode == 0
    assert [*store.glob("images/*")] == [*store.glob("names/*")] == [*store.glob("doomed")] == []


def test_damaged_images_are_looked_at_safely(skerry, store, program, tmp_path):
    """Every verb on images with flipped bits and missing ends: an answer or one line of error."""
    (tmp_path / "sub").mkdir()
    for i in range(40):
        (tmp_path / f"sub/{i}").write_text("x" * (i * 200))
    (tmp_path / "config.json").write_text('{"Dirs": ["sub"]}')
    digest = create(skerry, "good", program, "-c", tmp_path / "config.json")["digest"]
    create(skerry, "bad", program, "-a", "x")
    path = store / "images" / digest[7:]
    whole = path.read_bytes()
    path.chmod(0o644)
    rng = random.Random(4)
    errors = 0
    for i in range(60):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 40)):
            # Superblock, inodes and folders are in front.
            data[rng.randrange(0, 24 * 1024)] ^= 1 << rng.randrange(8)
        path.write_bytes(data[:rng.randrange(512, len(data))] if i % 6 == 0 else data)
        words = rng.choice([("tree", "good"), ("tree", "good", "--json"), ("ls", "good", "/sub"),
                            ("diff", "good", "bad"), ("cat", "good", "/sub/39"),
                            ("inspect", "good", "--json"),
                            ("cp", "good:/", tmp_path / f"out{i}")])
        r = subprocess.run([BUILD / "skerry", "image", *words], capture_output=True, timeout=60,
                           check=False)
        assert r.returncode in (0, 1, 2), (i, words, r)
        if words[0] != "diff" or r.returncode == 2:
            assert len(r.stderr.splitlines()) == (r.returncode != 0), (i, words, r)
        errors += r.returncode != 0
    assert errors > 10


def test_errors_are_one_line(skerry, store, tmp_path):
    program = compile_c(tmp_path / "odd", "int main(void) { return 0; }",
                        "-Wl,--dynamic-linker=/lib/ld\n\x1b[2J.so")
    r = skerry("image", "create", "odd", program)
    assert r.returncode == 1 and "'/lib/ld??[2J.so'" in r.stderr and "\x1b" not in r.stderr


def test_damaged_programs_are_packed_safely(skerry, store, tmp_path):
    """Dynamic programs with flipped bits in headers and dynamic section: packed, or refused."""
    whole = pathlib.Path("/bin/ls").read_bytes()
    program = tmp_path / "ls"
    rng = random.Random(5)
    at = whole.find(b"libc.so.6")
    refused = 0
    for i in range(60):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 20)):
            data[rng.choice([rng.randrange(0, 1024), at + rng.randrange(-64, 64)])] ^= (
                1 << rng.randrange(8))
        program.write_bytes(data[:rng.randrange(0, len(data))] if i % 6 == 0 else data)
        program.chmod(0o755)
        r = subprocess.run([BUILD / "skerry", "image", "create", "x", program],
                           capture_output=True, timeout=60, check=False)
        assert r.returncode in (0, 1) and len(r.stderr.splitlines()) == r.returncode, (i, r)
        refused += r.returncode
    assert refused > 10


@pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="no musl-gcc")
def test_musl_program(skerry, store, tmp_path, monkeypatch):
    """musl's loader is its C library; it looks where its own path file says."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "f.c").write_text("int f(void) { return 5; }")
    (tmp_path / "main.c").write_text("int f(void); int main(void) { return f(); }")
    lib = tmp_path / "lib/libf.so"
    subprocess.run(["musl-gcc", "-shared", "-fPIC", "-Wl,-soname,libf.so", "-o", lib,
                    tmp_path / "f.c"], check=True)
    subprocess.run(["musl-gcc", "-o", tmp_path / "prog", tmp_path / "main.c", lib,
                    "-Wl,-rpath,$ORIGIN/lib"], check=True)
    create(skerry, "prog", tmp_path / "prog")
    files = files_of(skerry, "prog")
    assert {"/lib/libf.so", "/lib/ld-musl-x86_64.so.1"} <= files.keys()
    assert not any(path.endswith("/libc.so.6") for path in files)
    monkeypatch.delenv("SKERRY_KERNEL", raising=False)
    r = skerry("run", "prog")
    assert r.returncode == 5, r.stdout + r.stderr


def test_libraries_that_programs_open(skerry, store, tmp_path):
    """By name, and the one that glibc opens when threads end."""
    program = compile_c(tmp_path / "prog", "int main(void) { return 0; }")
    config = tmp_path / "config.json"
    config.write_text('{"Libraries": ["libm.so.6"], "ProgramPath": "/opt/app/bin/run"}')
    create(skerry, "prog", program, "-c", config)
    files = files_of(skerry, "prog")
    assert "/opt/app/bin/run" in files and "/prog" not in files
    assert any(p.endswith("/libm.so.6") for p in files)
    assert not any(p.endswith("/libgcc_s.so.1") for p in files)
    info = json.loads(skerry("image", "inspect", "prog", "--json").stdout)
    assert info["args"] == ["/opt/app/bin/run"]
    threads = compile_c(tmp_path / "threads", "#include <pthread.h>\nint main(void)"
                        "{ pthread_exit(0); }")
    create(skerry, "threads", threads)
    assert any(p.endswith("/libgcc_s.so.1") for p in files_of(skerry, "threads"))
    for text, wanted in [('{"Libraries": ["libnone.so.9"]}', "needs the library 'libnone.so.9'"),
                         ('{"Libraries": ["/lib/x"]}', "without folders"),
                         ('{"ProgramPath": "x"}', "ProgramPath: 'x' must be a path in the image")]:
        config.write_text(text)
        r = skerry("image", "create", "x", program, "-c", config)
        assert r.returncode == 1 and wanted in r.stderr, r.stderr


def test_interpreter_lies_where_it_is(skerry, store, tmp_path):
    """Under its real path, with a link from the one that the script names."""
    folder = tmp_path / "app"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    compile_c(folder / "lib/libown.so", "int own(void) { return 0; }", "-shared", "-fPIC")
    compile_c(folder / "bin/real", "int own(void); int main(void) { return own(); }",
              "-Wl,-rpath,$ORIGIN/../lib", folder / "lib/libown.so", "-Wl,-soname,libown.so")
    (tmp_path / "name").symlink_to(folder / "bin/real")
    script = tmp_path / "script"
    script.write_text(f"#!{tmp_path}/name\n")
    script.chmod(0o755)
    create(skerry, "app", script)
    info = json.loads(skerry("image", "inspect", "app", "--json").stdout)
    assert info["program"] == f"{folder}/bin/real"
    assert info["args"] == [f"{tmp_path}/name", "/script"]
    files = files_of(skerry, "app")
    assert files[f"{tmp_path}/name"]["target"] == f"{folder}/bin/real"
    assert f"{folder}/lib/libown.so" in files


def test_damaged_images(skerry, store, program, tmp_path):
    """Flipped and missing bytes: each verb ends with an answer or one error line."""
    seeded = random.Random(7)
    digest = create(skerry, "hello", program)["digest"]
    path = store / "images" / digest[7:]
    good = path.read_bytes()
    path.chmod(0o644)
    for i in range(20):
        bad = bytearray(good)
        if i % 5 == 0:
            del bad[seeded.randrange(len(bad)):]
        else:
            for _ in range(8):
                bad[seeded.randrange(8192)] ^= 1 << seeded.randrange(8)
        path.write_bytes(bad)
        for words in (("inspect", "hello"), ("tree", "hello"), ("diff", "hello", "hello"),
                      ("cp", "hello:/", tmp_path / f"out{i}"), ("cat", "hello", "/hello")):
            r = subprocess.run([BUILD / "skerry", "image", *words], capture_output=True, timeout=20)
            assert r.returncode in (0, 1, 2), r
            assert r.returncode == 0 or len(r.stderr.splitlines()) == 1, r.stderr


def test_compiled_python_modules(skerry, store, program, tmp_path):
    """They say the time of all files of an image; those that are not of their source stay."""
    digests = set()
    config = tmp_path / "config.json"
    config.write_text('{"Dirs": ["pkg"]}')
    (tmp_path / "pkg").mkdir()
    for when in (1_000_000_000, 1_700_000_001):
        for name in ("good", "stale"):
            source = tmp_path / f"pkg/{name}.py"
            source.write_text("x = 1\n" * 1000)
            os.utime(source, (when, when))
            compiled = pathlib.Path(py_compile.compile(
                str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP))
        os.utime(source, (when + 5, when + 5))
        digests.add(create(skerry, "app", program, "-c", config)["digest"])
        for name, time_wanted in (("good", bytes(4)), ("stale", struct.pack("<I", when))):
            path = compiled.with_name(compiled.name.replace("stale", name))
            out = subprocess.run([BUILD / "skerry", "image", "cat", "app",
                                  f"/pkg/__pycache__/{path.name}"], check=True,
                                 capture_output=True).stdout
            there = path.read_bytes()
            assert out == there[:8] + time_wanted + there[12:]
    assert len(digests) == 2  # the stale one's time is its own
    (tmp_path / "pkg/stale.py").unlink()
    compiled.unlink()
    source = tmp_path / "pkg/good.py"
    digests.clear()
    for when in (1_000_000_000, 1_700_000_001):
        os.utime(source, (when, when))
        py_compile.compile(str(source),
                           invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
        digests.add(create(skerry, "app", program, "-c", config)["digest"])
    assert len(digests) == 1
