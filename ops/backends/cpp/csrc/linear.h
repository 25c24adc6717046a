// Linear layers of tens of rows to thousands, for as few samples as a batch has: a library's matrix product spends most of
// its time there on being general.
#pragma once

#include <algorithm>
#include <memory>
#include <type_traits>

#include "vec.h"

namespace dyc::branch {

// out[n, r] = bias[r] + dot(in[n], w[r]) for S samples and rows [begin, end); w has rows of `width` floats.
template <int S>
void dense_rows(const float* in, const float* w, const float* bias, int64_t width, int64_t begin, int64_t end, float* out,
                int64_t pitch) {
  constexpr int kRows = 4;  // at once, so that their sums do not wait for each other
  for (int64_t r = begin; r < end; r += kRows) {
    const int rows = int(std::min<int64_t>(kRows, end - r));
    const float* row[kRows];
    for (int k = 0; k < kRows; ++k) row[k] = w + std::min(r + k, end - 1) * width;
    Vec total[S][kRows] = {};
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes)
      for (int k = 0; k < kRows; ++k) {
        const Vec v = load(row[k] + i);
        for (int s = 0; s < S; ++s) total[s][k] += v * load(in + s * width + i);
      }
    if (i < width)
      for (int k = 0; k < kRows; ++k) {
        const Vec v = load(row[k] + i, width - i);
        for (int s = 0; s < S; ++s) total[s][k] += v * load(in + s * width + i, width - i);
      }
    for (int s = 0; s < S; ++s)
      for (int k = 0; k < rows; ++k) out[s * pitch + r + k] = sum(total[s][k]) + (bias ? bias[r + k] : 0.0f);
  }
}

// The same for a few samples; every row of w is read from memory once.
inline void dense_few(int64_t samples, const float* in, const float* w, const float* bias, int64_t width, int64_t begin,
                  int64_t end, float* out, int64_t pitch) {
  constexpr int64_t kRows = 4;
  for (int64_t r = begin; r < end; r += kRows) {
    const int64_t last = std::min(end, r + kRows);
    int64_t n = 0;
    for (; n + 4 <= samples; n += 4) dense_rows<4>(in + n * width, w, bias, width, r, last, out + n * pitch, pitch);
    for (; n < samples; ++n) dense_rows<1>(in + n * width, w, bias, width, r, last, out + n * pitch, pitch);
  }
}

// Many samples, packed: the inputs of kPack samples lie next to each other, (packs, width, kPack), the missing ones zero.
constexpr int64_t kPack = 2 * kLanes;

struct Packed {
  int64_t samples, width, packs;
  std::unique_ptr<float[]> inputs;

  Packed(int64_t samples, const float* in, int64_t width)
      : samples(samples), width(width), packs((samples + kPack - 1) / kPack), inputs(new float[packs * width * kPack]) {
    for (int64_t n = 0; n < packs * kPack; n += kLanes) {
      float* to = inputs.get() + n / kPack * width * kPack + n % kPack;
      for (int64_t i = 0; i < width; i += kLanes) {
        const int64_t count = std::min(kLanes, width - i);
        Vec v[kLanes];
        for (int64_t k = 0; k < kLanes; ++k) v[k] = n + k < samples ? load(in + (n + k) * width + i, count) : Vec{};
        transpose(v);
        for (int64_t k = 0; k < count; ++k) store(to + (i + k) * kPack, v[k]);
      }
    }
  }
};

// R rows of w for V vectors of samples: each weight meets all of them at once.
template <int R, int V>
inline void packed_rows(const float* inputs, const float* w, const float* bias, bool rectify, int64_t width, float* out) {
  Vec total[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) total[r][v] = splat(bias ? bias[r] : 0.0f);
  for (int64_t i = 0; i < width; ++i, inputs += kPack) {
    Vec samples[V];
    for (int v = 0; v < V; ++v) samples[v] = load(inputs + v * kLanes);
    for (int r = 0; r < R; ++r) {
      const Vec weight = splat(w[r * width + i]);
      for (int v = 0; v < V; ++v) total[r][v] += weight * samples[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      store(out + r * kPack + v * kLanes, rectify ? maximum(total[r][v], Vec{}) : total[r][v]);
}

// out[n, r] = bias[r] + dot(in[n], w[r]), or 0 if that is less and `rectify` is set, for rows [begin, end) of all samples.
inline void dense_packed(const Packed& in, const float* w, const float* bias, bool rectify, int64_t begin, int64_t end,
                         float* out, int64_t pitch) {
  constexpr int kRows = kLanes == 8 ? 6 : 12;  // what fits into the registers
  for (int64_t r = begin; r < end; r += kRows) {
    const int64_t rows = std::min<int64_t>(kRows, end - r);
    for (int64_t pack = 0; pack < in.packs; ++pack) {
      alignas(64) float found[kRows * kPack];
      const float* inputs = in.inputs.get() + pack * in.width * kPack;
      const int64_t first = pack * kPack, last = std::min(in.samples, first + kPack);
      const auto few = [&](auto rows, int64_t k) {
        const float *from = w + (r + k) * in.width, *offset = bias ? bias + r + k : nullptr;
        if (last - first > kLanes) packed_rows<rows, 2>(inputs, from, offset, rectify, in.width, found + k * kPack);
        else packed_rows<rows, 1>(inputs, from, offset, rectify, in.width, found + k * kPack);
      };
      if (rows == kRows) few(std::integral_constant<int, kRows>{}, 0);
      else
        for (int64_t k = 0; k < rows; ++k) few(std::integral_constant<int, 1>{}, k);
      for (int64_t n = first; n < last; ++n)
        for (int64_t k = 0; k < rows; ++k) out[n * pitch + r + k] = found[k * kPack + n - first];
    }
  }
}

}  // namespace dyc::branch
