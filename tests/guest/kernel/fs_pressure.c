// SPDX-License-Identifier: Apache-2.0
/* Works with a file larger than the machine's memory, then fills a tmpfs up: nothing gets lost. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096 };
static unsigned char buf[65536];

/* Sum of each page's first byte. */
static unsigned long sum_read(int fd)
{
    unsigned long sum = 0;
    ssize_t n;
    lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i += PAGE)
            sum += buf[i];
    return sum;
}

int main(void)
{
    struct stat st;
    int fd = open("/data/big", O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0)
        return 2;
    printf("read %lu\n", sum_read(fd));
    unsigned char *m = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (m == MAP_FAILED)
        return 3;
    for (int round = 0; round < 2; round++) {
        unsigned long sum = 0;
        for (off_t i = 0; i < st.st_size; i += PAGE)
            sum += m[i];
        printf("mapped %lu\n", sum);
    }
    int fill = open("/tmp/fill", O_RDWR | O_CREAT, 0600);
    memset(buf, 'x', sizeof(buf));
    long filled = 0;
    ssize_t n;
    while ((n = write(fill, buf, sizeof(buf))) > 0)
        filled += n;
    printf("full %s, %s\n", errno == ENOSPC ? "ENOSPC" : "?", filled > 4 << 20 ? "much" : "little");
    unsigned long wrong = 0;
    lseek(fill, 0, SEEK_SET);
    while ((n = read(fill, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++)
            wrong += buf[i] != 'x';
    printf("wrong %lu\n", wrong);
    printf("read %lu\n", sum_read(fd));
    close(fill);
    unlink("/tmp/fill");
    fill = open("/tmp/again", O_RDWR | O_CREAT, 0600);
    printf("room again %zd\n", write(fill, buf, sizeof(buf)));
    return 0;
}
