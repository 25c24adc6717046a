// Rows of an image: the pixels of the channels that are replaced, taken out and put in, beside those that are copied.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "rewire_planes.h"

namespace dyc::rewire {

#ifdef __AVX512F__
// Lanes of `from` that the mask names, one after the other; a whole vector is written.
inline void take(float* to, const float* from, uint32_t mask) {
  store(to, (Vec)_mm512_maskz_compress_ps(mask, (__m512)load(from)));
}
// `from`, with successive values in the lanes that the mask names; a whole vector of values is read.
inline void replace(float* to, const float* from, uint32_t mask, const float* values) {
  store(to, (Vec)_mm512_mask_expand_ps((__m512)load(from), mask, (__m512)load(values)));
}
#if defined(__AVX512VBMI2__) && defined(__AVX512VL__)
inline void take(BFloat* to, const BFloat* from, uint32_t mask) {
  _mm256_storeu_si256((__m256i*)to, _mm256_maskz_compress_epi16(mask, _mm256_loadu_si256((const __m256i*)from)));
}
inline void replace(BFloat* to, const BFloat* from, uint32_t mask, const BFloat* values) {
  const __m256i old = _mm256_loadu_si256((const __m256i*)from), other = _mm256_loadu_si256((const __m256i*)values);
  _mm256_storeu_si256((__m256i*)to, _mm256_mask_expand_epi16(old, mask, other));
}
#else
inline void take(BFloat* to, const BFloat* from, uint32_t mask) {
  store(to, (Vec)_mm512_maskz_compress_ps(mask, (__m512)load(from)));
}
inline void replace(BFloat* to, const BFloat* from, uint32_t mask, const BFloat* values) {
  store(to, (Vec)_mm512_mask_expand_ps((__m512)load(from), mask, (__m512)load(values)));
}
#endif
#else
template <typename T>
inline void take(T* to, const T* from, uint32_t mask) {
  for (int64_t i = 0; i < kLanes; ++i)
    if (mask >> i & 1) *to++ = from[i];
}
template <typename T>
inline void replace(T* to, const T* from, uint32_t mask, const T* values) {
  std::memcpy(to, from, kLanes * sizeof(T));
  for (int64_t i = 0; i < kLanes; ++i)
    if (mask >> i & 1) to[i] = *values++;
}
#endif

// Copy a row of an image, in NCHW without the channels that are replaced.
template <typename T>
void copy_row(const Plan& p, const Shape& s, const T* from, T* to, int64_t h) {
  if (s.last) {
    std::memcpy(to + s.at(0, h), from + s.at(0, h), s.width * s.channels * sizeof(T));
    return;
  }
  for (int64_t c = 0; c < s.channels; ++c)
    if (!p.replaced[c]) std::memcpy(to + s.at(c, h), from + s.at(c, h), s.width * sizeof(T));
}

constexpr int64_t padded(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// The slots' pixels in some rows of an image, slot by slot, as floats with zeros before and after each row; and those of
// one row pixel by pixel, as they are stored. From one to the other, squares of a vector's lanes are transposed.
template <typename T>
struct Tile {
  static constexpr int64_t kFloats = 1 << 15;  // in the cache of a core, beside the planes and the rows themselves

  const Plan& plan;
  const Shape& shape;
  int64_t count, stride, rows, step;
  std::vector<float> pixels;  // (R, rows, W)
  std::vector<T> values;      // (W, R)

  Tile(const Plan& p, const Shape& s)
      : plan(p), shape(s), count(p.slots.size()), stride(padded(s.width) + kLanes),
        rows(std::clamp<int64_t>(kFloats / (stride * padded(count)), 1, s.height)), step(padded(count) + kLanes),
        pixels(padded(count) * rows * stride + 2 * kLanes), values(step * padded(s.width)) {}

  float* row(int64_t slot, int64_t i) { return pixels.data() + (slot * rows + i) * stride + kLanes; }

  // Put the pixels of row i into row h of y, whose other channels are those of x.
  void put(const T* x, T* y, int64_t h, int64_t i) {
    if (plan.blocks.empty()) {
      copy_row(plan, shape, x, y, h);
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t w = 0; w < shape.width; w += kLanes) store(values.data() + w, load(row(r, i) + w));
        T* to = y + shape.at(plan.slots[r].channel, h);
        for (int64_t w = 0; w < shape.width; ++w) to[w * shape.step()] = values[w];
      }
      return;
    }
    for (int64_t r = 0; r < count; r += kLanes)
      for (int64_t w = 0; w < shape.width; w += kLanes) {
        Vec v[kLanes];
        for (int64_t k = 0; k < kLanes; ++k) v[k] = load(row(r + k, i) + w);
        transpose(v);
        for (int64_t k = 0; k < kLanes; ++k) store(values.data() + (w + k) * step + r, v[k]);
      }
    const T* from = x + shape.at(0, h);
    T* to = y + shape.at(0, h);
    each_pixel([=](int64_t at, const Block& block, T* slots) {
      replace(to + at, from + at, block.mask, slots + block.before);
    });
  }

  // body(offset in a row, block, the slots' values) for every block of every pixel of a row. All is copied to where a
  // store through a pointer cannot change it.
  template <typename Body>
  void each_pixel(Body body) {
    const Block *begin = plan.blocks.data(), *end = begin + plan.blocks.size();
    const int64_t channels = shape.channels, all = shape.width * channels, by = step;
    T* slots = values.data();
    for (int64_t at = 0; at < all; at += channels, slots += by)
      for (const Block* block = begin; block != end; ++block) body(at + block->channel, *block, slots);
  }

  // The same turned round: take row i from row h of a gradient, and copy the rest to gx, where given, zeros in its place.
  void take_from(const T* grad, T* gx, int64_t h, int64_t i, const T* zeros) {
    if (plan.blocks.empty()) {
      if (gx) copy_row(plan, shape, grad, gx, h);
      for (int64_t r = 0; r < count; ++r) {
        const int64_t at = shape.at(plan.slots[r].channel, h);
        for (int64_t w = 0; w < shape.width; ++w) row(r, i)[w] = widen(grad[at + w * shape.step()]);
        for (int64_t w = 0; gx && w < shape.width; ++w) gx[at + w * shape.step()] = T{};
      }
      return;
    }
    const T* from = grad + shape.at(0, h);
    T* to = gx ? gx + shape.at(0, h) : nullptr;
    each_pixel([=](int64_t at, const Block& block, T* slots) {
      take(slots + block.before, from + at, block.mask);
      if (to) replace(to + at, from + at, block.mask, zeros);
    });
    for (int64_t r = 0; r < count; r += kLanes)
      for (int64_t w = 0; w < shape.width; w += kLanes) {
        Vec v[kLanes] = {};
        for (int64_t k = 0; k < std::min(kLanes, shape.width - w); ++k) v[k] = load(values.data() + (w + k) * step + r);
        transpose(v);
        for (int64_t k = 0; k < kLanes; ++k) store(row(r + k, i) + w, v[k]);
      }
  }
};

}  // namespace dyc::rewire
