// Runs the CUDA sources of ops/backends/cupy/csrc on the CPU, so that their arithmetic is tested without a GPU.
//
// The threads of a block are coroutines of one thread of the CPU. Each runs until it waits for the others, at
// __syncthreads or at a shuffle; blocks run one after the other. Shared memory is one array, filled with NaNs before each
// block and followed by a fence that must survive.
#pragma once

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __device__
#define __global__
#define __shared__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(unsigned word) {
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned word;
  std::memcpy(&word, &value, 4);
  return word;
}
template <typename Word>
Word __ldg(const Word* address) {
  return *address;
}

namespace cuda_on_cpu {

constexpr size_t STACK = 128 * 1024, SHARED = 48 * 1024, FENCE = 4096;
constexpr unsigned PATTERN = 0xffc0dead;  // a NaN, as float and as two halves

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[STACK]};
  bool done = false;
};

inline std::vector<Thread> threads;
inline ucontext_t scheduler;
inline const std::function<void()>* body;
inline unsigned current;
inline float lanes[1024];  // what the threads of a warp show each other

inline void enter() {
  (*body)();
  threads[current].done = true;
  swapcontext(&threads[current].context, &scheduler);
}

inline void wait() {
  const unsigned self = current;
  swapcontext(&threads[self].context, &scheduler);
  threadIdx.x = self;
}

inline void fail(const char* what) {
  std::fprintf(stderr, "cuda_on_cpu: %s\n", what);
  std::abort();
}

}  // namespace cuda_on_cpu

// One round of the scheduler runs every thread up to its next wait, so that one wait is a barrier for the block.
inline void __syncthreads() { cuda_on_cpu::wait(); }

inline float __shfl_xor_sync(unsigned, float value, int mask) {
  const unsigned self = threadIdx.x;
  cuda_on_cpu::lanes[self] = value;
  cuda_on_cpu::wait();
  const float other = cuda_on_cpu::lanes[self ^ (unsigned)mask];
  cuda_on_cpu::wait();
  return other;
}

namespace dyc {
inline float half_to_float(unsigned short bits) {
  _Float16 value;
  std::memcpy(&value, &bits, 2);
  return (float)value;
}
inline unsigned short float_to_half(float v) {
  const _Float16 value = (_Float16)v;
  unsigned short bits;
  std::memcpy(&bits, &value, 2);
  return bits;
}
inline uint4 shared_words[(cuda_on_cpu::SHARED + cuda_on_cpu::FENCE) / 16];
}

namespace cuda_on_cpu {

inline void launch(long long grid, unsigned block, size_t shared, const std::function<void()>& kernel) {
  if (shared > SHARED || block > 256) fail("a block larger than a GPU's");
  if (threads.size() < block) threads.resize(block);
  body = &kernel;
  gridDim.x = (unsigned)grid;
  blockDim.x = block;
  unsigned* words = (unsigned*)dyc::shared_words;
  for (long long b = 0; b < grid; ++b) {
    blockIdx.x = (unsigned)b;
    for (size_t i = 0; i < sizeof(dyc::shared_words) / 4; ++i) words[i] = PATTERN;
    for (unsigned t = 0; t < block; ++t) {
      getcontext(&threads[t].context);
      threads[t].context.uc_stack = {threads[t].stack.get(), 0, STACK};
      threads[t].context.uc_link = nullptr;
      threads[t].done = false;
      makecontext(&threads[t].context, enter, 0);
    }
    for (unsigned alive = block; alive > 0;) {
      unsigned ended = 0;
      for (unsigned n = 0; n < block; ++n) {
        const unsigned t = b % 2 ? block - 1 - n : n;  // nothing may depend on the order
        if (threads[t].done) continue;
        current = threadIdx.x = t;
        swapcontext(&scheduler, &threads[t].context);
        ended += threads[t].done;
      }
      if (ended != 0 && ended != alive) fail("some threads of a block waited where others had ended");
      alive -= ended;
    }
    for (size_t i = (shared + 3) / 4; i < sizeof(dyc::shared_words) / 4; ++i)
      if (words[i] != PATTERN) fail("written beyond the shared memory of the launch");
  }
}

}  // namespace cuda_on_cpu

#define DYC_KERNEL(name, per_sm, ...)                                                                            \
  extern "C" void name(const dyc::Call* call, long long grid, unsigned block, unsigned long long shared) {      \
    cuda_on_cpu::launch(grid, block, shared, [call] { dyc::__VA_ARGS__(*call); });                               \
  }
