// Channels_last kernels for small images: the channels of a block are first copied, zero-padded and as float, into a scratch
// that stays in the first-level cache, so that every window is alike and meets no other pixel's place in the cache.
#pragma once

#include <algorithm>
#include <cstring>

#include "geometry.h"
#include "vec.h"

namespace dyc::channels_last {

constexpr int64_t kScratchPixels = 384;  // 24 KiB of float vectors

struct Scratch {
  int64_t pitch, rows;
  alignas(64) float pixels[kScratchPixels * kLanes];

  static bool fits(const Geometry& g) {
    return (g.height + 2 * g.pad_h) * (g.width + 2 * g.pad_w) <= kScratchPixels;
  }

  // Whether a convolution gains from the copy: all pixels of a block share one set of the first-level cache.
  template <typename T>
  static bool pays(const Geometry& g) {
    return g.kernel_h == 3 && fits(g) && g.channels * sizeof(T) % 4096 == 0;
  }

  // Copy the padded rows [begin, end) of a block, given by the first of its channels.
  template <typename T>
  void fill(const Geometry& g, const T* image, int64_t lanes, int64_t begin, int64_t end) {
    pitch = g.width + 2 * g.pad_w;
    rows = end - begin;
    float* to = pixels;
    for (int64_t row = begin - g.pad_h; row < end - g.pad_h; ++row, to += pitch * kLanes) {
      if (row < 0 || row >= g.height) {
        std::memset(to, 0, pitch * kLanes * sizeof(float));
        continue;
      }
      std::memset(to, 0, g.pad_w * kLanes * sizeof(float));
      float* inside = to + g.pad_w * kLanes;
      const T* from = image + row * g.width * g.channels;
      if (lanes == kLanes)
        for (int64_t c = 0; c < g.width; ++c) store(inside + c * kLanes, load(from + c * g.channels));
      else
        for (int64_t c = 0; c < g.width; ++c) store(inside + c * kLanes, load(from + c * g.channels, lanes));
      std::memset(inside + g.width * kLanes, 0, g.pad_w * kLanes * sizeof(float));
    }
  }
};

// Convolve the block's output rows [begin, end), with the kernel in registers.
template <int KH, int KW, int S, typename T>
inline void convolve_packed(const Geometry& g, Scratch& scratch, const T* image, const Vec* taps, T* out, int64_t lanes,
                            int64_t begin, int64_t end) {
  scratch.fill(g, image, lanes, begin * S, (end - 1) * S + KH);
  for (int64_t row = begin; row < end; ++row) {
    const float* window = scratch.pixels + (row - begin) * S * scratch.pitch * kLanes;
    T* to = out + row * g.out_width * g.channels;
    for (int64_t column = 0; column < g.out_width; ++column, window += S * kLanes, to += g.channels) {
      Vec total{};
      for (int i = 0; i < KH; ++i)
        for (int j = 0; j < KW; ++j) total += taps[i * KW + j] * load(window + (i * scratch.pitch + j) * kLanes);
      if (lanes == kLanes) store(to, total);
      else store(to, total, lanes);
    }
  }
}

// The gradient of a block's kernel: products of the incoming gradient with the windows, summed over the image.
template <int KH, int KW, int S, typename T>
inline void correlate_packed(const Geometry& g, Scratch& scratch, const T* image, const T* grad, Vec* total, int64_t lanes) {
  scratch.fill(g, image, lanes, 0, (g.out_height - 1) * S + KH);
  for (int64_t row = 0; row < g.out_height; ++row) {
    const float* window = scratch.pixels + row * S * scratch.pitch * kLanes;
    const T* from = grad + row * g.out_width * g.channels;
    for (int64_t column = 0; column < g.out_width; ++column, window += S * kLanes, from += g.channels) {
      const Vec v = lanes == kLanes ? load(from) : load(from, lanes);
      for (int i = 0; i < KH; ++i)
        for (int j = 0; j < KW; ++j) total[i * KW + j] += v * load(window + (i * scratch.pitch + j) * kLanes);
    }
  }
}

}  // namespace dyc::channels_last
