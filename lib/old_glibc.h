/* SPDX-License-Identifier: Apache-2.0 */
/* Included ahead of every file with -Dold_glibc=true. glibc 2.32 and 2.34 moved these into libc.so.6 under new versions;
 * a library linked there would ask for them by those, and an older glibc has them by the first ones alone, which newer
 * ones keep. What is left asks for at most 2.29 (log2). A name that a file does not use leaves nothing in it. */
#ifndef HM_OLD_GLIBC_H
#define HM_OLD_GLIBC_H

#ifndef __ASSEMBLER__
#if defined(__x86_64__)
#define HM_FIRST_GLIBC "GLIBC_2.2.5"
#define HM_STAT_VERSION 1
#define HM_SETNAME_GLIBC "GLIBC_2.12"
#elif defined(__aarch64__)
#define HM_FIRST_GLIBC "GLIBC_2.17"
#define HM_STAT_VERSION 0
#define HM_SETNAME_GLIBC "GLIBC_2.17"
#else
#error "-Dold_glibc is for x86-64 and aarch64"
#endif

#define HM_OLD(name, version) __asm__(".symver " #name "," #name "@" version)

HM_OLD(dladdr, HM_FIRST_GLIBC);
HM_OLD(dlclose, HM_FIRST_GLIBC);
HM_OLD(dlerror, HM_FIRST_GLIBC);
HM_OLD(dlopen, HM_FIRST_GLIBC);
HM_OLD(dlsym, HM_FIRST_GLIBC);
HM_OLD(pthread_create, HM_FIRST_GLIBC);
HM_OLD(pthread_join, HM_FIRST_GLIBC);
HM_OLD(pthread_mutex_trylock, HM_FIRST_GLIBC);
HM_OLD(pthread_once, HM_FIRST_GLIBC);
HM_OLD(pthread_setname_np, HM_SETNAME_GLIBC);
HM_OLD(pthread_sigmask, HM_FIRST_GLIBC);

/* Under _GNU_SOURCE, the headers of 2.38 and later turn strtol and its kin into C23's, which read 0b101 too in base 0 and
 * 2. Nothing here uses these bases: the plain ones do the same. */
#define HM_NOT_C23(name) __asm__(".symver __isoc23_" #name "," #name "@" HM_FIRST_GLIBC)

HM_NOT_C23(strtol);
HM_NOT_C23(strtoll);
HM_NOT_C23(strtoul);
HM_NOT_C23(strtoull);

/* Before 2.33 these were inline functions around others, which say what the struct looks like. */
#include <sys/stat.h>
int __xstat(int version, const char *path, struct stat *found);
int __fxstat(int version, int file, struct stat *found);
int __fxstatat(int version, int folder, const char *path, struct stat *found, int flags);
HM_OLD(__xstat, HM_FIRST_GLIBC);
HM_OLD(__fxstat, HM_FIRST_GLIBC);
#if defined(__x86_64__)
HM_OLD(__fxstatat, "GLIBC_2.4");
#else
HM_OLD(__fxstatat, HM_FIRST_GLIBC);
#endif
#define stat(path, found) __xstat(HM_STAT_VERSION, path, found)
#define fstat(file, found) __fxstat(HM_STAT_VERSION, file, found)
#define fstatat(folder, path, found, flags) __fxstatat(HM_STAT_VERSION, folder, path, found, flags)

#endif
#endif
