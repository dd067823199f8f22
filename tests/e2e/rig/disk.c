/* A disk that fails: preloaded into a program under test, it stands between the program and the files of one folder.
 *
 * DISK_UNDER    the folder
 * DISK_FAULTS   a file that says what is wrong at present, one fault a line: OPERATION PART ERRNO, where the operation is
 *               read, write, sync or syncdir, on files that have this part in their path, or end with it if it ends with $
 * DISK_BREATHS  a file that says, once it is there, how many writes and syncs are left to the program; at the last it dies,
 *               before it, half-way through it, or after it
 * DISK_JOURNAL  a file that takes down whatever is done, in its order. Then nothing is really synced: what a sync means is
 *               worked out from the journal, by whoever cuts the power
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -2;
static long breaths;
static __thread int within;

static ssize_t write_down(int fd, const void *bytes, size_t length)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    const char *from = bytes;
    size_t left = length;
    while (left) {
        ssize_t written = real(fd, from, left);
        if (written < 0)
            abort();
        from += written;
        left -= written;
    }
    return length;
}

static int plain_open(const char *path, int flags, int mode)
{
    REAL(int, "open64", const char *, int, ...);
    return real(path, flags, mode);
}

/* An entry of the journal: what, a number, another, the lengths of two texts, and the texts. */
static void note(char what, uint64_t one, uint64_t two, const void *first, uint32_t first_length, const void *second,
                 uint32_t second_length)
{
    if (journal == -2) {
        const char *path = getenv("DISK_JOURNAL");
        journal = path ? plain_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (journal < 0)
        return;
    char *entry = malloc(25 + first_length + second_length);
    entry[0] = what;
    memcpy(entry + 1, &one, 8);
    memcpy(entry + 9, &two, 8);
    memcpy(entry + 17, &first_length, 4);
    memcpy(entry + 21, &second_length, 4);
    memcpy(entry + 25, first, first_length);
    memcpy(entry + 25 + first_length, second, second_length);
    write_down(journal, entry, 25 + first_length + second_length);
    free(entry);
}

static void note_path(char what, uint64_t one, const char *path, const char *other)
{
    note(what, one, 0, path, strlen(path), other, strlen(other));
}

static int is_ours(const char *path)
{
    const char *under = getenv("DISK_UNDER");
    size_t length = under ? strlen(under) : 0;
    return length && !strncmp(path, under, length) && (path[length] == '/' || !path[length]);
}

/* The path behind a descriptor, if it is one of ours. */
static int ours(int fd, char path[PATH_MAX])
{
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_ours(path);
}

static uint64_t inode(int fd)
{
    struct stat about;
    return fstat(fd, &about) ? 0 : about.st_ino;
}

static int has(const char *path, char *part)
{
    size_t length = strlen(part), whole = strlen(path);
    if (part[length - 1] != '$')
        return strstr(path, part) != NULL;
    length--;
    return whole >= length && !strncmp(path + whole - length, part, length);
}

/* What is wrong with the operation on the path at present; 0: nothing. */
static int fault(const char *operation, const char *path)
{
    const char *faults = getenv("DISK_FAULTS");
    char text[4096], *rest = text, *line;
    int fd = faults ? plain_open(faults, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return 0;
    REAL(ssize_t, "read", int, void *, size_t);
    ssize_t length = real(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    while ((line = strsep(&rest, "\n"))) {
        char what[16], part[256];
        int error;
        if (sscanf(line, "%15s %255s %d", what, part, &error) == 3 && !strcmp(what, operation) && has(path, part))
            return error;
    }
    return 0;
}

enum moment { BEFORE, AMIDST, AFTER };

/* Whether the program dies with this operation. The lock is held. */
static int last(enum moment moment)
{
    static long told;
    const char *path = getenv("DISK_BREATHS");
    if (!told && path) {
        char text[32];
        int fd = plain_open(path, O_RDONLY | O_CLOEXEC, 0);
        if (fd >= 0) {
            REAL(ssize_t, "read", int, void *, size_t);
            ssize_t length = real(fd, text, sizeof text - 1);
            close(fd);
            text[length > 0 ? length : 0] = 0;
            breaths = told = atol(text);
        }
    }
    if (!told)
        return 0;
    if (moment == BEFORE)
        breaths--;
    return breaths <= 0 && told % 3 == (long)moment;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Writes at a place, or where the descriptor stands if that is negative. */
static ssize_t put(int fd, const void *bytes, size_t length, off_t at)
{
    if (at < 0) {
        REAL(ssize_t, "write", int, const void *, size_t);
        return real(fd, bytes, length);
    }
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
    return real(fd, bytes, length, at);
}

static ssize_t watched_write(int fd, const void *bytes, size_t length, off_t at)
{
    static int half_full;
    char path[PATH_MAX];
    if (within || !length || !ours(fd, path))
        return put(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    within = 1;
    ssize_t written = -1;
    int error = fault("write", path);
    if (error == ENOSPC && length > 1 && !half_full) {
        /* A full disk takes what fits. */
        half_full = 1;
        length /= 2;
        error = 0;
    } else {
        half_full = 0;
    }
    if (last(BEFORE))
        die();
    if (error) {
        errno = error;
    } else {
        if (last(AMIDST))
            length = length / 2 + 1;
        off_t place = at;
        struct stat about;
        if (fcntl(fd, F_GETFL) & O_APPEND)
            place = fstat(fd, &about) ? 0 : about.st_size;
        else if (at < 0)
            place = lseek(fd, 0, SEEK_CUR);
        written = put(fd, bytes, length, at);
        if (written > 0)
            note('w', inode(fd), place, bytes, written, "", 0);
        if (last(AMIDST) || last(AFTER))
            die();
    }
    within = 0;
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    return watched_write(fd, bytes, length, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    return watched_write(fd, bytes, length, at);
}

ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));

int ftruncate(int fd, off_t length)
{
    REAL(int, "ftruncate64", int, off_t);
    char path[PATH_MAX];
    if (within || !ours(fd, path))
        return real(fd, length);
    pthread_mutex_lock(&lock);
    within = 1;
    int done = real(fd, length);
    if (!done)
        note('t', inode(fd), length, "", 0, "", 0);
    within = 0;
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));

static int watched_sync(int fd, int (*real)(int))
{
    char path[PATH_MAX];
    if (within || !ours(fd, path))
        return real(fd);
    struct stat about;
    int is_folder = !fstat(fd, &about) && S_ISDIR(about.st_mode);
    pthread_mutex_lock(&lock);
    within = 1;
    int error = fault(is_folder ? "syncdir" : "sync", path);
    if (last(BEFORE) || last(AMIDST))
        die();
    int done = 0;
    if (error) {
        /* The system says so once, and takes the pages for written. */
        note_path('f', inode(fd), path, "");
        errno = error;
        done = -1;
    } else {
        if (!getenv("DISK_JOURNAL"))
            done = real(fd);
        if (!done)
            note_path(is_folder ? 'd' : 's', inode(fd), path, "");
    }
    if (last(AFTER))
        die();
    within = 0;
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    return watched_sync(fd, real);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    return watched_sync(fd, real);
}

static ssize_t watched_read(int fd, void *bytes, size_t length, off_t at)
{
    char path[PATH_MAX];
    if (!within && ours(fd, path)) {
        within = 1;
        int error = fault("read", path);
        within = 0;
        if (error) {
            errno = error;
            return -1;
        }
    }
    if (at < 0) {
        REAL(ssize_t, "read", int, void *, size_t);
        return real(fd, bytes, length);
    }
    REAL(ssize_t, "pread64", int, void *, size_t, off_t);
    return real(fd, bytes, length, at);
}

ssize_t read(int fd, void *bytes, size_t length)
{
    return watched_read(fd, bytes, length, -1);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t at)
{
    return watched_read(fd, bytes, length, at);
}

ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));

static int watched_open(const char *path, int flags, int mode)
{
    if (within || !(flags & (O_CREAT | O_TRUNC)) || !is_ours(path))
        return plain_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    within = 1;
    struct stat about;
    int is_new = lstat(path, &about) != 0;
    int fd = plain_open(path, flags, mode);
    if (fd >= 0 && is_new)
        note_path('c', inode(fd), path, "");
    else if (fd >= 0 && flags & O_TRUNC)
        note('t', inode(fd), 0, "", 0, "", 0);
    within = 0;
    pthread_mutex_unlock(&lock);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0;
    va_end(rest);
    return watched_open(path, flags, mode);
}

int open64(const char *, int, ...) __attribute__((alias("open")));

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    if (within || !is_ours(to))
        return real(from, to);
    pthread_mutex_lock(&lock);
    within = 1;
    int done = real(from, to);
    if (!done)
        note_path('r', 0, from, to);
    within = 0;
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    if (within || !is_ours(path))
        return real(path);
    pthread_mutex_lock(&lock);
    within = 1;
    int done = real(path);
    if (!done)
        note_path('u', 0, path, "");
    within = 0;
    pthread_mutex_unlock(&lock);
    return done;
}
