// A wall clock that is not the true one, for a process that this is loaded into by LD_PRELOAD.
//
// What clock_gettime(CLOCK_REALTIME) gives is shifted by the nanoseconds that the file BENCH_CLOCK
// holds, a 64-bit integer. All processes map that one file, so a step is seen by all at once, and
// costs them nothing. Monotonic clocks stay what they are. So does gettimeofday, by which RocksDB
// makes the deadlines that it gives to the kernel, which knows nothing of this.
//
// Not libfaketime: it calls dlerror before main, whose memory an allocator that is linked into the
// program, as tallykeep's is, cannot free yet.

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
static _Atomic int64_t *shift_ns = &none;

__attribute__((constructor)) static void map_shift(void) {
  const char *path = getenv("BENCH_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
  // A process that went by the true clock instead would spoil what is measured.
  if (map == MAP_FAILED) abort();
  close(file);
  shift_ns = map;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (failed == 0 && clock == CLOCK_REALTIME) {
    int64_t shifted = now->tv_sec * NANOS_PER_S + now->tv_nsec + atomic_load(shift_ns);
    now->tv_sec = shifted / NANOS_PER_S;
    now->tv_nsec = shifted % NANOS_PER_S;
  }
  return failed;
}
