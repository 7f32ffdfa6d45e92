/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_LINES_H
#define COMMAND_LINES_H

#include "command.h"
#include "json.h"

/** Reads a file of JSON lines and hands each to `take`; empty lines are passed over. A line that is no object, or that
 * `take` refuses with a message in the reader, ends the program with "FILE:LINE: what is wrong". */
void lines_read(const char *path, bool (*take)(json_reader *r, void *user), void *user);

#endif
