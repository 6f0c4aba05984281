/* Makes a disk sick for one process: preloaded, it fails calls on files below CHAOS_PREFIX as CHAOS_CONTROL says.
 * The control file is an array of 32-bit numbers, mapped and shared: five rates in 1/1000, then how often each struck.
 * A seed in CHAOS_SEED makes the draws of a thread repeatable. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { FSYNC_EIO, RENAME_ENOSPC, SHORT_WRITE, BIT_FLIP, READ_EIO, KINDS };

static volatile uint32_t *control;
static const char *prefix;
static __thread uint64_t state;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CHAOS_CONTROL");
    prefix = getenv("CHAOS_PREFIX");
    if (!path || !prefix) return;
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return;
    void *found = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (found != MAP_FAILED) control = found;
    close(descriptor);
}

static uint64_t draw(void) {
    if (!state) {
        const char *seed = getenv("CHAOS_SEED");
        state = 0x9E3779B97F4A7C15ull * (1 + (seed ? strtoull(seed, NULL, 10) : 0)) ^ (uint64_t)gettid();
    }
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state >> 11;
}

static int strikes(int kind, const char *path) {
    if (!control || !control[kind] || strncmp(path, prefix, strlen(prefix))) return 0;
    if (draw() % 1000 >= control[kind]) return 0;
    __sync_fetch_and_add(&control[KINDS + kind], 1);
    return 1;
}

static int strikes_file(int kind, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!control || !control[kind]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strikes(kind, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int descriptor) {
    int struck = strikes_file(FSYNC_EIO, descriptor);
    int result = NEXT(fsync)(descriptor);
    if (struck) return errno = EIO, -1;
    return result;
}

int rename(const char *from, const char *to) {
    if (strikes(RENAME_ENOSPC, to)) return errno = ENOSPC, -1;
    return NEXT(rename)(from, to);
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset) {
    if (length > 1 && strikes_file(SHORT_WRITE, descriptor)) length = 1 + draw() % (length - 1);
    return NEXT(pwrite64)(descriptor, data, length, offset);
}

ssize_t pread64(int descriptor, void *data, size_t length, off64_t offset) {
    if (strikes_file(READ_EIO, descriptor)) return errno = EIO, -1;
    ssize_t got = NEXT(pread64)(descriptor, data, length, offset);
    if (got > 0 && strikes_file(BIT_FLIP, descriptor)) ((unsigned char *)data)[draw() % got] ^= 1 << draw() % 8;
    return got;
}
