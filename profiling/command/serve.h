/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_SERVE_H
#define COMMAND_SERVE_H

/** @file
 * A server of one text over HTTP, for a scraper. It answers GET and HEAD of /metrics and closes; everything about it is
 * bounded: connections, the size of a request, and the time that a client may take. Depends on libc alone. */

#include <stdbool.h>
#include <stddef.h>

typedef struct server server;

/** Makes the text of an answer, called on the server's thread, at most ten times a second.
 * @return its length, at most `room`; 0: there is none now, and the client gets 503 */
typedef size_t (*server_text)(void *user, char *text, size_t room);

/** Listens and starts to answer. @param address  "ADDR:PORT", ":PORT" or "PORT"; ADDR is numeric or localhost, an IPv6
 * one in brackets; without one it is 127.0.0.1. Port 0 is any that is free
 * @param message  [200] receives what is wrong
 * @return NULL when it cannot */
server *server_start(const char *address, server_text make, void *user, char *message);

/** Where it listens, as it stands in a URL: "127.0.0.1:9400". */
const char *server_address(const server *s);

/** Ends it; connections are closed. NULL is allowed. */
void server_stop(server *s);

#endif
