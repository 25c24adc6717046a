// Channels_last kernels for the usual windows: a tile of neighbouring output pixels is summed in registers, for one block
// of channels after the other, so that whole lines of pixels are read and written and each input vector serves
// every output of the tile that it touches. Rows and columns outside the image are skipped: no padded copy is made.
#pragma once

#include <algorithm>

#include "geometry.h"
#include "vec.h"

#define DYC_UNROLL _Pragma("GCC unroll 32")

namespace dyc::channels_last {

constexpr int64_t kTileBlocks = 8;  // blocks of channels whose kernels stay in the first-level cache

// M x N outputs from (row, column) on, for one block. A plain tile is one whose columns lie inside the image, with all lanes.
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
  DYC_UNROLL
  for (int i = 0; i < (M - 1) * S + KH; ++i) {
    if (top + i < 0 || top + i >= height) continue;
    const int64_t from = ((top + i) * width + left) * channels;  // below 0 left of the image: not yet a pointer
    DYC_UNROLL
    for (int p = 0; p < (N - 1) * S + KW; ++p) {
      if (!kInside && (left + p < 0 || left + p >= width)) continue;
      const T* pixel = image + (from + p * channels);
      const Vec v = kWhole ? load(pixel) : load(pixel, lanes);
      DYC_UNROLL
      for (int m = 0; m < M; ++m) {
        const int u = i - m * S;
        if (u < 0 || u >= KH) continue;
        DYC_UNROLL
        for (int j = 0; j < KW; ++j)
          if (p >= j && (p - j) % S == 0 && (p - j) / S < N) total[m][(p - j) / S] += taps[u * KW + j] * v;
      }
    }
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

// Tiles of N columns from `column` on, as many as fit, for all blocks; returns the first column that is left.
template <int KH, int KW, int S, int M, int N, typename T>
inline int64_t tiles(const Geometry& g, const T* image, const Vec (*taps)[KH * KW], T* out, int64_t channels, int64_t row,
                     int64_t column) {
  for (; column + N <= g.out_width; column += N) {
    const int64_t left = column * S - g.pad_w;
    const bool inside = left >= 0 && left + (N - 1) * S + KW <= g.width;
    for (int64_t c = 0, block = 0; c < channels; c += kLanes, ++block) {
      const int64_t lanes = std::min(kLanes, channels - c);
      if (lanes < kLanes) tile<KH, KW, S, M, N, false, false>(g, image + c, taps[block], out + c, lanes, row, column);
      else if (inside) tile<KH, KW, S, M, N, true, true>(g, image + c, taps[block], out + c, lanes, row, column);
      else tile<KH, KW, S, M, N, false, true>(g, image + c, taps[block], out + c, lanes, row, column);
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
inline void convolve_tiles(const Geometry& g, const T* image, const Vec (*taps)[KH * KW], T* out, int64_t channels,
                           int64_t begin, int64_t end) {
  // As many sums as stay in registers beside an input and its taps.
  constexpr int kColumns = S == 1 ? 6 : 4;
  begin = bands<KH, KW, S, 2, kColumns>(g, image, taps, out, channels, begin, end);
  bands<KH, KW, S, 1, 4>(g, image, taps, out, channels, begin, end);
}

}  // namespace dyc::channels_last
