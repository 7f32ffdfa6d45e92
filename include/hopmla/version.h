/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOPMLA_VERSION_H
#define HOPMLA_VERSION_H

#include <stdint.h>

/** @file
 * Version of the header a program was built with, and of the library it runs with. */

#ifdef __cplusplus
extern "C" {
#endif

#define HOPMLA_API __attribute__((visibility("default")))

#define HOPMLA_VERSION_MAJOR 0
#define HOPMLA_VERSION_MINOR 1
#define HOPMLA_VERSION_PATCH 0

/** The number in the shared object's name, libhopmla.so.N: it changes when a program built before must be rebuilt. */
#define HOPMLA_ABI_VERSION 0

/** Version of the library in use.
 *
 * @return major << 16 | minor << 8 | patch.
 *
 * Thread-safe. Makes no driver call. */
HOPMLA_API uint32_t hopmla_version(void);

/** The same as text, for example "0.1.0".
 *
 * @return a constant string; the caller does not free it.
 *
 * Thread-safe. Makes no driver call. */
HOPMLA_API const char *hopmla_version_string(void);

/** ABI number of the library in use. A binding refuses to start when it is not its HOPMLA_ABI_VERSION.
 *
 * Thread-safe. Makes no driver call. */
HOPMLA_API uint32_t hopmla_abi_version(void);

#ifdef __cplusplus
}
#endif

#endif
