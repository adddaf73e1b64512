// SPDX-License-Identifier: Apache-2.0
/* Command line and manifest. The first byte chooses; the rest is the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "kernel/boot/manifest.h"
#include "kernel/boot/params.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_params(const uint8_t *data, size_t size)
{
    static struct boot_params p;
    const char *bad;
    if (size >= BOOT_CMDLINE_MAX)
        return;
    char *line = malloc(size + 1); // exactly as long, so that a step too far is seen
    if (line == NULL)
        return;
    memcpy(line, data, size);
    line[size] = '\0';
    if (params_parse(line, &p, &bad) == 0) {
        ASSERT(p.env_count <= PARAM_ENVS_MAX && p.arg_count <= PARAM_ARGS_MAX);
        ASSERT(p.prefix_len <= 32 && strnlen(p.host, sizeof(p.host)) < sizeof(p.host));
        for (unsigned i = 0; i < p.env_count; i++)
            ASSERT(strchr(p.env[i], '=') != NULL);
    }
    free(line);
}

static void fuzz_manifest(const uint8_t *data, size_t size)
{
    static struct manifest m;
    struct image_header h;
    if (size < sizeof(h))
        return;
    memcpy(&h, data, sizeof(h));
    size -= sizeof(h);
    if (image_header_check(&h, UINT64_MAX) < 0)
        return;
    h.manifest_bytes = (uint32_t)MIN(size, (size_t)h.manifest_bytes);
    char *text = malloc(size + 1);
    if (text == NULL)
        return;
    memcpy(text, data + sizeof(h), size);
    if (h.manifest_bytes > 0 && manifest_parse(&h, text, &m) == 0)
        for (unsigned i = 0; i < m.argc; i++)
            ASSERT(m.argv[i] >= text && m.argv[i] < text + size);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] == 'm')
        fuzz_manifest(data + 1, size - 1);
    else
        fuzz_params(data + 1, size - 1);
    return 0;
}
