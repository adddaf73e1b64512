// SPDX-License-Identifier: Apache-2.0
/* Memory that processes share: System V segments, files of /dev/shm, anonymous mappings. */
#include "guest.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static int in_child(int (*fn)(void *), void *arg)
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn(arg));
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int write_word(void *at)
{
    strcpy(at, "from the child");
    return 1;
}

static int attach_and_write(void *id)
{
    char *p = shmat(*(int *)id, NULL, 0);
    if (p == (void *)-1)
        return 2;
    strcpy(p + 5000, "attached");
    return shmdt(p) == 0 ? 3 : 4;
}

static void attaches(const char *what, int id)
{
    struct shmid_ds d;
    if (shmctl(id, IPC_STAT, &d) < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %lu attached, %zu bytes, mode %o, by us %d\n", what, (long)d.shm_nattch,
               d.shm_segsz, d.shm_perm.mode & 0777, d.shm_cpid == getpid());
}

static void system_v(void)
{
    enum { KEY = 0x5ce44 };
    int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
    show_bool("id", id >= 0);
    attaches("new", id);
    char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);
    attaches("twice", id);
    show_bool("zeroed", p[0] == 0 && p[9999] == 0);
    printf("child %d: %s, seen by both %d\n", in_child(write_word, p), p, strcmp(p, q) == 0);
    int r = in_child(attach_and_write, &id);
    printf("child attached %d: %s\n", r, p + 5000);
    show("detach", shmdt(q));
    show("detach again", shmdt(q));
    show("detach nothing", shmdt(p + 4096));
    show("remove", shmctl(id, IPC_RMID, NULL));
    printf("still there: %s\n", p);
    show("detach the last", shmdt(p));
    attaches("gone", id);
    show("by key, missing", shmget(KEY, 4096, 0600));
    id = shmget(KEY, 4096, IPC_CREAT | IPC_EXCL | 0600);
    show_bool("by key", id >= 0);
    show_bool("the same", shmget(KEY, 4096, 0600) == id);
    show("exclusive", shmget(KEY, 4096, IPC_CREAT | IPC_EXCL | 0600));
    show("too large", shmget(KEY, 8192, 0600));
    show("no size", shmget(IPC_PRIVATE, 0, IPC_CREAT | 0600));
    show("bad id", (long)shmat(-1, NULL, 0));
    show("bad address", (long)shmat(id, (void *)0x10001, 0));
    show("remove", shmctl(id, IPC_RMID, NULL));
    show("remove again", shmctl(id, IPC_RMID, NULL));
}

static void posix(void)
{
    int fd = shm_open("/skerry-proc-shm", O_RDWR | O_CREAT | O_EXCL, 0600);
    show_bool("shm_open", fd >= 0);
    show("ftruncate", ftruncate(fd, 8192));
    char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    printf("child %d: %s\n", in_child(write_word, p + 4096), p + 4096);
    char *q = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(q, "coherent");
    printf("%s\n", p);
    show("shm_unlink", shm_unlink("/skerry-proc-shm"));
    char buf[16] = {0};
    show("pread", pread(fd, buf, 8, 0));
    printf("%s\n", buf);
}

static void anonymous(void)
{
    char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    show("part unmapped", munmap(p, 4096));
    printf("child %d: %s\n", in_child(write_word, p + 4096), p + 4096);
    show("protect", mprotect(p + 4096, 4096, PROT_READ));
    printf("child %d: %s\n", in_child(write_word, p + 8192), p + 8192);
}

int main(void)
{
    system_v();
    posix();
    anonymous();
    return 0;
}
