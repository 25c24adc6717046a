// Depthwise convolution with one kernel per sample, channels_last: sixteen channels of a pixel are one vector.
//
// For a block of sixteen channels the kernel's taps stay in registers while the block walks over the pixels of a row;
// rows and columns outside the image are skipped, so no padded copy is made.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>

#include "geometry.h"
#include "packed.h"
#include "vec.h"

namespace dyc::channels_last {

// Output columns whose taps all lie inside the image: [first, last).
struct Interior {
  int64_t first, last;
  Interior(int64_t size, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    first = std::min(out, (pad + stride - 1) / stride);
    const int64_t room = size - 1 + pad - dilation * (kernel - 1);  // the last start of an inside window, padded
    last = room < 0 ? first : std::max(first, std::min(out, room / stride + 1));
  }
};

inline int64_t blocks(int64_t channels) { return (channels + kLanes - 1) / kLanes; }

// Run body(sample, channel, lanes, first_row, last_row) over all blocks of sixteen channels, splitting rows only when
// there are fewer blocks than threads.
template <typename Body>
void for_blocks(const Geometry& g, int64_t rows, int64_t work_per_row, Body body) {
  const int64_t units = g.batch * blocks(g.channels);
  const int64_t threads = at::in_parallel_region() ? 0 : at::get_num_threads();
  const int64_t parts = units >= 2 * threads ? 1 : std::min(rows, (2 * threads + units - 1) / units);
  const int64_t work = std::max<int64_t>(1, rows * work_per_row / parts);
  const int64_t grain = std::max<int64_t>(1, 4096 / work);
  at::parallel_for(0, units * parts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t unit = i / parts, part = i % parts;
      const int64_t sample = unit / blocks(g.channels), channel = unit % blocks(g.channels) * kLanes;
      body(sample, channel, std::min(kLanes, g.channels - channel), rows * part / parts, rows * (part + 1) / parts);
    }
  });
}

// Convolve the output rows [begin, end) of sixteen channels with a kernel that stays in registers.
template <int KH, int KW, int S, typename T>
inline void convolve_block(const Geometry& g, const Interior& inside, const T* image, const Vec* taps, T* block,
                           int64_t lanes, int64_t begin, int64_t end) {
  if (S == 1 && Scratch::fits(g)) {
    Scratch scratch;
    return convolve_packed<KH, KW, S>(g, scratch, image, taps, block, lanes, begin, end);
  }
  for (int64_t row = begin; row < end; ++row) {
    const int64_t top = row * S - g.pad_h;
    T* out = block + row * g.out_width * g.channels;
    const bool whole_rows = top >= 0 && top + KH <= g.height;
    auto edge = [&](int64_t column) {
      const int64_t left = column * S - g.pad_w;
      Vec acc{};
      for (int i = 0; i < KH; ++i) {
        if (top + i < 0 || top + i >= g.height) continue;
        for (int j = 0; j < KW; ++j) {
          if (left + j < 0 || left + j >= g.width) continue;
          acc += taps[i * KW + j] * load(image + ((top + i) * g.width + left + j) * g.channels, lanes);
        }
      }
      store(out + column * g.channels, acc, lanes);
    };
    if (!whole_rows || lanes < kLanes) {
      for (int64_t column = 0; column < g.out_width; ++column) edge(column);
      continue;
    }
    for (int64_t column = 0; column < inside.first; ++column) edge(column);
    const T* window = image + (top * g.width + inside.first * S - g.pad_w) * g.channels;
    for (int64_t column = inside.first; column < inside.last; ++column, window += S * g.channels) {
      Vec acc{};
      for (int i = 0; i < KH; ++i)
        for (int j = 0; j < KW; ++j) acc += taps[i * KW + j] * load(window + (i * g.width + j) * g.channels);
      store(out + column * g.channels, acc);
    }
    for (int64_t column = inside.last; column < g.out_width; ++column) edge(column);
  }
}

// `tap_of(sample, channel, lanes, tap)` gives one tap of a block's kernel. (Asked for one by one, in a loop of known length,
// they stay in registers.)
template <int KH, int KW, int S, typename T, typename TapOf>
void forward_fixed(const Geometry& g, const T* x, T* y, TapOf tap_of) {
  const Interior inside(g.width, g.out_width, KW, S, g.pad_w, 1);
  for_blocks(g, g.out_height, g.out_width * KH * KW, [&](int64_t n, int64_t c, int64_t lanes, int64_t begin, int64_t end) {
    Vec taps[KH * KW];
    for (int t = 0; t < KH * KW; ++t) taps[t] = tap_of(n, c, lanes, t);
    convolve_block<KH, KW, S>(g, inside, x + n * g.pixels() * g.channels + c, taps, y + n * g.out_pixels() * g.channels + c,
                              lanes, begin, end);
  });
}

inline bool is_usual(const Geometry& g) { return g.is(3, 1) || g.is(3, 2) || g.is(5, 1) || g.is(5, 2); }

template <typename T, typename TapOf>
void forward_usual(const Geometry& g, const T* x, T* y, TapOf tap_of) {
  if (g.is(3, 1)) return forward_fixed<3, 3, 1>(g, x, y, tap_of);
  if (g.is(3, 2)) return forward_fixed<3, 3, 2>(g, x, y, tap_of);
  if (g.is(5, 1)) return forward_fixed<5, 5, 1>(g, x, y, tap_of);
  forward_fixed<5, 5, 2>(g, x, y, tap_of);
}

template <typename T>
void forward_any(const Geometry& g, const T* x, const T* w, T* y) {
  for_blocks(g, g.out_height, g.out_width * g.taps(), [&](int64_t n, int64_t c, int64_t lanes, int64_t begin, int64_t end) {
    const T* image = x + n * g.pixels() * g.channels + c;
    const T* kernel = w + n * g.taps() * g.channels + c;
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < g.out_width; ++column) {
        Vec acc{};
        for (int64_t i = 0; i < g.kernel_h; ++i) {
          const int64_t in_row = row * g.stride_h - g.pad_h + i * g.dilation_h;
          if (in_row < 0 || in_row >= g.height) continue;
          for (int64_t j = 0; j < g.kernel_w; ++j) {
            const int64_t in_column = column * g.stride_w - g.pad_w + j * g.dilation_w;
            if (in_column < 0 || in_column >= g.width) continue;
            acc += load(kernel + (i * g.kernel_w + j) * g.channels, lanes) *
                   load(image + (in_row * g.width + in_column) * g.channels, lanes);
          }
        }
        store(y + ((n * g.out_height + row) * g.out_width + column) * g.channels + c, acc, lanes);
      }
  });
}

template <typename T>
void forward(const Geometry& g, const T* x, const T* w, T* y) {
  if (!is_usual(g)) return forward_any(g, x, w, y);
  forward_usual(g, x, y, [&](int64_t n, int64_t c, int64_t lanes, int64_t t) {
    return load(w + (n * g.taps() + t) * g.channels + c, lanes);
  });
}

}  // namespace dyc::channels_last
