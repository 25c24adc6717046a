// Tell ThreadSanitizer where OpenMP's threads start and end; preloaded by tests/sanitizers.py.
//
// PyTorch's own libgomp is not compiled for ThreadSanitizer, which therefore sees neither the order between a loop and what
// stands before and after it, and would report every use of a result. Two edges say it: what was written before a
// parallel region is seen by its threads, and what they wrote is seen after it. Between the threads of a region nothing
// is ordered, so a race of two of them is reported.
#include <dlfcn.h>

extern "C" {

void __tsan_acquire(void*);
void __tsan_release(void*);

namespace {

struct Region {
  void (*body)(void*);
  void* data;
  char start, end;  // not one: a thread that starts late must not seem to wait for one that ended early
};

void run(void* address) {
  auto* region = static_cast<Region*>(address);
  __tsan_acquire(&region->start);
  region->body(region->data);
  __tsan_release(&region->end);
}

}  // namespace

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags) {
  using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const auto parallel = (Parallel)dlsym(dlopen("libgomp.so.1", RTLD_NOLOAD | RTLD_LAZY), "GOMP_parallel");
  Region region{body, data, 0, 0};
  __tsan_release(&region.start);
  parallel(run, &region, threads, flags);
  __tsan_acquire(&region.end);
}

}  // extern "C"
