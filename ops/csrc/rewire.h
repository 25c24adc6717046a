// Channels replaced by shifted copies of others: the loops over images, in both memory formats.
//
// A row of an image is read and written once. The few channels that are read as sources are first laid out as planes of
// floats whose rows go on beyond the image with its border pixels, so that a shifted row is a plain sum of four rows of
// a plane, without a case for the border; its derivatives are the same sum turned round.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "vec.h"

namespace dyc::rewire {

// One image: the distances of its elements depend on the memory format.
struct Shape {
  int64_t channels, height, width;
  bool last;  // channels_last

  int64_t pixels() const { return height * width; }
  int64_t numel() const { return channels * pixels(); }
  int64_t step() const { return last ? channels : 1; }  // from a pixel to the next in its row
  int64_t at(int64_t channel, int64_t row) const {
    return last ? row * width * channels + channel : (channel * height + row) * width;
  }
};

// A shift in one direction: whole pixels, and the weights of the two pixels that it lies between.
struct Step {
  int64_t whole;
  float near, far;

  // From `size` pixels on, every position is the border's; a shift that is no number gives weights that are none.
  Step(float shift, int64_t size) {
    const float down = std::floor(shift), most = float(size);
    whole = down >= most ? size : down > -most ? int64_t(down) : -size;
    far = shift - down;
    near = 1.0f - far;
  }
};

struct Slot {
  int64_t channel, plane;  // what is replaced, and which plane of the sources it reads
  Step down, right;
  int64_t place;  // in the caller's order
};

// As many channels as a vector has lanes: which of them are replaced, and how many slots come before.
struct Block {
  int64_t channel;
  uint32_t mask;
  int64_t before;
};

// What one call does to every image.
struct Plan {
  std::vector<Slot> slots;       // by channel
  std::vector<Block> blocks;     // cover all channels, the last one overlapping the one before it; none if too few
  std::vector<int64_t> sources;  // the channel of each plane, each channel once
  std::vector<char> replaced;    // by channel
  int64_t reach = 0;             // pixels by which a plane's rows go on beyond the image

  // The indices have been checked.
  Plan(const Shape& s, int64_t count, const int64_t* slots_of, const int64_t* sources_of, const float* shift)
      : replaced(s.channels) {
    std::vector<int64_t> plane(s.channels, -1);
    for (int64_t r = 0; r < count; ++r) {
      int64_t& d = plane[sources_of[r]];
      if (d < 0) {
        d = sources.size();
        sources.push_back(sources_of[r]);
      }
      slots.push_back({slots_of[r], d, Step(shift[2 * r + 1], s.height), Step(shift[2 * r], s.width), r});
      replaced[slots_of[r]] = 1;
      const int64_t whole = slots.back().right.whole;
      reach = std::max(reach, whole < 0 ? -whole : whole + 1);
    }
    std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.channel < b.channel; });
    for (int64_t c = 0; s.last && s.channels >= kLanes && c < s.channels; c += kLanes) {
      Block block{std::min(c, s.channels - kLanes), 0, 0};
      for (int64_t i = 0; i < block.channel; ++i) block.before += replaced[i];
      for (int64_t i = 0; i < kLanes; ++i) block.mask |= uint32_t(replaced[block.channel + i]) << i;
      blocks.push_back(block);
    }
  }
};

// Planes of floats for the sources of one image. Behind each row there is room for a whole vector.
struct Planes {
  int64_t count, height, width, reach, stride;
  std::vector<float> values;

  Planes(const Plan& p, const Shape& s)
      : count(p.sources.size()), height(s.height), width(s.width), reach(p.reach),
        stride(2 * reach + s.width + 2 * kLanes), values(count * s.height * stride) {}

  float* row(int64_t plane, int64_t row) { return values.data() + (plane * height + row) * stride + reach; }

  float* clamped(int64_t plane, int64_t at) { return row(plane, std::clamp<int64_t>(at, 0, height - 1)); }

  // From and to dense planes (D, H, W).
  void copy_from(const float* dense) {
    for (int64_t i = 0; i < count * height; ++i) {
      std::copy_n(dense + i * width, width, row(0, i));
      extend(row(0, i));
    }
  }
  void copy_to(float* dense) {
    for (int64_t i = 0; i < count * height; ++i) std::copy_n(row(0, i), width, dense + i * width);
  }

  // Let a row go on with its border pixels.
  void extend(float* row) const {
    std::fill(row - reach, row, row[0]);
    std::fill(row + width, row + width + reach, row[width - 1]);
  }
  // The same turned round: add up at the border what was given to pixels beyond it.
  void fold(float* row) const {
    for (int64_t k = 1; k <= reach; ++k) {
      row[0] += row[-k];
      row[width - 1] += row[width - 1 + k];
    }
  }
};

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

inline float widen(float value) { return value; }
inline float widen(BFloat value) {
  const uint32_t bits = uint32_t(value.bits) << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof wide);
  return wide;
}

template <typename T>
inline void add(T* to, float value) {
  const Vec total = splat(widen(*to) + value);
  T lanes[kLanes];
  store(lanes, total);
  *to = lanes[0];
}
template <>
inline void add(float* to, float value) {
  *to += value;
}

// Lay out the sources of an image.
template <typename T>
void read_sources(const Plan& p, const Shape& s, const T* image, Planes& planes) {
  for (int64_t h = 0; h < s.height; ++h)
    for (size_t d = 0; d < p.sources.size(); ++d) {
      const T* from = image + s.at(p.sources[d], h);
      float* to = planes.row(d, h);
      for (int64_t w = 0; w < s.width; ++w) to[w] = widen(from[w * s.step()]);
      planes.extend(to);
    }
}

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

}  // namespace dyc::rewire
