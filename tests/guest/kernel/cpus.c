// SPDX-License-Identifier: Apache-2.0
/* How many CPUs a program finds, wherever it asks, and whether it can run on each. */
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int processors(void)
{
    char line[512];
    int n = 0;
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        n += strncmp(line, "processor", 9) == 0;
    return n;
}

int main(void)
{
    cpu_set_t all, one;
    char online[64] = "?";
    int ran = 0;
    FILE *f = fopen("/sys/devices/system/cpu/online", "r");
    if (f != NULL && fscanf(f, "%63s", online) != 1)
        return 1;
    sched_getaffinity(0, sizeof(all), &all);
    for (int cpu = 0; cpu < CPU_COUNT(&all); cpu++) {
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        ran += sched_setaffinity(0, sizeof(one), &one) == 0 && sched_getcpu() == cpu;
    }
    printf("configured %ld, allowed %d, in /proc/cpuinfo %d, online %s, ran on %s\n",
           sysconf(_SC_NPROCESSORS_ONLN), CPU_COUNT(&all), processors(), online,
           ran == CPU_COUNT(&all) ? "all" : "not all");
    return 0;
}
