// SPDX-License-Identifier: Apache-2.0
/* Ways to end, one an argument; tests/e2e/test_kernel.py says what must come of each. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int deep(volatile char *above)
{
    volatile char here[4096];
    here[0] = above != NULL ? above[0] : 0;
    return deep(here) + here[0];
}

static void *spin(void *arg)
{
    for (volatile long *n = arg;;)
        ++*n;
    return NULL;
}

static void on_term(int signo)
{
    (void)signo;
    static const char text[] = "asked to end\n";
    _exit(write(1, text, sizeof(text) - 1) > 0 ? 3 : 4);
}

static void execute(void *code)
{
    memcpy(code, "\xc3", 1); // ret
    ((void (*)(void))(uintptr_t)code)();
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    static long counter;
    static char data[64];
    char stack[64];
    volatile int zero = 0;
    printf("%s\n", how);
    fflush(stdout);
    if (strcmp(how, "null") == 0)
        return *(volatile int *)0x10;
    if (strcmp(how, "text") == 0)
        *(volatile char *)(uintptr_t)main = 1;
    if (strcmp(how, "kernel") == 0)
        return *(volatile int *)0xffffffff80100000;
    if (strcmp(how, "data") == 0)
        execute(data);
    if (strcmp(how, "stack") == 0)
        execute(stack);
    if (strcmp(how, "deep") == 0)
        return deep(NULL);
    if (strcmp(how, "divide") == 0)
        return 100 / zero;
    if (strcmp(how, "privileged") == 0)
        __asm__ volatile("hlt");
    if (strcmp(how, "opcode") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "memory") == 0) {
        enum { CHUNK = 1 << 20 };
        for (;;)
            memset(mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1,
                   CHUNK);
    }
    if (strcmp(how, "threads") == 0) { // the others must not outlive or delay the exit
        pthread_t t;
        for (int i = 0; i < 4; i++)
            pthread_create(&t, NULL, spin, &counter);
        usleep(20000);
        return 5;
    }
    if (strcmp(how, "term") == 0 || strcmp(how, "term default") == 0) {
        if (strcmp(how, "term") == 0)
            signal(SIGTERM, on_term);
        printf("waiting\n");
        fflush(stdout);
        for (;;)
            pause();
    }
    if (strcmp(how, "input") == 0) {
        char line[80];
        while (fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "end\n") != 0) {
            printf("got %s", line);
            fflush(stdout);
        }
        return 6;
    }
    return 0;
}
