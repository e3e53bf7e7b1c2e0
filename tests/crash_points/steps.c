// Ends the process that this is loaded into, by LD_PRELOAD, at a chosen step of what it does to its
// disk, and keeps what a power cut at that moment would need to be undone.
//
// A step is a call of libc by which a file or a folder below CRASH_FOLDER changes or is synced. It
// goes by the call and the path in the folder with every number replaced by N: "write log/N.log".
//
//   CRASH_FOLDER  The folder: an absolute path, without symbolic links.
//   CRASH_STEPS   A file. Each step is added to it, a line each, before it is made.
//   CRASH_AT      "before 3 rename state/CURRENT_STATE.next": the process is killed before the third
//                 such step; "after" it; or in the "midst" of it, when half of the bytes are written.
//   CRASH_UNDO    A folder outside of that one, on the same file system. What must be known to undo
//                 what is not synced goes to its file "journal", and names that are removed are kept
//                 in it as hard links. tests/crash_points/power.rs reads both.
//
// Only one change is made at a time, so that the order of the journal is the order on disk; syncs
// run beside changes, as they do elsewhere. sync_file_range is no step: it promises nothing.
// RocksDB's diaries, LOG and LOG.old.*, are looked at by nobody and are left out.
//
// The calls go to the kernel directly and not to the next library: dlsym may allocate, before the
// allocator that is linked into the program is ready for it.

#define _GNU_SOURCE
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
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum when { NEVER, BEFORE, MIDST, AFTER };

// What a record of the journal tells. power.rs has the same numbers.
enum kind { DATA = 1, SYNC = 2, ADDED = 3, REMOVED = 4, RENAMED = 5 };

// Eight numbers, then `name_bytes` of names and `data_bytes` of data.
struct record {
  uint64_t kind;
  uint64_t inode;   // the file, or the synced folder
  uint64_t folder;  // the folder of the name
  uint64_t other;   // RENAMED: the folder of the new name. REMOVED, ADDED: 1 for a folder
  uint64_t offset;  // DATA: where the old bytes belong. SYNC: how many records it covers
  uint64_t size;    // DATA: the file's old size. REMOVED: the number of the hard link
  uint64_t name_bytes;
  uint64_t data_bytes;
};

static char folder[PATH_MAX];
static size_t folder_bytes;
static char undo[PATH_MAX];
static int steps = -1, journal = -1;
static enum when when = NEVER;
static long left;
static char wanted[PATH_MAX];
static uint64_t records, links;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// --- what happens at a step --------------------------------------------------------------------

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

// A test that does not see what it is to see would pass for nothing.
static void must(int holds) {
  if (!holds) abort();
}

static int append_to(const char *path) {
  int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  must(file >= 0);
  return file;
}

__attribute__((constructor)) static void set_up(void) {
  const char *value = getenv("CRASH_FOLDER");
  must(value && strlen(value) < sizeof folder);
  strcpy(folder, value);
  if ((value = getenv("CRASH_STEPS"))) steps = append_to(value);
  if ((value = getenv("CRASH_UNDO"))) {
    char path[PATH_MAX];
    must(snprintf(undo, sizeof undo, "%s", value) < PATH_MAX - 64);
    snprintf(path, sizeof path, "%s/journal", value);
    journal = append_to(path);
  }
  if ((value = getenv("CRASH_AT"))) {
    char name[8];
    int read = 0;
    must(sscanf(value, "%7s %ld %n", name, &left, &read) == 2 && read > 0);
    must(strlen(value + read) < sizeof wanted);
    strcpy(wanted, value + read);
    if (!strcmp(name, "before")) when = BEFORE;
    if (!strcmp(name, "midst")) when = MIDST;
    if (!strcmp(name, "after")) when = AFTER;
    must(when != NEVER);
  }
  // Last: until now nothing was in the folder.
  folder_bytes = strlen(folder);
}

// Takes the lock and counts a step; says when in it the process is to end.
static enum when begin(const char *call, const char *path) {
  char label[PATH_MAX + 32];
  size_t bytes = snprintf(label, sizeof label, "%s ", call);
  for (const char *from = path; *from && bytes < sizeof label - 2;) {
    int is_digit = *from >= '0' && *from <= '9';
    label[bytes++] = is_digit ? 'N' : *from++;
    while (is_digit && *from >= '0' && *from <= '9') from++;
  }
  label[bytes] = 0;
  pthread_mutex_lock(&lock);
  enum when now = when != NEVER && !strcmp(label, wanted) && --left == 0 ? when : NEVER;
  label[bytes] = '\n';
  if (steps >= 0) must(syscall(SYS_write, steps, label, bytes + 1) == (long)bytes + 1);
  if (now == BEFORE) die();
  return now;
}

// Ends a step: with the process, or by giving the lock and the result back.
static long end(enum when now, long result) {
  int error = errno;
  // Only writes have a midst, and have ended the process by now.
  if (now != NEVER) die();
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

// --- where things are --------------------------------------------------------------------------

static long link_target(const char *link, char *target) {
  long bytes = syscall(SYS_readlinkat, AT_FDCWD, link, target, PATH_MAX - 1);
  if (bytes >= 0) target[bytes] = 0;
  return bytes;
}

// The part of `whole` that is below the folder, or nothing if it is elsewhere or a diary.
static const char *inside(const char *whole) {
  if (!folder_bytes || strncmp(whole, folder, folder_bytes) || whole[folder_bytes] != '/') return 0;
  const char *path = whole + folder_bytes;
  while (*path == '/') path++;
  const char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  return !*path || !strcmp(name, "LOG") || !strncmp(name, "LOG.", 4) ? 0 : path;
}

static const char *inside_at(int at, const char *path, char *whole) {
  if (!folder_bytes) return 0;
  whole[0] = 0;
  if (path[0] != '/') {
    char link[64];
    snprintf(link, sizeof link, at == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", at);
    if (link_target(link, whole) < 0) return 0;
  }
  size_t bytes = strlen(whole);
  if (snprintf(whole + bytes, PATH_MAX - bytes, bytes ? "/%s" : "%s", path) >= PATH_MAX - (int)bytes)
    return 0;
  for (bytes = strlen(whole); bytes > 1 && whole[bytes - 1] == '/';) whole[--bytes] = 0;
  return inside(whole);
}

static const char *inside_file(int file, char *whole) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  if (!folder_bytes || link_target(link, whole) < 0) return 0;
  // No name leads to it any more.
  const char *gone = strstr(whole, " (deleted)");
  // The folder itself can only be synced.
  if (!strcmp(whole, folder)) return ".";
  return gone ? 0 : inside(whole);
}

static int look(const char *path, struct stat *found) {
  return syscall(SYS_newfstatat, AT_FDCWD, path, found, AT_SYMLINK_NOFOLLOW) == 0;
}

// --- the journal -------------------------------------------------------------------------------

static void note(struct record record, const char *name, const char *next, const void *data) {
  char names[2 * NAME_MAX + 2];
  record.name_bytes = snprintf(names, sizeof names, next ? "%s/%s" : "%s", name ? name : "", next);
  must(record.name_bytes < sizeof names);
  struct iovec parts[] = {{&record, sizeof record},
                          {names, record.name_bytes},
                          {(void *)data, record.data_bytes}};
  long bytes = sizeof record + record.name_bytes + record.data_bytes;
  must(syscall(SYS_writev, journal, parts, 3) == bytes);
  records++;
}

// The last part of a path; gives the inode of the folder before it.
static const char *split(const char *whole, uint64_t *parent) {
  char path[PATH_MAX];
  const char *name = strrchr(whole, '/') + 1;
  snprintf(path, sizeof path, "%.*s", (int)(name - whole), whole);
  struct stat found;
  must(look(path, &found));
  *parent = found.st_ino;
  return name;
}

// Before bytes are written: what was there.
static void note_bytes(int file, int64_t offset, int64_t bytes) {
  if (journal < 0) return;
  char path[64];
  struct stat found;
  must(syscall(SYS_fstat, file, &found) == 0);
  if (offset < 0) offset = found.st_size;
  // A hole before the bytes goes with the size.
  int64_t until = offset + bytes < found.st_size ? offset + bytes : found.st_size;
  struct record record = {.kind = DATA, .inode = found.st_ino, .offset = offset,
                          .size = found.st_size};
  void *old = NULL;
  if (until > offset) {
    record.data_bytes = until - offset;
    must((old = malloc(record.data_bytes)) != NULL);
    // Again, for reading: the program may have it open for writing alone.
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int again = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    must(again >= 0);
    for (uint64_t done = 0; done < record.data_bytes;) {
      long read = syscall(SYS_pread64, again, (char *)old + done, record.data_bytes - done,
                          offset + done);
      must(read > 0);
      done += read;
    }
    syscall(SYS_close, again);
  }
  note(record, NULL, NULL, old);
  free(old);
}

// After a name was added.
static void note_added(const char *whole) {
  if (journal < 0) return;
  struct stat found;
  must(look(whole, &found));
  struct record record = {.kind = ADDED, .inode = found.st_ino, .other = S_ISDIR(found.st_mode)};
  const char *name = split(whole, &record.folder);
  note(record, name, NULL, NULL);
}

// The name of what was `found`: of a file before it is removed, for a link to it is kept; of a folder
// after it, for its inode may be another's from then on.
static void note_removed(const char *whole, struct stat found) {
  if (journal < 0) return;
  struct record record = {.kind = REMOVED, .inode = found.st_ino, .other = S_ISDIR(found.st_mode)};
  const char *name = split(whole, &record.folder);
  if (!record.other) {
    char kept[PATH_MAX + 32];
    record.size = links++;
    snprintf(kept, sizeof kept, "%s/%llu", undo, (unsigned long long)record.size);
    must(syscall(SYS_linkat, AT_FDCWD, whole, AT_FDCWD, kept, 0) == 0);
  }
  note(record, name, NULL, NULL);
}

// --- the calls ---------------------------------------------------------------------------------

static int open_at(int at, const char *path, int flags, mode_t mode) {
  char whole[PATH_MAX];
  struct stat found;
  int may_change = flags & (O_CREAT | O_TRUNC) && inside_at(at, path, whole);
  int is_there = may_change && look(whole, &found);
  if (!may_change || (is_there && !(flags & O_TRUNC && found.st_size)))
    return syscall(SYS_openat, at, path, flags, mode);
  enum when now = begin(is_there ? "truncate" : "create", inside(whole));
  if (is_there) {
    int file = syscall(SYS_openat, at, path, O_RDONLY | O_CLOEXEC);
    must(file >= 0);
    note_bytes(file, 0, found.st_size);
    syscall(SYS_close, file);
  }
  int file = syscall(SYS_openat, at, path, flags, mode);
  if (file >= 0 && !is_there) note_added(whole);
  return end(now, file);
}

#define OPEN(name, at, ...)                         \
  int name(__VA_ARGS__, int flags, ...) {           \
    va_list more;                                   \
    va_start(more, flags);                          \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
    va_end(more);                                   \
    return open_at(at, path, flags, mode);          \
  }

OPEN(open, AT_FDCWD, const char *path)
OPEN(open64, AT_FDCWD, const char *path)
OPEN(openat, at, int at, const char *path)
OPEN(openat64, at, int at, const char *path)

// A write of `bytes` from `from`, at `offset` or, where that is negative, where the file stands.
static ssize_t write_at(const char *call, int file, const void *from, size_t bytes, off_t offset) {
  char whole[PATH_MAX];
  const char *path = inside_file(file, whole);
  enum when now = NEVER;
  if (path) {
    now = begin(call, path);
    int appends = syscall(SYS_fcntl, file, F_GETFL) & O_APPEND;
    off_t start = offset < 0 && !appends ? syscall(SYS_lseek, file, 0, SEEK_CUR) : offset;
    note_bytes(file, start, bytes);
    if (now == MIDST) bytes /= 2;
  }
  long done = offset < 0 ? syscall(SYS_write, file, from, bytes)
                         : syscall(SYS_pwrite64, file, from, bytes, offset);
  return path ? end(now, done) : done;
}

ssize_t write(int file, const void *from, size_t bytes) {
  return write_at("write", file, from, bytes, -1);
}

ssize_t pwrite(int file, const void *from, size_t bytes, off_t offset) {
  return write_at("write", file, from, bytes, offset);
}

ssize_t pwrite64(int file, const void *from, size_t bytes, off_t offset) {
  return write_at("write", file, from, bytes, offset);
}

// One part at a time where it is to a file in the folder: a short write is a right one.
ssize_t writev(int file, const struct iovec *parts, int count) {
  char whole[PATH_MAX];
  if (!inside_file(file, whole)) return syscall(SYS_writev, file, parts, count);
  while (count > 1 && !parts->iov_len) parts++, count--;
  return count > 0 ? write_at("write", file, parts->iov_base, parts->iov_len, -1) : 0;
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
  char whole[PATH_MAX];
  if (!inside_file(file, whole)) return syscall(SYS_pwritev, file, parts, count, offset, 0);
  while (count > 1 && !parts->iov_len) parts++, count--;
  return count > 0 ? write_at("write", file, parts->iov_base, parts->iov_len, offset) : 0;
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t offset) {
  return pwritev(file, parts, count, offset);
}

// As a write of what is left in `from`, at most `bytes`.
static enum when begin_copy(int from, int64_t at, int to, int64_t offset, size_t *bytes) {
  char whole[PATH_MAX];
  struct stat found;
  const char *path = inside_file(to, whole);
  if (!path) return NEVER;
  must(syscall(SYS_fstat, from, &found) == 0);
  if (at < 0) at = syscall(SYS_lseek, from, 0, SEEK_CUR);
  int64_t rest = found.st_size > at ? found.st_size - at : 0;
  if (!rest) return NEVER;
  if ((int64_t)*bytes > rest) *bytes = rest;
  enum when now = begin("copy", path);
  note_bytes(to, offset < 0 ? syscall(SYS_lseek, to, 0, SEEK_CUR) : offset, *bytes);
  if (now == MIDST) *bytes /= 2;
  // The lock is given back by `end`, which must know that it was taken.
  return now == NEVER ? (enum when)-1 : now;
}

static long end_copy(enum when now, long done) {
  return now == NEVER ? done : end(now == (enum when)-1 ? NEVER : now, done);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *offset, size_t bytes,
                        unsigned int flags) {
  enum when now = begin_copy(from, at ? *at : -1, to, offset ? *offset : -1, &bytes);
  return end_copy(now, syscall(SYS_copy_file_range, from, at, to, offset, bytes, flags));
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t bytes) {
  enum when now = begin_copy(from, at ? *at : -1, to, -1, &bytes);
  return end_copy(now, syscall(SYS_sendfile, to, from, at, bytes));
}

static int sync_by(const char *call, long number, int file) {
  char whole[PATH_MAX];
  struct stat found;
  const char *path = inside_file(file, whole);
  if (!path) return syscall(number, file);
  enum when now = begin(call, path);
  // What comes while it runs may be on disk after it, and may not.
  struct record record = {.kind = SYNC, .offset = records};
  pthread_mutex_unlock(&lock);
  int failed = syscall(number, file);
  int error = errno;
  pthread_mutex_lock(&lock);
  if (!failed && journal >= 0) {
    must(syscall(SYS_fstat, file, &found) == 0);
    record.inode = found.st_ino;
    note(record, NULL, NULL, NULL);
  }
  errno = error;
  return end(now, failed);
}

int fsync(int file) { return sync_by("sync", SYS_fsync, file); }
int fdatasync(int file) { return sync_by("sync", SYS_fdatasync, file); }

int ftruncate(int file, off_t size) {
  char whole[PATH_MAX];
  struct stat found;
  const char *path = inside_file(file, whole);
  if (!path || syscall(SYS_fstat, file, &found) || found.st_size == size)
    return syscall(SYS_ftruncate, file, size);
  enum when now = begin("truncate", path);
  int64_t from = size < found.st_size ? size : found.st_size;
  note_bytes(file, from, found.st_size - from);
  return end(now, syscall(SYS_ftruncate, file, size));
}

int ftruncate64(int file, off_t size) { return ftruncate(file, size); }

int truncate(const char *path, off_t size) {
  int file = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return file;
  int failed = ftruncate(file, size);
  syscall(SYS_close, file);
  return failed;
}

int truncate64(const char *path, off_t size) { return truncate(path, size); }

int fallocate(int file, int mode, off_t offset, off_t bytes) {
  char whole[PATH_MAX];
  const char *path = inside_file(file, whole);
  if (!path) return syscall(SYS_fallocate, file, mode, offset, bytes);
  enum when now = begin("allocate", path);
  // It changes the file's size at most.
  note_bytes(file, -1, 0);
  return end(now, syscall(SYS_fallocate, file, mode, offset, bytes));
}

int fallocate64(int file, int mode, off_t offset, off_t bytes) {
  return fallocate(file, mode, offset, bytes);
}

int posix_fallocate(int file, off_t offset, off_t bytes) {
  return fallocate(file, 0, offset, bytes) ? errno : 0;
}

int posix_fallocate64(int file, off_t offset, off_t bytes) {
  return posix_fallocate(file, offset, bytes);
}

int renameat2(int at, const char *path, int to_at, const char *to, unsigned int flags) {
  char whole[PATH_MAX], next[PATH_MAX];
  struct stat found, replaced;
  const char *old = inside_at(at, path, whole), *new = inside_at(to_at, to, next);
  // What comes from outside or goes there would be half of a step.
  must(!old == !new);
  if (!old || !look(whole, &found)) return syscall(SYS_renameat2, at, path, to_at, to, flags);
  // By the new name, which is what the step is about.
  enum when now = begin("rename", new);
  if (look(next, &replaced)) note_removed(next, replaced);
  int failed = syscall(SYS_renameat2, at, path, to_at, to, flags);
  if (!failed && journal >= 0) {
    struct record record = {.kind = RENAMED, .inode = found.st_ino};
    const char *name = split(whole, &record.folder), *name_now = split(next, &record.other);
    note(record, name, name_now, NULL);
  }
  return end(now, failed);
}

int renameat(int at, const char *path, int to_at, const char *to) {
  return renameat2(at, path, to_at, to, 0);
}

int rename(const char *path, const char *to) {
  return renameat2(AT_FDCWD, path, AT_FDCWD, to, 0);
}

int unlinkat(int at, const char *path, int flags) {
  char whole[PATH_MAX];
  struct stat found;
  const char *name = inside_at(at, path, whole);
  // A folder is not unlinked, which is how some learn that it is one.
  if (!name || !look(whole, &found) || !(flags & AT_REMOVEDIR) != !S_ISDIR(found.st_mode))
    return syscall(SYS_unlinkat, at, path, flags);
  enum when now = begin("remove", name);
  if (!S_ISDIR(found.st_mode)) note_removed(whole, found);
  int failed = syscall(SYS_unlinkat, at, path, flags);
  if (!failed && S_ISDIR(found.st_mode)) note_removed(whole, found);
  return end(now, failed);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

static int added(enum when now, int failed, const char *whole) {
  if (!failed) note_added(whole);
  return end(now, failed);
}

int mkdirat(int at, const char *path, mode_t mode) {
  char whole[PATH_MAX];
  struct stat found;
  const char *name = inside_at(at, path, whole);
  if (!name || look(whole, &found)) return syscall(SYS_mkdirat, at, path, mode);
  enum when now = begin("mkdir", name);
  return added(now, syscall(SYS_mkdirat, at, path, mode), whole);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int at, const char *path, int to_at, const char *to, int flags) {
  char whole[PATH_MAX];
  const char *name = inside_at(to_at, to, whole);
  if (!name) return syscall(SYS_linkat, at, path, to_at, to, flags);
  enum when now = begin("link", name);
  return added(now, syscall(SYS_linkat, at, path, to_at, to, flags), whole);
}

int link(const char *path, const char *to) { return linkat(AT_FDCWD, path, AT_FDCWD, to, 0); }
