// NCHW: a block copies whole planes, or a band of rows of one, into shared memory and works from there.
//
// Planes and bands are contiguous, so they are copied 16 bytes at a time whatever the width and alignment of a row, and
// the elements that neighbouring strips share are read from memory once. Neighbouring threads take neighbouring columns.
#pragma once

#include "strips.cuh"

namespace dyc {

extern __shared__ uint4 shared_words[];

// Copy from[first, last) so that element i is at the returned address + (i - first). Leaves `to` behind the copy.
template <typename T>
__device__ inline const T* stage(const T* from, long long first, long long last, uint4*& to) {
  constexpr int PER_WORD = 16 / sizeof(T);
  const T* source = from + first;
  const int skip = (int)((size_t)source % 16 / sizeof(T));  // keep the alignment, so that whole words are copied
  const int count = (int)(last - first), head = smaller(count, (PER_WORD - skip) % PER_WORD);
  const int words = (count - head) / PER_WORD, tail = head + words * PER_WORD;
  T* copy = (T*)to + skip;
  for (int i = threadIdx.x; i < head; i += blockDim.x) copy[i] = source[i];
#pragma unroll 4
  for (int i = threadIdx.x; i < words; i += blockDim.x) ((uint4*)(copy + head))[i] = __ldg((const uint4*)(source + head) + i);
  for (int i = tail + threadIdx.x; i < count; i += blockDim.x) copy[i] = source[i];
  to += (skip + count + PER_WORD - 1) / PER_WORD;
  return copy;
}

// The rows [low, high) of planes [first, first + count); several planes only where the rows are all that there are.
template <typename T>
__device__ inline Lines<const T> stage_rows(const T* from, long long first, int count, int low, int high, int height,
                                            int width, uint4*& to) {
  low = larger(low, 0);
  high = larger(low, smaller(high, height));
  const long long plane = (long long)height * width;
  const T* copy = stage(from, first * plane + (long long)low * width, (first + count - 1) * plane + (long long)high * width, to);
  return {(T*)copy, width, 1, height, width, low};
}

template <typename Strip>
__device__ inline void channels_first(const Call& call) {
  using T = typename Strip::T;
  constexpr int TAPS = Strip::K * Strip::K;
  const long long all = (long long)call.batch * call.channels;
  float* kernels = (float*)shared_words;
  const int block = blockIdx.x;
  const long long plane = (long long)(block / call.bands) * call.planes;
  const int planes = (int)(all - plane < call.planes ? all - plane : call.planes);
  const int begin = call.first_row + block % call.bands * call.band;
  const int end = smaller(begin + call.band, call.first_row + call.rows);
  const bool whole = call.bands == 1;
  stage_kernels<T, TAPS>(call, plane, planes, kernels);
  uint4* free = shared_words + (call.planes * TAPS + 3) / 4;
  const auto in = stage_rows((const T*)call.in, plane, planes, whole ? 0 : Strip::first_read(call, begin),
                             whole ? call.height : Strip::last_read(call, end), call.height, call.width, free);
  __syncthreads();
  const int strips = (end - begin + call.strip - 1) / call.strip, units = planes * strips * call.columns;
#pragma unroll 1
  for (int unit = threadIdx.x; unit < units; unit += blockDim.x) {
    const int which = unit / call.columns / strips, first = begin + unit / call.columns % strips * call.strip;
    float kernel[TAPS];
#pragma unroll
    for (int i = 0; i < TAPS; ++i) kernel[i] = kernels[which * TAPS + i];
    const auto lines = Lines<const T>{in.base + which * call.height * call.width, in.row, 1, in.height, in.width, in.origin};
    const auto out = Lines<T>{(T*)call.out + (plane + which) * call.out_height * call.out_width, call.out_width, 1,
                              call.out_height, call.out_width, 0};
    Strip::template run<Shared>(call, kernel, lines, out, first, smaller(first + call.strip, end),
                                call.first_column + unit % call.columns * Strip::COLUMNS);
  }
}

// Whole warps share a plane: each thread adds up strips, the warp its threads, the plane its warps, in the same order.
template <typename Strip>
__device__ inline void channels_first_weight(const Call& call) {
  using T = typename Strip::T;
  constexpr int TAPS = Strip::K * Strip::K;
  const long long all = (long long)call.batch * call.channels;
  float* parts = (float*)shared_words;  // [warp][tap]
  const int threads = blockDim.x / call.planes, which = threadIdx.x / threads, warps = threads / 32;
  const int block = blockIdx.x;
  const long long plane = (long long)(block / call.splits) * call.planes;
  const int split = block % call.splits, planes = (int)(all - plane < call.planes ? all - plane : call.planes);
  const bool whole = call.bands == 1;
  float sums[TAPS] = {};
  for (int band = split; band < call.bands; band += call.splits) {
    const int begin = band * call.band, end = smaller(begin + call.band, call.rows);
    uint4* free = shared_words + (blockDim.x / 32 * TAPS + 3) / 4;
    __syncthreads();  // the band before has been read
    const auto in = stage_rows((const T*)call.in, plane, planes, whole ? 0 : Strip::first_read(call, begin),
                               whole ? call.height : Strip::last_read(call, end), call.height, call.width, free);
    const auto grad = stage_rows((const T*)call.grad, plane, planes, begin, end, call.out_height, call.out_width, free);
    __syncthreads();
    if (which >= planes) continue;
    const auto lines = Lines<const T>{in.base + which * call.height * call.width, in.row, 1, in.height, in.width, in.origin};
    const auto grads = Lines<const T>{grad.base + which * call.out_height * call.out_width, grad.row, 1, grad.height,
                                      grad.width, grad.origin};
    const int units = (end - begin + call.strip - 1) / call.strip * call.columns;
#pragma unroll 1
    for (int unit = threadIdx.x % threads; unit < units; unit += threads) {
      const int first = begin + unit / call.columns * call.strip;
      Strip::template run<Shared>(call, sums, lines, grads, first, smaller(first + call.strip, end),
                                  unit % call.columns * Strip::COLUMNS);
    }
  }
#pragma unroll
  for (int tap = 0; tap < TAPS; ++tap) {
    float sum = sums[tap];
    for (int far = 16; far > 0; far /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, far);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32 * TAPS + tap] = sum;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < planes * TAPS; i += blockDim.x) {
    float sum = 0;
    for (int warp = 0; warp < warps; ++warp) sum += parts[(i / TAPS * warps + warp) * TAPS + i % TAPS];
    const long long sample = (plane + i / TAPS) / call.channels;
    write_tap<T>(call, split, sample, (int)(plane + i / TAPS - sample * call.channels), i % TAPS, sum);
  }
}

}  // namespace dyc
