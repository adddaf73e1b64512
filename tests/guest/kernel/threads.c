// SPDX-License-Identifier: Apache-2.0
/* Threads until there are no more: EAGAIN, and again as many once they have ended. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRY_MAX = 5000 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_t threads[TRY_MAX];

static void *wait_at_gate(void *ctx)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return ctx;
}

static int as_many_as_go(void)
{
    pthread_attr_t a;
    int n = 0, r = 0;
    pthread_attr_init(&a);
    pthread_attr_setstacksize(&a, 16384);
    pthread_mutex_lock(&gate);
    while (n < TRY_MAX && (r = pthread_create(&threads[n], &a, wait_at_gate, NULL)) == 0)
        n++;
    printf("%s\n", strerrorname_np(r));
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return n;
}

int main(void)
{
    int first = as_many_as_go(), second = as_many_as_go();
    printf("%s\n", first > 1000 && second == first ? "as many again" : "not as many");
    if (second != first)
        printf("%d %d\n", first, second);
    return 0;
}
