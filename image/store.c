// SPDX-License-Identifier: Apache-2.0
#include "image/store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/file.h"
#include "image/digest.h"

enum { FOLDER_MAX = 3072, PATH_BYTES = 4096 };

struct image_store {
    char folder[FOLDER_MAX];
};

static int default_folder(char *ret, size_t max, struct err *e)
{
    const char *given = getenv("SKERRY_STORE"), *data = getenv("XDG_DATA_HOME"),
               *home = getenv("HOME");
    int n;
    if (given != NULL && given[0] != '\0')
        n = snprintf(ret, max, "%s", given);
    else if (geteuid() == 0)
        n = snprintf(ret, max, "/var/lib/skerry");
    else if (data != NULL && data[0] == '/')
        n = snprintf(ret, max, "%s/skerry", data);
    else if (home != NULL && home[0] == '/')
        n = snprintf(ret, max, "%s/.skerry", home);
    else
        return err_set(e, -ENOENT, "no folder for the image store: set HOME or SKERRY_STORE");
    return (size_t)n >= max ? err_set(e, -ENAMETOOLONG, "image store: path too long") : 0;
}

/* STORE/WHERE[/NAME] */
static const char *store_path(const struct image_store *s, const char *where, const char *name,
                              char ret[static PATH_BYTES])
{
    snprintf(ret, PATH_BYTES, "%s/%s%s%s", s->folder, where, name[0] != '\0' ? "/" : "", name);
    return ret;
}

static const char *hex_of(const char *digest)
{
    return digest + strlen(IMAGE_DIGEST_PREFIX);
}

int image_store_open(const char *folder, struct image_store **ret, struct err *e)
{
    char path[PATH_BYTES];
    CLEANUP(image_store_freep) struct image_store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    int r = 0;
    if (folder == NULL)
        r = default_folder(s->folder, sizeof(s->folder), e);
    else if ((size_t)snprintf(s->folder, sizeof(s->folder), "%s", folder) >= sizeof(s->folder))
        r = err_set(e, -ENAMETOOLONG, "image store: path too long");
    r = r < 0 ? r : file_mkdirs(store_path(s, "images", "", path), 0755, e);
    r = r < 0 ? r : file_mkdirs(store_path(s, "names", "", path), 0755, e);
    if (r < 0)
        return err_prefix(e, "image store");
    *ret = TAKE(s);
    return 0;
}

void image_store_free(struct image_store *s)
{
    free(s);
}

void image_store_freep(struct image_store **s)
{
    free(*s);
    *s = NULL;
}

int image_name_check(const char *name, struct err *e)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t len = strlen(name);
    if (len > 0 && len < IMAGE_NAME_MAX && isalnum((unsigned char)name[0]) &&
        strspn(name, allowed) == len)
        return 0;
    return err_set(
        e, -EINVAL,
        "image name '%.140s': must be 1 to %d letters, digits, '.', '_' or '-', a letter "
        "or digit first",
        name, IMAGE_NAME_MAX - 1);
}

/* Names and what they point to change only under this lock; closing the descriptor lets it go. */
static int lock(const struct image_store *s, struct err *e)
{
    char path[PATH_BYTES];
    int fd = open(store_path(s, "lock", "", path), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0) {
        if (errno == EINTR)
            continue;
        close(fd);
        fd = -1;
    }
    return fd >= 0 ? fd : err_set(e, -errno, "%s: cannot lock: %s", path, strerror(errno));
}

// ---- images that a kill would leave without a name

/* How many names other than `but` (NULL: all) point to an image; *ret_one is one of them. */
static int count_names(struct image_store *s, const char *digest, const char *but,
                       char ret_one[static IMAGE_NAME_MAX], struct err *e);

static int remove_file(const char *path, struct err *e)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    return err_set(e, -errno, "%s: cannot remove: %s", path, strerror(errno));
}

/* Under the lock: from here until settle, these images ("": none) are wanted only if they have a
 * name. A kill leaves the list; a crash of the machine may lose it, which costs no more than the
 * images' bytes. */
static int doom(const struct image_store *s, const char *digest, const char *other, struct err *e)
{
    char path[PATH_BYTES], text[2 * IMAGE_DIGEST_MAX + 2];
    int n = snprintf(text, sizeof(text), "%s\n%s\n", digest, other);
    CLEANUP(fd_closep)
    int fd =
        open(store_path(s, "doomed", "", path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int r = fd >= 0 ? file_write_all(fd, text, (size_t)n) : -errno;
    return r < 0 ? err_set(e, r, "%s: cannot write: %s", path, strerror(-r)) : 0;
}

/* Under the lock: remove the doomed images, of this or an earlier call, that have no name. */
static int settle(struct image_store *s, struct err *e)
{
    char path[PATH_BYTES], image[PATH_BYTES], other[IMAGE_NAME_MAX];
    CLEANUP(file_freep) char *text = NULL;
    size_t len;
    store_path(s, "doomed", "", path);
    int r = file_read(path, 2 * IMAGE_DIGEST_MAX + 2, &text, &len, e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    char *save = NULL;
    for (char *p = strtok_r(text, "\n", &save); r == 0 && p; p = strtok_r(NULL, "\n", &save)) {
        if (!image_digest_is(p))
            continue; // cut off, before anything was done
        r = count_names(s, p, NULL, other, e);
        if (r == 0)
            r = remove_file(store_path(s, "images", hex_of(p), image), e);
        r = MIN(r, 0);
    }
    return r < 0 ? r : remove_file(path, e);
}

static int read_name(const struct image_store *s, const char *name, struct image_digest *ret,
                     struct err *e)
{
    char path[PATH_BYTES];
    CLEANUP(file_freep) char *line = NULL;
    size_t len;
    int r = file_read(store_path(s, "names", name, path), IMAGE_DIGEST_MAX, &line, &len, e);
    if (r == -ENOENT)
        return err_set(e, r, "no image '%s' in %s: see 'skerry image list'", name, s->folder);
    if (r < 0)
        return r;
    line[strcspn(line, "\n")] = '\0';
    if (!image_digest_is(line))
        return err_set(e, -EINVAL, "%s: damaged", path);
    memcpy(ret->text, line, sizeof(ret->text));
    return 0;
}

/* Give a finished file its digest's name, and that a name if there is one. */
static int publish(struct image_store *s, struct file_new *f, const struct image_digest *digest,
                   const char *name, struct err *e)
{
    char path[PATH_BYTES], line[IMAGE_DIGEST_MAX + 1];
    CLEANUP(fd_closep) int locked = lock(s, e);
    if (locked < 0) {
        file_new_abort(f);
        return locked;
    }
    int r = settle(s, e);
    store_path(s, "images", hex_of(digest->text), path);
    bool is_there = access(path, F_OK) == 0; // the same bytes
    if (r == 0 && name != NULL) {
        struct image_digest old = {.text = ""};
        struct err none;
        if (read_name(s, name, &old, &none) < 0)
            old.text[0] = '\0';
        r = doom(s, is_there ? "" : digest->text, old.text, e);
    }
    if (r < 0 || is_there)
        file_new_abort(f);
    else
        r = file_new_commit(f, path, e);
    if (r < 0 || name == NULL)
        return r;
    file_new_sweep(store_path(s, "names", "", path));
    int n = snprintf(line, sizeof(line), "%s\n", digest->text);
    r = file_replace(store_path(s, "names", name, path), line, (size_t)n, 0644, e);
    return r < 0 ? r : settle(s, e);
}

int image_store_create(struct image_store *s, const struct image_spec *spec, const char *name,
                       struct image_digest *ret, struct err *e)
{
    char path[PATH_BYTES];
    struct file_new f;
    int r = name != NULL ? image_name_check(name, e) : 0;
    if (r < 0)
        return r;
    store_path(s, "images", "", path);
    file_new_sweep(path);
    r = file_new_open(&f, path, 0444, e);
    if (r < 0)
        return r;
    r = image_build(spec, f.fd, ret, e);
    if (r < 0) {
        file_new_abort(&f);
        return r;
    }
    return publish(s, &f, ret, name, e);
}

int image_store_path(struct image_store *s, const char *digest, char *ret, size_t max,
                     struct err *e)
{
    char path[PATH_BYTES];
    if (!image_digest_is(digest))
        return err_set(e, -EINVAL, "'%.100s' is not an image digest (sha256:...)", digest);
    store_path(s, "images", hex_of(digest), path);
    if (access(path, F_OK) != 0)
        return err_set(e, -ENOENT, "no image with digest %s in %s", digest, s->folder);
    if ((size_t)snprintf(ret, max, "%s", path) >= max)
        return err_set(e, -ENAMETOOLONG, "%s: path too long", path);
    return 0;
}

int image_store_resolve(struct image_store *s, const char *ref, struct image_digest *ret,
                        struct err *e)
{
    char path[PATH_BYTES];
    if (image_digest_is(ref))
        memcpy(ret->text, ref, sizeof(ret->text));
    else {
        int r = image_name_check(ref, e);
        r = r < 0 ? r : read_name(s, ref, ret, e);
        if (r < 0)
            return r;
    }
    return image_store_path(s, ret->text, path, sizeof(path), e);
}

// ---- import

struct image_import {
    struct image_store *store;
    struct digest *digest;
    struct image_digest wanted;
    struct file_new file;
};

int image_import_begin(struct image_store *s, const char *digest, struct image_import **ret,
                       struct err *e)
{
    char path[PATH_BYTES];
    *ret = NULL;
    CLEANUP(fd_closep) int locked = image_digest_is(digest) ? lock(s, e) : -1;
    int r = locked >= 0 ? settle(s, e) : 0; // what is there now stays
    r = r < 0 ? r : image_store_path(s, digest, path, sizeof(path), e);
    if (r == 0)
        return 1;
    if (r != -ENOENT)
        return r;
    struct image_import *im = calloc(1, sizeof(*im));
    if (im == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    im->store = s;
    im->file.fd = -1;
    im->digest = digest_new();
    memcpy(im->wanted.text, digest, sizeof(im->wanted.text));
    store_path(s, "images", "", path);
    file_new_sweep(path);
    r = im->digest != NULL ? file_new_open(&im->file, path, 0444, e)
                           : err_set(e, -ENOMEM, "out of memory");
    if (r < 0)
        image_import_abort(&im);
    *ret = im;
    return r;
}

int image_import_write(struct image_import *im, const void *data, size_t len, struct err *e)
{
    digest_add(im->digest, data, len);
    int r = file_write_all(im->file.fd, data, len);
    return r < 0 ? err_set(e, r, "image %s: cannot write: %s", im->wanted.text, strerror(-r)) : 0;
}

int image_import_commit(struct image_import **im, struct err *e)
{
    struct image_import *i = *im;
    struct image_digest got;
    digest_end(TAKE(i->digest), &got);
    int r;
    if (strcmp(got.text, i->wanted.text) != 0)
        r = err_set(e, -EBADMSG, "image %s: what came has the digest %s", i->wanted.text, got.text);
    else
        r = publish(i->store, &i->file, &i->wanted, NULL, e);
    image_import_abort(im);
    return r;
}

void image_import_abort(struct image_import **im)
{
    struct image_digest ignored;
    if (*im == NULL)
        return;
    if ((*im)->digest != NULL)
        digest_end((*im)->digest, &ignored);
    file_new_abort(&(*im)->file);
    free(*im);
    *im = NULL;
}

// ---- list, delete

static int is_name(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int entry_of(struct image_store *s, const char *name, struct image_entry *ret, struct err *e)
{
    char path[PATH_BYTES];
    struct stat st;
    *ret = (struct image_entry){0};
    int r = image_name_check(name, e);
    r = r < 0 ? r : read_name(s, name, &ret->digest, e);
    if (r < 0)
        return r;
    memcpy(ret->name, name, strlen(name) + 1);
    if (stat(store_path(s, "names", name, path), &st) == 0)
        ret->when = st.st_mtim;
    r = image_store_path(s, ret->digest.text, path, sizeof(path), e);
    if (r == 0 && stat(path, &st) == 0)
        ret->bytes = (uint64_t)st.st_size;
    return r;
}

int image_store_list(struct image_store *s, struct image_entry **ret, struct err *e)
{
    char path[PATH_BYTES];
    struct dirent **names;
    store_path(s, "names", "", path);
    int n = scandir(path, &names, is_name, alphasort), count = 0;
    if (n < 0)
        return err_set(e, -errno, "%s: %s", path, strerror(errno));
    struct image_entry *list = calloc((size_t)n + 1, sizeof(*list));
    for (int i = 0; i < n; i++) {
        struct err gone; // deleted since, or no name of ours
        if (list != NULL && entry_of(s, names[i]->d_name, &list[count], &gone) == 0)
            count++;
        free(names[i]);
    }
    free(names);
    if (list == NULL)
        return err_set(e, -ENOMEM, "out of memory");
    *ret = list;
    return count;
}

/* How many names other than `but` (NULL: all) point to an image; *ret_one is one of them. */
static int count_names(struct image_store *s, const char *digest, const char *but,
                       char ret_one[static IMAGE_NAME_MAX], struct err *e)
{
    struct image_entry *list = NULL;
    int n = image_store_list(s, &list, e), found = 0;
    for (int i = 0; i < n; i++) {
        if (strcmp(list[i].digest.text, digest) != 0 ||
            (but != NULL && strcmp(list[i].name, but) == 0))
            continue;
        memcpy(ret_one, list[i].name, IMAGE_NAME_MAX);
        found++;
    }
    free(list);
    return n < 0 ? n : found;
}

int image_store_delete(struct image_store *s, const char *name, struct err *e)
{
    char path[PATH_BYTES], other[IMAGE_NAME_MAX];
    struct image_digest digest;
    CLEANUP(fd_closep) int locked = lock(s, e);
    if (locked < 0)
        return locked;
    bool by_digest = image_digest_is(name);
    int r = settle(s, e);
    if (r < 0)
        return r;
    r = by_digest ? image_store_resolve(s, name, &digest, e) : image_name_check(name, e);
    if (r == 0 && !by_digest)
        r = read_name(s, name, &digest, e);
    int others = r < 0 ? r : count_names(s, digest.text, by_digest ? NULL : name, other, e);
    if (others < 0)
        return others;
    if (by_digest && others > 0)
        return err_set(e, -EBUSY, "%s is the image '%s': delete that", name, other);
    // The name first: a name without its image would be worse than an image without a name.
    r = others == 0 ? doom(s, digest.text, "", e) : 0;
    if (r == 0 && !by_digest)
        r = remove_file(store_path(s, "names", name, path), e);
    return r < 0 ? r : settle(s, e);
}
