// SPDX-License-Identifier: Apache-2.0
/* skerry.yaml from anybody: it is read or refused with one line that names file and line. */
#include <string.h>

#include "control/spec.h"
#include "fuzz/yaml_leaks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct app_file f = {0};
    struct err e = {0};
    int r = app_file_parse("f.yaml", (const char *)data, size, &f, &e);
    if (r == 0) {
        ASSERT(name_is_valid(f.spec.app, APP_NAME_MAX) && f.spec.regions_len > 0);
        ASSERT(f.recipe.program != NULL);
    } else {
        ASSERT(strncmp(e.text, "f.yaml:", 7) == 0);
    }
    app_file_free(&f);
    return 0;
}
