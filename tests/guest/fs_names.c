// SPDX-License-Identifier: Apache-2.0
/* Names: made, found, renamed, linked, removed; and every way in which that fails. */
#include <sys/syscall.h>

#include "fs.h"

static void making(void)
{
    show("mkdir", mkdir("d", 0755));
    show("mkdir again", mkdir("d", 0755));
    show("mkdir slash", mkdir("e/", 0755));
    show("mkdir below nothing", mkdir("none/x", 0755));
    put_file("f", "file");
    show("mkdir below a file", mkdir("f/x", 0755));
    show("mkdir over a file", mkdir("f", 0755));
    show("mkdir dot", mkdir(".", 0755));
    show("mkdir dotdot", mkdir("..", 0755));
    show("mkdir root", mkdir("/", 0755));
    show("mkdir empty", mkdir("", 0755));
    show("mkdir null", mkdir(NULL, 0755));
    char long_name[300];
    memset(long_name, 'n', 299);
    long_name[299] = 0;
    show("name of 299", mkdir(long_name, 0755));
    long_name[255] = 0;
    show("name of 255", mkdir(long_name, 0755));
    show("rmdir of it", rmdir(long_name));
    char path[5000];
    memset(path, '/', sizeof(path) - 1);
    path[4999] = 0;
    show("path of 4999", open(path, O_RDONLY));
    path[4096] = 0;
    show("path of 4096", open(path, O_RDONLY));
    path[4095] = 0;
    show_bool("path of 4095", open(path, O_RDONLY) >= 0);
}

static void opening(void)
{
    show("a folder to write", open("d", O_WRONLY));
    show("a folder to create", open("d", O_RDWR | O_CREAT, 0600));
    show("a file as a folder", open("f", O_RDONLY | O_DIRECTORY));
    show("a file with slash", open("f/", O_RDONLY));
    show("a new file with slash", open("g/", O_RDWR | O_CREAT, 0600));
    show("a new file with dot", open("g/.", O_RDWR | O_CREAT, 0600));
    show("dot", close(open(".", O_RDONLY)));
    show("create dot", open(".", O_RDONLY | O_CREAT, 0600));
    show("nothing there", open("none", O_RDONLY));
    show("below a file", open("f/x", O_RDONLY));
    show("below a file dotdot", open("f/../f", O_RDONLY));
    show("empty", open("", O_RDONLY));
    show("bad descriptor", openat(77, "f", O_RDONLY));
    int fd = open("f", O_RDONLY);
    show("below a file's descriptor", openat(fd, "x", O_RDONLY));
    show_bool("absolute path ignores it", openat(fd, "/", O_RDONLY) >= 0);
    close(fd);
    int path = open("d", O_PATH);
    char c;
    show("read of an O_PATH", read(path, &c, 1));
    show("fchmod of an O_PATH", fchmod(path, 0700));
    show_ok("openat below it", close(openat(path, "new", O_RDWR | O_CREAT, 0600)));
    show("flags of it", fcntl(path, F_GETFL) & O_PATH ? 1 : 0);
    close(path);
    show("unlink there", unlink("d/new"));
    show("tmpfile without write", open(".", O_TMPFILE | O_RDONLY, 0600));
}

static void linking(void)
{
    char text[64];
    show("symlink", symlink("f", "s"));
    show_file("s");
    show("readlink", readlink("s", text, sizeof(text)));
    show("readlink short", readlink("s", text, 1));
    show("readlink none", readlink("s", text, 0));
    show("readlink of a file", readlink("f", text, sizeof(text)));
    show("readlink of nothing", readlink("none", text, sizeof(text)));
    show("symlink again", symlink("x", "s"));
    show("symlink empty", symlink("", "t"));
    show("no follow", open("s", O_RDONLY | O_NOFOLLOW));
    show("create exclusively", open("s", O_RDWR | O_CREAT | O_EXCL, 0600));
    show("link with slash", open("s/", O_RDONLY));
    symlink("d", "sd");
    show_ok("link to a folder with slash", close(open("sd/", O_RDONLY)));
    show("as a folder, not followed", open("sd", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    symlink("loop2", "loop1");
    symlink("loop1", "loop2");
    show("loop", open("loop1", O_RDONLY));
    show("loop within", open("loop1/x", O_RDONLY));
    symlink("born", "dangling");
    show("dangling", open("dangling", O_RDONLY));
    show_ok("create through it", close(open("dangling", O_RDWR | O_CREAT, 0600)));
    show_ok("born", access("born", F_OK));
    // A chain of links: 40 are followed, 41 are not.
    char a[16], b[16];
    put_file("chain0", "end");
    for (int i = 1; i <= 41; i++) {
        snprintf(a, sizeof(a), "chain%d", i - 1);
        snprintf(b, sizeof(b), "chain%d", i);
        symlink(a, b);
    }
    show_file("chain40");
    show_file("chain41");
    struct stat st;
    lstat("s", &st);
    show("lstat size", st.st_size);
    show_bool("is a link", S_ISLNK(st.st_mode));
    show("link", link("f", "hard"));
    stat("f", &st);
    show("links", (long)st.st_nlink);
    show("link again", link("f", "hard"));
    show("link of a folder", link("d", "d2"));
    show("link of nothing", link("none", "n2"));
    show("link of a link", link("s", "s2"));
    lstat("s2", &st);
    show_bool("is a link too", S_ISLNK(st.st_mode));
    show("linkat following", linkat(AT_FDCWD, "s", AT_FDCWD, "s3", AT_SYMLINK_FOLLOW));
    lstat("s3", &st);
    show_bool("is a file", S_ISREG(st.st_mode));
    show("linkat bad flag", linkat(AT_FDCWD, "s", AT_FDCWD, "s4", 1));
    show("link to another filesystem", link("f", "/proc/x"));
    show("unlink", unlink("hard"));
    stat("f", &st);
    show("links", (long)st.st_nlink);
}

static void removing(void)
{
    mkdir("r", 0755);
    put_file("r/f", "x");
    show("rmdir not empty", rmdir("r"));
    show("rmdir of a file", rmdir("r/f"));
    show("unlink of a folder", unlink("r"));
    show("unlink with slash", unlink("r/f/"));
    show("unlink of a folder with slash", unlink("r/"));
    show("unlink of nothing", unlink("r/g"));
    show("unlink of nothing with slash", unlink("r/g/"));
    show("rmdir dot", rmdir("r/."));
    show("rmdir dotdot", rmdir("r/.."));
    show("rmdir root", rmdir("/"));
    show("rmdir of a mount", rmdir("/proc"));
    show("unlinkat bad flag", unlinkat(AT_FDCWD, "r/f", 1));
    int fd = open("r/f", O_RDWR);
    show("unlink", unlink("r/f"));
    struct stat st;
    fstat(fd, &st);
    show("links of the open file", (long)st.st_nlink);
    show("write to it", write(fd, "still", 5));
    char text[256];
    snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
    char target[256] = "";
    readlink(text, target, sizeof(target) - 1);
    size_t len = strlen(target);
    printf("%s\n", len > 12 ? target + len - 12 : target);
    close(fd);
    int d = open("r", O_RDONLY | O_DIRECTORY);
    show("rmdir", rmdir("r"));
    show("create in a removed folder", openat(d, "x", O_RDWR | O_CREAT, 0600));
    show("mkdir in a removed folder", mkdirat(d, "x", 0700));
    fstat(d, &st);
    show("links of it", (long)st.st_nlink);
    close(d);
}

static void renaming(void)
{
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    mkdir("c", 0755);
    put_file("x", "x");
    put_file("y", "y");
    show("over a file", rename("x", "y"));
    show_file("y");
    show("nothing there", rename("x", "z"));
    show("file over a folder", rename("y", "c"));
    show("folder over a file", rename("c", "y"));
    show("folder over an empty one", rename("c", "a/b"));
    show("into itself", rename("a", "a/b/c"));
    mkdir("full", 0755);
    put_file("full/f", "f");
    show("over a full folder", rename("a", "full"));
    show("over its own parent", rename("a/b", "a"));
    show("onto itself", rename("y", "y"));
    link("y", "y2");
    show("onto its other name", rename("y", "y2"));
    show_file("y");
    show("with slash", rename("y", "z/"));
    show("of a file with slash", rename("y/", "z"));
    show("folder with slashes", rename("a/", "moved/"));
    show("dot", rename("moved/.", "q"));
    show("dotdot", rename("moved/..", "q"));
    show("to dot", rename("moved", "full/."));
    show("to another filesystem", rename("y", "/proc/y"));
    show("no replace", renameat2(AT_FDCWD, "y", AT_FDCWD, "moved", RENAME_NOREPLACE));
    show("exchange", renameat2(AT_FDCWD, "y", AT_FDCWD, "moved", RENAME_EXCHANGE));
    show_file("moved");
    show("exchange with nothing", renameat2(AT_FDCWD, "y", AT_FDCWD, "none", RENAME_EXCHANGE));
    show("both", renameat2(AT_FDCWD, "y", AT_FDCWD, "n", RENAME_EXCHANGE | RENAME_NOREPLACE));
    show("unknown flag", renameat2(AT_FDCWD, "y", AT_FDCWD, "n", 64));
    show_ok("what was in it moved along", access("y/b", F_OK));
    symlink("moved", "link");
    show("a link moves itself", rename("link", "link2"));
    show_file("link2");
    // An open file and the working directory follow.
    mkdir("w1", 0755);
    chdir("w1");
    rename("../w1", "../w2");
    char cwd[256] = "";
    getcwd(cwd, sizeof(cwd));
    printf("%s\n", cwd + strlen(cwd) - 3);
    chdir("..");
    struct stat st;
    stat("y", &st);
    show("links of a folder", (long)st.st_nlink);
}

static void working_directory(void)
{
    char cwd[256];
    mkdir("deep", 0755);
    mkdir("deep/er", 0755);
    show("chdir", chdir("deep/er"));
    show("chdir to a file", chdir("../../f"));
    show("chdir to nothing", chdir("none"));
    show_bool("getcwd", getcwd(cwd, sizeof(cwd)) != NULL);
    printf("%s\n", cwd + strlen(cwd) - 8);
    show("getcwd short", syscall(SYS_getcwd, cwd, 3));
    show("getcwd null", syscall(SYS_getcwd, NULL, 100));
    int up = open("..", O_RDONLY | O_DIRECTORY);
    show("fchdir", fchdir(up));
    show("fchdir to a file", fchdir(open("../f", O_RDONLY)));
    show("fchdir closed", fchdir(77));
    show("rmdir", rmdir("er"));
    chdir(work_folder);
    show("beyond the root", access("/../../../../../dev/null", F_OK));
    close(up);
}

static void nodes(void)
{
    struct stat st;
    show("mknod file", mknod("node", S_IFREG | 0640, 0));
    stat("node", &st);
    printf("mode %o\n", st.st_mode);
    show("mknod again", mknod("node", S_IFREG | 0640, 0));
    show("mknod folder", mknod("nd", S_IFDIR | 0640, 0));
    show("mknod nonsense", mknod("nn", 0170000 | 0640, 0));
    show("mknod socket", mknod("sock", S_IFSOCK | 0600, 0));
    show("open of a socket", open("sock", O_RDWR));
}

int main(void)
{
    work_begin();
    making();
    opening();
    linking();
    removing();
    renaming();
    working_directory();
    nodes();
    return 0;
}
