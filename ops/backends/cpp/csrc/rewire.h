// Channels replaced by shifted copies of others: the loops over images, in both memory formats.
//
// A row of an image is read and written once. The few channels that are read as sources are first laid out as planes of
// floats whose rows go on beyond the image with its border pixels, so that a shifted row is a plain sum of four rows of
// a plane, without a case for the border; its derivatives are the same sum turned round.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rewire_tile.h"

namespace dyc::rewire {

// Rows [begin, end) of an output image. Down a column of vectors each row of a source is looked at once.
template <typename T>
void forward(const Plan& p, const Shape& s, Planes& planes, Tile<T>& tile, const T* x, T* y, int64_t begin, int64_t end) {
  for (int64_t first = begin; first < end; first += tile.rows) {
    const int64_t rows = std::min(tile.rows, end - first);
    for (int64_t r = 0; r < tile.count; ++r) {
      const Slot& slot = p.slots[r];
      const Vec up = splat(slot.down.near), down = splat(slot.down.far);
      const Vec left = splat(slot.right.near), right = splat(slot.right.far);
      for (int64_t w = 0; w < s.width; w += kLanes) {
        const auto between = [&](int64_t row) {
          const float* from = planes.clamped(slot.plane, row + slot.down.whole) + slot.right.whole + w;
          return left * load(from) + right * load(from + 1);
        };
        Vec above = between(first);
        for (int64_t i = 0; i < rows; ++i) {
          const Vec below = between(first + i + 1);
          store(tile.row(r, i) + w, up * above + down * below);
          above = below;
        }
      }
    }
    for (int64_t i = 0; i < rows; ++i) tile.put(x, y, first + i, i);
  }
}

// What a thread needs for the gradients of an image.
template <typename T>
struct Scratch {
  Planes planes, totals;  // the sources, and the gradients that go to them
  Tile<T> tile;
  std::vector<T> zeros;
  std::vector<Vec> horizontal, vertical;  // the shifts' gradients, by slot

  Scratch(const Plan& p, const Shape& s)
      : planes(p, s), totals(p, s), tile(p, s), zeros(tile.step), horizontal(tile.count), vertical(tile.count) {}
};

// Add the gradients of a slot in `rows` rows, from `first` on, to those of its source.
template <typename T>
void give(const Slot& slot, const Shape& s, Tile<T>& tile, int64_t r, Planes& totals, int64_t first, int64_t rows) {
  const Vec up = splat(slot.down.near), down = splat(slot.down.far);
  const Vec left = splat(slot.right.near), right = splat(slot.right.far);
  const auto to = [&](int64_t i) { return totals.clamped(slot.plane, first + i + slot.down.whole) + slot.right.whole; };
  for (int64_t w = 0; w < s.width; w += kLanes) {
    Vec above{};
    for (int64_t i = 0; i < rows; ++i) {
      const float* g = tile.row(r, i) + w;
      const Vec here = left * load(g) + right * load(g - 1);
      store(to(i) + w, load(to(i) + w) + (up * here + down * above));
      above = here;
    }
    store(to(rows) + w, load(to(rows) + w) + down * above);
  }
  if (s.width % kLanes) return;
  for (int64_t i = 0; i < rows; ++i) {  // beyond whole vectors there is the right neighbour of the last pixel
    const float g = slot.right.far * tile.row(r, i)[s.width - 1];
    to(i)[s.width] += slot.down.near * g;
    to(i + 1)[s.width] += slot.down.far * g;
  }
}

// Add what these rows say of a slot's shift.
template <typename T>
void add_slope(const Slot& slot, const Shape& s, Tile<T>& tile, int64_t r, Planes& planes, int64_t first, int64_t rows,
               Vec& horizontal, Vec& vertical) {
  const Vec up = splat(slot.down.near), down = splat(slot.down.far);
  const Vec left = splat(slot.right.near), right = splat(slot.right.far);
  Vec across{}, along{};
  for (int64_t w = 0; w < s.width; w += kLanes) {
    Vec slope_above, above;
    for (int64_t i = 0; i <= rows; ++i) {
      const float* from = planes.clamped(slot.plane, first + i + slot.down.whole) + slot.right.whole + w;
      const Vec a = load(from), b = load(from + 1), slope = b - a, here = left * a + right * b;
      if (i > 0) {
        const Vec g = load(tile.row(r, i - 1) + w);
        across += g * (up * slope_above + down * slope);
        along += g * (here - above);
      }
      slope_above = slope;
      above = here;
    }
  }
  horizontal += across;
  vertical += along;
}

// Gradients of one image: to the features where gx is given, to the shifts (R, 2) where gshift is.
template <typename T>
void backward(const Plan& p, const Shape& s, Scratch<T>& scratch, const T* grad, T* gx, float* gshift) {
  Tile<T>& tile = scratch.tile;
  Planes& totals = scratch.totals;
  std::fill(totals.values.begin(), totals.values.end(), 0.0f);
  std::fill(scratch.horizontal.begin(), scratch.horizontal.end(), Vec{});
  std::fill(scratch.vertical.begin(), scratch.vertical.end(), Vec{});
  for (int64_t first = 0; first < s.height; first += tile.rows) {
    const int64_t rows = std::min(tile.rows, s.height - first);
    for (int64_t i = 0; i < rows; ++i) tile.take_from(grad, gx, first + i, i, scratch.zeros.data());
    for (int64_t r = 0; r < tile.count; ++r) {
      if (gx) give(p.slots[r], s, tile, r, totals, first, rows);
      if (gshift) add_slope(p.slots[r], s, tile, r, scratch.planes, first, rows, scratch.horizontal[r], scratch.vertical[r]);
    }
  }
  for (int64_t r = 0; gshift && r < tile.count; ++r) {
    gshift[2 * p.slots[r].place] = sum(scratch.horizontal[r]);
    gshift[2 * p.slots[r].place + 1] = sum(scratch.vertical[r]);
  }
  if (!gx) return;
  for (int64_t h = 0; h < s.height; ++h)
    for (size_t d = 0; d < p.sources.size(); ++d) {
      float* from = totals.row(d, h);
      totals.fold(from);
      T* to = gx + s.at(p.sources[d], h);
      for (int64_t w = 0; w < s.width; ++w) add(to + w * s.step(), from[w]);
    }
}

// Compiled in rewire_loops.cpp.
#define DYC_REWIRE(EXTERN, T)                                                                                         \
  EXTERN template void read_sources(const Plan&, const Shape&, const T*, Planes&);                                   \
  EXTERN template void forward(const Plan&, const Shape&, Planes&, Tile<T>&, const T*, T*, int64_t, int64_t);         \
  EXTERN template void backward(const Plan&, const Shape&, Scratch<T>&, const T*, T*, float*);
DYC_REWIRE(extern, float)
DYC_REWIRE(extern, BFloat)

}  // namespace dyc::rewire
