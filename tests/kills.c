/* Preloaded into a process, this counts its changes to the disk below one folder, and ends the process at one of them.

   A change is a call of libc that writes, cuts, renames, makes or deletes. `kills_watch(folder, n, torn)` starts the
   count: SIGKILL comes before the n-th change; with `torn` a write is first done by half. n = 0 only counts. The count
   is that of this process and its threads, not of its children. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char watched[PATH_MAX];
static long fatal, changes;
static int is_torn, is_watching, full_after;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void kills_watch(const char *folder, long n, int torn) {
    strncpy(watched, folder, sizeof watched - 1);
    fatal = n, changes = 0, is_torn = torn, is_watching = 1, full_after = 0;
}

/* From the n-th change on the disk is full: writes that would add to a file fail with ENOSPC, deletions go on. */
void kills_fill(const char *folder, long n) {
    kills_watch(folder, n, 0);
    full_after = 1;
}

long kills_stop(void) {
    is_watching = 0;
    return changes;
}

static int is_below(const char *path) {
    size_t size = strlen(watched);
    return strncmp(path, watched, size) == 0 && (path[size] == '/' || path[size] == 0);
}

static int is_ours_at(int folder, const char *path) {
    char base[PATH_MAX + 32] = "", link[64];
    if (!is_watching || path == NULL) return 0;
    if (path[0] == '/') return is_below(path);
    if (folder == AT_FDCWD) {
        if (getcwd(base, PATH_MAX) == NULL) return 0;
        return is_below(base);
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, base, PATH_MAX);
    return size > 0 && is_below(base);
}

static int is_ours(int fd) {
    char link[64], path[PATH_MAX] = "";
    if (!is_watching) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    return size > 0 && is_below(path);
}

/* Counts a change. 1: it is the last one, and the process is to end. 2: the disk is full. */
static int count(void) {
    pthread_mutex_lock(&lock);
    changes++;
    int verdict = fatal > 0 && (full_after ? changes >= fatal : changes == fatal) ? 1 + full_after : 0;
    pthread_mutex_unlock(&lock);
    return verdict;
}

static void end(void) {
    raise(SIGKILL);
    for (;;) pause();
}

#define REAL(type, name, ...) type (*real)(__VA_ARGS__) = dlsym(RTLD_NEXT, #name)

#define WRITER(name, parameters, arguments, half, ...)                                                                  \
    ssize_t name parameters {                                                                                          \
        REAL(ssize_t, name, __VA_ARGS__);                                                                              \
        int verdict = is_ours(fd) ? count() : 0;                                                                       \
        if (verdict == 1) {                                                                                            \
            if (is_torn) half;                                                                                         \
            end();                                                                                                     \
        }                                                                                                              \
        if (verdict == 2) return errno = ENOSPC, -1;                                                                   \
        return real arguments;                                                                                         \
    }

WRITER(write, (int fd, const void *data, size_t size), (fd, data, size), real(fd, data, size / 2), int, const void *, size_t)
WRITER(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), real(fd, data, size / 2, at), int,
       const void *, size_t, off_t)
WRITER(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), real(fd, data, size / 2, at),
       int, const void *, size_t, off64_t)
WRITER(writev, (int fd, const struct iovec *parts, int n), (fd, parts, n), real(fd, parts, n / 2), int,
       const struct iovec *, int)
WRITER(pwritev, (int fd, const struct iovec *parts, int n, off_t at), (fd, parts, n, at), real(fd, parts, n / 2, at), int,
       const struct iovec *, int, off_t)

#define CHANGER(name, is_one_of_ours, fills, parameters, arguments, ...)                                               \
    int name parameters {                                                                                              \
        REAL(int, name, __VA_ARGS__);                                                                                  \
        int verdict = (is_one_of_ours) ? count() : 0;                                                                  \
        if (verdict == 1) end();                                                                                       \
        if (verdict == 2 && (fills)) return errno = ENOSPC, -1;                                                        \
        return real arguments;                                                                                         \
    }

CHANGER(ftruncate, is_ours(fd), 0, (int fd, off_t size), (fd, size), int, off_t)
CHANGER(ftruncate64, is_ours(fd), 0, (int fd, off64_t size), (fd, size), int, off64_t)
CHANGER(truncate, is_ours_at(AT_FDCWD, path), 0, (const char *path, off_t size), (path, size), const char *, off_t)
CHANGER(rename, is_ours_at(AT_FDCWD, from), 0, (const char *from, const char *to), (from, to), const char *, const char *)
CHANGER(renameat, is_ours_at(a, from), 0, (int a, const char *from, int b, const char *to), (a, from, b, to), int,
        const char *, int, const char *)
CHANGER(unlink, is_ours_at(AT_FDCWD, path), 0, (const char *path), (path), const char *)
CHANGER(unlinkat, is_ours_at(folder, path), 0, (int folder, const char *path, int flags), (folder, path, flags), int,
        const char *, int)
CHANGER(rmdir, is_ours_at(AT_FDCWD, path), 0, (const char *path), (path), const char *)
CHANGER(mkdir, is_ours_at(AT_FDCWD, path), 1, (const char *path, mode_t mode), (path, mode), const char *, mode_t)
CHANGER(mkdirat, is_ours_at(folder, path), 1, (int folder, const char *path, mode_t mode), (folder, path, mode), int,
        const char *, mode_t)
CHANGER(link, is_ours_at(AT_FDCWD, to), 1, (const char *from, const char *to), (from, to), const char *, const char *)
CHANGER(symlink, is_ours_at(AT_FDCWD, to), 1, (const char *from, const char *to), (from, to), const char *, const char *)

/* Opening is a change where it makes a file or empties one. */
#define OPENER(name, folder, parameters, first, ...)                                                                   \
    int name parameters {                                                                                              \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                                         \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        REAL(int, name, __VA_ARGS__, ...);                                                                             \
        int is_new = (flags & O_CREAT) && faccessat(folder, path, F_OK, 0) != 0;                                       \
        int verdict = (is_new || (flags & O_TRUNC)) && is_ours_at(folder, path) ? count() : 0;                         \
        if (verdict == 1) end();                                                                                       \
        if (verdict == 2 && is_new) return errno = ENOSPC, -1;                                                         \
        return real first;                                                                                             \
    }

OPENER(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode), const char *, int)
OPENER(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode), const char *, int)
OPENER(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode), int, const char *, int)
OPENER(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode), int, const char *, int)
