// SPDX-License-Identifier: Apache-2.0
#include "kernel/linux/errno_name.h"

#include "base/errno.h"

#define NAMES(N)                                                                                   \
    N(EPERM)                                                                                       \
    N(ENOENT)                                                                                      \
    N(ESRCH)                                                                                       \
    N(EINTR)                                                                                       \
    N(EIO) N(ENXIO) N(E2BIG) N(ENOEXEC) N(EBADF) N(ECHILD) N(EAGAIN) N(ENOMEM) N(EACCES) N(EFAULT) \
        N(EBUSY) N(EEXIST) N(EXDEV) N(ENODEV) N(ENOTDIR) N(EISDIR) N(EINVAL) N(ENFILE) N(EMFILE)   \
            N(ENOTTY) N(ETXTBSY) N(EFBIG) N(ENOSPC) N(ESPIPE) N(EROFS) N(EMLINK) N(EPIPE) N(EDOM)  \
                N(ERANGE) N(EDEADLK) N(ENAMETOOLONG) N(ENOSYS) N(ENOTEMPTY) N(ELOOP) N(ENOMSG)     \
                    N(EIDRM) N(ENODATA) N(ETIME) N(EPROTO) N(EOVERFLOW) N(EBADMSG) N(EILSEQ)       \
                        N(ENOTSOCK) N(EDESTADDRREQ) N(EMSGSIZE) N(EPROTOTYPE) N(ENOPROTOOPT)       \
                            N(EPROTONOSUPPORT) N(ESOCKTNOSUPPORT) N(EOPNOTSUPP) N(EPFNOSUPPORT)    \
                                N(EAFNOSUPPORT) N(EADDRINUSE) N(EADDRNOTAVAIL) N(ENETDOWN)         \
                                    N(ENETUNREACH) N(ECONNABORTED) N(ECONNRESET) N(ENOBUFS)        \
                                        N(EISCONN) N(ENOTCONN) N(ESHUTDOWN) N(ETIMEDOUT)           \
                                            N(ECONNREFUSED) N(EHOSTUNREACH) N(EALREADY)            \
                                                N(EINPROGRESS) N(ESTALE) N(ECANCELED)              \
                                                    N(EOWNERDEAD)
#define ROW(e) [e] = #e,

const char *errno_name(int error)
{
    static const char *const names[] = {NAMES(ROW)};
    const char *name = error > 0 && error < (int)ARRAY_LEN(names) ? names[error] : NULL;
    return name != NULL ? name : "E?";
}
