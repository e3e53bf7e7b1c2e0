// A disk that takes its time, for a process that this is loaded into by LD_PRELOAD.
//
// Every fsync and fdatasync first waits for the nanoseconds that the file CHAOS_DISK holds, a 64-bit
// integer, which may change at any time. What is written and not synced costs nothing, as on a disk
// behind a page cache.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const int64_t NANOS_PER_S = 1000000000;
static _Atomic int64_t none;
static _Atomic int64_t *delay_ns = &none;

__attribute__((constructor)) static void map_delay(void) {
  const char *path = getenv("CHAOS_DISK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
  // A process on a quick disk instead would pass a test that never was.
  if (map == MAP_FAILED) abort();
  close(file);
  delay_ns = map;
}

static void wait(void) {
  int64_t delay = atomic_load(delay_ns);
  if (delay <= 0) return;
  struct timespec left = {delay / NANOS_PER_S, delay % NANOS_PER_S};
  while (nanosleep(&left, &left) != 0) {
  }
}

int fsync(int file) {
  wait();
  return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
  wait();
  return (int)syscall(SYS_fdatasync, file);
}
