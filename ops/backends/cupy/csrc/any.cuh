// Any kernel, stride and dilation, in either memory format: one thread per element of the result.
#pragma once

#include "call.cuh"

namespace dyc {

extern __shared__ uint4 shared_words[];

// Element (sample, channel, row, column) of a plane of height x width.
template <bool LAST>
__device__ inline long long offset(const Call& call, long long sample, int channel, int row, int column, int height, int width) {
  return LAST ? ((sample * height + row) * width + column) * call.channels + channel
              : ((sample * call.channels + channel) * height + row) * width + column;
}

struct Element {
  long long sample;
  int channel, row, column;
};

template <bool LAST>
__device__ inline Element element(const Call& call, long long i, int height, int width) {
  Element e;
  if (LAST) e.channel = (int)(i % call.channels), i /= call.channels;
  e.column = (int)(i % width), i /= width;
  e.row = (int)(i % height), i /= height;
  if (!LAST) e.channel = (int)(i % call.channels), i /= call.channels;
  e.sample = i;
  return e;
}

template <typename T, bool LAST>
__device__ inline void any_forward(const Call& call) {
  const long long all = (long long)call.batch * call.channels * call.out_height * call.out_width;
  for (long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x; n < all; n += (long long)gridDim.x * blockDim.x) {
    const Element e = element<LAST>(call, n, call.out_height, call.out_width);
    float sum = 0;
    for (int i = 0; i < call.kernel_h; ++i) {
      const int row = e.row * call.stride_h - call.pad_h + i * call.dilation_h;
      if (row < 0 || row >= call.height) continue;
      for (int j = 0; j < call.kernel_w; ++j) {
        const int column = e.column * call.stride_w - call.pad_w + j * call.dilation_w;
        if (column < 0 || column >= call.width) continue;
        const long long at = offset<LAST>(call, e.sample, e.channel, row, column, call.height, call.width);
        sum += widen(((const T*)call.in)[at]) * kernel_value<T>(call, e.sample, e.channel, i * call.kernel_w + j);
      }
    }
    narrow(sum, ((T*)call.out)[n]);
  }
}

template <typename T, bool LAST>
__device__ inline void any_input(const Call& call) {
  const long long all = (long long)call.batch * call.channels * call.out_height * call.out_width;
  for (long long n = blockIdx.x * (long long)blockDim.x + threadIdx.x; n < all; n += (long long)gridDim.x * blockDim.x) {
    const Element e = element<LAST>(call, n, call.out_height, call.out_width);
    float sum = 0;
    for (int i = 0; i < call.kernel_h; ++i) {
      const int down = e.row + call.pad_h - i * call.dilation_h, row = down / call.stride_h;
      if (down < 0 || down % call.stride_h || row >= call.height) continue;
      for (int j = 0; j < call.kernel_w; ++j) {
        const int across = e.column + call.pad_w - j * call.dilation_w, column = across / call.stride_w;
        if (across < 0 || across % call.stride_w || column >= call.width) continue;
        const long long at = offset<LAST>(call, e.sample, e.channel, row, column, call.height, call.width);
        sum += widen(((const T*)call.in)[at]) * kernel_value<T>(call, e.sample, e.channel, i * call.kernel_w + j);
      }
    }
    narrow(sum, ((T*)call.out)[n]);
  }
}

// A block takes one tap of `lanes` neighbouring channels; its groups (a power of two) share the pixels.
template <typename T, bool LAST>
__device__ inline void any_weight(const Call& call) {
  float* parts = (float*)shared_words;
  const int lane = threadIdx.x % call.lanes, group = threadIdx.x / call.lanes, taps = call.kernel_h * call.kernel_w;
  for (long long block = blockIdx.x; block < call.blocks; block += gridDim.x) {
    const int channel = (int)(block % call.chunks) * call.lanes + lane;
    const int tap = (int)(block / call.chunks % taps);
    const long long sample = block / call.chunks / taps, pixels = (long long)call.out_height * call.out_width;
    const int i = tap / call.kernel_w, j = tap % call.kernel_w;
    float sum = 0;
    for (long long p = group; p < pixels && channel < call.channels; p += call.groups) {
      const int out_row = (int)(p / call.out_width), out_column = (int)(p % call.out_width);
      const int row = out_row * call.stride_h - call.pad_h + i * call.dilation_h;
      const int column = out_column * call.stride_w - call.pad_w + j * call.dilation_w;
      if (row < 0 || row >= call.height || column < 0 || column >= call.width) continue;
      const long long at = offset<LAST>(call, sample, channel, row, column, call.height, call.width);
      const long long from = offset<LAST>(call, sample, channel, out_row, out_column, call.out_height, call.out_width);
      sum += widen(((const T*)call.in)[at]) * widen(((const T*)call.grad)[from]);
    }
    __syncthreads();  // the sums of the block before have been read
    parts[threadIdx.x] = sum;
    for (int far = call.groups / 2; far > 0; far /= 2) {
      __syncthreads();
      if (group < far) parts[threadIdx.x] += parts[threadIdx.x + far * call.lanes];
    }
    if (group == 0 && channel < call.channels) write_tap<T>(call, 0, sample, channel, tap, parts[lane]);
  }
}

}  // namespace dyc
