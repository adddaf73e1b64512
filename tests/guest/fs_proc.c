// SPDX-License-Identifier: Apache-2.0
/* /proc, /sys and /dev: what programs read there has the right shape and true values. */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "fs.h"

static char text[1 << 20];

/* The whole file, NUL-ended. */
static const char *slurp(const char *path)
{
    size_t len = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY);
    while (fd >= 0 && (n = read(fd, text + len, 4000)) > 0)
        len += (size_t)n;
    text[len] = 0;
    if (fd >= 0)
        close(fd);
    return text;
}

static void has(const char *path, const char *what)
{
    printf("%s has '%s': %s\n", path, what, strstr(slurp(path), what) != NULL ? "yes" : "no");
}

/* The number behind a word, or -1. */
static long number(const char *path, const char *word)
{
    const char *at = strstr(slurp(path), word);
    return at != NULL ? strtol(at + strlen(word), NULL, 10) : -1;
}

static void system_files(void)
{
    long total = number("/proc/meminfo", "MemTotal:"),
         avail = number("/proc/meminfo", "MemAvailable:");
    show_bool("memory", total > 10000 && avail > 0 && avail <= total);
    has("/proc/cpuinfo", "processor\t: 0\n");
    has("/proc/cpuinfo", "\nflags\t\t: ");
    has("/proc/stat", "cpu  ");
    has("/proc/stat", "\nbtime ");
    double up = 0, idle = 0;
    printf("uptime fields %d\n", sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle));
    show_bool("uptime", up > 0);
    float a, b, c;
    printf("load fields %d\n", sscanf(slurp("/proc/loadavg"), "%f %f %f", &a, &b, &c));
    has("/proc/version", "Linux version ");
    has("/proc/filesystems", "nodev\ttmpfs\n");
    has("/proc/mounts", " /proc proc ");
    has("/proc/mounts", " /dev/shm tmpfs ");
    show_bool("hostname", strlen(slurp("/proc/sys/kernel/hostname")) > 1);
    show_bool("release", strchr("6543", slurp("/proc/sys/kernel/osrelease")[0]) != NULL);
    show_bool("pid_max", atol(slurp("/proc/sys/kernel/pid_max")) >= 4096);
    show_bool("somaxconn", atol(slurp("/proc/sys/net/core/somaxconn")) >= 128);
    show_bool("file-max", atol(slurp("/proc/sys/fs/file-max")) >= 1024);
    show_bool("overcommit", strchr("012", slurp("/proc/sys/vm/overcommit_memory")[0]) != NULL);
    char uuid[64];
    snprintf(uuid, sizeof(uuid), "%s", slurp("/proc/sys/kernel/random/uuid"));
    show_bool("uuid", strlen(uuid) == 37 && uuid[14] == '4');
    show_bool("another uuid", strcmp(uuid, slurp("/proc/sys/kernel/random/uuid")) != 0);
    snprintf(uuid, sizeof(uuid), "%s", slurp("/proc/sys/kernel/random/boot_id"));
    show_bool("one boot", strcmp(uuid, slurp("/proc/sys/kernel/random/boot_id")) == 0);
    show_bool("cpus online", slurp("/sys/devices/system/cpu/online")[0] == '0');
    show_bool("cpus possible", slurp("/sys/devices/system/cpu/possible")[0] == '0');
    show("nothing there", open("/proc/nothing", O_RDONLY));
    show("create", open("/proc/nothing", O_RDWR | O_CREAT, 0600));
    show("mkdir", mkdir("/proc/nothing", 0700));
    struct stat st;
    stat("/proc/meminfo", &st);
    printf("mode %o size %ld\n", st.st_mode, (long)st.st_size);
}

/* Files that only say what the kernel allows or has. */
static void more_system_files(void)
{
    static const char *const numbers[] = {
        "/proc/sys/fs/inotify/max_queued_events", "/proc/sys/fs/inotify/max_user_instances",
        "/proc/sys/fs/inotify/max_user_watches",  "/proc/sys/fs/pipe-max-size",
        "/proc/sys/fs/overflowuid",               "/proc/sys/kernel/cap_last_cap",
        "/proc/sys/kernel/overflowgid",           "/proc/sys/kernel/ngroups_max",
        "/proc/sys/kernel/threads-max",           "/proc/sys/vm/max_map_count",
        "/proc/sys/vm/mmap_min_addr",
    };
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        printf("%s a number: %s\n", numbers[i], atol(slurp(numbers[i])) > 0 ? "yes" : "no");
    has("/proc/sys/net/ipv4/ip_local_port_range", "\t");
    has("/proc/sys/kernel/core_pattern", "\n");
    has("/proc/vmstat", "nr_free_pages ");
    has("/proc/swaps", "Filename");
    has("/sys/devices/system/cpu/cpu0/topology/core_id", "\n");
    has("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0");
    show("no such cpu", access("/sys/devices/system/cpu/cpu9999", F_OK));
    show("a name that only begins so", access("/sys/devices/system/cpu/cpu", F_OK));
    has("/sys/devices/system/node/online", "0");
    bool cpu0 = false;
    struct dirent *e;
    DIR *d = opendir("/sys/devices/system/cpu");
    while ((e = readdir(d)) != NULL)
        cpu0 |= strcmp(e->d_name, "cpu0") == 0 && e->d_type == DT_DIR;
    closedir(d);
    show_bool("cpu0 in the folder", cpu0);
}

static void own_memory(void)
{
    char line[512];
    unsigned long start, end;
    long rss = 0, sum = 0;
    bool stack = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            stack |= strstr(line, "[stack]") != NULL;
        if (sscanf(line, "Rss: %ld kB", &rss) == 1)
            sum += rss;
    }
    fclose(f);
    show_bool("smaps", stack && sum > 0);
    has("/proc/self/smaps", "\nVmFlags:");
    show_bool("rollup", number("/proc/self/smaps_rollup", "Rss:") > 0);
    int fd = open("/proc/self/auxv", O_RDONLY);
    unsigned long aux[64] = {0};
    ssize_t n = read(fd, aux, sizeof(aux));
    close(fd);
    unsigned long page = 0;
    for (ssize_t i = 0; i < n / 16; i++)
        if (aux[2 * i] == 6) // AT_PAGESZ
            page = aux[2 * i + 1];
    printf("auxv: page size %lu\n", page);
}

static int marker = 1;

static void own_files(char **argv)
{
    char link[256] = "", line[256];
    show_bool("exe", readlink("/proc/self/exe", link, sizeof(link) - 1) > 0 &&
                         strstr(link, "fs_proc") != NULL);
    snprintf(link, sizeof(link), "/proc/%d/exe", getpid());
    show("exe by number", access(link, X_OK));
    show("no such process", access("/proc/4000000/exe", F_OK));
    printf("cgroup %s", strstr(slurp("/proc/self/cgroup"), "0::/") != NULL ? "0::/\n" : "?\n");
    show_bool("cmdline", strcmp(slurp("/proc/self/cmdline"), argv[0]) == 0);
    show_bool("comm", strcmp(slurp("/proc/self/comm"), "fs_proc\n") == 0);
    int fd = open("/proc/self/comm", O_WRONLY);
    show("rename", write(fd, "another name that is long", 25));
    close(fd);
    printf("comm %s", slurp("/proc/self/comm"));
    has("/proc/self/status", "Name:\tanother name th\n");
    has("/proc/self/status", "\nThreads:\t1\n");
    show_bool("VmRSS", number("/proc/self/status", "VmRSS:") > 0);
    show("Pid", number("/proc/self/status", "\nPid:") == getpid());
    int pid;
    char comm[64];
    char state;
    printf("stat fields %d\n",
           sscanf(slurp("/proc/self/stat"), "%d (%63[^)]) %c", &pid, comm, &state));
    printf("%s %c %d\n", comm, state, pid == getpid());
    long size, resident;
    sscanf(slurp("/proc/self/statm"), "%ld %ld", &size, &resident);
    show_bool("statm", size > 0 && resident > 0 && resident <= size);
    has("/proc/self/limits", "Max open files");
    has("/proc/self/mounts", "proc /proc proc ");
    has("/proc/self/maps", "[stack]");
    has("/proc/self/maps", "fs_proc");
    // The mapping of a variable, with its permissions.
    FILE *f = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), f) != NULL) {
        unsigned long start, end;
        char perms[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3 &&
            (unsigned long)&marker >= start && (unsigned long)&marker < end)
            printf("data is %s\n", perms);
    }
    fclose(f);
    show("environ", setenv("X", "y", 1));
}

static void descriptors(void)
{
    char name[64], link[256] = "";
    int fd = open("/dev/null", O_RDWR), p[2];
    pipe(p);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    readlink(name, link, sizeof(link) - 1);
    printf("%s\n", link);
    int again = open(name, O_RDONLY);
    struct stat a, b;
    fstat(fd, &a);
    fstat(again, &b);
    show_bool("the same object", a.st_rdev == b.st_rdev && a.st_ino == b.st_ino);
    memset(link, 0, sizeof(link));
    snprintf(name, sizeof(name), "/proc/self/fd/%d", p[0]);
    readlink(name, link, sizeof(link) - 1);
    fstat(p[0], &a);
    char want[64];
    snprintf(want, sizeof(want), "pipe:[%lu]", (unsigned long)a.st_ino);
    show_bool("pipe", strcmp(link, want) == 0);
    snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
    has(name[0] ? "/proc/self/fdinfo/0" : "", "flags:");
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL)
        n += e->d_name[0] != '.';
    closedir(d);
    printf("open %d\n", n);
    show("closed one", readlink("/proc/self/fd/77", link, sizeof(link)));
    lstat("/proc/self/fd", &a);
    show_bool("a folder", S_ISDIR(a.st_mode));
}

static void *other(void *arg)
{
    int *tids = arg;
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    while ((e = readdir(d)) != NULL)
        tids[0] += e->d_name[0] != '.';
    closedir(d);
    tids[1] = (int)number("/proc/thread-self/status", "\nPid:") == gettid();
    return NULL;
}

static void threads(void)
{
    pthread_t t;
    int tids[2] = {0, 0};
    pthread_create(&t, NULL, other, tids);
    pthread_join(t, NULL);
    printf("threads %d own %d\n", tids[0], tids[1]);
}

static void device(const char *path)
{
    struct stat st;
    stat(path, &st);
    printf("%s %o %u %u\n", path, st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev));
}

static void devices(void)
{
    char buf[64], zero[64] = {0};
    device("/dev/null");
    device("/dev/zero");
    device("/dev/full");
    device("/dev/random");
    device("/dev/urandom");
    int fd = open("/dev/null", O_RDWR);
    show("null read", read(fd, buf, 10));
    show("null write", write(fd, buf, 10));
    show("null seek", lseek(fd, 100, SEEK_SET));
    show_bool("null map", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED);
    fd = open("/dev/zero", O_RDWR);
    memset(buf, 1, sizeof(buf));
    show("zero read", read(fd, buf, sizeof(buf)));
    show_bool("zeroes", memcmp(buf, zero, sizeof(buf)) == 0);
    char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    show_bool("zero map", m != MAP_FAILED && m[5000] == 0);
    fd = open("/dev/full", O_RDWR);
    show("full write", write(fd, buf, 1));
    show("full read", read(fd, buf, 1));
    fd = open("/dev/urandom", O_RDONLY);
    show("random read", read(fd, buf, sizeof(buf)));
    show_bool("not zero", memcmp(buf, zero, sizeof(buf)) != 0);
    show_ok("stdin link", access("/dev/fd", F_OK));
}

int main(int argc, char **argv)
{
    (void)argc;
    setvbuf(stdout, NULL, _IOLBF, 0);
    close_range(3, ~0u, 0); // what the caller left open
    system_files();
    more_system_files();
    own_memory();
    own_files(argv);
    descriptors();
    threads();
    devices();
    return marker - 1;
}
