// SPDX-License-Identifier: Apache-2.0
/* config.json as any bytes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_spec *spec;
    struct err e = {0};
    if (image_spec_new(&spec, &e) < 0)
        return 0;
    int r = image_spec_config_text(spec, (const char *)data, size, "dir/config.json", &e);
    ASSERT(r == 0 || (r == e.code && strncmp(e.text, "dir/config.json:", 16) == 0));
    image_spec_free(spec);
    return 0;
}
