// SPDX-License-Identifier: Apache-2.0
/* X(number, name, argument kinds...), see syscall.h. Included many times. */
