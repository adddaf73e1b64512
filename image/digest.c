// SPDX-License-Identifier: Apache-2.0
#include "image/digest.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

/* struct digest is OpenSSL's context under our name. Its calls fail only for want of memory or a
 * missing algorithm, neither of which can come after digest_new succeeded. */
static EVP_MD_CTX *ctx_of(struct digest *d)
{
    return (EVP_MD_CTX *)d;
}

struct digest *digest_new(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c != NULL && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        c = NULL;
    }
    return (struct digest *)c;
}

void digest_add(struct digest *d, const void *data, size_t len)
{
    int ok = EVP_DigestUpdate(ctx_of(d), data, len);
    ASSERT(ok == 1);
}

static void text_of(const uint8_t *bytes, struct image_digest *ret)
{
    int n = snprintf(ret->text, sizeof(ret->text), IMAGE_DIGEST_PREFIX);
    for (int i = 0; i < DIGEST_BYTES; i++)
        n += snprintf(ret->text + n, sizeof(ret->text) - (size_t)n, "%02x", bytes[i]);
}

void digest_end(struct digest *d, struct image_digest *ret)
{
    uint8_t bytes[DIGEST_BYTES];
    int ok = EVP_DigestFinal_ex(ctx_of(d), bytes, NULL);
    ASSERT(ok == 1);
    EVP_MD_CTX_free(ctx_of(d));
    text_of(bytes, ret);
}

void digest_of(const void *data, size_t len, uint8_t ret[static DIGEST_BYTES])
{
    SHA256(data, len, ret);
}

bool image_digest_is(const char *text)
{
    size_t prefix = strlen(IMAGE_DIGEST_PREFIX);
    return strncmp(text, IMAGE_DIGEST_PREFIX, prefix) == 0 &&
           strspn(text + prefix, "0123456789abcdef") == 64 && text[prefix + 64] == '\0';
}
