// SPDX-License-Identifier: Apache-2.0
/* An image's header and manifest as any bytes: the header, the manifest, the advice. */
#include <stdlib.h>

#include "base/mem.h"
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct image *im, const char *s)
{
    const char *end = im->manifest + im->header.manifest_bytes + im->header.advice_bytes;
    ASSERT(s >= im->manifest && s < end);
    ASSERT(s + strlen(s) < end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image *im = calloc(1, sizeof(*im));
    const char *why;
    if (im == NULL || size < sizeof(im->header)) {
        free(im);
        return 0;
    }
    memcpy(&im->header, data, sizeof(im->header));
    if (image_header_check(&im->header, im->header.total_bytes, &why) == 0 &&
        im->header.manifest_bytes + im->header.advice_bytes <= size - sizeof(im->header)) {
        uint32_t bytes = im->header.manifest_bytes + im->header.advice_bytes;
        im->manifest = malloc(bytes + 1u);
        memcpy(im->manifest, data + sizeof(im->header), bytes);
        if (image_manifest_parse(im, &why) == 0) {
            check(im, im->program);
            check(im, im->cwd);
            for (uint32_t i = 0; i < im->header.argc; i++)
                check(im, im->args[i]);
            for (uint32_t i = 0; i < im->header.envc; i++)
                check(im, im->envs[i]);
            for (uint32_t i = 0; i < im->run.ports_n; i++)
                check(im, im->run.ports[i]);
            ASSERT(im->run.ports_n <= IMAGE_ADVICES_MAX && im->run.cpus <= 9999);
        }
        free(im->manifest);
    }
    free(im);
    return 0;
}
