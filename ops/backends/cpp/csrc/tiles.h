// Channels_last kernels for the usual windows: a tile of neighbouring output pixels is summed in registers, for one block
// of channels after the other, so that whole lines of pixels are read and written and each input vector serves
// every output of the tile that it touches. Rows and columns outside the image are skipped: no padded copy is made.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "geometry.h"
#include "vec.h"

#define DYC_UNROLL _Pragma("GCC unroll 32")
#define DYC_KEEP_LOOP _Pragma("GCC unroll 1")

namespace dyc::channels_last {

constexpr int64_t kTileBlocks = 8;  // blocks of channels whose kernels stay in the first-level cache

// M x N outputs from (row, column) on, for one block, where M is 1 or 2. A tile is `inside` if its columns are.
template <int KH, int KW, int S, int M, int N, bool kInside, bool kWhole, typename T>
inline void tile(const Geometry& g, const T* image, const Vec* taps, T* out, int64_t lanes, int64_t row, int64_t column) {
  const int64_t top = row * S - g.pad_h, left = column * S - g.pad_w;
  const int64_t height = g.height, width = g.width, channels = g.channels, pitch = g.out_width * channels;
  Vec total[M][N];
  DYC_UNROLL
  for (int m = 0; m < M; ++m) {
    DYC_UNROLL
    for (int n = 0; n < N; ++n) total[m][n] = Vec{};
  }
  // Input row i meets row i of the taps for the outputs of the first row, and row i - S for those of the second.
  const auto add = [&]<bool kFirst, bool kSecond>(int i) __attribute__((always_inline)) {
    if (top + i < 0 || top + i >= height) return;
    const int64_t from = ((top + i) * width + left) * channels;  // below 0 left of the image: not yet a pointer
    const Vec* tap = taps + i * KW;
    DYC_UNROLL
    for (int p = 0; p < (N - 1) * S + KW; ++p) {
      if (!kInside && (left + p < 0 || left + p >= width)) continue;
      const T* pixel = image + (from + p * channels);
      const Vec v = kWhole ? load(pixel) : load(pixel, lanes);
      DYC_UNROLL
      for (int m = kFirst ? 0 : 1; m < (kSecond ? 2 : 1); ++m) {
        DYC_UNROLL
        for (int j = 0; j < KW; ++j)
          if (p >= j && (p - j) % S == 0 && (p - j) / S < N) total[m][(p - j) / S] += tap[j - m * S * KW] * v;
      }
    }
  };
  // bfloat16 is not unrolled over rows, except in the smallest tiles: it takes long to compile, and gains nothing.
  const auto rows = [&]<bool kFirst, bool kSecond>(int begin, int end) __attribute__((always_inline)) {
    if constexpr (N == 1 || std::is_same_v<T, float>) {
      DYC_UNROLL
      for (int i = begin; i < end; ++i) add.template operator()<kFirst, kSecond>(i);
    } else {
      DYC_KEEP_LOOP
      for (int i = begin; i < end; ++i) add.template operator()<kFirst, kSecond>(i);
    }
  };
  rows.template operator()<true, false>(0, M == 1 ? KH : S);
  if constexpr (M == 2) {
    rows.template operator()<true, true>(S, KH);
    rows.template operator()<false, true>(KH, KH + S);
  }
  T* to = out + row * pitch + column * channels;
  DYC_UNROLL
  for (int m = 0; m < M; ++m) {
    DYC_UNROLL
    for (int n = 0; n < N; ++n) {
      if (kWhole) store(to + m * pitch + n * channels, total[m][n]);
      else store(to + m * pitch + n * channels, total[m][n], lanes);
    }
  }
}

// The same for fewer channels than a vector has lanes, through a copy of the inputs with all lanes, zero outside.
template <int KH, int KW, int S, int M, int N, typename T>
[[gnu::noinline]] void tile_part(const Geometry& g, const T* image, const Vec* taps, T* out, int64_t lanes, int64_t row,
                                 int64_t column) {
  constexpr int64_t kRows = (M - 1) * S + KH, kColumns = (N - 1) * S + KW;
  T patch[kRows * kColumns * kLanes] = {}, found[M * N * kLanes];
  const int64_t top = row * S - g.pad_h, left = column * S - g.pad_w;
  for (int64_t i = std::max<int64_t>(0, -top); i < std::min(kRows, g.height - top); ++i)
    for (int64_t p = std::max<int64_t>(0, -left); p < std::min(kColumns, g.width - left); ++p)
      std::memcpy(patch + (i * kColumns + p) * kLanes, image + ((top + i) * g.width + left + p) * g.channels,
                  lanes * sizeof(T));
  const Geometry whole{1, kLanes, kRows, kColumns, M, N, KH, KW, S, S, 0, 0, 1, 1};
  tile<KH, KW, S, M, N, true, true>(whole, patch, taps, found, kLanes, 0, 0);
  T* to = out + (row * g.out_width + column) * g.channels;
  for (int64_t m = 0; m < M; ++m)
    for (int64_t n = 0; n < N; ++n)
      std::memcpy(to + (m * g.out_width + n) * g.channels, found + (m * N + n) * kLanes, lanes * sizeof(T));
}

// Tiles of N columns from `column` on, as many as fit, for all blocks; returns the first column that is left.
template <int KH, int KW, int S, int M, int N, typename T>
inline int64_t tiles(const Geometry& g, const T* image, const Vec (*taps)[KH * KW], T* out, int64_t channels, int64_t row,
                     int64_t column) {
  for (; column + N <= g.out_width; column += N) {
    const int64_t left = column * S - g.pad_w;
    const bool inside = left >= 0 && left + (N - 1) * S + KW <= g.width;
    for (int64_t c = 0, block = 0; c < channels; c += kLanes, ++block) {
      const int64_t lanes = std::min(kLanes, channels - c);
      if (lanes < kLanes) {
        if constexpr (kMasks<T>) tile<KH, KW, S, M, N, false, false>(g, image + c, taps[block], out + c, lanes, row, column);
        else tile_part<KH, KW, S, M, N>(g, image + c, taps[block], out + c, lanes, row, column);
      } else if (inside) {
        tile<KH, KW, S, M, N, true, true>(g, image + c, taps[block], out + c, lanes, row, column);
      } else {
        tile<KH, KW, S, M, N, false, true>(g, image + c, taps[block], out + c, lanes, row, column);
      }
    }
  }
  return column;
}

// Bands of M rows from `row` on, as many as fit before `end`, in tiles of N columns and then narrower ones.
template <int KH, int KW, int S, int M, int N, typename T>
inline int64_t bands(const Geometry& g, const T* image, const Vec (*taps)[KH * KW], T* out, int64_t channels, int64_t row,
                     int64_t end) {
  for (; row + M <= end; row += M) {
    int64_t column = tiles<KH, KW, S, M, N>(g, image, taps, out, channels, row, 0);
    if constexpr (N > 4) column = tiles<KH, KW, S, M, 4>(g, image, taps, out, channels, row, column);
    if constexpr (N > 2) column = tiles<KH, KW, S, M, 2>(g, image, taps, out, channels, row, column);
    tiles<KH, KW, S, M, 1>(g, image, taps, out, channels, row, column);
  }
  return row;
}

// Convolve the output rows [begin, end) of up to kTileBlocks blocks.
template <int KH, int KW, int S, typename T>
[[gnu::noinline]] void convolve_tiles(const Geometry& g, const T* image, const Vec (*taps)[KH * KW], T* out, int64_t channels,
                           int64_t begin, int64_t end) {
  // As many sums as stay in registers beside an input and its taps.
  constexpr int kColumns = S == 1 ? 6 : 4;
  begin = bands<KH, KW, S, 2, kColumns>(g, image, taps, out, channels, begin, end);
  bands<KH, KW, S, 1, 4>(g, image, taps, out, channels, begin, end);
}

}  // namespace dyc::channels_last
