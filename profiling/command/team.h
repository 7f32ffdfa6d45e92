/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMAND_TEAM_H
#define COMMAND_TEAM_H

#include <stdint.h>

/** Calls task(user, i) for every i < count, on as many threads as the machine has cores; returns when all are done. */
void team_run(uint64_t count, void (*task)(void *user, uint64_t i), void *user);

#endif
