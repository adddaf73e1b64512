// SPDX-License-Identifier: Apache-2.0
/* System V semaphores and message queues. */
#include "guest.h"

#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

union arg {
    int value;
    struct semid_ds *set;
    unsigned short *values;
};

enum { KEY = 0x5cee1 };

static int op(int id, int number, int add, int flags)
{
    struct sembuf b = {(unsigned short)number, (short)add, (short)flags};
    return semop(id, &b, 1);
}

static void values(const char *what, int id, int count)
{
    printf("%s:", what);
    for (int i = 0; i < count; i++)
        printf(" %d", semctl(id, i, GETVAL));
    printf("\n");
}

static pid_t start(void)
{
    fflush(stdout);
    return fork();
}

static void end(const char *what, pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    printf("%s: %s %d\n", what, WIFSIGNALED(status) ? "signal" : "exit",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Until so many sleep because of a semaphore: there is no event that tells it. */
static void await(int id, int number, int command, int count)
{
    for (int i = 0; i < 20000 && semctl(id, number, command) != count; i++)
        usleep(500);
    printf("%d wait\n", semctl(id, number, command));
}

static void sem_sets(void)
{
    struct semid_ds d;
    show("none in a set", semget(IPC_PRIVATE, 0, 0600));
    show("too many in a set", semget(IPC_PRIVATE, 32001, 0600));
    show("less than none", semget(IPC_PRIVATE, -1, 0600));
    show("no such key", semget(KEY, 1, 0600));
    int id = semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0640);
    show_bool("made", id >= 0);
    show("exclusive", semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0640));
    show_bool("found", semget(KEY, 0, 0) == id && semget(KEY, 3, IPC_CREAT) == id);
    show("more than it has", semget(KEY, 4, 0));
    show("status", semctl(id, 0, IPC_STAT, (union arg){.set = &d}));
    printf("%lu of mode %o, key %d, ours %d, operated %d\n", (long)d.sem_nsems, d.sem_perm.mode,
           d.sem_perm.__key == KEY, d.sem_perm.uid == getuid(), d.sem_otime != 0);
    d.sem_perm.mode = 01600;
    show("change", semctl(id, 0, IPC_SET, (union arg){.set = &d}));
    show("status", semctl(id, 0, IPC_STAT, (union arg){.set = &d}));
    printf("mode %o\n", d.sem_perm.mode);
    show("no such semaphore", semctl(id, 3, GETVAL));
    show("negative semaphore", semctl(id, -1, SETVAL, (union arg){.value = 1}));
    show("too large", semctl(id, 0, SETVAL, (union arg){.value = 32768}));
    show("too small", semctl(id, 0, SETVAL, (union arg){.value = -1}));
    show("no such set", semctl(-1, 0, GETVAL));
    show("no such command", semctl(id, 0, 77));
    unsigned short v[3] = {1, 2, 3};
    show("set all", semctl(id, 0, SETALL, (union arg){.values = v}));
    values("values", id, 3);
    v[1] = 40000;
    show("set all, one too large", semctl(id, 0, SETALL, (union arg){.values = v}));
    memset(v, 0, sizeof(v));
    show("get all", semctl(id, 0, GETALL, (union arg){.values = v}));
    printf("got %d %d %d\n", v[0], v[1], v[2]);
    show("bad pointer", semctl(id, 0, GETALL, (union arg){.values = (void *)8}));
    show_bool("last was us", semctl(id, 1, GETPID) == getpid());
    show("remove", semctl(id, 0, IPC_RMID));
    show("gone", semctl(id, 0, GETVAL));
    show("operate on what is gone", op(id, 0, 1, 0));
}

static void sem_ops(void)
{
    int id = semget(IPC_PRIVATE, 3, 0600);
    struct sembuf many[501] = {{0, 1, 0}};
    show("add", op(id, 0, 5, 0));
    show("take", op(id, 0, -2, 0));
    show("too much", op(id, 0, -4, IPC_NOWAIT));
    show("not zero", op(id, 0, 0, IPC_NOWAIT));
    show("zero", op(id, 1, 0, IPC_NOWAIT));
    show("over the top", op(id, 0, 32767, 0));
    show("beyond the set", op(id, 3, 1, 0));
    show("no operations", semop(id, many, 0));
    show("too many operations", semop(id, many, 501));
    show("bad pointer", semop(id, (void *)8, 1));
    show("negative set", semop(-1, many, 1));
    struct sembuf both[] = {{0, -1, 0}, {1, 1, 0}, {2, -1, IPC_NOWAIT}};
    show("all or none", semop(id, both, 3));
    values("values", id, 3);
    both[2].sem_op = 1;
    show("all", semop(id, both, 3));
    values("values", id, 3);
    struct sembuf twice[] = {{0, -1, 0}, {0, -1, 0}, {0, 0, IPC_NOWAIT}};
    show("one semaphore in steps", semop(id, twice, 3));
    values("values", id, 3);
    for (int i = 0; i < 100; i++)
        many[i] = (struct sembuf){1, 1, 0};
    show("a hundred", semop(id, many, 100));
    values("values", id, 3);
    struct timespec t = {0, 1000000}, bad = {0, 1000000000};
    struct sembuf take = {0, -1, 0};
    show("in time", semtimedop(id, &take, 1, &t));
    show("bad time", semtimedop(id, &take, 1, &bad));
    show("bad time pointer", semtimedop(id, &take, 1, (void *)8));
    show("remove", semctl(id, 0, IPC_RMID));
}

static void nothing(int signo)
{
    (void)signo;
}

static void sem_waits(void)
{
    int id = semget(IPC_PRIVATE, 2, 0600);
    pid_t a = start();
    if (a == 0)
        _exit(op(id, 0, -2, 0) == 0 ? 1 : 2);
    await(id, 0, GETNCNT, 1);
    pid_t b = start();
    if (b == 0)
        _exit(op(id, 0, -1, 0) == 0 ? 3 : 4);
    await(id, 0, GETNCNT, 2);
    show("one", op(id, 0, 1, 0));
    end("who takes one", b);
    values("values", id, 2);
    show("two", op(id, 0, 2, 0));
    end("who takes two", a);
    values("values", id, 2);
    show_bool("last was the child", semctl(id, 0, GETPID) == a);

    show("up", op(id, 1, 1, 0));
    a = start();
    if (a == 0)
        _exit(op(id, 1, 0, 0) == 0 ? 5 : 6);
    await(id, 1, GETZCNT, 1);
    show("down", op(id, 1, -1, 0));
    end("who waits for zero", a);

    a = start();
    if (a == 0) {
        struct sigaction act = {.sa_handler = nothing, .sa_flags = SA_RESTART};
        sigaction(SIGUSR1, &act, NULL);
        _exit(op(id, 0, -1, 0) < 0 && errno == EINTR ? 7 : 8);
    }
    await(id, 0, GETNCNT, 1);
    kill(a, SIGUSR1);
    end("interrupted", a);
    a = start();
    if (a == 0)
        _exit(op(id, 0, -1, 0) < 0 && errno == EIDRM ? 9 : 10);
    await(id, 0, GETNCNT, 1);
    b = start();
    if (b == 0)
        _exit(op(id, 0, -1, 0) < 0 ? 11 : 12);
    await(id, 0, GETNCNT, 2);
    kill(b, SIGKILL);
    end("killed", b);
    await(id, 0, GETNCNT, 1);
    show("remove", semctl(id, 0, IPC_RMID));
    end("removed", a);
}

static void sem_undo(void)
{
    int id = semget(IPC_PRIVATE, 2, 0600);
    show("set", semctl(id, 0, SETVAL, (union arg){.value = 10}));
    pid_t a = start();
    if (a == 0) {
        op(id, 0, -4, SEM_UNDO);
        op(id, 0, -1, 0);
        op(id, 1, 3, SEM_UNDO);
        op(id, 1, -2, 0);
        values("in the child", id, 2);
        fflush(stdout);
        raise(SIGKILL);
    }
    end("child", a);
    values("undone", id, 2);
    a = start();
    if (a == 0) {
        op(id, 0, -9, SEM_UNDO);
        execl("/proc/self/exe", "sysv_ipc", "child", NULL);
        _exit(1);
    }
    end("child", a);
    values("undone at the end of what it executed", id, 2);
    a = start();
    if (a == 0) {
        op(id, 0, -3, SEM_UNDO);
        if (fork() == 0)
            _exit(0);
        wait(NULL);
        values("the child's child owes nothing", id, 2);
        semctl(id, 0, SETVAL, (union arg){.value = 20});
        fflush(stdout);
        _exit(0);
    }
    end("child", a);
    values("setting a value forgets", id, 2);
    show("too much to undo", op(id, 0, -32768, SEM_UNDO | IPC_NOWAIT));
    a = start();
    if (a == 0) {
        op(id, 0, -20, SEM_UNDO);
        raise(SIGSTOP);
        _exit(0);
    }
    waitpid(a, NULL, WUNTRACED);
    pid_t b = start();
    if (b == 0)
        _exit(op(id, 0, -20, 0) == 0 ? 13 : 14);
    await(id, 0, GETNCNT, 1);
    kill(a, SIGKILL);
    end("holder", a);
    end("who waited for it", b);
    show("remove", semctl(id, 0, IPC_RMID));
}

struct text {
    long type;
    char text[9000];
};

static long send(int id, long type, const char *text, int flags)
{
    struct text m = {.type = type};
    strcpy(m.text, text);
    return msgsnd(id, &m, strlen(text), flags);
}

static void receive(const char *what, int id, size_t size, long type, int flags)
{
    struct text m = {0};
    ssize_t n = msgrcv(id, &m, size, type, flags);
    if (n < 0)
        show(what, n);
    else
        printf("%s: %ld \"%.*s\"\n", what, m.type, (int)n, m.text);
}

static void queues(void)
{
    struct msqid_ds d;
    show("no such key", msgget(KEY, 0600));
    int id = msgget(KEY, IPC_CREAT | 0600);
    show_bool("made", id >= 0);
    show("exclusive", msgget(KEY, IPC_CREAT | IPC_EXCL | 0600));
    show("status", msgctl(id, IPC_STAT, &d));
    printf("%lu messages, %lu bytes of %lu, sent %d\n", (long)d.msg_qnum, (long)d.msg_cbytes,
           (long)d.msg_qbytes, d.msg_stime != 0);
    receive("empty", id, 10, 0, IPC_NOWAIT);
    show("type 0", send(id, 0, "x", 0));
    show("no such queue", send(-1, 1, "x", 0));
    static struct text big = {.type = 1};
    show("too long", msgsnd(id, &big, 8193, 0));
    show("negative length", msgsnd(id, &big, (size_t)-1, 0));
    show("bad pointer", msgsnd(id, (void *)8, 1, 0));
    show("send", send(id, 3, "three", 0));
    show("send", send(id, 1, "one", 0));
    show("send", send(id, 2, "two", 0));
    show("send", send(id, 1, "one again", 0));
    show("send", send(id, 5, "", 0));
    msgctl(id, IPC_STAT, &d);
    printf("%lu messages, %lu bytes, by us %d\n", (long)d.msg_qnum, (long)d.msg_cbytes,
           d.msg_lspid == getpid());
    receive("too small", id, 2, 3, 0);
    receive("cut", id, 2, 3, MSG_NOERROR);
    receive("of a type", id, 10, 2, 0);
    receive("none of a type", id, 10, 2, IPC_NOWAIT);
    receive("at most", id, 10, -4, 0);
    receive("any but", id, 10, 1, MSG_EXCEPT);
    receive("bad length", id, (size_t)-1, 0, 0);
    receive("first", id, 10, 0, 0);
    receive("none at most", id, 10, -4, IPC_NOWAIT);
    show("eight KiB", msgsnd(id, &big, 8192, 0));
    show("eight more", msgsnd(id, &big, 8192, 0));
    show("full", send(id, 1, "x", IPC_NOWAIT));
    show("nothing fits", send(id, 1, "", IPC_NOWAIT));
    receive("a large one, cut", id, 0, 0, MSG_NOERROR | IPC_NOWAIT);
    msgctl(id, IPC_STAT, &d);
    d.msg_qbytes = 4;
    show("a small queue", msgctl(id, IPC_SET, &d));
    show("full", send(id, 1, "x", IPC_NOWAIT));
    show("remove", msgctl(id, IPC_RMID, NULL));
    show("gone", send(id, 1, "x", 0));
    receive("gone", id, 10, 0, 0);
}

/* Until the process sleeps. */
static void asleep(pid_t pid)
{
    char path[64], state = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    for (int i = 0; i < 20000 && state != 'S'; i++) {
        FILE *f = fopen(path, "r");
        if (f == NULL || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            state = 0;
        if (f != NULL)
            fclose(f);
        usleep(500);
    }
    printf("asleep: %c\n", state);
}

static void queue_waits(void)
{
    int there = msgget(IPC_PRIVATE, 0600), back = msgget(IPC_PRIVATE, 0600);
    pid_t a = start();
    if (a == 0) {
        struct text m;
        for (int i = 0; i < 500; i++)
            if (msgrcv(there, &m, sizeof(m.text), -9, 0) != 4000 || m.text[0] != (char)i ||
                msgsnd(back, &m, 1, 0) < 0)
                _exit(1);
        _exit(2);
    }
    static struct text m;
    int sent = 0, got = 0;
    for (int i = 0; i < 500; i++) { // four fit: the sender sleeps too
        m.type = 7;
        m.text[0] = (char)i;
        sent += msgsnd(there, &m, 4000, 0) == 0;
        while (msgrcv(back, &m, 1, 0, IPC_NOWAIT) == 1)
            got++;
    }
    while (got < 500 && msgrcv(back, &m, 1, 0, 0) == 1)
        got++;
    printf("sent %d, got %d\n", sent, got);
    end("child", a);
    a = start();
    if (a == 0) {
        struct text t;
        _exit(msgrcv(there, &t, 10, 0, 0) < 0 && errno == EIDRM ? 3 : 4);
    }
    asleep(a);
    show("remove", msgctl(there, IPC_RMID, NULL));
    end("removed", a);
    show("remove", msgctl(back, IPC_RMID, NULL));
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return 15;
    sem_sets();
    sem_ops();
    sem_waits();
    sem_undo();
    queues();
    queue_waits();
    return 0;
}
