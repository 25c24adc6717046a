// As many floats at a time as a register holds, through the compiler's vector types: one source for AVX-512 (sixteen),
// AVX2 (eight), NEON and SSE (four). Storage may be float or bfloat16; arithmetic is always float.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace dyc {

// Vectors wider than the registers would go through memory.
#if defined(__AVX512F__)
#define DYC_LANES 16
#elif defined(__AVX__)
#define DYC_LANES 8
#else
#define DYC_LANES 4
#endif

constexpr int64_t kLanes = DYC_LANES;

typedef float Vec __attribute__((vector_size(4 * DYC_LANES)));
typedef int32_t VecI32 __attribute__((vector_size(4 * DYC_LANES)));
typedef uint32_t VecU32 __attribute__((vector_size(4 * DYC_LANES)));
typedef uint16_t VecU16 __attribute__((vector_size(2 * DYC_LANES)));

struct BFloat {
  uint16_t bits;
};

inline Vec splat(float value) { return value - Vec{}; }

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline Vec load(const BFloat* p) {
  VecU16 half;
  std::memcpy(&half, p, sizeof half);
  const VecU32 bits = __builtin_convertvector(half, VecU32) << 16;
  Vec v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

// Round to nearest even; a NaN keeps its sign and stays a NaN.
inline void store(BFloat* p, Vec v) {
  VecU32 bits;
  std::memcpy(&bits, &v, sizeof bits);
  VecU32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecU32 nan = (VecU32)(v != v);
  rounded = (nan & ((bits >> 16) | 0x40u)) | (~nan & rounded);
  const VecU16 half = __builtin_convertvector(rounded, VecU16);
  std::memcpy(p, &half, sizeof half);
}

// The first `count` lanes, the others zero.
template <typename T>
inline Vec load(const T* p, int64_t count) {
  if (count >= kLanes) return load(p);
  T lanes[kLanes] = {};
  std::memcpy(lanes, p, count * sizeof(T));
  return load(lanes);
}

template <typename T>
inline void store(T* p, Vec v, int64_t count) {
  if (count >= kLanes) return store(p, v);
  T lanes[kLanes];
  store(lanes, v);
  std::memcpy(p, lanes, count * sizeof(T));
}

// Whether fewer lanes than a register holds take one instruction; otherwise they take a detour through memory.
template <typename T>
constexpr bool kMasks = false;

#ifdef __AVX512F__
template <>
inline constexpr bool kMasks<float> = true;
inline __mmask16 first(int64_t count) { return count >= kLanes ? 0xffff : count <= 0 ? 0 : (1u << count) - 1; }
inline Vec load(const float* p, int64_t count) { return (Vec)_mm512_maskz_loadu_ps(first(count), p); }
inline void store(float* p, Vec v, int64_t count) { _mm512_mask_storeu_ps(p, first(count), (__m512)v); }
#endif

// The sum of all lanes, by halves.
inline float sum(Vec v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// Turn kLanes vectors into the vectors of their first, second, ... lanes.
#ifdef __AVX512F__
inline void transpose(Vec* v) {
  __m512 a[kLanes], b[kLanes];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps((__m512)v[i], (__m512)v[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps((__m512)v[i], (__m512)v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int k = 0; k < 2; ++k) {
      const __m512d first = (__m512d)a[i + k], second = (__m512d)a[i + 2 + k];
      b[i + 2 * k] = (__m512)_mm512_unpacklo_pd(first, second);
      b[i + 2 * k + 1] = (__m512)_mm512_unpackhi_pd(first, second);
    }
  for (int i = 0; i < 16; i += 8)
    for (int k = 0; k < 4; ++k) {
      a[i + k] = _mm512_shuffle_f32x4(b[i + k], b[i + 4 + k], 0x88);
      a[i + 4 + k] = _mm512_shuffle_f32x4(b[i + k], b[i + 4 + k], 0xdd);
    }
  for (int k = 0; k < 8; ++k) {
    v[k] = (Vec)_mm512_shuffle_f32x4(a[k], a[8 + k], 0x88);
    v[8 + k] = (Vec)_mm512_shuffle_f32x4(a[k], a[8 + k], 0xdd);
  }
}
#else
inline void transpose(Vec* v) {
  float from[kLanes][kLanes], to[kLanes][kLanes];
  std::memcpy(from, v, sizeof from);
  for (int i = 0; i < kLanes; ++i)
    for (int j = 0; j < kLanes; ++j) to[i][j] = from[j][i];
  std::memcpy(v, to, sizeof to);
}
#endif

inline Vec maximum(Vec a, Vec b) { return a < b ? b : a; }

// e^v to a few units in the last place, for v <= 0 (a softmax needs no more); far below zero it is about 1e-38. The
// exponent is split into a whole number of octaves and a rest in [-ln 2 / 2, ln 2 / 2], where eight terms of
// the series reach float's precision.
inline Vec exp_negative(Vec v) {
  v = v < splat(-87.0f) ? splat(-87.0f) : v;
  const Vec shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number, kept in the low bits
  const Vec shifted = v * splat(1.44269504f) + shifter;
  const Vec octaves = shifted - shifter;
  const Vec x = (v - octaves * splat(0.693359375f)) - octaves * splat(-2.12194440e-4f);  // ln 2 in two parts
  Vec p = splat(1.0f / 5040);
  p = p * x + splat(1.0f / 720);
  p = p * x + splat(1.0f / 120);
  p = p * x + splat(1.0f / 24);
  p = p * x + splat(1.0f / 6);
  p = p * x + splat(0.5f);
  p = p * x + splat(1.0f);
  p = p * x + splat(1.0f);
  const VecI32 bits = ((VecI32)shifted - (VecI32)shifter + 127) << 23;
  return p * (Vec)bits;
}

}  // namespace dyc
