// What one thread computes: a strip of V channels, a few columns wide, from top to bottom.
//
// Every row is read once, with the row after it already on its way. The sums of the rows that a row contributes to are
// kept in a ring of registers; the loop over rows is unrolled by the ring's length, so that every index is a constant.
// All three work at dilation 1, kernels K x K, stride S in both directions.
#pragma once

#include "call.cuh"

namespace dyc {

// One plane, or V planes side by side.
template <typename T>
struct Lines {
  T* base;          // row `origin`, column 0
  long long row;    // elements from row to row
  int column;       // elements from column to column
  int height, width, origin;

  __device__ T* line(int i) const { return base + (i - origin) * row; }
};

template <typename Memory, int V, int COUNT, typename T>
__device__ __forceinline__ void read_line(Pack<T, V> (&to)[COUNT], const Lines<const T>& from, int row, int left, bool wanted = true) {
  const T* line = from.line(row);
  const bool inside = wanted && row >= 0 && row < from.height;
#pragma unroll
  for (int c = 0; c < COUNT; ++c)
    to[c] = read<Memory, V>(line + (left + c) * from.column, inside && left + c >= 0 && left + c < from.width);
}

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
    const int left = column * S - call.pad_w, top = first * S - call.pad_h, bottom = last_read(call, last);
    const int steps = last - first + RING - 1;
    float sums[RING][COLUMNS][V] = {};
    Pack<T, V> now[S][READ], next[S][READ];
#pragma unroll
    for (int s = 0; s < S; ++s) read_line<Memory>(next[s], in, top + s, left);
    for (int begin = 0; begin < steps; begin += RING) {
#pragma unroll
      for (int u = 0; u < RING; ++u) {
        const int step = begin + u;
        if (step >= steps) break;
#pragma unroll
        for (int s = 0; s < S; ++s) {
#pragma unroll
          for (int c = 0; c < READ; ++c) now[s][c] = next[s][c];
          const int row = top + (step + 1) * S + s;
          read_line<Memory>(next[s], in, row, left, row < bottom);
        }
        add(sums, now, kernel, u);
        const int slot = (u + 1) % RING, row = first + step - (RING - 1);
        if (row >= first) {
          T* line = out.line(row);
#pragma unroll
          for (int j = 0; j < COLUMNS; ++j)
            if (column + j < out.width) write<V>(line + (column + j) * out.column, sums[slot][j]);
        }
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
          for (int v = 0; v < V; ++v) sums[slot][j][v] = 0;
      }
    }
  }

  static __device__ __forceinline__ void add(float (&sums)[RING][COLUMNS][V], const Pack<T, V> (&lines)[S][READ],
                                             const float (&kernel)[V * K * K], int u) {
#pragma unroll
    for (int s = 0; s < S; ++s)
#pragma unroll
      for (int c = 0; c < READ; ++c)
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const float x = widen(lines[s][c].element[v]);
#pragma unroll
          for (int a = 0; a < RING; ++a)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
              const int i = s + S * a, tap = c - j * S;
              if (i < K && tap >= 0 && tap < K) sums[(u - a + RING) % RING][j][v] += x * kernel[v * K * K + i * K + tap];
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
    Pack<T, V> now[READ], next[READ];
    read_line<Memory>(next, in, top, left);
    for (int begin = 0; begin < steps; begin += RING) {
#pragma unroll
      for (int u = 0; u < RING; ++u) {
        const int step = begin + u;
        if (step >= steps) break;
#pragma unroll
        for (int c = 0; c < READ; ++c) now[c] = next[c];
        read_line<Memory>(next, in, top + step + 1, left, step + 1 < steps);
        add(sums, now, kernel, u);
        const int slot = (u + 1) % RING, pair = first + step - (RING - 1);
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int row = 2 * pair - call.pad_h + e;
          if (pair >= first && row >= 0 && row < out.height) {
            T* line = out.line(row);
#pragma unroll
            for (int j = 0; j < 2 * COLUMNS; ++j) {
              const int at = 2 * column - call.pad_w + j;
              if (at >= 0 && at < out.width) write<V>(line + at * out.column, sums[slot][e][j]);
            }
          }
#pragma unroll
          for (int j = 0; j < 2 * COLUMNS; ++j)
#pragma unroll
            for (int v = 0; v < V; ++v) sums[slot][e][j][v] = 0;
        }
      }
    }
  }

  static __device__ __forceinline__ void add(float (&sums)[RING][2][2 * COLUMNS][V], const Pack<T, V> (&line)[READ],
                                             const float (&kernel)[V * K * K], int u) {
#pragma unroll
    for (int c = 0; c < READ; ++c)
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const float g = widen(line[c].element[v]);
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
    const int left = column * S - call.pad_w, top = first * S - call.pad_h, bottom = last_read(call, last);
    const int steps = last - first + RING - 1;
    float ring[RING][COLUMNS][V] = {};  // the rows of the gradient that a row of the input meets
    Pack<T, V> now[S][READ], next[S][READ], next_grad[COLUMNS];
#pragma unroll
    for (int s = 0; s < S; ++s) read_line<Memory>(next[s], in, top + s, left);
    read_line<Memory>(next_grad, grad, first, column);
    for (int begin = 0; begin < steps; begin += RING) {
#pragma unroll
      for (int u = 0; u < RING; ++u) {
        const int step = begin + u;
        if (step >= steps) break;
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j)
#pragma unroll
          for (int v = 0; v < V; ++v) ring[u][j][v] = widen(next_grad[j].element[v]);
        read_line<Memory>(next_grad, grad, first + step + 1, column, first + step + 1 < last);
#pragma unroll
        for (int s = 0; s < S; ++s) {
#pragma unroll
          for (int c = 0; c < READ; ++c) now[s][c] = next[s][c];
          const int row = top + (step + 1) * S + s;
          read_line<Memory>(next[s], in, row, left, row < bottom);
        }
        add(sums, now, ring, u);
      }
    }
  }

  static __device__ __forceinline__ void add(float (&sums)[V * K * K], const Pack<T, V> (&lines)[S][READ],
                                             const float (&ring)[RING][COLUMNS][V], int u) {
#pragma unroll
    for (int s = 0; s < S; ++s)
#pragma unroll
      for (int c = 0; c < READ; ++c)
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const float x = widen(lines[s][c].element[v]);
#pragma unroll
          for (int a = 0; a < RING; ++a)
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
              const int i = s + S * a, tap = c - j * S;
              if (i < K && tap >= 0 && tap < K) sums[v * K * K + i * K + tap] += x * ring[(u - a + RING) % RING][j][v];
            }
        }
  }
};

}  // namespace dyc
