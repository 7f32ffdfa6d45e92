/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HM_OUT_H
#define HM_OUT_H

/** @file
 * Where an export goes: a small buffer before a file or the caller's callback. What is printed after something failed
 * is dropped, so that writers need not ask; hm_out_close tells. */

#include "hopmla/profile.h"

typedef struct hm_out hm_out;

/** Opens what the options name, which are valid: exactly one of path and write. A regular file is written under a
 * temporary name beside it, anything else (a pipe, a terminal, an open descriptor by its name in /dev or /proc) in place.
 * @return OK, IO, OUT_OF_HOST_MEMORY. */
hopmla_status hm_out_open(const hopmla_export_options *options, hm_out **out, hopmla_error *error);

/** Ends it: the file gets its name, or after a failure is removed. @return OK, IO. */
hopmla_status hm_out_close(hm_out *out, hopmla_error *error);

/** Removes what was written, for an export that cannot go on. */
void hm_out_discard(hm_out *out);

/** Whether something has failed: for loops over many records. */
int hm_out_failed(const hm_out *out);

void hm_out_bytes(hm_out *out, const char *bytes, uint64_t count);
void hm_out_text(hm_out *out, const char *text);

/** printf in the C locale, whatever the program's is; up to 1023 bytes. */
void hm_out_print(hm_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

void hm_out_unsigned(hm_out *out, uint64_t value);
void hm_out_signed(hm_out *out, int64_t value);

/** The shortest decimal that reads back as the same double; the value is finite. */
void hm_out_real(hm_out *out, double value);

/** A string of JSON with its quotation marks. What is not UTF-8 is replaced by U+FFFD. */
void hm_out_json(hm_out *out, const char *text);

/** Text between tags or in a quoted attribute of XML, likewise; control characters, and what else
 * XML does not allow, become U+FFFD. */
void hm_out_xml(hm_out *out, const char *text);

/** The value of an OpenMetrics label, likewise, with its quotation marks. */
void hm_out_label(hm_out *out, const char *text);

#endif
