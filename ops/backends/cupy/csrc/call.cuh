// What the host says of one call, and the kernels of a sample: given, or mixed from a bank on the way in.
#pragma once

#include "storage.cuh"

namespace dyc {

// The same fields in the same order as `Call` of ops/cuda_plan.py. Sizes and strides in elements.
struct Call {
  const void* in;         // what is read: features, or the output's gradient where grad_input is computed
  const void* grad;       // the output's gradient where grad_weight is computed
  const void* kernels;    // (B, C, kH, kW), or the bank (K, C, kH, kW)
  const void* attention;  // (B, K) or (B, K, C) with a bank
  void* out;              // what is written
  long long blocks;       // pieces of work, one block of threads each or, if those are too many, several
  long long kernel_sample, kernel_channel, kernel_tap, kernel_bank;  // strides of the kernels, or of their gradient
  long long attention_sample, attention_bank, attention_channel;
  int batch, channels;
  int height, width;          // of `in`
  int out_height, out_width;  // of `out`, or of `grad` where grad_weight is computed
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int bank;                      // K, or 0 where the kernels are given
  int flip;                      // 1: the kernels are turned by 180 degrees
  int lanes, groups;             // threads of a block: channels (times V) by strips
  int chunks, tiles, splits;     // blocks of a sample: channels, strips; parts of a sum that are added later
  int rows, columns, units;      // row steps; strips side by side; strips in all
  int first_row, first_column;   // where they start
  int strip;                     // row steps of a strip
  int planes, band, bands;       // (B * C) planes of a block; row steps of a band of a plane
};

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }
__device__ inline int larger(int a, int b) { return a < b ? b : a; }

template <typename T>
__device__ inline float kernel_value(const Call& call, long long sample, int channel, int tap) {
  const T* kernel = (const T*)call.kernels + channel * call.kernel_channel + tap * call.kernel_tap;
  if (call.bank == 0) return widen(kernel[sample * call.kernel_sample]);
  const T* weight = (const T*)call.attention + sample * call.attention_sample + channel * call.attention_channel;
  float sum = 0;
#pragma unroll 4
  for (int n = 0; n < call.bank; ++n) sum += widen(weight[n * call.attention_bank]) * widen(kernel[n * call.kernel_bank]);
  return sum;
}

// Put the kernels of planes (sample, channel), numbered from `first`, into shared memory: [plane][tap].
template <typename T, int TAPS>
__device__ inline void stage_kernels(const Call& call, long long first, int planes, float* to) {
  const bool taps_apart = call.kernel_tap != 1;  // then channels are neighbours
  for (int i = threadIdx.x; i < planes * TAPS; i += blockDim.x) {
    const int plane = taps_apart ? i % planes : i / TAPS, tap = taps_apart ? i / planes : i % TAPS;
    const long long sample = (first + plane) / call.channels;
    const int channel = (int)((first + plane) - sample * call.channels);
    to[plane * TAPS + (call.flip ? TAPS - 1 - tap : tap)] = kernel_value<T>(call, sample, channel, tap);
  }
}

// Write one tap's gradient, or a part of its sum.
template <typename T>
__device__ inline void write_tap(const Call& call, int split, long long sample, int channel, int tap, float value) {
  const long long at = sample * call.kernel_sample + channel * call.kernel_channel + tap * call.kernel_tap;
  if (call.splits == 1) {
    narrow(value, ((T*)call.out)[at]);
  } else {
    ((float*)call.out)[(long long)split * call.batch * call.channels * call.kernel_h * call.kernel_w + at] = value;
  }
}

// Add the parts of every tap's sum, in order.
template <typename T>
__device__ inline void add_parts(const Call& call) {
  const long long taps = (long long)call.batch * call.channels * call.kernel_h * call.kernel_w;
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < taps; i += (long long)gridDim.x * blockDim.x) {
    float sum = 0;
    for (int split = 0; split < call.splits; ++split) sum += ((const float*)call.in)[split * taps + i];
    narrow(sum, ((T*)call.out)[i]);
  }
}

}  // namespace dyc
