// What is stored: float, half or bfloat16. What is computed with: float.
//
// No header of the CUDA toolkit is included, so that NVRTC needs nothing but itself.
#pragma once

namespace dyc {

struct half {
  unsigned short bits;
};
struct bfloat {
  unsigned short bits;
};

__device__ inline float widen(float v) { return v; }

#ifdef __CUDACC__  // elsewhere whoever includes this file defines them

__device__ inline float widen(half v) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(v.bits));
  return wide;
}

__device__ inline float widen(bfloat v) { return __uint_as_float((unsigned)v.bits << 16); }

__device__ inline void narrow(float v, float& out) { out = v; }

__device__ inline void narrow(float v, half& out) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(v)); }

__device__ inline void narrow(float v, bfloat& out) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(v));
#else
  const unsigned word = __float_as_uint(v);
  const bool nan = (word & 0x7fffffffu) > 0x7f800000u;
  out.bits = nan ? 0x7fff : (unsigned short)((word + 0x7fff + ((word >> 16) & 1)) >> 16);  // to nearest, ties to even
#endif
}

#endif

template <int BYTES>
struct WordOf;
template <>
struct WordOf<16> {
  using type = uint4;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<4> {
  using type = unsigned;
};
template <>
struct WordOf<2> {
  using type = unsigned short;
};

// V neighbouring elements, read and written in one instruction; their address is a multiple of their size.
template <typename T, int V>
union Pack {
  using Word = typename WordOf<sizeof(T) * V>::type;
  Word word;
  T element[V];
};

// Read from global memory that nobody writes meanwhile, or from wherever a block has put it.
struct Global {
  template <typename Word>
  static __device__ Word read(const Word* address) {
    return __ldg(address);
  }
};
struct Shared {
  template <typename Word>
  static __device__ Word read(const Word* address) {
    return *address;
  }
};

// Read V elements, or zeros where `inside` is false.
template <typename Memory, int V, typename T>
__device__ inline Pack<T, V> read(const T* address, bool inside) {
  Pack<T, V> pack;
  pack.word = typename Pack<T, V>::Word{};
  if (inside) pack.word = Memory::read((const typename Pack<T, V>::Word*)address);
  return pack;
}

template <int V, typename T>
__device__ inline void write(T* address, const float (&values)[V]) {
  Pack<T, V> pack;
#pragma unroll
  for (int v = 0; v < V; ++v) narrow(values[v], pack.element[v]);
  *(typename Pack<T, V>::Word*)address = pack.word;
}

}  // namespace dyc
