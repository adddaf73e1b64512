// SPDX-License-Identifier: Apache-2.0
/* A guest for tests of what starts guests: prints its command line on the serial console, then does
 * what the words skerry.arg=... in it say, and reports as abi/boot.h wants:
 *
 *     exit=N      exit with status N (default 0)
 *     signal=N    killed by signal N
 *     panic       the kernel gives up
 *     die         end without a word
 *     wait        first wait until the host asks for an end: signal 15 or 2
 *     wait-deaf   wait for ever
 *     silent-...  do not say "up"
 *
 * 32-bit code, entered by PVH with EBX pointing to the start info; no stack is given. */
enum { CONSOLE = 0x3f8, STATUS = 0xe9, POWEROFF = 0x501, CMDLINE_IN_START_INFO = 24 };

__asm__(".section .note.pvh, \"a\", @note\n"
        ".balign 4\n"
        ".long 4, 4, 18\n" // XEN_ELFNOTE_PHYS32_ENTRY
        ".asciz \"Xen\"\n"
        ".long start\n"
        ".text\n"
        ".globl start\n"
        "start:\n"
        "    mov $stack_end, %esp\n"
        "    push %ebx\n"
        "    call guest\n"
        ".local stack\n"
        ".comm stack, 4096, 16\n"
        ".set stack_end, stack + 4080\n");

void guest(const char *start_info);

static void out(unsigned short port, unsigned char byte)
{
    __asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"(port));
}

static unsigned char in(unsigned short port)
{
    unsigned char byte;
    __asm__ volatile("inb %1, %0" : "=a"(byte) : "Nd"(port));
    return byte;
}

static void print(unsigned short port, const char *text)
{
    while (*text != '\0')
        out(port, (unsigned char)*text++);
}

static void print_number(unsigned short port, unsigned n)
{
    if (n > 9)
        print_number(port, n / 10);
    out(port, (unsigned char)('0' + n % 10));
}

/* What follows "skerry.arg=WORD" or "skerry.arg=silent-WORD" in the command line, or 0. */
static const char *find_after(const char *line, const char *prefix, const char *word)
{
    for (; *line != '\0'; line++) {
        const char *l = line, *p = prefix;
        while (*p != '\0' && *l == *p)
            l++, p++;
        if (*p != '\0')
            continue;
        for (p = word; *p != '\0' && *l == *p; p++)
            l++;
        if (*p == '\0')
            return l;
    }
    return 0;
}

static const char *find(const char *line, const char *word)
{
    const char *found = find_after(line, "skerry.arg=", word);
    return found ? found : find_after(line, "skerry.arg=silent-", word);
}

static unsigned number(const char *text)
{
    unsigned n = 0;
    while (text != 0 && *text >= '0' && *text <= '9')
        n = n * 10 + (unsigned)(*text++ - '0');
    return n;
}

__attribute__((noreturn)) static void end(const char *what, const char *n)
{
    print(STATUS, what);
    if (n != 0)
        print_number(STATUS, number(n));
    if (*what != '\0')
        print(STATUS, "\n");
    for (;;)
        out(POWEROFF, 0);
}

static unsigned char wait_for_host(int deaf)
{
    while (deaf || (in(CONSOLE + 5) & 1) == 0)
        __asm__ volatile("pause");
    return in(CONSOLE);
}

void guest(const char *start_info)
{
    const char *line = *(const char *const *)(const void *)(start_info + CMDLINE_IN_START_INFO);
    print(CONSOLE, "guest: ");
    print(CONSOLE, line);
    print(CONSOLE, "\n");
    if (!find(line, "silent"))
        print(STATUS, "up 1234\n");
    if (find(line, "wait")) {
        unsigned char byte = wait_for_host(find(line, "wait-deaf") != 0);
        end("signal ", byte == 0x14 ? "15" : byte == 0x03 ? "2" : "0");
    }
    if (find(line, "panic"))
        end("panic out of luck", 0);
    if (find(line, "die"))
        end("", 0);
    if (find(line, "signal="))
        end("signal ", find(line, "signal="));
    end("exit ", find(line, "exit=") ? find(line, "exit=") : "0");
}
