// Depthwise convolution with one kernel per sample, channels_last: neighbouring channels of a pixel are one vector, a block.
// The usual windows have loops of their own (tiles.h, packed.h); any other goes through forward_any.
#pragma once

#include <algorithm>

#include "geometry.h"
#include "packed.h"
#include "parallel.h"
#include "tiles.h"
#include "vec.h"

namespace dyc::channels_last {

inline int64_t blocks(int64_t channels) { return (channels + kLanes - 1) / kLanes; }

// Run body(sample, channel, lanes, first_row, last_row) over all blocks of channels, `together` of them at once,
// splitting rows only when that gives fewer units than threads.
template <typename Body>
void for_blocks(const Geometry& g, int64_t together, int64_t rows, int64_t work_per_row, Body body) {
  const int64_t width = together * kLanes, per_sample = (g.channels + width - 1) / width;
  const int64_t units = g.batch * per_sample;
  const int64_t threads = in_parallel_region() ? 0 : get_num_threads();
  const int64_t parts = units >= 2 * threads ? 1 : std::min(rows, (2 * threads + units - 1) / units);
  const int64_t work = std::max<int64_t>(1, rows * work_per_row * std::min(together, blocks(g.channels)) / parts);
  const int64_t grain = std::max<int64_t>(1, 4096 / work);
  parallel_for(0, units * parts, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t unit = i / parts, part = i % parts;
      const int64_t sample = unit / per_sample, channel = unit % per_sample * width;
      body(sample, channel, std::min(width, g.channels - channel), rows * part / parts, rows * (part + 1) / parts);
    }
  });
}

// `tap_of(sample, channel, lanes, tap)` gives one tap of a block's kernel; each is asked for once.
template <int KH, int KW, int S, typename T, typename TapOf>
void forward_fixed(const Geometry& g, const T* x, T* y, TapOf tap_of) {
  const bool packs = Scratch::pays<T>(g);
  // Fewer at once where one image must do for all threads.
  const int64_t together = packs ? 1 : g.batch >= get_num_threads() ? kTileBlocks : kTileBlocks / 2;
  for_blocks(g, together, g.out_height, g.out_width * KH * KW,
             [&](int64_t n, int64_t c, int64_t lanes, int64_t begin, int64_t end) {
    Vec taps[kTileBlocks][KH * KW];
    for (int64_t block = 0; block * kLanes < lanes; ++block)
      for (int t = 0; t < KH * KW; ++t)
        taps[block][t] = tap_of(n, c + block * kLanes, std::min(kLanes, lanes - block * kLanes), t);
    const T* image = x + n * g.pixels() * g.channels + c;
    T* out = y + n * g.out_pixels() * g.channels + c;
    if (packs) {
      Scratch scratch;
      convolve_packed<KH, KW, S>(g, scratch, image, taps[0], out, lanes, begin, end);
    } else {
      convolve_tiles<KH, KW, S>(g, image, taps, out, lanes, begin, end);
    }
  });
}

template <typename T, typename TapOf>
void forward_usual(const Geometry& g, const T* x, T* y, TapOf tap_of) {
  if (g.is(3, 1)) return forward_fixed<3, 3, 1>(g, x, y, tap_of);
  if (g.is(3, 2)) return forward_fixed<3, 3, 2>(g, x, y, tap_of);
  if (g.is(5, 1)) return forward_fixed<5, 5, 1>(g, x, y, tap_of);
  forward_fixed<5, 5, 2>(g, x, y, tap_of);
}

template <typename T>
void forward_any(const Geometry& g, const T* x, const T* w, T* y) {
  for_blocks(g, 1, g.out_height, g.out_width * g.taps(), [&](int64_t n, int64_t c, int64_t lanes, int64_t begin, int64_t end) {
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
  if (!g.is_usual()) return forward_any(g, x, w, y);
  forward_usual(g, x, y, [&](int64_t n, int64_t c, int64_t lanes, int64_t t) {
    return load(w + (n * g.taps() + t) * g.channels + c, lanes);
  });
}

}  // namespace dyc::channels_last
