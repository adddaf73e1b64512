// SPDX-License-Identifier: Apache-2.0
/* An ordinary C program: threads, locks, the heap, floats, files, sorting. Runs on any libc. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8, ROUNDS = 20000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static long total;
static int next_turn;

static void *work(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        char *p = malloc((size_t)(i % 500) + 1);
        memset(p, (int)me, (size_t)(i % 500) + 1);
        pthread_mutex_lock(&lock);
        total += p[i % 500] + i;
        pthread_mutex_unlock(&lock);
        free(p);
    }
    pthread_mutex_lock(&lock);
    while (next_turn != me)
        pthread_cond_wait(&turn, &lock);
    printf("thread %ld\n", me);
    next_turn++;
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&lock);
    return (void *)(me * me);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    pthread_t t[THREADS];
    long squares = 0;
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&t[i], NULL, work, (void *)i) != 0)
            return 2;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(t[i], &result);
        squares += (long)result;
    }
    printf("total %ld squares %ld\n", total, squares);
    double roots[50];
    for (int i = 0; i < 50; i++)
        roots[i] = sin(i * 1.7) * sqrt(i);
    qsort(roots, 50, sizeof(roots[0]), by_value);
    printf("%.9f %.9f %a\n", roots[0], roots[49], roots[25]);
    FILE *f = fopen("/tmp/threads.txt", "w+");
    for (int i = 0; i < 1000; i++)
        fprintf(f, "line %d\n", i);
    rewind(f);
    char line[32];
    int lines = 0;
    while (fgets(line, sizeof(line), f) != NULL)
        lines++;
    fclose(f);
    unlink("/tmp/threads.txt");
    printf("%d lines, %d arguments\n", lines, argc - 1);
    return 7;
}
