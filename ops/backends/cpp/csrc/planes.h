// NCHW for the usual kernels: kLanes planes are one vector.
//
// Strips of neighbouring planes (of one sample or of several: each plane has its own kernel anyway) are transposed
// into a zero-padded scratch with one vector per pixel, as channels_last features lie; every window is then alike, and
// narrow images fill vectors as well as wide ones. What comes out is transposed back.
#pragma once

#include <algorithm>
#include <cstring>

#include "geometry.h"
#include "parallel.h"
#include "vec.h"

namespace dyc::channels_first {

constexpr int64_t kStripPixels = 1536;  // 96 KiB: three rows of the widest usual image stay in the first-level cache

struct Strip {
  int64_t pitch = 0;
  alignas(64) float pixels[kStripPixels * kLanes];
  float* at(int64_t row, int64_t column) { return pixels + (row * pitch + column) * kLanes; }
};

inline Strip& strip() {
  thread_local Strip one;
  return one;
}

inline int64_t groups(int64_t planes) { return (planes + kLanes - 1) / kLanes; }

// Load `count` pixels of each of `lanes` planes and turn them into one vector per pixel.
template <typename T>
inline void load_pixels(const T* from, int64_t plane, int64_t lanes, int64_t count, Vec* pixels) {
  for (int64_t i = 0; i < kLanes; ++i) pixels[i] = i < lanes ? load(from + i * plane, count) : Vec{};
  transpose(pixels);
}

template <typename T>
inline void store_pixels(Vec* pixels, T* to, int64_t plane, int64_t lanes, int64_t count) {
  transpose(pixels);
  for (int64_t i = 0; i < lanes; ++i) store(to + i * plane, pixels[i], count);
}

// Fill the scratch with rows [begin, end) and columns [-side, width + side) of planes of (height, width), zero outside.
template <typename T>
void fill(Strip& s, const T* from, int64_t height, int64_t width, int64_t side, int64_t lanes, int64_t begin, int64_t end) {
  s.pitch = width + 2 * side;
  const int64_t top = std::clamp<int64_t>(0, begin, end), bottom = std::clamp<int64_t>(height, top, end);
  std::memset(s.at(0, 0), 0, (top - begin) * s.pitch * kLanes * sizeof(float));
  std::memset(s.at(bottom - begin, 0), 0, (end - bottom) * s.pitch * kLanes * sizeof(float));
  for (int64_t row = top; row < bottom; ++row) {
    std::memset(s.at(row - begin, 0), 0, side * kLanes * sizeof(float));
    std::memset(s.at(row - begin, side + width), 0, side * kLanes * sizeof(float));
  }
  const int64_t plane = height * width, last = bottom * width;
  float* to = s.at(top - begin, side);
  int64_t column = 0;
  for (int64_t first = top * width; first < last; first += kLanes) {  // across the ends of rows
    const int64_t count = std::min(kLanes, last - first);
    Vec pixels[kLanes];
    load_pixels(from + first, plane, lanes, count, pixels);
    for (int64_t i = 0; i < count; ++i) {
      store(to, pixels[i]);
      to += kLanes;
      if (++column == width) column = 0, to += 2 * side * kLanes;
    }
  }
}

// The kernels of a group of planes, one vector per tap.
template <int N, typename T>
inline void load_taps(const T* w, int64_t lanes, Vec* taps) {
  Vec chunk[kLanes];
  for (int t = 0; t < N; t += kLanes) {
    const int count = std::min<int>(kLanes, N - t);
    load_pixels(w + t, N, lanes, count, chunk);
    for (int i = 0; i < count; ++i) taps[t + i] = chunk[i];
  }
}

// Call body(group, first_row, last_row) for strips of rows that need at most `rows` each.
template <typename Body>
void for_strips(const Geometry& g, int64_t rows, int64_t rows_at_once, int64_t work_per_row, Body body) {
  const int64_t units = groups(g.batch * g.channels), threads = in_parallel_region() ? 0 : get_num_threads();
  int64_t strips = (rows + rows_at_once - 1) / rows_at_once;
  if (units * strips < 2 * threads) strips = std::min(rows, (2 * threads + units - 1) / units);
  const int64_t work = std::max<int64_t>(1, rows * work_per_row / strips);
  parallel_for(0, units * strips, std::max<int64_t>(1, 4096 / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t part = i % strips;
      body(i / strips, rows * part / strips, rows * (part + 1) / strips);
    }
  });
}

inline int64_t lanes_of(const Geometry& g, int64_t group) {
  return std::min(kLanes, g.batch * g.channels - group * kLanes);
}

// Output rows whose windows fit into the scratch.
inline int64_t rows_at_once(int64_t pitch, int64_t kernel, int64_t stride) {
  return (kStripPixels / pitch - kernel) / stride + 1;
}

inline bool fits(const Geometry& g) {
  const int64_t widest = std::max(g.width + 2 * g.pad_w, g.out_width + 2 * g.kernel_w);
  return kStripPixels / widest >= 2 * g.kernel_h;
}

template <int K, typename T>
void forward_planes(const Geometry& g, const T* x, const T* w, T* y, bool turned = false) {
  const int64_t stride = g.stride_h;
  const int64_t at_once = rows_at_once(g.width + 2 * g.pad_w, K, stride);
  for_strips(g, g.out_height, at_once, g.out_width * K * K, [&](int64_t group, int64_t begin, int64_t end) {
    const int64_t lanes = lanes_of(g, group), plane = group * kLanes;
    Vec taps[K * K];
    load_taps<K * K>(w + plane * K * K, lanes, taps);
    if (turned) std::reverse(taps, taps + K * K);
    Strip& s = strip();
    const int64_t top = begin * stride - g.pad_h, bottom = (end - 1) * stride + K - g.pad_h;
    fill(s, x + plane * g.pixels(), g.height, g.width, g.pad_w, lanes, top, bottom);
    T* to = y + plane * g.out_pixels() + begin * g.out_width;
    const int64_t all = (end - begin) * g.out_width;
    int64_t column = 0;
    const float* window = s.pixels;
    for (int64_t first = 0; first < all; first += kLanes) {
      const int64_t count = std::min(kLanes, all - first);
      Vec found[kLanes];
      for (int64_t i = 0; i < count; ++i) {
        Vec total{};
        for (int a = 0; a < K; ++a)
          for (int b = 0; b < K; ++b) total += taps[a * K + b] * load(window + (a * s.pitch + b) * kLanes);
        found[i] = total;
        window += stride * kLanes;
        if (++column == g.out_width) column = 0, window += (stride * s.pitch - stride * g.out_width) * kLanes;
      }
      for (int64_t i = count; i < kLanes; ++i) found[i] = Vec{};
      store_pixels(found, to + first, g.out_pixels(), lanes, count);
    }
  });
}

// Stride 1: the gradient is the convolution of the incoming one with the kernel turned around.
template <int K, typename T>
void grad_input_planes1(const Geometry& g, const T* grad, const T* w, T* gx) {
  Geometry turned = g;
  turned.height = g.out_height, turned.width = g.out_width;
  turned.out_height = g.height, turned.out_width = g.width;
  turned.pad_h = K - 1 - g.pad_h, turned.pad_w = K - 1 - g.pad_w;
  forward_planes<K>(turned, grad, w, gx, true);
}

// One pixel of the gradient with stride 2: a pixel of one parity meets the same taps everywhere. `from` is the output
// whose window meets the pixel with the first of those taps; the following taps belong to the outputs before it.
template <int K, int ROW, int COLUMN>
inline Vec gather(const Vec* taps, const float* from, int64_t pitch) {
  Vec total{};
  for (int a = ROW; a < K; a += 2)
    for (int b = COLUMN; b < K; b += 2) total += taps[a * K + b] * load(from - (a / 2 * pitch + b / 2) * kLanes);
  return total;
}

template <int K, typename T>
void grad_input_planes2(const Geometry& g, const T* grad, const T* w, T* gx) {
  constexpr int64_t kSide = K / 2 + 1;
  const int64_t at_once = 2 * rows_at_once(g.out_width + 2 * kSide, K + 2, 1);
  for_strips(g, g.height, at_once, g.width * K * K / 4, [&](int64_t group, int64_t begin, int64_t end) {
    const int64_t lanes = lanes_of(g, group), plane = group * kLanes;
    Vec taps[K * K];
    load_taps<K * K>(w + plane * K * K, lanes, taps);
    Strip& s = strip();
    const int64_t top = (begin + g.pad_h) / 2 - K / 2, bottom = (end - 1 + g.pad_h) / 2 + 1;
    fill(s, grad + plane * g.out_pixels(), g.out_height, g.out_width, kSide, lanes, top, bottom);
    T* to = gx + plane * g.pixels();
    Vec found[kLanes] = {};
    int64_t have = 0, stored = begin * g.width;
    for (int64_t row = begin; row < end; ++row) {
      const bool odd_row = (row + g.pad_h) & 1;
      const float* line = s.at((row + g.pad_h) / 2 - top, kSide);
      for (int64_t column = 0; column < g.width; ++column) {
        const bool odd_column = (column + g.pad_w) & 1;
        const float* from = line + (column + g.pad_w) / 2 * kLanes;
        found[have++] = odd_row ? (odd_column ? gather<K, 1, 1>(taps, from, s.pitch) : gather<K, 1, 0>(taps, from, s.pitch))
                                : (odd_column ? gather<K, 0, 1>(taps, from, s.pitch) : gather<K, 0, 0>(taps, from, s.pitch));
        if (have < kLanes && (row + 1 < end || column + 1 < g.width)) continue;
        store_pixels(found, to + stored, g.pixels(), lanes, have);
        stored += have, have = 0;
      }
    }
  });
}

template <int K, typename T>
void grad_weight_planes(const Geometry& g, const T* grad, const T* x, T* gw) {
  const int64_t stride = g.stride_h;
  const int64_t at_once = rows_at_once(g.width + 2 * g.pad_w, K, stride), units = groups(g.batch * g.channels);
  parallel_for(0, units, std::max<int64_t>(1, 4096 / (g.out_pixels() * K * K)), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      const int64_t lanes = lanes_of(g, group), plane = group * kLanes;
      Strip& s = strip();
      Vec total[K * K] = {};
      for (int64_t top = 0; top < g.out_height; top += at_once) {
        const int64_t bottom = std::min(g.out_height, top + at_once);
        const int64_t first_row = top * stride - g.pad_h, last_row = (bottom - 1) * stride + K - g.pad_h;
        fill(s, x + plane * g.pixels(), g.height, g.width, g.pad_w, lanes, first_row, last_row);
        const T* from = grad + plane * g.out_pixels() + top * g.out_width;
        const int64_t all = (bottom - top) * g.out_width;
        int64_t column = 0;
        const float* window = s.pixels;
        for (int64_t first = 0; first < all; first += kLanes) {
          const int64_t count = std::min(kLanes, all - first);
          Vec pixels[kLanes];
          load_pixels(from + first, g.out_pixels(), lanes, count, pixels);
          for (int64_t i = 0; i < count; ++i) {
            for (int a = 0; a < K; ++a)
              for (int b = 0; b < K; ++b) total[a * K + b] += pixels[i] * load(window + (a * s.pitch + b) * kLanes);
            window += stride * kLanes;
            if (++column == g.out_width) column = 0, window += (stride * s.pitch - stride * g.out_width) * kLanes;
          }
        }
      }
      for (int t = 0; t < K * K; t += kLanes) {
        const int count = std::min<int>(kLanes, K * K - t);
        Vec chunk[kLanes] = {};
        for (int i = 0; i < count; ++i) chunk[i] = total[t + i];
        store_pixels(chunk, gw + plane * K * K + t, K * K, lanes, count);
      }
    }
  });
}

}  // namespace dyc::channels_first
