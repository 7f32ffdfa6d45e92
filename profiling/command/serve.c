/* SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include "serve_request.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 16,
    TEXT_BYTES = 256 * 1024,
    HEAD_BYTES = 512,
    MESSAGE_BYTES = 200,
    REQUEST_MS = 2000, /* from accept until the request must be whole */
    ANSWER_MS = 5000,  /* and until the answer must be taken */
    KEPT_MS = 100,     /* that a text is given again */
    PAUSE_MS = 100,    /* in which nobody is accepted after the system could not */
    BACKLOG = 64
};

typedef struct connection {
    int socket; /* −1: free */
    bool answering;
    int64_t accepted; /* milliseconds */
    request_head request;
    char *answer; /* of this connection alone: the text may change meanwhile */
    size_t length;
    size_t sent;
} connection;

struct server {
    int listener;
    int wake[2];            /* a byte in it ends the thread */
    int64_t accepting_from; /* milliseconds */
    pthread_t thread;
    server_text make;
    void *user;
    char address[96];
    char *text;
    size_t text_length;
    int64_t text_made;
    connection connections[CONNECTIONS];
};

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void drop(connection *c)
{
    close(c->socket);
    free(c->answer);
    *c = (connection){ .socket = -1 };
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/** The text, made anew when it is older than KEPT_MS: so many clients cost no more than one. */
static size_t current_text(server *s)
{
    int64_t now = milliseconds();
    if (s->text_length == 0 || now - s->text_made >= KEPT_MS) {
        s->text_length = s->make(s->user, s->text, TEXT_BYTES);
        s->text_made = now;
    }
    return s->text_length;
}

static void answer(server *s, connection *c, int status)
{
    size_t body = status == 200 ? current_text(s) : 0;
    if (status == 200 && body == 0)
        status = 503;
    const char *reason = request_reason(status);
    size_t shown = status == 200 ? body : strlen(reason) + 1;
    c->answer = malloc(HEAD_BYTES + shown);
    if (c->answer == NULL) {
        drop(c);
        return;
    }
    int head = snprintf(c->answer, HEAD_BYTES,
                        "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\n"
                        "%sConnection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n",
                        status, reason, status == 200 ? "application/openmetrics-text; version=1.0.0" : "text/plain",
                        shown, status == 405 ? "Allow: GET, HEAD\r\n" : "");
    c->length = (size_t)head;
    if (!c->request.head_only) {
        memcpy(c->answer + c->length, status == 200 ? s->text : reason, status == 200 ? shown : shown - 1);
        if (status != 200)
            c->answer[c->length + shown - 1] = '\n';
        c->length += shown;
    }
    c->answering = true;
}

/* --- connections -------------------------------------------------------------------------------------------------- */

/** A free place, or that of the connection which has been asking longest. */
static connection *find_place(server *s)
{
    connection *oldest = NULL;
    for (int i = 0; i < CONNECTIONS; ++i) {
        connection *c = &s->connections[i];
        if (c->socket < 0)
            return c;
        if (oldest == NULL || (oldest->answering && !c->answering) ||
            (oldest->answering == c->answering && c->accepted < oldest->accepted))
            oldest = c;
    }
    drop(oldest);
    return oldest;
}

/** Where descriptors or memory are short, whoever waits goes on waiting, and poll would tell of them at once again. */
static void accept_one(server *s)
{
    int socket = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            s->accepting_from = milliseconds() + PAUSE_MS;
        return;
    }
    connection *c = find_place(s);
    *c = (connection){ .socket = socket, .accepted = milliseconds() };
}

static void take(server *s, connection *c)
{
    size_t room = 0;
    char *to = request_room(&c->request, &room);
    ssize_t n = recv(c->socket, to, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    int status = request_take(&c->request, (size_t)n);
    if (status != 0)
        answer(s, c, status);
}

static void give(connection *c)
{
    ssize_t n = send(c->socket, c->answer + c->sent, c->length - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    c->sent += n > 0 ? (size_t)n : 0;
    if (n > 0 && c->sent < c->length)
        return;
    /* What was sent beyond the request would make close() reset the connection before the answer is read. */
    char rest[1024];
    shutdown(c->socket, SHUT_WR);
    for (int i = 0; i < 16 && recv(c->socket, rest, sizeof(rest), 0) > 0; ++i)
        ;
    drop(c);
}

static void end_slow(server *s)
{
    int64_t now = milliseconds();
    for (int i = 0; i < CONNECTIONS; ++i) {
        connection *c = &s->connections[i];
        if (c->socket >= 0 && now - c->accepted > (c->answering ? ANSWER_MS : REQUEST_MS)) {
            if (c->answering) {
                drop(c);
            } else {
                answer(s, c, 408);
                if (c->socket >= 0)
                    give(c);
                if (c->socket >= 0)
                    drop(c);
            }
        }
    }
}

static void *run(void *user)
{
    enum {
        LISTENER = CONNECTIONS,
        WAKE,
        POLLED
    };
    server *s = user;
    struct pollfd polled[POLLED];
    for (;;) {
        for (int i = 0; i < CONNECTIONS; ++i)
            polled[i] = (struct pollfd){ s->connections[i].socket, s->connections[i].answering ? POLLOUT : POLLIN, 0 };
        polled[LISTENER] = (struct pollfd){ milliseconds() < s->accepting_from ? -1 : s->listener, POLLIN, 0 };
        polled[WAKE] = (struct pollfd){ s->wake[0], POLLIN, 0 };
        poll(polled, POLLED, 100);
        if (polled[WAKE].revents != 0)
            return NULL;
        for (int i = 0; i < CONNECTIONS; ++i) {
            connection *c = &s->connections[i];
            if (polled[i].revents != 0 && c->answering)
                give(c);
            else if (polled[i].revents != 0)
                take(s, c);
        }
        end_slow(s);
        if (polled[LISTENER].revents != 0)
            accept_one(s);
    }
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

/** Splits "[::1]:80", "127.0.0.1:80", ":80", "80". */
static bool split(const char *address, char host[64], char port[8])
{
    const char *colon = strrchr(address, ':'), *digits = colon != NULL ? colon + 1 : address;
    size_t length = colon != NULL ? (size_t)(colon - address) : 0;
    const char *from = address;
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        ++from;
        length -= 2;
    } else if (memchr(address, ':', length) != NULL) {
        return false; /* an IPv6 address without brackets */
    }
    size_t count = strspn(digits, "0123456789");
    if (length >= 64 || count == 0 || count > 5 || digits[count] != '\0')
        return false;
    snprintf(host, 64, "%.*s", (int)length, from);
    if (length == 0 || strcmp(host, "localhost") == 0)
        snprintf(host, 64, "127.0.0.1");
    snprintf(port, 8, "%s", digits);
    return atol(port) <= 65535;
}

static int listen_on(const struct addrinfo *at)
{
    int on = 1, socket_ = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0)
        return -1;
    setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(socket_, at->ai_addr, at->ai_addrlen) == 0 && listen(socket_, BACKLOG) == 0)
        return socket_;
    int error = errno;
    close(socket_);
    errno = error;
    return -1;
}

/** The address with the port that was chosen. */
static void name_address(server *s)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof(bound);
    char host[64], port[8];
    if (getsockname(s->listener, (struct sockaddr *)&bound, &length) != 0 ||
        getnameinfo((struct sockaddr *)&bound, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(s->address, sizeof(s->address), bound.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static bool open_listener(server *s, const char *address, char *message)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *at = NULL;
    char host[64], port[8];
    if (!split(address, host, port) || getaddrinfo(host, port, &hints, &at) != 0) {
        snprintf(message, MESSAGE_BYTES, "'%.80s' is not ADDR:PORT with a numeric address", address);
        return false;
    }
    s->listener = listen_on(at);
    freeaddrinfo(at);
    if (s->listener < 0) {
        snprintf(message, MESSAGE_BYTES, "%.80s: %s", address, strerror(errno));
        return false;
    }
    name_address(s);
    return true;
}

server *server_start(const char *address, server_text make, void *user, char *message)
{
    server *s = calloc(1, sizeof(*s));
    char *text = malloc(TEXT_BYTES);
    snprintf(message, MESSAGE_BYTES, "no memory, or no thread");
    if (s == NULL || text == NULL)
        goto free_memory;
    s->make = make;
    s->user = user;
    s->text = text;
    for (int i = 0; i < CONNECTIONS; ++i)
        s->connections[i].socket = -1;
    if (!open_listener(s, address, message))
        goto free_memory;
    if (pipe2(s->wake, O_CLOEXEC) != 0)
        goto close_listener;
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        goto close_pipe;
    return s;
close_pipe:
    close(s->wake[0]);
    close(s->wake[1]);
close_listener:
    close(s->listener);
free_memory:
    free(text);
    free(s);
    return NULL;
}

const char *server_address(const server *s)
{
    return s->address;
}

void server_stop(server *s)
{
    if (s == NULL)
        return;
    close(s->wake[1]); /* the other end becomes readable */
    pthread_join(s->thread, NULL);
    close(s->wake[0]);
    close(s->listener);
    for (int i = 0; i < CONNECTIONS; ++i) {
        if (s->connections[i].socket >= 0)
            drop(&s->connections[i]);
    }
    free(s->text);
    free(s);
}
