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

#ifdef __CUDACC__  // elsewhere whoever includes this file defines the two

__device__ inline float half_to_float(unsigned short bits) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
  return wide;
}

__device__ inline unsigned short float_to_half(float v) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

#endif

__device__ inline float widen(float v) { return v; }
__device__ inline float widen(half v) { return half_to_float(v.bits); }
__device__ inline float widen(bfloat v) { return __uint_as_float((unsigned)v.bits << 16); }

__device__ inline void narrow(float v, float& out) { out = v; }
__device__ inline void narrow(float v, half& out) { out.bits = float_to_half(v); }
__device__ inline void narrow(float v, bfloat& out) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(v));
#else
  const unsigned word = __float_as_uint(v);
  const bool nan = (word & 0x7fffffffu) > 0x7f800000u;
  out.bits = nan ? 0x7fff : (unsigned short)((word + 0x7fff + ((word >> 16) & 1)) >> 16);  // to nearest, ties to even
#endif
}

// Element `high` (0 or 1) of a word of two, or the one element of a word.
template <typename T>
__device__ inline float widen_word(unsigned word, int high);
template <>
__device__ inline float widen_word<float>(unsigned word, int) {
  return __uint_as_float(word);
}
template <>
__device__ inline float widen_word<half>(unsigned word, int high) {
  return widen(half{(unsigned short)(high ? word >> 16 : word)});
}
template <>
__device__ inline float widen_word<bfloat>(unsigned word, int high) {
  return __uint_as_float(high ? word & 0xffff0000u : word << 16);
}

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

// V neighbouring elements, read and written in one instruction; their address is a multiple of their size. They stay
// packed until they are used: 16-bit elements in registers of their own would take twice as many.
template <typename T, int V>
struct Pack {
  static constexpr int BYTES = sizeof(T) * V, WORDS = (BYTES + 3) / 4;
  using Memory = typename WordOf<BYTES>::type;
  union {
    Memory whole;
    unsigned word[WORDS];
  };

  __device__ __forceinline__ float operator[](int v) const {
    if (sizeof(T) == 4) return widen_word<T>(word[v], 0);
    return widen_word<T>(BYTES == 2 ? (unsigned)(unsigned short)word[0] : word[v / 2], v % 2);
  }
};

// Where a row is read from: global memory that nobody writes meanwhile, one row ahead of its use, or shared memory.
// Each reads a word, or zeros where `inside` is 0.
#ifdef __CUDACC__
struct Global {
  static constexpr int AHEAD = 1;
  // A condition on the load itself; the compiler would branch around each load, at twice the registers.
  static __device__ __forceinline__ void read(unsigned short& to, const void* from, unsigned inside) {
    asm("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.u16 %0, 0; @p ld.global.nc.u16 %0, [%1];}"
        : "=h"(to)
        : "l"(from), "r"(inside));
  }
  static __device__ __forceinline__ void read(unsigned& to, const void* from, unsigned inside) {
    asm("{.reg .pred p; setp.ne.u32 p, %2, 0; mov.u32 %0, 0; @p ld.global.nc.u32 %0, [%1];}"
        : "=r"(to)
        : "l"(from), "r"(inside));
  }
  static __device__ __forceinline__ void read(uint2& to, const void* from, unsigned inside) {
    asm("{.reg .pred p; setp.ne.u32 p, %3, 0; mov.u32 %0, 0; mov.u32 %1, 0; @p ld.global.nc.v2.u32 {%0, %1}, [%2];}"
        : "=r"(to.x), "=r"(to.y)
        : "l"(from), "r"(inside));
  }
};
#else
struct Global {
  static constexpr int AHEAD = 1;
  template <typename Word>
  static void read(Word& to, const void* from, unsigned inside) {
    to = inside ? *(const Word*)from : Word{};
  }
};
#endif
struct Shared {
  static constexpr int AHEAD = 0;
  template <typename Word>
  static __device__ __forceinline__ void read(Word& to, const void* from, unsigned inside) {
    to = inside ? *(const Word*)from : Word{};
  }
};

template <typename Memory, int V, typename T>
__device__ __forceinline__ Pack<T, V> read(const T* address, unsigned inside) {
  Pack<T, V> pack;
  typename Pack<T, V>::Memory whole;
  Memory::read(whole, address, inside);
  pack.word[0] = 0;
  pack.whole = whole;
  return pack;
}

template <int V, typename T>
__device__ inline void write(T* address, const float (&values)[V]) {
  union {
    typename Pack<T, V>::Memory whole;
    T element[V];
  };
#pragma unroll
  for (int v = 0; v < V; ++v) narrow(values[v], element[v]);
  *(typename Pack<T, V>::Memory*)address = whole;
}

}  // namespace dyc
