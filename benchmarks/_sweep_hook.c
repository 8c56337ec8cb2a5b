/* Counts the calls of a process that change files below one folder, and breaks one of them, or writes all down.

   Loaded with LD_PRELOAD by _sweep_process.py, which also lays out `struct control`. Python, SQLite inside apsw, Arrow
   and the databases written in Rust all change files through these functions of the C library. What is written
   through a writable mapping is not seen; textkin has none but SQLite's -shm, which is rebuilt after every crash. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { OPEN = 1, WRITE, RESIZE, RENAME, UNLINK, MKDIR, RMDIR, LINK, SYMLINK, CHMOD, SYNC, SEND, MARK };
enum act { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_MIDDLE, FAIL_ONCE, FAIL_ON, SHORT, HALF_THEN_FAIL_ON };

struct control {
    int64_t count; /* calls so far */
    int64_t at;    /* the call that is broken, from 1 */
    int64_t fired; /* calls that were broken */
    int32_t act, error, sockets, recording, lock, allowed; /* allowed: a bit for each op that can give this error */
    char root[PATH_MAX], log[PATH_MAX];
};

struct entry { /* of the log; the two paths and the data follow */
    uint8_t op, created, truncated, shrunk;
    int32_t first, second;
    int64_t offset, length;
};

static struct control *control;
static int log_file = -1;
static __thread int inside; /* a call of the hook's own, or one of libc's within another */

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static ssize_t raw_write(int file, const void *data, size_t size) {
    REAL(write);
    return real(file, data, size);
}

/* Follow the orders in this file from now on; called from Python in a forked process, and at the start of others. */
void sweep_attach(const char *path) {
    inside = 1;
    control = NULL;
    if (log_file >= 0) close(log_file);
    log_file = -1;
    int file = path && *path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *found = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (found != MAP_FAILED) {
            struct control *orders = found;
            if (orders->recording) log_file = open(orders->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
            control = orders;
        }
    }
    inside = 0;
}

__attribute__((constructor)) static void start(void) { sweep_attach(getenv("TEXTKIN_SWEEP_CONTROL")); }

/* The path of an open file or of a name below an open folder, as it is now. */
static int full_path(int folder, const char *name, char *into) {
    char link[64];
    into[0] = 0;
    if (name && name[0] == '/') return snprintf(into, PATH_MAX, "%s", name) < PATH_MAX;
    if (folder == AT_FDCWD) {
        if (!getcwd(into, PATH_MAX)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t size = readlink(link, into, PATH_MAX - 1);
        if (size < 0) return 0;
        into[size] = 0;
    }
    size_t used = strlen(into);
    return !name || snprintf(into + used, PATH_MAX - used, "/%s", name) < (int)(PATH_MAX - used);
}

static int below(const char *path) {
    size_t size = strlen(control->root);
    return !strncmp(path, control->root, size) && (path[size] == '/' || !path[size]);
}

static void log_entry(struct entry entry, const char *first, const char *second, const void *data) {
    if (log_file < 0) return;
    entry.first = first ? strlen(first) : 0;
    entry.second = second ? strlen(second) : 0;
    size_t size = sizeof entry + entry.first + entry.second + (data ? entry.length : 0);
    char *whole = malloc(size), *end = whole;
    memcpy(end, &entry, sizeof entry), end += sizeof entry;
    if (entry.first) memcpy(end, first, entry.first), end += entry.first;
    if (entry.second) memcpy(end, second, entry.second), end += entry.second;
    if (data) memcpy(end, data, entry.length);
    raw_write(log_file, whole, size);
    free(whole);
}

/* Something that the process said was done. */
void sweep_mark(const char *what) {
    if (control) log_entry((struct entry){.op = MARK}, what, NULL, NULL);
}

static void take(void) {
    while (control->recording && __atomic_exchange_n(&control->lock, 1, __ATOMIC_ACQUIRE)) sched_yield();
    inside = 1;
}

static void leave(void) {
    inside = 0;
    if (control->recording) __atomic_store_n(&control->lock, 0, __ATOMIC_RELEASE);
}

/* What becomes of the next call: it is made, it fails, or the process ends here. */
static enum act due(enum op op) {
    int64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    enum act act = control->act;
    if (!act || number < control->at) return NOTHING;
    if (number > control->at && act != FAIL_ON && act != HALF_THEN_FAIL_ON) return NOTHING;
    if (act >= FAIL_ONCE && act != SHORT && !(control->allowed >> op & 1)) return NOTHING;
    if (act == HALF_THEN_FAIL_ON && (number > control->at || op != WRITE)) act = FAIL_ON;
    if (act == SHORT && op != WRITE) return NOTHING;
    __atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST);
    if (act == KILL_BEFORE || (act == KILL_MIDDLE && op != WRITE && op != SEND)) kill(getpid(), SIGKILL);
    if (act == FAIL_ONCE || act == FAIL_ON) errno = control->error;
    return act;
}

/* One call: `meant` says whether it is counted, `made` makes it; `entry` is written down when it went well. */
#define CALL(op_, meant, made, entry_, first, second, data)                                     \
    do {                                                                                        \
        if (!control || inside) return made;                                                    \
        if (!(meant)) return made;                                                              \
        take();                                                                                 \
        enum act act = due(op_);                                                                \
        if (act == FAIL_ONCE || act == FAIL_ON) { leave(); return -1; }                         \
        __typeof__(made) answer = made;                                                         \
        int error = errno;                                                                      \
        if (act == KILL_AFTER) kill(getpid(), SIGKILL);                                         \
        if (answer >= 0) { struct entry e = entry_; e.op = op_; log_entry(e, first, second, data); } \
        leave();                                                                                \
        errno = error;                                                                          \
        return answer;                                                                          \
    } while (0)


static int opened(int folder, const char *name, int flags, mode_t mode) {
    REAL(openat64);
    char path[PATH_MAX];
    struct stat before;
    int writes = (flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY;
    if (!control || inside || !writes || (flags & O_TMPFILE) == O_TMPFILE || !full_path(folder, name, path))
        return real(folder, name, flags, mode);
    int missing = stat(path, &before) != 0;
    CALL(OPEN, below(path), real(folder, name, flags, mode),
         ((struct entry){.created = missing, .truncated = !!(flags & O_TRUNC)}), path, NULL, NULL);
}

#define MODE(flags)                                                          \
    mode_t mode = 0;                                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                                     \
        va_list more;                                                        \
        va_start(more, flags), mode = va_arg(more, mode_t), va_end(more);    \
    }
int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static FILE *opened_stream(FILE *(*real)(const char *, const char *), const char *name, const char *mode) {
    char path[PATH_MAX];
    struct stat before;
    if (!control || inside || mode[0] == 'r' || !full_path(AT_FDCWD, name, path) || !below(path))
        return real(name, mode);
    take();
    int missing = stat(path, &before) != 0;
    enum act act = due(OPEN);
    FILE *answer = act == FAIL_ONCE || act == FAIL_ON ? NULL : real(name, mode);
    int error = act == FAIL_ONCE || act == FAIL_ON ? control->error : errno;
    if (act == KILL_AFTER) kill(getpid(), SIGKILL);
    if (answer) log_entry((struct entry){.op = OPEN, .created = missing, .truncated = mode[0] == 'w'}, path, NULL, NULL);
    leave();
    errno = error;
    return answer;
}
FILE *fopen(const char *name, const char *mode) { REAL(fopen); return opened_stream(real, name, mode); }
FILE *fopen64(const char *name, const char *mode) { REAL(fopen64); return opened_stream(real, name, mode); }

/* All that writes bytes ends here: at `offset`, or where the file stands. */
static ssize_t written(int file, const void *data, size_t size, int64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    char path[PATH_MAX];
    if (!control || inside || !full_path(file, NULL, path) || !below(path))
        return offset < 0 ? raw_write(file, data, size) : real(file, data, size, offset);
    take();
    enum act act = due(WRITE);
    if (act == FAIL_ONCE || act == FAIL_ON) { leave(); return -1; }
    size_t now = act == KILL_MIDDLE || ((act == SHORT || act == HALF_THEN_FAIL_ON) && size > 1) ? size / 2 : size;
    int64_t start = offset;
    if (offset < 0) start = lseek64(file, 0, fcntl(file, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t answer = offset < 0 ? raw_write(file, data, now) : real(file, data, now, offset);
    int error = errno;
    if (act == KILL_AFTER || act == KILL_MIDDLE) kill(getpid(), SIGKILL);
    if (answer >= 0) log_entry((struct entry){.op = WRITE, .offset = start, .length = answer}, path, NULL, data);
    leave();
    errno = error;
    return answer;
}
ssize_t write(int file, const void *data, size_t size) { return written(file, data, size, -1); }
ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { return written(file, data, size, offset); }
ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) { return written(file, data, size, offset); }

static ssize_t written_parts(int file, const struct iovec *parts, int count, int64_t offset) {
    size_t size = 0;
    for (int i = 0; i < count; i++) size += parts[i].iov_len;
    char *whole = malloc(size ? size : 1), *end = whole;
    for (int i = 0; i < count; end += parts[i++].iov_len) memcpy(end, parts[i].iov_base, parts[i].iov_len);
    ssize_t answer = written(file, whole, size, offset);
    int error = errno;
    free(whole);
    errno = error;
    return answer;
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    char path[PATH_MAX];
    if (!control || inside || !full_path(file, NULL, path) || !below(path)) return real(file, parts, count);
    return written_parts(file, parts, count, -1);
}
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { return written_parts(file, parts, count, at); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t at) {
    return written_parts(file, parts, count, at);
}

static int resized(int file, int64_t size, int shrink) {
    REAL(ftruncate64);
    char path[PATH_MAX];
    if (!control || inside || !full_path(file, NULL, path)) return real(file, size);
    CALL(RESIZE, below(path), real(file, size), ((struct entry){.offset = size, .shrunk = shrink}), path, NULL, NULL);
}
int ftruncate(int file, off_t size) { return resized(file, size, 1); }
int ftruncate64(int file, off64_t size) { return resized(file, size, 1); }
int truncate(const char *name, off_t size) {
    REAL(truncate);
    char path[PATH_MAX];
    if (!control || inside || !full_path(AT_FDCWD, name, path)) return real(name, size);
    CALL(RESIZE, below(path), real(name, size), ((struct entry){.offset = size, .shrunk = 1}), path, NULL, NULL);
}
int posix_fallocate64(int file, off64_t start, off64_t size) {
    REAL(posix_fallocate64);
    char path[PATH_MAX];
    if (!control || inside || !full_path(file, NULL, path) || !below(path)) return real(file, start, size);
    struct stat now;
    if (fstat(file, &now) == 0 && now.st_size >= start + size) return 0;
    return resized(file, start + size, 0) ? errno : 0;
}
int posix_fallocate(int file, off_t start, off_t size) { return posix_fallocate64(file, start, size); }
int fallocate64(int file, int mode, off64_t start, off64_t size) {
    REAL(fallocate64);
    char path[PATH_MAX];
    if (!control || inside || !full_path(file, NULL, path) || !below(path)) return real(file, mode, start, size);
    errno = EOPNOTSUPP; /* as on a file system without it: the caller writes or gives up */
    return -1;
}
int fallocate(int file, int mode, off_t start, off_t size) { return fallocate64(file, mode, start, size); }

/* Copies inside the kernel would hide the bytes: callers fall back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    char path[PATH_MAX];
    if (!control || inside || !full_path(out, NULL, path) || !below(path)) return real(in, from, out, to, size, flags);
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int out, int in, off64_t *from, size_t size) {
    REAL(sendfile64);
    char path[PATH_MAX];
    if (!control || inside || !full_path(out, NULL, path) || !below(path)) return real(out, in, from, size);
    errno = ENOTSOCK;
    return -1;
}
ssize_t sendfile(int out, int in, off_t *from, size_t size) { return sendfile64(out, in, from, size); }

#define TWO_NAMES(op_, here, one, there, two, made)                                                              \
    char path[PATH_MAX], other[PATH_MAX];                                                                        \
    if (!control || inside || !full_path(here, one, path) || !full_path(there, two, other)) return made;         \
    CALL(op_, below(path) || below(other), made, ((struct entry){0}), path, other, NULL)
#define ONE_NAME(op_, here, one, made)                                              \
    char path[PATH_MAX];                                                            \
    if (!control || inside || !full_path(here, one, path)) return made;             \
    CALL(op_, below(path), made, ((struct entry){0}), path, NULL, NULL)

int renameat2(int here, const char *one, int there, const char *two, unsigned flags) {
    REAL(renameat2);
    TWO_NAMES(RENAME, here, one, there, two, real(here, one, there, two, flags));
}
int renameat(int here, const char *one, int there, const char *two) { return renameat2(here, one, there, two, 0); }
int rename(const char *one, const char *two) { return renameat2(AT_FDCWD, one, AT_FDCWD, two, 0); }
int linkat(int here, const char *one, int there, const char *two, int flags) {
    REAL(linkat);
    TWO_NAMES(LINK, here, one, there, two, real(here, one, there, two, flags));
}
int link(const char *one, const char *two) { return linkat(AT_FDCWD, one, AT_FDCWD, two, 0); }
int symlinkat(const char *to, int folder, const char *name) {
    REAL(symlinkat);
    char path[PATH_MAX];
    if (!control || inside || !full_path(folder, name, path)) return real(to, folder, name);
    CALL(SYMLINK, below(path), real(to, folder, name), ((struct entry){0}), path, to, NULL);
}
int symlink(const char *to, const char *name) { return symlinkat(to, AT_FDCWD, name); }
int unlinkat(int folder, const char *name, int flags) {
    REAL(unlinkat);
    ONE_NAME((flags & AT_REMOVEDIR ? RMDIR : UNLINK), folder, name, real(folder, name, flags));
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    struct stat found;
    return unlinkat(AT_FDCWD, name, !lstat(name, &found) && S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0);
}
int mkdirat(int folder, const char *name, mode_t mode) {
    REAL(mkdirat);
    ONE_NAME(MKDIR, folder, name, real(folder, name, mode));
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
int chmod(const char *name, mode_t mode) { REAL(chmod); ONE_NAME(CHMOD, AT_FDCWD, name, real(name, mode)); }
int fchmod(int file, mode_t mode) { REAL(fchmod); ONE_NAME(CHMOD, file, NULL, real(file, mode)); }
int fsync(int file) { REAL(fsync); ONE_NAME(SYNC, file, NULL, real(file)); }
int fdatasync(int file) { REAL(fdatasync); ONE_NAME(SYNC, file, NULL, real(file)); }

/* Orders to a server are counted too where the case says so. */
ssize_t send(int file, const void *data, size_t size, int flags) {
    REAL(send);
    if (!control || inside || !control->sockets) return real(file, data, size, flags);
    take();
    enum act act = due(SEND);
    if (act == FAIL_ONCE || act == FAIL_ON) { shutdown(file, SHUT_RDWR); leave(); return -1; }
    ssize_t answer = real(file, data, act == KILL_MIDDLE ? (size + 1) / 2 : size, flags);
    int error = errno;
    if (act == KILL_AFTER || act == KILL_MIDDLE) kill(getpid(), SIGKILL);
    leave();
    errno = error;
    return answer;
}
