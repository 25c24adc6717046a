// Rows of a plane as a strip reads and writes them: a few neighbouring columns, V channels each.
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

// One bit for each of COUNT columns from `left` on that is inside.
template <int COUNT>
__device__ __forceinline__ unsigned inside_columns(int left, int width) {
  unsigned columns = 0;
#pragma unroll
  for (int c = 0; c < COUNT; ++c)
    if (left + c >= 0 && left + c < width) columns |= 1u << c;
  return columns;
}

// Reads COUNT neighbouring columns of one row after the other. An address that moves and one bit for each column take
// far fewer registers than their addresses and conditions do.
template <typename Memory, typename T, int V, int COUNT>
struct Reader {
  const T* at;
  long long down;  // elements from row to row
  int across;      // elements from column to column
  int row, end;
  unsigned columns, inside;
  const T* address;

  __device__ Reader(const Lines<const T>& from, int top, int bottom, int left)
      : at(from.line(top) + (long long)left * from.column), down(from.row), across(from.column), row(top),
        end(smaller(from.height, bottom)), columns(inside_columns<COUNT>(left, from.width)) {}

  // Turn to the next row; from `bottom` on, as outside, all is zero.
  __device__ __forceinline__ void turn() {
    inside = row >= 0 && row < end ? columns : 0;
    address = at;
    at += down;
    ++row;
  }

  // Return column c of the row, where columns are asked for one after the other.
  __device__ __forceinline__ Pack<T, V> column(int c) {
    const Pack<T, V> pack = read<Memory, V>(address, inside & 1u << c);
    address += across;
    return pack;
  }

  __device__ __forceinline__ void fill(Pack<T, V> (&line)[COUNT]) {
    turn();
#pragma unroll
    for (int c = 0; c < COUNT; ++c) line[c] = column(c);
  }

  // Return column c of the row before, putting that of the next row in its place; without reading ahead, column c.
  __device__ __forceinline__ Pack<T, V> exchange(Pack<T, V>& next, int c) {
    if (!Memory::AHEAD) return column(c);
    const Pack<T, V> now = next;
    next = column(c);
    return now;
  }
};

// Write those of COUNT neighbouring columns that are inside.
template <int V, int COUNT, typename T>
__device__ __forceinline__ void write_line(T* to, int across, const float (&values)[COUNT][V], unsigned inside) {
  if (V == 1 && sizeof(T) == 2 && COUNT == 2 && across == 1 && inside == 3 && (size_t)to % 4 == 0) {
    const float pair[2] = {values[0][0], values[COUNT - 1][0]};  // half as many writes, of whole words
    write<2>(to, pair);
    return;
  }
#pragma unroll
  for (int j = 0; j < COUNT; ++j)
    if (inside & 1u << j) write<V>(to + j * across, values[j]);
}

}  // namespace dyc
