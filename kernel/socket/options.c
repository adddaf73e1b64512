// SPDX-License-Identifier: Apache-2.0
/* Options of all sockets (SOL_SOCKET). What is not honoured is refused: -ENOPROTOOPT. */
#include "base/mem.h"
#include "kernel/sched/timer.h"
#include "kernel/socket/options.h"

struct timeval64 {
    int64_t sec, usec;
};

/* Linux sock_set_timeout: 0 s 0 us is "no limit", a negative time "do not wait". */
static int timeout_set(const struct sock_opt *o, uint64_t *ret_ns)
{
    struct timeval64 tv;
    if (o->len < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, o->bytes, sizeof(tv));
    if (tv.usec < 0 || tv.usec >= 1000000)
        return -EDOM;
    uint64_t ns;
    if (tv.sec < 0)
        ns = 0;
    else if ((tv.sec == 0 && tv.usec == 0) || tv.sec > INT64_MAX / 2 / (int64_t)NS_PER_SEC)
        ns = DEADLINE_NEVER;
    else
        ns = (uint64_t)tv.sec * NS_PER_SEC + (uint64_t)tv.usec * 1000;
    __atomic_store_n(ret_ns, ns, __ATOMIC_RELAXED);
    return 0;
}

static int timeout_get(uint64_t ns, struct sock_opt *ret)
{
    struct timeval64 tv = {0};
    if (ns != DEADLINE_NEVER) {
        tv.sec = (int64_t)(ns / NS_PER_SEC);
        tv.usec = (int64_t)(ns % NS_PER_SEC / 1000);
    }
    memcpy(ret->bytes, &tv, sizeof(tv));
    ret->len = sizeof(tv);
    return 0;
}

int sock_opt_set(struct sock *s, int level, int name, const struct sock_opt *o)
{
    if (level != SOL_SOCKET)
        return s->ops->opt_set(s, level, name, o);
    if (o->len < sizeof(int))
        return -EINVAL;
    switch (name) {
    case SO_TYPE:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ERROR:
    case SO_ACCEPTCONN:
        return -ENOPROTOOPT;
    case SO_BROADCAST:
        __atomic_store_n(&s->broadcast, opt_int(o) != 0, __ATOMIC_RELAXED);
        return s->type == SOCK_DGRAM ? s->ops->opt_set(s, level, name, o) : 0;
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW:
        return timeout_set(o, &s->rcv_ns);
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW:
        return timeout_set(o, &s->snd_ns);
    default:
        return s->ops->opt_set(s, level, name, o);
    }
}

int sock_opt_get(struct sock *s, int level, int name, struct sock_opt *ret)
{
    if (level != SOL_SOCKET)
        return s->ops->opt_get(s, level, name, ret);
    switch (name) {
    case SO_TYPE:
        return opt_put_int(ret, s->type);
    case SO_PROTOCOL:
        return opt_put_int(ret, s->protocol);
    case SO_DOMAIN:
        return opt_put_int(ret, s->domain);
    case SO_BROADCAST:
        return opt_put_int(ret, s->broadcast);
    case SO_RCVTIMEO:
    case SO_RCVTIMEO_NEW:
        return timeout_get(s->rcv_ns, ret);
    case SO_SNDTIMEO:
    case SO_SNDTIMEO_NEW:
        return timeout_get(s->snd_ns, ret);
    case SO_RCVLOWAT:
    case SO_SNDLOWAT:
        return opt_put_int(ret, 1); // always; setting it is refused
    default:
        return s->ops->opt_get(s, level, name, ret);
    }
}
