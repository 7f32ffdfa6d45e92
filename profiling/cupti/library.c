/* SPDX-License-Identifier: Apache-2.0 */
#include "profiling/cupti/library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hm_cupti_library opened;
static int is_open;
static int nvperf_is_open;
static atomic_int forked;

static void in_child(void)
{
    atomic_store_explicit(&forked, 1, memory_order_relaxed);
}

int hm_cupti_forked(void)
{
    return atomic_load_explicit(&forked, memory_order_relaxed);
}

/* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bits are the same. */
static void *fill_table(void *library, hm_cupti_library *table)
{
    void *symbol = NULL;
#define FIND(name, need)                                                                                               \
    symbol = dlsym(library, #name);                                                                                    \
    memcpy(&table->name, &symbol, sizeof(symbol));
    HM_CUPTI_FUNCTIONS(FIND)
#undef FIND
    return dlsym(library, "cuptiGetVersion");
}

/* Where the toolkit puts it, after the folder that the variable names. */
static const char *const folders[] = { "extras/CUPTI/lib64", "lib64", "targets/x86_64-linux/lib",
                                       "targets/sbsa-linux/lib", "lib" };
static const char *const files[] = { "libcupti.so.13", "libcupti.so.12" };

static void *open_toolkit(const char *root)
{
    char path[512];
    for (size_t i = 0; root && *root && i < sizeof(folders) / sizeof(folders[0]); ++i) {
        for (size_t j = 0; j < sizeof(files) / sizeof(files[0]); ++j) {
            const int bytes = snprintf(path, sizeof(path), "%s/%s/%s", root, folders[i], files[j]);
            void *library = bytes > 0 && (size_t)bytes < sizeof(path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
            if (library) {
                return library;
            }
        }
    }
    return NULL;
}

static void *open_anywhere(char *reason)
{
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof(files) / sizeof(files[0]); ++i) {
        library = dlopen(files[i], RTLD_NOW | RTLD_NOLOAD);
    }
    for (size_t i = 0; !library && i < sizeof(files) / sizeof(files[0]); ++i) {
        library = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
    }
    const char *const roots[] = { secure_getenv("CUDA_HOME"), secure_getenv("CUDA_PATH"), "/usr/local/cuda",
                                  "/opt/cuda" };
    for (size_t i = 0; !library && i < sizeof(roots) / sizeof(roots[0]); ++i) {
        library = open_toolkit(roots[i]);
    }
    if (!library) {
        snprintf(
            reason, HM_REASON_BYTES,
            "libcupti.so.13 was not found: it comes with the CUDA toolkit (extras/CUPTI) or NVIDIA's Python package "
            "nvidia-cuda-cupti; HOPMLA_CUPTI_PATH names the file or its folder");
    }
    return library;
}

static void *open_path(const char *path, char *reason)
{
    char file[512];
    struct stat status;
    const int is_folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    const int bytes = snprintf(file, sizeof(file), is_folder ? "%s/libcupti.so.13" : "%s", path);
    void *library = bytes > 0 && (size_t)bytes < sizeof(file) ? dlopen(file, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        const char *why = dlerror();
        snprintf(reason, HM_REASON_BYTES, "libcupti.so was not opened: %s", why ? why : "its path is too long");
    }
    return library;
}

/* What is no CUPTI stays open as well: closing is not safe once it has run code. */
static int open_library(const char *path, char *reason)
{
    const char *chosen = path && *path ? path : secure_getenv("HOPMLA_CUPTI_PATH");
    void *library = chosen && *chosen ? open_path(chosen, reason) : open_anywhere(reason);
    if (!library) {
        return 0;
    }
    hm_cupti_library table = { 0 };
    Dl_info where = { 0 };
    void *symbol = fill_table(library, &table);
    if (!symbol || table.cuptiGetVersion(&table.version) != CUPTI_SUCCESS) {
        snprintf(reason, HM_REASON_BYTES, "%s is no CUPTI: cuptiGetVersion is missing or fails",
                 chosen && *chosen ? chosen : "libcupti.so");
        return 0;
    }
    if (dladdr(symbol, &where) && where.dli_fname) {
        snprintf(table.path, sizeof(table.path), "%s", where.dli_fname);
    }
    /* CUPTI keeps pointers into this library, even after a session. */
    if (dladdr(&opened, &where) && where.dli_fname) {
        (void)dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    }
    pthread_atfork(NULL, NULL, in_child);
    opened = table;
    is_open = 1;
    return 1;
}

const hm_cupti_library *hm_cupti_open(const char *path, char *reason)
{
    pthread_mutex_lock(&lock);
    const int is_there = is_open || open_library(path, reason);
    pthread_mutex_unlock(&lock);
    return is_there ? &opened : NULL;
}

/* CUPTI opens it by its bare name, which finds one that is open already but not one beside itself. */
static int open_nvperf(const hm_cupti_library *cupti, char *reason)
{
    static const char name[] = "libnvperf_host.so";
    char path[sizeof(cupti->path) + sizeof(name)];
    const char *slash = strrchr(cupti->path, '/');
    const int folder = slash ? (int)(slash - cupti->path) + 1 : 0;
    snprintf(path, sizeof(path), "%.*s%s", folder, cupti->path, name);
    if (!dlopen(path, RTLD_NOW | RTLD_LOCAL) && !dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
        snprintf(
            reason, HM_REASON_BYTES,
            "libnvperf_host.so, which counters need, is neither beside %.120s nor found by the loader: it comes with "
            "CUPTI",
            cupti->path);
        return 0;
    }
    return 1;
}

/* CUPTI counted its versions up to 28, which CUDA 12.9 had. */
static void explain_old(const hm_cupti_library *cupti, const char *missing, int need, char *reason)
{
    char version[32];
    if (cupti->version >= 10000) {
        snprintf(version, sizeof(version), "CUDA %u.%u", cupti->version / 10000, cupti->version / 100 % 100);
    } else {
        snprintf(version, sizeof(version), "version %u", cupti->version);
    }
    snprintf(reason, HM_REASON_BYTES, "%.120s (%s) is too old: %s is missing; CUDA %s or later has it", cupti->path,
             version, missing, need & HM_NEED_COUNTERS ? "12.6" : "12.0");
}

int hm_cupti_has(const hm_cupti_library *cupti, int need, char *reason)
{
#define CHECK(name, for_what)                                                                                          \
    if (((for_what)&need) && !cupti->name) {                                                                           \
        explain_old(cupti, #name, need, reason);                                                                       \
        return 0;                                                                                                      \
    }
    HM_CUPTI_FUNCTIONS(CHECK)
#undef CHECK
    if (!(need & HM_NEED_COUNTERS)) {
        return 1;
    }
    pthread_mutex_lock(&lock);
    nvperf_is_open = nvperf_is_open || open_nvperf(cupti, reason);
    const int is_there = nvperf_is_open;
    pthread_mutex_unlock(&lock);
    return is_there;
}

static const char *advice(CUptiResult code)
{
    switch (code) {
    case CUPTI_ERROR_INSUFFICIENT_PRIVILEGES:
    case CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES:
        return "the driver gives hardware counters to administrators only: RmProfilingAdminOnly in "
               "/proc/driver/nvidia/params; load it with NVreg_RestrictProfilingToAdminUsers=0, or run with CAP_SYS_ADMIN";
    case CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED:
        return "another tool holds CUPTI (Nsight, a framework's profiler): run without it";
    case CUPTI_ERROR_HARDWARE_BUSY:
        return "the device's counters are held by another context, process or tool";
    case CUPTI_ERROR_NOT_COMPATIBLE:
        return "libcupti and the driver do not fit together: use the libcupti of the driver's CUDA version";
    case CUPTI_ERROR_NOT_INITIALIZED:
        return "CUPTI does not start: libnvperf_host.so beside it may be missing or of another version";
    case CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED:
    case CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED:
    case CUPTI_ERROR_MIG_DEVICE_NOT_SUPPORTED:
    case CUPTI_ERROR_WSL_DEVICE_NOT_SUPPORTED:
    case CUPTI_ERROR_NOT_SUPPORTED:
        return "not on this device as it is set up";
    default:
        return NULL;
    }
}

void hm_cupti_explain(const hm_cupti_library *cupti, CUptiResult code, const char *call, char *reason)
{
    const char *name = NULL, *what = advice(code);
    if (cupti->cuptiGetResultString(code, &name) != CUPTI_SUCCESS || !name) {
        name = "unknown";
    }
    if (what) {
        snprintf(reason, HM_REASON_BYTES, "%s (%s: %d)", what, call, (int)code);
    } else {
        snprintf(reason, HM_REASON_BYTES, "%s: %s (%d)", call, name, (int)code);
    }
}
