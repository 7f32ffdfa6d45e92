/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_SERVE_REQUEST_H
#define COMMAND_SERVE_REQUEST_H

/** @file
 * The head of an HTTP request as it comes in, piece by piece. */

#include <stdbool.h>
#include <stddef.h>

enum {
    REQUEST_BYTES = 4096
};

typedef struct request_head {
    char bytes[REQUEST_BYTES];
    size_t length;
    bool head_only; /* HEAD: the answer has no body */
} request_head;

/** Where the next bytes go, and how many fit; there is always room. */
char *request_room(request_head *r, size_t *room);

/** Takes in that `n` bytes have come. @return 0 while the head is not whole; else the status of the answer: 200, 400,
 * 404, 405, 431 (too long), 505 */
int request_take(request_head *r, size_t n);

/** "OK", "Not Found" and so on. */
const char *request_reason(int status);

#endif
