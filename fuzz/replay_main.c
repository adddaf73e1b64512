// SPDX-License-Identifier: Apache-2.0
/* Runs a fuzz target over every file of a corpus folder, for builds without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 24 };

int main(int argc, char **argv)
{
    if (argc != 2 || chdir(argv[1]) != 0)
        return 1;
    struct dirent **entries;
    int n = scandir(".", &entries, NULL, alphasort);
    uint8_t *data = malloc(INPUT_MAX);
    if (n < 0 || data == NULL)
        return 1;
    int ran = 0;
    for (int i = 0; i < n; i++) {
        FILE *f = entries[i]->d_name[0] == '.' ? NULL : fopen(entries[i]->d_name, "rb");
        if (f != NULL) {
            size_t len = fread(data, 1, INPUT_MAX, f);
            fclose(f);
            LLVMFuzzerTestOneInput(data, len);
            ran++;
        }
        free(entries[i]);
    }
    free(entries);
    free(data);
    printf("TAP version 13\n1..1\n%s 1 - corpus of %d\n", ran > 0 ? "ok" : "not ok", ran);
    return ran > 0 ? 0 : 1;
}
