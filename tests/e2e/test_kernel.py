# SPDX-License-Identifier: Apache-2.0
"""The kernel by itself: booted by hand on both machines, the program given as a boot module."""
import random
import re
import shutil
import socket
import struct
import subprocess
import time
import urllib.request

import pytest

from conftest import BUILD, ROOT

KERNEL = BUILD / "kernel.elf"
GUEST = ROOT / "tests/guest/kernel"
SECONDS_MAX = 60
MACHINES = {
    "microvm": ["-M", "microvm,acpi=off,pit=off,pic=off,rtc=off",
                "-global", "virtio-mmio.force-legacy=false"],
    "q35": ["-M", "q35", "-bios", "qboot.rom"],
    "q35 seabios": ["-M", "q35"],
}

pytestmark = pytest.mark.skipif(not KERNEL.exists(), reason="no kernel.elf in this build")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel")

    def build(name, *flags):
        out = folder / (name + "".join(flags))
        if not out.exists():
            subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wno-infinite-recursion",
                            "-pthread", *(flags or ["-static"]), str(GUEST / f"{name}.c"), "-o",
                            str(out)], check=True)
        return out

    return build


class Machine:
    """A QEMU with the kernel; its console is a pipe, its status channel a file."""

    def __init__(self, tmp_path, program, cmdline="", machine="microvm", cpu="max", memory="64M",
                 devices=(), kernel=KERNEL):
        self.status_path = tmp_path / "status"
        self.monitor_path = tmp_path / "monitor"
        words = ["qemu-system-x86_64", *MACHINES[machine], "-cpu", cpu, "-accel", "tcg",
                 "-m", memory, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                 "-kernel", str(kernel), "-append", cmdline, "-serial", "stdio",
                 "-chardev", f"file,id=status,path={self.status_path}",
                 "-device", "isa-debugcon,iobase=0xe9,chardev=status",
                 "-device", "isa-debug-exit,iobase=0x501,iosize=1",
                 "-monitor", f"unix:{self.monitor_path},server,nowait", *devices]
        if program is not None:
            words += ["-initrd", str(program)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def monitor(self, command):
        """What QEMU's monitor answers."""
        with socket.socket(socket.AF_UNIX) as s, s.makefile("rwb", buffering=0) as f:
            s.connect(str(self.monitor_path))
            prompt = b"(qemu) "

            def answer():
                seen = b""
                while not seen.endswith(prompt):
                    byte = f.read(65536)
                    assert byte != b"", seen
                    seen += byte
                return seen

            answer()
            f.write(command.encode() + b"\n")
            return answer().decode()

    def read_until(self, text):
        seen = b""
        while text not in seen:
            byte = self.process.stdout.read(1)
            assert byte != b"", seen
            seen += byte

    def end_within(self, seconds):
        """A program that waits for ever is asked to end, and killed at last."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.stdin.write(b"\x14")
            self.process.stdin.flush()

    def finish(self):
        """Wait for power-off: (console lines, status lines without the time of "up" and traces)."""
        output, _ = self.process.communicate(timeout=SECONDS_MAX)
        assert self.process.returncode == 1, output
        status = self.status_path.read_text().splitlines()
        status = [s for s in status if not s.startswith("trace ")]
        return output.decode().splitlines(), [re.sub(r"^up \d+$", "up", s) for s in status]


def run(tmp_path, *args, **kwargs):
    with Machine(tmp_path, *args, **kwargs) as m:
        return m.finish()


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("cpu", ["max", "qemu64"])
def test_boot(tmp_path, compiled, machine, cpu):
    output, status = run(tmp_path, compiled("ends"), "skerry.arg=a%20word", machine, cpu)
    assert output == ["a word"]
    assert status == ["up", "exit 0"]


@pytest.mark.parametrize("machine", MACHINES)
def test_cpus(tmp_path, compiled, machine):
    output, status = run(tmp_path, compiled("cpus"), "skerry.smp=3", machine,
                         devices=["-smp", "3"])
    assert output == ["configured 3, allowed 3, in /proc/cpuinfo 3, online 0-2, ran on all"]
    assert status == ["up", "exit 0"]


def test_cpu_missing(tmp_path, compiled):
    _, status = run(tmp_path, compiled("ends"), "skerry.smp=3", devices=["-smp", "2"])
    assert status == ["panic CPU 3 of 3 does not start"]


def test_boot_in_24_mib(tmp_path, compiled):
    _, status = run(tmp_path, compiled("ends"), memory="24M")
    assert status == ["up", "exit 0"]


def test_static_pie(tmp_path, compiled):
    _, status = run(tmp_path, compiled("ends", "-static-pie"))
    assert status == ["up", "exit 0"]


def test_missing_interpreter(tmp_path, compiled):
    output, status = run(tmp_path, compiled("ends", "-pie"))
    assert "cannot load the program's interpreter (ld.so)" in status[0]
    assert status[0].startswith("panic /program: ") and status[0] in output[0]


@pytest.mark.parametrize("cmdline, why", [
    ("skerry.nonsense", "panic command line: cannot understand 'skerry.nonsense'"),
    ("", "panic nothing to run: no disk and no module"),
])
def test_panic_says_why(tmp_path, cmdline, why):
    output, status = run(tmp_path, None, cmdline)
    assert status == [why]
    assert output[0] == "skerry: " + why
    assert output[1].startswith("called from ffffffff8")


def test_random_place(tmp_path):
    """The kernel runs somewhere else at each boot, unless told not to; traces do not show it."""
    traces = [run(tmp_path, None)[0][1].split(", slide ") for _ in range(4)]
    slides = {int(slide, 16) for _, slide in traces}
    assert len({trace for trace, _ in traces}) == 1 and len(slides) > 1
    assert all(slide % 4096 == 0 and slide < 2**31 - 2**21 for slide in slides)
    assert run(tmp_path, None, "skerry.nokaslr")[0][1] == f"{traces[0][0]}, slide 0"


@pytest.mark.parametrize("trial, why", [
    ("stack", "panic kernel stack overflow at "),
    ("frame", "panic stack frame overwritten"),
    ("null", "panic exception 14 at ffffffff80.*, address 8"),
    ("text", "panic exception 14 at "),
    ("text-direct", "panic exception 14 at .*, address ffff8"),
    ("rodata", "panic exception 14 at "),
    ("run-data", "panic exception 14 at "),
    ("assert", r"panic .*trial.c:\d+: assertion failed: "),
])
def test_trial(tmp_path, trial, why):
    """What the kernel must not do it cannot do, and it says what it tried and who called."""
    output, status = run(tmp_path, None, f"skerry.trial={trial}")
    assert re.match(why, status[0]), status
    assert any(s.startswith("called from ffffffff8") for s in output), output


def test_cpu_guards(tmp_path, compiled):
    """What CPUID offers is switched on: UMIP, SMEP and SMAP."""
    with Machine(tmp_path, compiled("ends"), "skerry.arg=term") as m:
        m.read_until(b"waiting\n")
        cr4 = int(re.search(r"CR4=([0-9a-f]+)", m.monitor("info registers"))[1], 16)
    assert [bit for bit in (11, 20, 21) if not cr4 >> bit & 1] == []


def test_not_a_program(tmp_path):
    text = tmp_path / "text"
    text.write_text("this is no ELF file\n" * 10)
    _, status = run(tmp_path, text)
    assert status == ["panic /program: cannot load the program (error 8)"]


SEGV = r"skerry: program killed by SIGSEGV at rip [0-9a-f]+( in \S+\+[0-9a-f]+)?, address "


@pytest.mark.parametrize("how, signal, line", [
    ("null", 11, SEGV + "10, thread 1"),
    ("text", 11, SEGV + "[0-9a-f]+, thread 1"),
    ("kernel", 11, SEGV + "ffffffff80100000, thread 1"),
    ("data", 11, SEGV),
    ("stack", 11, SEGV),
    ("deep", 11, SEGV + "7ff"),
    ("divide", 8, "skerry: program killed by SIGFPE"),
    ("privileged", 11, "skerry: program killed by SIGSEGV"),
    ("opcode", 4, "skerry: program killed by SIGILL"),
    ("abort", 6, None),
    ("memory", 9, r"skerry: out of memory: the program holds \d+ KiB of \d+ KiB; give it more"),
])
def test_killed(tmp_path, compiled, how, signal, line):
    output, status = run(tmp_path, compiled("ends"), f"skerry.arg={how}")
    assert status == ["up", f"signal {signal}"]
    assert output[0] == how
    faulted = line is not None and "killed" in line
    assert len(output) == 1 + (line is not None) + 2 * faulted
    if faulted:
        assert re.match("  rax [0-9a-f]+ rbx ", output[2]) and re.match("  r8 ", output[3])
    assert line is None or re.match(line, output[1]), output[1]


def test_exit_with_busy_threads(tmp_path, compiled):
    _, status = run(tmp_path, compiled("ends"), "skerry.arg=threads")
    assert status == ["up", "exit 5"]


@pytest.mark.parametrize("how, byte, last, said", [
    ("term", b"\x14", "exit 3", ["asked to end"]),
    ("term%20default", b"\x14", "signal 15", []),
    ("term%20default", b"\x03", "signal 2", []),
])
def test_host_asks(tmp_path, compiled, how, byte, last, said):
    with Machine(tmp_path, compiled("ends"), f"skerry.arg={how}") as m:
        m.read_until(b"waiting\n")
        m.process.stdin.write(byte)
        m.process.stdin.flush()
        output, status = m.finish()
    assert status == ["up", last]
    assert output == said


def test_console_input(tmp_path, compiled):
    with Machine(tmp_path, compiled("ends"), "skerry.arg=input") as m:
        m.read_until(b"input\n")
        m.process.stdin.write(b"one\ntwo\nend\n")
        m.process.stdin.flush()
        output, status = m.finish()
    assert output == ["got one", "got two"]
    assert status == ["up", "exit 6"]


def test_trace(tmp_path, compiled):
    output, status = run(tmp_path, compiled("ends"), "skerry.trace skerry.arg=x")
    assert status == ["up", "exit 0"]
    assert any(re.fullmatch(r'write\(1, "x\\n", 2\) {22}= 2', s) for s in output)
    assert output[-1] == "exit_group(0) = ?"
    assert any(re.match(r"arch_prctl\(ARCH_SET_FS, 0x[0-9a-f]+\) += 0", s) for s in output)
    assert any("prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8388608, rlim_max=RLIM64_INFINITY}) = 0"
               in s for s in output)


def test_trace_of_threads(tmp_path, compiled):
    """A call that waits is left unfinished and resumed; structures, sets of bits, signals."""
    output, status = run(tmp_path, compiled("traced"), "skerry.trace")
    assert status == ["up", "exit 0"]
    text = "\n".join(output)
    for part in (
            r'openat\(AT_FDCWD, "/tmp/a\\tb\\1x", O_RDWR\|O_CREAT\|O_CLOEXEC, 0600\) = 3',
            r"rt_sigaction\(SIGUSR1, \{sa_handler=0x[0-9a-f]+, sa_mask=\[INT TERM\], "
            r"sa_flags=SA_RESTORER\|SA_RESTART\}, NULL, 8\) = 0",
            r"\[pid \d+\] read\(\d+,  <unfinished \.\.\.>",
            r'\[pid \d+\] <\.\.\. read resumed>"hello", 64\) += 5',
            r"--- SIGUSR1 \{si_signo=10, si_code=-6, ",
            r'connect\(\d+, \{sa_family=AF_INET, sin_port=htons\(9\), '
            r'sin_addr=inet_addr\("127\.0\.0\.1"\)\}, 16\) = -1 ECONNREFUSED',
            r"munmap\(0x1, 4096\) += -1 EINVAL"):
        assert re.search(part, text), part


def test_whole_in_itself():
    """Nothing from libc or sanitizers; no page is writable and executable; frames are guarded."""
    undefined = subprocess.run(["nm", "-u", str(KERNEL)], capture_output=True, text=True,
                               check=True).stdout
    assert undefined == ""
    names = subprocess.run(["nm", str(KERNEL)], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"__(asan|ubsan|tsan|sanitizer|gcov)", names)
    assert " T __stack_chk_fail" in names or " t __stack_chk_fail" in names
    headers = subprocess.run(["readelf", "-lW", str(KERNEL)], capture_output=True, text=True,
                             check=True).stdout
    flags = re.findall(r"^  LOAD .* ([RWE ]{3}) 0x", headers, re.M)
    assert len(flags) == 3 and not any("W" in f and "E" in f for f in flags)


def test_no_page_writable_and_executable(tmp_path, compiled):
    """The page tables of the running machine, as QEMU reads them: kernel and program alike."""
    with Machine(tmp_path, compiled("ends"), "skerry.arg=term") as m:
        m.read_until(b"waiting\n")
        pages = re.findall(r"([0-9a-f]{16}): ([0-9a-f]{16}) (\S{9})", m.monitor("info tlb"))
    code = {a: phys for a, phys, flags in pages if flags[0] != "X"}  # X: no execution
    assert len(pages) > 300 and any(a.startswith("0000") for a in code)
    text = [phys for a, phys in code.items() if a.startswith("ffffffff")]
    assert len(text) > 10
    assert [p for p in pages if p[2][8] == "W" and (p[2][0] != "X" or p[1] in text)] == []
    user = [a for a, _, flags in pages if flags[7] == "U"]
    assert all(a.startswith("0000") for a in user) and len(user) > 10


def test_small(tmp_path):
    """What is loaded stays under 400 KB."""
    stripped = tmp_path / "kernel"
    subprocess.run(["strip", "-o", str(stripped), str(KERNEL)], check=True)
    assert stripped.stat().st_size <= 400 * 1000


def test_threads_run_out(tmp_path, compiled):
    output, status = run(tmp_path, compiled("threads"), memory="256M")
    assert output == ["EAGAIN", "EAGAIN", "as many again"]
    assert status == ["up", "exit 0"]


@pytest.mark.parametrize("seed, cpus", [(1, 1), (2, 1), (3, 4), (4, 4)])
def test_storm(tmp_path, compiled, seed, cpus):
    """Senseless system calls from several threads do not bring the kernel down."""
    output, status = run(tmp_path, compiled("storm"),
                         f"skerry.smp={cpus} skerry.arg={seed} skerry.arg=20000",
                         devices=["-smp", str(cpus)])
    assert status == ["up", "exit 0"], output
    assert output[-1] == "alive"


def test_no_leak(tmp_path, compiled):
    output, status = run(tmp_path, compiled("leak"))
    assert status == ["up", "exit 0"]
    assert output == [f"{k}: ok" for k in
                      ("threads", "memory", "far apart", "descriptors", "signals")]


def test_metrics(tmp_path, compiled):
    """What the guest says of itself when asked (abi/metrics.h)."""
    with Machine(tmp_path, compiled("ends"), "skerry.arg=term", memory="64M") as m:
        m.read_until(b"waiting\n")
        told = []
        for n in range(1, 3):
            m.process.stdin.write(b"\x1e")
            m.process.stdin.flush()
            end = time.monotonic() + SECONDS_MAX
            while len(told) < n:
                assert time.monotonic() < end
                told = re.findall("^metrics ([0-9a-f]+)\n", m.status_path.read_text(), re.M)
    for text in told:
        data = bytes.fromhex(text)
        version, size, cpus, uptime, memory, free, cache, tasks, runnable, busy = \
            struct.unpack("<HHIQQQQIIQ", data)
        assert (version, size, cpus) == (1, len(data), 1)
        assert 50 << 20 < memory < 64 << 20 and cache < memory - free and 0 < free < memory
        assert tasks == 1 and runnable <= 1 and 0 < busy < uptime < SECONDS_MAX * 10**9
    first, second = (struct.unpack_from("<Q", bytes.fromhex(t), 8)[0] for t in told)
    assert first < second


# ---- virtio over PCI ----

@pytest.fixture
def image(skerry, tmp_path, monkeypatch):
    """Make an image of a program; where its file is."""
    monkeypatch.setenv("SKERRY_STORE", str(tmp_path / "store"))

    def create(program, *words):
        r = skerry("image", "create", "img", program, *words)
        assert r.returncode == 0, r.stderr
        return next((tmp_path / "store/images").iterdir())

    return create


def disk(path, *more):
    return ["-drive", f"file={path},format=raw,if=none,readonly=on,id=disk",
            "-device", ",".join(("virtio-blk-pci,drive=disk", *more))]


@pytest.mark.parametrize("machine", ["q35", "q35 seabios"])
@pytest.mark.parametrize("option", ["vectors=2", "vectors=1", "disable-legacy=on"])
def test_pci_disk(tmp_path, compiled, image, machine, option):
    """With a vector for the queue or one for all; BARs placed by the firmware or by us."""
    path = image(compiled("ends"), "-a", "from the disk")
    output, status = run(tmp_path, None, "", machine,
                         devices=[*disk(path, option), "-device", "virtio-rng-pci"])
    assert status == ["up", "exit 0"], output
    assert output == ["from the disk"]


def test_pci_without_msix(tmp_path, compiled, image):
    path = image(compiled("ends"))
    output, status = run(tmp_path, None, "", "q35", devices=disk(path, "vectors=0"))
    assert output[0] == "virtio device at pci 1.0: not usable (error 22)"
    assert status == ["panic nothing to run: no disk and no module"]


def test_pci_net(tmp_path, image):
    server = tmp_path / "server"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-static", "-o", str(server),
                    str(ROOT / "tests/guest/epoll_server.c")], check=True)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    net = ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:8080",
           "-device", "virtio-net-pci,netdev=net"]
    with Machine(tmp_path, None, "", "q35", devices=[*disk(image(server)), *net]) as m:
        m.read_until(b"listening")
        url = f"http://127.0.0.1:{port}/"
        for _ in range(3):
            answer = urllib.request.urlopen(url, timeout=SECONDS_MAX).read()
            assert answer == b"Hello from skerry!\n"
        body = urllib.request.urlopen(url + "bytes/1000000", timeout=SECONDS_MAX).read()
        assert len(body) == 1000000


def test_panic_through_skerry_run(tmp_path, compiled, image, skerry):
    """Who only sees `skerry run` sees the names of the calls that led to the panic."""
    damaged = tmp_path / "damaged"
    whole = image(compiled("ends")).read_bytes()
    damaged.write_bytes(whole.replace(b"\x7fELF\x02", b"\x7fELX\x02"))
    r = skerry("run", damaged)
    assert r.returncode == 125
    lines = r.stderr.splitlines()
    assert lines[0] == "skerry: the kernel gave up: /ends: cannot load the program (error 8)"
    assert re.fullmatch(r"    ffffffff80\w{6}  start_program\+0x\w+", lines[1])
    assert re.fullmatch(r"    ffffffff80\w{6}  kthread_first\+0x\w+", lines[2])


@pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb")
def test_gdb_script(tmp_path, image):
    """tools/gdb.py finds the kernel and the program wherever they run."""
    source, program = tmp_path / "spin.c", tmp_path / "spin"
    source.write_text("""#include <stdio.h>
        static volatile int stop;
        __attribute__((noinline)) static void spin_here(void) { while (!stop) stop = 0; }
        int main(void) { puts("spinning"); fflush(stdout); spin_here(); return 0; }""")
    subprocess.run(["gcc", "-g", "-O1", "-pie", "-fPIE", "-o", str(program), str(source)],
                   check=True)
    gdb = tmp_path / "gdb"
    devices = [*disk(image(program)), "-gdb", f"unix:{gdb},server,nowait"]
    with Machine(tmp_path, None, "", "q35", devices=devices) as m:
        m.read_until(b"spinning\n")
        r = subprocess.run(["gdb", "-nx", "-batch", "-ex", f"target remote {gdb}",
                            "-x", str(ROOT / "tools/gdb.py"), "-ex", f"skerry-kernel {KERNEL}",
                            "-ex", f"skerry-program {program}", "-ex", "bt 2",
                            "-ex", "info symbol page_alloc"],
                           capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert "spin_here ()" in r.stdout and "in main ()" in r.stdout, r.stdout + r.stderr
    assert "page_alloc in section .text" in r.stdout


# ---- what is damaged ends in an error line ----

OUR_FAULT = re.compile(r"panic (exception|double fault|machine check|kernel stack|stack frame)|"
                       r"panic .*assertion failed")


def damage(rng, data, places):
    """Bits flipped and bytes set, near the named places as often as anywhere; or a cut end."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        near = rng.random() < 0.8
        at = rng.choice(places) + rng.randrange(256) if near else rng.randrange(len(out))
        at = min(at, len(out) - 1)
        out[at] = rng.choice([out[at] ^ 1 << rng.randrange(8), 0, 255, rng.randrange(256)])
    if rng.random() < 0.2:
        del out[rng.randrange(len(out)) & ~511 or 512:]
    return bytes(out)


def ends_properly(tmp_path, name, *args, **kwargs):
    """The machine ends by itself, for a reason that it tells, which is no fault of the kernel's."""
    with Machine(tmp_path, *args, **kwargs) as m:
        try:
            output, status = m.finish()
        except subprocess.TimeoutExpired:
            pytest.fail(f"{name} hangs: {m.status_path.read_text()}")
    assert status and re.match(r"exit \d+|signal \d+|panic ", status[-1]), (name, output, status)
    assert not OUR_FAULT.match(status[-1]), (name, output)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_images(tmp_path, compiled, image, seed):
    whole = image(compiled("ends"), "-a", "x").read_bytes()
    program = whole.find(b"\x7fELF\x02\x01\x01")
    places = [0, 0, 1024, 1024, 1024 + 256, 4096, 8192, program, program, len(whole) - 512,
              whole.find(b"ends\x00"), whole.find(b"passwd")]
    assert min(places) >= 0
    for i in range(12):
        rng = random.Random(f"{seed} {i}")
        path = tmp_path / "damaged"
        path.write_bytes(damage(rng, whole, places))
        ends_properly(tmp_path, f"seed {seed} {i}", None, "", "q35", devices=disk(path))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("flags", [["-static"], ["-static-pie"]])
def test_damaged_programs(tmp_path, compiled, seed, flags):
    whole = compiled("ends", *flags).read_bytes()
    for i in range(10):
        rng = random.Random(f"program {seed} {i}")
        path = tmp_path / "program"
        path.write_bytes(damage(rng, whole, [0, 0, 64, 128, 256, 4096]))
        ends_properly(tmp_path, f"seed {seed} {i}", path, "skerry.arg=x")


@pytest.mark.parametrize("name, seed", [("kernel/storm", 1), ("kernel/storm", 2), ("core_mm", 3),
                                        ("core_thread", 4), ("sock_unix", 6), ("fs_dirs", 8)])
@pytest.mark.parametrize("one_in", [15, 150])
def test_allocations_fail(tmp_path, name, seed, one_in):
    """Whatever allocation fails: the program may fail, wait or die of it, but not the kernel."""
    program = tmp_path / "program"
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-static", "-pthread", "-o",
                    str(program), str(ROOT / f"tests/guest/{name}.c")], check=True)
    words = f"skerry.env=FAIL={one_in},{seed} skerry.arg={seed} skerry.arg=1000"
    with Machine(tmp_path, program, words, kernel=BUILD / "kernel-fail.elf") as m:
        m.end_within(4)
        _, status = m.finish()
    assert status[0] == "up" and re.match(r"exit \d+|signal \d+", status[1]), status
