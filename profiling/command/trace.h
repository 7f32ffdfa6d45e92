/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_TRACE_H
#define COMMAND_TRACE_H

/** @file
 * A request trace with Mooncake's fields: JSON lines of timestamp (ms), input_length, output_length, and hash_ids, one
 * for each 512 tokens of the input. Requests with the same leading ids have the same leading tokens. */

#include <stdint.h>

enum {
    TRACE_BLOCK = 512
};

typedef struct trace_request {
    uint64_t timestamp;
    uint32_t input;
    uint32_t output;
    uint32_t blocks; /* input / 512, rounded up */
    uint64_t first;  /* of its blocks in `hashes` and `chains` */
    uint64_t line;
} trace_request;

typedef struct trace {
    const char *path;
    trace_request *requests;
    uint64_t count;
    uint64_t capacity;
    int64_t *hashes;
    uint32_t *chains; /* a number for each distinct leading list of hashes: equal chain, equal tokens so far */
    uint64_t n_hashes;
    uint64_t hashes_capacity;
    uint32_t n_chains;
    uint64_t longest; /* input + output of the longest request */
    uint64_t longest_line;
} trace;

/** Reads at most `limit` requests. What is not such a trace ends the program with the file's name and the line. */
trace trace_read(const char *path, uint64_t limit);
void trace_free(trace *t);

#endif
