// What one thread computes: a strip of V channels, a few columns wide, from top to bottom.
//
// Every row is read once, with the row after it already on its way. The sums of the rows that a row contributes to are
// kept in a ring of registers; the loop over rows is unrolled by the ring's length, so that every index is a constant.
// All three work at dilation 1, kernels K x K, stride S in both directions.
#pragma once

#include "lines.cuh"

namespace dyc {

// out[o] = sum over i, j of kernel[i, j] * in[S * o - pad + (i, j)]: the forward pass, and at S = 1 (with kernels turned
// and another padding) the gradient of the input. A row step is a row of the output.
template <typename T_, int V_, int K_, int S_, int COLUMNS_>
struct Slide {
  using T = T_;
  static constexpr int V = V_, K = K_, S = S_, COLUMNS = COLUMNS_;
  static constexpr int RING = (K + S - 1) / S, READ = (COLUMNS - 1) * S + K;

  static __device__ int first_read(const Call& call, int row) { return row * S - call.pad_h; }
  static __device__ int last_read(const Call& call, int row) { return (row - 1) * S - call.pad_h + K; }

  template <typename Memory>
  static __device__ __forceinline__ void run(const Call& call, const float (&kernel)[V * K * K], const Lines<const T>& in,
                                             const Lines<T>& out, int first, int last, int column) {
    const int left = column * S - call.pad_w, top = first * S - call.pad_h;
    const int steps = last - first + RING - 1;
    float sums[RING][COLUMNS][V] = {};
    Pack<T, V> next[S][READ];
    Reader<Memory, T, V, READ> reader(in, top, last_read(call, last), left);
    if (Memory::AHEAD) {
#pragma unroll
      for (int s = 0; s < S; ++s) reader.fill(next[s]);
    }
    T* target = out.line(first) + (long long)column * out.column;
    const unsigned inside = inside_columns<COLUMNS>(column, out.width);
#pragma unroll 1
    for (int begin = 0; begin < steps; begin += RING) {
#pragma unroll
      for (int u = 0; u < RING; ++u) {
        const int step = begin + u;
        if (step >= steps) continue;  // not break: that takes more registers
        add<Memory>(sums, reader, next, kernel, u);
        const int slot = (u + 1) % RING;
        if (step >= RING - 1) {  // row `step` - (RING - 1) of the strip is complete
          write_line(target, out.column, sums[slot], inside);
          target += out.row;
        }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
          for (int v = 0; v < V; ++v) sums[slot][j][v] = 0;
      }
    }
  }

  template <typename Memory>
  static __device__ __forceinline__ void add(float (&sums)[RING][COLUMNS][V], Reader<Memory, T, V, READ>& reader, Pack<T, V> (&next)[S][READ],
                                             const float (&kernel)[V * K * K], int u) {
#pragma unroll
    for (int s = 0; s < S; ++s) {
      reader.turn();
#pragma unroll
      for (int c = 0; c < READ; ++c) {
        const Pack<T, V> pack = reader.exchange(next[s][c], c);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const float x = pack[v];
#pragma unroll
          for (int a = 0; a < RING; ++a)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
              const int i = s + S * a, tap = c - j * S;
              if (i < K && tap >= 0 && tap < K) sums[(u - a + RING) % RING][j][v] += x * kernel[v * K * K + i * K + tap];
            }
        }
      }
    }
  }
};

// The gradient of the input at stride 2: row i of the input meets rows (i + pad - kernel row) / 2 of the gradient. A row
// step is a pair of rows 2p - pad and 2p - pad + 1, which read the gradient's rows p - (RING - 1) to p; columns alike.
template <typename T_, int V_, int K_, int COLUMNS_>
struct Spread {
  using T = T_;
  static constexpr int V = V_, K = K_, COLUMNS = COLUMNS_;
  static constexpr int RING = (K + 1) / 2, READ = COLUMNS + RING - 1;

  static __device__ int first_read(const Call&, int row) { return row - (RING - 1); }
  static __device__ int last_read(const Call&, int row) { return row; }

  template <typename Memory>
  static __device__ __forceinline__ void run(const Call& call, const float (&kernel)[V * K * K], const Lines<const T>& in,
                                             const Lines<T>& out, int first, int last, int column) {
    const int left = column - (RING - 1), top = first - (RING - 1), steps = last - first + RING - 1;
    float sums[RING][2][2 * COLUMNS][V] = {};
    Pack<T, V> next[READ];
    Reader<Memory, T, V, READ> reader(in, top, last, left);
    if (Memory::AHEAD) reader.fill(next);
    T* target = out.line(2 * first - call.pad_h) + (long long)(2 * column - call.pad_w) * out.column;
    int row = 2 * first - call.pad_h;
    const unsigned columns = inside_columns<2 * COLUMNS>(2 * column - call.pad_w, out.width);
#pragma unroll 1
    for (int begin = 0; begin < steps; begin += RING) {
#pragma unroll
      for (int u = 0; u < RING; ++u) {
        const int step = begin + u;
        if (step >= steps) continue;  // not break: that takes more registers
        add<Memory>(sums, reader, next, kernel, u);
        const int slot = (u + 1) % RING;
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (step >= RING - 1) {  // both rows of the pair are complete
            write_line(target, out.column, sums[slot][e], row >= 0 && row < out.height ? columns : 0);
            target += out.row;
            ++row;
          }
#pragma unroll
          for (int j = 0; j < 2 * COLUMNS; ++j)
#pragma unroll
            for (int v = 0; v < V; ++v) sums[slot][e][j][v] = 0;
        }
      }
    }
  }

  template <typename Memory>
  static __device__ __forceinline__ void add(float (&sums)[RING][2][2 * COLUMNS][V], Reader<Memory, T, V, READ>& reader,
                                             Pack<T, V> (&next)[READ], const float (&kernel)[V * K * K], int u) {
    reader.turn();
#pragma unroll
    for (int c = 0; c < READ; ++c) {
      const Pack<T, V> pack = reader.exchange(next[c], c);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const float g = pack[v];
#pragma unroll
        for (int a = 0; a < RING; ++a)
#pragma unroll
          for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
              for (int f = 0; f < 2; ++f) {
                const int i = e + 2 * a, back = j + RING - 1 - c, tap = f + 2 * back;
                if (i < K && back >= 0 && back < RING && tap < K)
                  sums[(u + 1 + a) % RING][e][2 * j + f][v] += g * kernel[v * K * K + i * K + tap];
              }
      }
    }
  }
};

// The gradient of the kernels: sums over the strip of grad[o] * in[S * o - pad + (i, j)]. A row step is a row of `grad`.
template <typename T_, int V_, int K_, int S_, int COLUMNS_>
struct Correlate {
  using T = T_;
  static constexpr int V = V_, K = K_, S = S_, COLUMNS = COLUMNS_;
  static constexpr int RING = (K + S - 1) / S, READ = (COLUMNS - 1) * S + K;

  static __device__ int first_read(const Call& call, int row) { return row * S - call.pad_h; }
  static __device__ int last_read(const Call& call, int row) { return (row - 1) * S - call.pad_h + K; }

  template <typename Memory>
  static __device__ __forceinline__ void run(const Call& call, float (&sums)[V * K * K], const Lines<const T>& in,
                                             const Lines<const T>& grad, int first, int last, int column) {
    const int left = column * S - call.pad_w, top = first * S - call.pad_h;
    const int steps = last - first + RING - 1;
    float ring[RING][COLUMNS][V] = {};  // the rows of the gradient that a row of the input meets
    Pack<T, V> next[S][READ], next_grad[COLUMNS];
    Reader<Memory, T, V, READ> reader(in, top, last_read(call, last), left);
    Reader<Memory, T, V, COLUMNS> grads(grad, first, last, column);
    if (Memory::AHEAD) {
#pragma unroll
      for (int s = 0; s < S; ++s) reader.fill(next[s]);
      grads.fill(next_grad);
    }
#pragma unroll 1
    for (int begin = 0; begin < steps; begin += RING) {
#pragma unroll
      for (int u = 0; u < RING; ++u) {
        const int step = begin + u;
        if (step >= steps) continue;  // not break: that takes more registers
        grads.turn();
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) {
          const Pack<T, V> pack = grads.exchange(next_grad[j], j);
#pragma unroll
          for (int v = 0; v < V; ++v) ring[u][j][v] = pack[v];
        }
        add<Memory>(sums, reader, next, ring, u);
      }
    }
  }

  template <typename Memory>
  static __device__ __forceinline__ void add(float (&sums)[V * K * K], Reader<Memory, T, V, READ>& reader, Pack<T, V> (&next)[S][READ],
                                             const float (&ring)[RING][COLUMNS][V], int u) {
#pragma unroll
    for (int s = 0; s < S; ++s) {
      reader.turn();
#pragma unroll
      for (int c = 0; c < READ; ++c) {
        const Pack<T, V> pack = reader.exchange(next[s][c], c);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const float x = pack[v];
#pragma unroll
          for (int a = 0; a < RING; ++a)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
              const int i = s + S * a, tap = c - j * S;
              if (i < K && tap >= 0 && tap < K) sums[v * K * K + i * K + tap] += x * ring[(u - a + RING) % RING][j][v];
            }
        }
      }
    }
  }
};

}  // namespace dyc
