/* Preloaded into a process, this makes one of its writes go wrong. It stands between the process and libc, so that it
   sees Python, SQLite and Chroma's Rust alike, and it counts what changes files under one folder: writing, cutting,
   renaming, making, deleting. It is told by the environment, for a whole command, or by `faults_watch` and
   `faults_stop`, for this process and its threads.

   FAULT_FOLDER   the folder
   FAULT_COUNTER  a file of 8 bytes that all processes of the command share: the number of changes so far
   FAULT_AT       the number of the change that goes wrong, from 1; 0 only counts
   FAULT_KIND     kill: SIGKILL before the change
                  tear: SIGKILL after half of the bytes of a write, else as kill
                  full: this change and every later one that needs room fails with ENOSPC */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { GOES_ON, IS_FULL, IS_TORN };

static _Atomic long own;      /* the count of this process */
static _Atomic long *counter; /* NULL: nothing is watched */
static long at;
static char kind;
static char folder[PATH_MAX];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULT_COUNTER"), *below = getenv("FAULT_FOLDER");
    if (path == NULL || below == NULL) return;
    strncpy(folder, below, sizeof folder - 1);
    int file = REAL(open)(path, O_RDWR);
    if (file < 0) abort(); /* a watcher that cannot count must not look like silence */
    counter = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (counter == MAP_FAILED) abort();
    close(file);
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    kind = getenv("FAULT_KIND") ? *getenv("FAULT_KIND") : 'k';
}

void faults_watch(const char *below, long n, char what) {
    strncpy(folder, below, sizeof folder - 1);
    at = n, kind = what, own = 0, counter = &own;
}

long faults_stop(void) {
    counter = NULL;
    return own;
}

static int is_watched(const char *path) {
    size_t size = strlen(folder);
    return counter != NULL && path != NULL && strncmp(path, folder, size) == 0 && (path[size] == '/' || !path[size]);
}

static int is_watched_at(int directory, const char *path) {
    char link[64], whole[PATH_MAX];
    if (counter == NULL || path == NULL) return 0;
    if (*path == '/') return is_watched(path);
    if (directory == AT_FDCWD) return getcwd(whole, sizeof whole) != NULL && is_watched(whole);
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t n = readlink(link, whole, sizeof whole - 1);
    if (n < 0) return 0;
    whole[n] = 0;
    return is_watched(whole);
}

static int is_watched_file(int file) { return is_watched_at(file, ""); }

/* What becomes of a change: `needs_room` is one that a full disk refuses, `size` the bytes of a write. */
static int change(int needs_room, size_t size) {
    _Atomic long *count = counter;
    if (count == NULL) return GOES_ON; /* it was stopped by another thread */
    long n = atomic_fetch_add(count, 1) + 1;
    if (at == 0 || n < at) return GOES_ON;
    if (kind == 'f') return needs_room ? (errno = ENOSPC, IS_FULL) : GOES_ON;
    if (n > at) return GOES_ON; /* another process was killed */
    if (kind == 't' && size > 1) return IS_TORN;
    kill(getpid(), SIGKILL);
    return GOES_ON;
}

static void torn(void) { kill(getpid(), SIGKILL); }

#define WRITE(name, parameters, arguments, halved)                                                                     \
    ssize_t name parameters {                                                                                          \
        if (!is_watched_file(file)) return REAL(name) arguments;                                                       \
        int outcome = change(1, size);                                                                                 \
        if (outcome == IS_FULL) return -1;                                                                             \
        if (outcome == IS_TORN) return REAL(name) halved, torn(), -1;                                                  \
        return REAL(name) arguments;                                                                                   \
    }
WRITE(write, (int file, const void *data, size_t size), (file, data, size), (file, data, size / 2))
WRITE(pwrite, (int file, const void *data, size_t size, off_t place), (file, data, size, place),
      (file, data, size / 2, place))
WRITE(pwrite64, (int file, const void *data, size_t size, off64_t place), (file, data, size, place),
      (file, data, size / 2, place))
WRITE(writev, (int file, const struct iovec *data, int size), (file, data, size), (file, data, size / 2))
WRITE(pwritev, (int file, const struct iovec *data, int size, off_t place), (file, data, size, place),
      (file, data, size / 2, place))
WRITE(sendfile, (int file, int from, off_t *place, size_t size), (file, from, place, size),
      (file, from, place, size / 2))
WRITE(sendfile64, (int file, int from, off64_t *place, size_t size), (file, from, place, size),
      (file, from, place, size / 2))

#define CHANGE(name, parameters, arguments, watched, needs_room)                                                       \
    int name parameters {                                                                                              \
        if (watched && change(needs_room, 0) == IS_FULL) return -1;                                                    \
        return REAL(name) arguments;                                                                                   \
    }
/* fsync is none: a kill before it leaves what a kill before the next change leaves. */
CHANGE(ftruncate, (int file, off_t size), (file, size), is_watched_file(file), 0)
CHANGE(ftruncate64, (int file, off64_t size), (file, size), is_watched_file(file), 0)
CHANGE(truncate, (const char *path, off_t size), (path, size), is_watched_at(AT_FDCWD, path), 0)
CHANGE(rename, (const char *from, const char *to), (from, to), is_watched_at(AT_FDCWD, to), 0)
CHANGE(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), is_watched_at(b, to), 0)
CHANGE(unlink, (const char *path), (path), is_watched_at(AT_FDCWD, path), 0)
CHANGE(unlinkat, (int directory, const char *path, int flags), (directory, path, flags),
       is_watched_at(directory, path), 0)
CHANGE(rmdir, (const char *path), (path), is_watched_at(AT_FDCWD, path), 0)
CHANGE(mkdir, (const char *path, mode_t mode), (path, mode), is_watched_at(AT_FDCWD, path), 1)
CHANGE(mkdirat, (int directory, const char *path, mode_t mode), (directory, path, mode),
       is_watched_at(directory, path), 1)
CHANGE(link, (const char *from, const char *to), (from, to), is_watched_at(AT_FDCWD, to), 1)
CHANGE(symlink, (const char *from, const char *to), (from, to), is_watched_at(AT_FDCWD, to), 1)
CHANGE(posix_fallocate, (int file, off_t place, off_t size), (file, place, size), is_watched_file(file), 1)

#define OPEN(name, parameters, arguments, directory)                                                                   \
    int name parameters {                                                                                              \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                                         \
            va_list more;                                                                                              \
            va_start(more, flags);                                                                                     \
            mode = va_arg(more, mode_t);                                                                               \
            va_end(more);                                                                                              \
        }                                                                                                              \
        if ((flags & (O_CREAT | O_TRUNC)) && is_watched_at(directory, path)) {                                         \
            int is_new = faccessat(directory, path, F_OK, 0) != 0;                                                     \
            if ((is_new || (flags & O_TRUNC)) && change(is_new, 0) == IS_FULL) return -1;                              \
        }                                                                                                              \
        return REAL(name) arguments;                                                                                   \
    }
OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int directory, const char *path, int flags, ...), (directory, path, flags, mode), directory)
OPEN(openat64, (int directory, const char *path, int flags, ...), (directory, path, flags, mode), directory)
