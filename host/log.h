// SPDX-License-Identifier: Apache-2.0
#pragma once
/* Log lines of long-running programs: one line an event on stderr, verb first, then key=value
 * fields. Libraries return errors; only programs log.
 *
 *     2026-01-02T03:04:05.678Z info skerry-edge: backend drained id=7 conns=0
 */
#include "base/base.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* Name of the program in front of each line and the lowest level shown. Default "skerry", info. */
void log_init(const char *program, enum log_level level);
void log_line(enum log_level level, const char *what, const char *fields, ...) PRINTF_LIKE(3, 4);

#define log_debug(what, ...) log_line(LOG_LEVEL_DEBUG, what, __VA_ARGS__)
#define log_info(what, ...)  log_line(LOG_LEVEL_INFO, what, __VA_ARGS__)
#define log_warn(what, ...)  log_line(LOG_LEVEL_WARN, what, __VA_ARGS__)
#define log_error(what, ...) log_line(LOG_LEVEL_ERROR, what, __VA_ARGS__)
