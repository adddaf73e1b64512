// SPDX-License-Identifier: Apache-2.0
/* Extended attributes as tmpfs keeps them. ("user." ones are newer than Linux 6.1 there.) */
#include <sys/xattr.h>

#include "fs.h"

static void show_value(const char *name)
{
    char text[64];
    ssize_t n = getxattr("f", name, text, sizeof(text));
    if (n < 0)
        show(name, n);
    else
        printf("%s: \"%.*s\"\n", name, (int)n, text);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_list(const char *path)
{
    char text[1024], *names[32];
    ssize_t n = listxattr(path, text, sizeof(text));
    int count = 0;
    show("list", n);
    for (char *at = text; n > 0 && at < text + n; at += strlen(at) + 1)
        names[count++] = at;
    qsort(names, (size_t)count, sizeof(names[0]), compare);
    for (int i = 0; i < count; i++)
        printf("  %s\n", names[i]);
}

int main(void)
{
    char big[70000] = {0}, text[64];
    work_begin();
    put_file("f", "x");
    mkdir("d", 0755);
    symlink("f", "s");
    symlink("none", "dangling");
    show_list("f");
    show("set", setxattr("f", "trusted.a", "one", 3, 0));
    show("set empty", setxattr("f", "trusted.empty", "", 0, 0));
    show("set security", setxattr("f", "security.x", "two", 3, 0));
    show("create again", setxattr("f", "trusted.a", "1", 1, XATTR_CREATE));
    show("replace", setxattr("f", "trusted.a", "three", 5, XATTR_REPLACE));
    show("replace none", setxattr("f", "trusted.b", "x", 1, XATTR_REPLACE));
    show_value("trusted.a");
    show_value("trusted.empty");
    show_value("security.x");
    show_value("trusted.none");
    show_value("bogus.none");
    show_value("trusted.");
    show_list("f");
    show("size", getxattr("f", "trusted.a", NULL, 0));
    show("short", getxattr("f", "trusted.a", text, 2));
    show("list size", listxattr("f", NULL, 0));
    show("list short", listxattr("f", text, 5));
    show("through a link", getxattr("s", "trusted.a", text, sizeof(text)));
    show("of a link", lgetxattr("s", "trusted.a", text, sizeof(text)));
    show("on a link", lsetxattr("s", "trusted.l", "x", 1, 0));
    show("there", lgetxattr("s", "trusted.l", text, sizeof(text)));
    show("dangling", getxattr("dangling", "trusted.a", text, sizeof(text)));
    show("on a folder", setxattr("d", "trusted.d", "x", 1, 0));
    show_list("d");
    int fd = open("f", O_RDONLY), path = open("f", O_PATH);
    show("by descriptor", fgetxattr(fd, "trusted.a", text, sizeof(text)));
    show("set by a read-only one", fsetxattr(fd, "trusted.fd", "x", 1, 0));
    show("by path descriptor", fgetxattr(path, "trusted.a", text, sizeof(text)));
    show("remove", removexattr("f", "trusted.fd"));
    show("remove again", removexattr("f", "trusted.fd"));
    show("flags", setxattr("f", "trusted.a", "x", 1, 4));
    show("no name", setxattr("f", "", "x", 1, 0));
    memset(big, 'n', 300);
    show("long name", setxattr("f", big, "x", 1, 0));
    show("unknown", setxattr("f", "bogus.a", "x", 1, 0));
    show("big value", setxattr("f", "trusted.big", big, 65537, 0));
    show("null value", setxattr("f", "trusted.a", NULL, 5, 0));
    show("null name", setxattr("f", NULL, "x", 1, 0));
    show("nothing", setxattr("none", "trusted.a", "x", 1, 0));
    show("bad descriptor", fsetxattr(77, "trusted.a", "x", 1, 0));
    show("link", link("f", "g"));
    show("the same by another name", getxattr("g", "trusted.a", text, sizeof(text)));
    close(fd), close(path);
    return 0;
}
