// channels_last, read where it lies: neighbouring threads take neighbouring channels, V at a time.
//
// A block works on one sample and `lanes` * V of its channels; its threads are `groups` times `lanes`, each group one
// strip. The kernels are read (or mixed) once per block, into shared memory and from there into registers.
#pragma once

#include "strips.cuh"

namespace dyc {

extern __shared__ uint4 shared_words[];

struct Place {
  long long sample, plane;  // number of the sample, and of its first plane (sample, channel) here
  int channel, channels;    // first channel here, how many
  int tile;

  __device__ Place(const Call& call, int parts, int vector) {
    const int block = blockIdx.x, chunk = block % call.chunks, span = call.lanes * vector;
    tile = block / call.chunks % parts;
    sample = block / call.chunks / parts;
    channel = chunk * span;
    channels = smaller(span, call.channels - channel);
    plane = sample * call.channels + channel;
  }
};

template <typename T>
__device__ inline Lines<T> pixels(T* base, const Call& call, long long sample, int channel, int height, int width) {
  return {base + sample * height * width * call.channels + channel, (long long)width * call.channels, call.channels,
          height, width, 0};
}

template <typename Strip>
__device__ inline void channels_last(const Call& call) {
  using T = typename Strip::T;
  constexpr int V = Strip::V, TAPS = Strip::K * Strip::K;
  float* kernels = (float*)shared_words;
  const int lane = threadIdx.x % call.lanes, group = threadIdx.x / call.lanes;
  const Place at(call, call.tiles, V);
  stage_kernels<T, TAPS>(call, at.plane, at.channels, kernels);
  __syncthreads();
  const int unit = at.tile * call.groups + group, channel = at.channel + lane * V;
  if (unit >= call.units || channel >= call.channels) return;
  float kernel[V * TAPS];
#pragma unroll
  for (int i = 0; i < V * TAPS; ++i) kernel[i] = kernels[lane * V * TAPS + i];
  const int first = call.first_row + unit / call.columns * call.strip;
  const int last = smaller(first + call.strip, call.first_row + call.rows);
  const int column = call.first_column + unit % call.columns * Strip::COLUMNS;
  Strip::template run<Global>(call, kernel,
                              pixels((const T*)call.in, call, at.sample, channel, call.height, call.width),
                              pixels((T*)call.out, call, at.sample, channel, call.out_height, call.out_width), first,
                              last, column);
}

// Each thread adds up strips, then the block adds up its groups, always in the same order.
template <typename Strip>
__device__ inline void channels_last_weight(const Call& call) {
  using T = typename Strip::T;
  constexpr int V = Strip::V, K = Strip::K;
  float* parts = (float*)shared_words;
  const int lane = threadIdx.x % call.lanes, group = threadIdx.x / call.lanes;
  const Place at(call, call.splits, V);
  const int channel = at.channel + lane * V;
  float sums[V * K * K] = {};
  if (channel < call.channels) {
    const auto in = pixels((const T*)call.in, call, at.sample, channel, call.height, call.width);
    const auto grad = pixels((const T*)call.grad, call, at.sample, channel, call.out_height, call.out_width);
#pragma unroll 1
    for (int unit = at.tile * call.groups + group; unit < call.units; unit += call.splits * call.groups) {
      const int first = unit / call.columns * call.strip, last = smaller(first + call.strip, call.rows);
      Strip::template run<Global>(call, sums, in, grad, first, last, unit % call.columns * Strip::COLUMNS);
    }
  }
#pragma unroll
  for (int i = 0; i < K; ++i) {
    __syncthreads();  // the row of taps before has been added up
#pragma unroll
    for (int j = 0; j < K; ++j)
#pragma unroll
      for (int v = 0; v < V; ++v) parts[(j * V + v) * blockDim.x + threadIdx.x] = sums[v * K * K + i * K + j];
    __syncthreads();
    for (int n = threadIdx.x; n < K * V * call.lanes; n += blockDim.x) {
      const int which = n % call.lanes, slot = n / call.lanes;
      float sum = 0;
      for (int g = 0; g < call.groups; ++g) sum += parts[slot * blockDim.x + g * call.lanes + which];
      const int target = at.channel + which * V + slot % V;
      if (target < call.channels) write_tap<T>(call, at.tile, at.sample, target, i * K + slot / V, sum);
    }
  }
}

}  // namespace dyc
