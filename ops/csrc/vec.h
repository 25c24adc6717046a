// Sixteen floats at a time, through the compiler's vector types: one source for AVX2, AVX-512 and NEON. Storage may be
// float or bfloat16; arithmetic is always float.
#pragma once

#include <cstdint>
#include <cstring>

namespace dyc {

constexpr int64_t kLanes = 16;

typedef float Vec __attribute__((vector_size(64)));
typedef uint32_t VecU32 __attribute__((vector_size(64)));
typedef uint16_t VecU16 __attribute__((vector_size(32)));

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

inline float sum(Vec v) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += v[i];
  return total;
}

}  // namespace dyc
