// SPDX-License-Identifier: Apache-2.0
/* What was written at run time is never executed, and what is executed never written; as
 * RunConfig's two switches say (tests/e2e/test_exec_rule.py). */
#include "../guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char self[256];

static void copy(const char *from, const char *to)
{
    static char buf[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    for (ssize_t n; (n = read(in, buf, sizeof(buf))) > 0;)
        if (write(out, buf, (size_t)n) != n)
            abort();
    close(in);
    close(out);
}

/* Run it in a child: the child's status, or the error's number. */
static void run(const char *what, const char *path)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl(path, path, "child", NULL);
        _exit(errno);
    }
    waitpid(pid, &status, 0);
    int code = WEXITSTATUS(status);
    printf("%s: %s\n", what, code == 77 ? "ran" : strerrorname_np(code));
}

static void memory(const char *what)
{
    char path[64];
    int fd = memfd_create("program", 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    copy(self, path);
    run(what, path);
    close(fd);
}

static void map(const char *what, const char *path, int prot, int later)
{
    int fd = open(path, O_RDONLY);
    void *p = mmap(NULL, 4096, prot, MAP_PRIVATE, fd, 0);
    printf("%s: %s", what, p == MAP_FAILED ? strerrorname_np(errno) : "mapped");
    if (p != MAP_FAILED && later != 0)
        printf(", then %s", mprotect(p, 4096, later) < 0 ? strerrorname_np(errno) : "changed");
    printf("\n");
    close(fd);
}

static void anonymous(void)
{
    const int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;
    void *p = mmap(NULL, 4096, rwx, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("anonymous: %s\n", p == MAP_FAILED ? strerrorname_np(errno) : "mapped");
    p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    show_ok("anonymous, later", mprotect(p, 4096, PROT_READ | PROT_EXEC));
    int fd = open("/etc/hosts", O_RDONLY);
    char *q = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    q[0] = 1;
    show_ok("written private, later", mprotect(q, 4096, PROT_READ | PROT_EXEC));
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return 77;
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return 1;
    run("own program", self);
    copy(self, "/tmp/copy");
    copy(self, "/copy");
    run("copy in /tmp", "/tmp/copy");
    run("copy on the root", "/copy");
    memory("file of memory");
    map("map the program", self, PROT_READ | PROT_EXEC, 0);
    map("map a copy", "/copy", PROT_READ | PROT_EXEC, 0);
    map("map a copy, later", "/copy", PROT_READ, PROT_READ | PROT_EXEC);
    show_ok("write to the program", open(self, O_WRONLY));
    struct stat st;
    if (stat(self, &st) < 0)
        return 1;
    show_ok("truncate the program", truncate(self, st.st_size));
    show_ok("remove the program", unlink(self));
    // A file of the image that nobody has run: once written it is no program any more.
    show_ok("write to data", open("/etc/passwd", O_WRONLY));
    map("map what was written", "/etc/passwd", PROT_READ | PROT_EXEC, 0);
    map("map other data", "/etc/group", PROT_READ, PROT_READ | PROT_EXEC);
    show_ok("write to what was mapped", open("/etc/group", O_WRONLY));
    anonymous();
    return 0;
}
