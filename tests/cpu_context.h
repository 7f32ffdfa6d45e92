/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CPU_CONTEXT_H
#define TESTS_CPU_CONTEXT_H

/** @file
 * A context of the CPU backend with one thread as a fixture, and its streams. After cmocka.h. */

#include <string.h>

#include "hopmla/hopmla.h"

static inline hopmla_context *make_context(void)
{
    hopmla_context *context = NULL;
    hopmla_context_options options = HOPMLA_CONTEXT_OPTIONS_INIT;
    options.backend = HOPMLA_BACKEND_CPU;
    options.cpu_threads = 1;
    assert_int_equal(hopmla_context_create(&options, &context, NULL), HOPMLA_OK);
    return context;
}

static inline int open_context(void **state)
{
    *state = make_context();
    return 0;
}

static inline int close_context(void **state)
{
    hopmla_context_destroy(*state);
    return 0;
}

static inline hopmla_stream make_stream(hopmla_context *context)
{
    hopmla_stream stream = NULL;
    assert_int_equal(hopmla_stream_create(context, &stream, NULL), HOPMLA_OK);
    assert_non_null(stream);
    return stream;
}

/* That a call failed as it should, and said which argument it was. */
#define assert_fails(call, expected, words)                                                                            \
    do {                                                                                                               \
        hopmla_error error = HOPMLA_ERROR_INIT;                                                                        \
        assert_int_equal(call, expected);                                                                              \
        assert_int_equal(error.status, expected);                                                                      \
        if (!strstr(error.message, words)) {                                                                           \
            fail_msg("\"%s\" does not say \"%s\"", error.message, words);                                              \
        }                                                                                                              \
    } while (0)

#endif
