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
};

// What one call does to every image.
struct Plan {
  std::vector<Slot> slots;
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
      slots.push_back({slots_of[r], d, Step(shift[2 * r + 1], s.height), Step(shift[2 * r], s.width)});
      replaced[slots_of[r]] = 1;
      const int64_t whole = slots.back().right.whole;
      reach = std::max(reach, whole < 0 ? -whole : whole + 1);
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

// Rows [begin, end) of an output image. `line` holds a row and a vector more.
template <typename T>
void forward(const Plan& p, const Shape& s, Planes& planes, const T* x, T* y, T* line, int64_t begin, int64_t end) {
  for (int64_t h = begin; h < end; ++h) {
    copy_row(p, s, x, y, h);
    for (const Slot& slot : p.slots) {
      const Step &down = slot.down, &right = slot.right;
      const float* a = planes.clamped(slot.plane, h + down.whole) + right.whole;
      const float* b = planes.clamped(slot.plane, h + down.whole + 1) + right.whole;
      const Vec a0 = splat(down.near * right.near), a1 = splat(down.near * right.far);
      const Vec b0 = splat(down.far * right.near), b1 = splat(down.far * right.far);
      for (int64_t w = 0; w < s.width; w += kLanes)
        store(line + w, a0 * load(a + w) + a1 * load(a + w + 1) + b0 * load(b + w) + b1 * load(b + w + 1));
      T* to = y + s.at(slot.channel, h);
      for (int64_t w = 0; w < s.width; ++w) to[w * s.step()] = line[w];
    }
  }
}

// What a thread needs for the gradients of an image.
struct Scratch {
  Planes planes, totals;       // the sources, and the gradients that go to them
  std::vector<float> line;     // a slot's gradients in one row, zeros before and after
  std::vector<Vec> horizontal, vertical;  // the shifts' gradients, by slot

  Scratch(const Plan& p, const Shape& s)
      : planes(p, s), totals(p, s), line(s.width + 2 * kLanes), horizontal(p.slots.size()), vertical(p.slots.size()) {}
};

// Gradients of one image: to the features where gx is given, to the shifts (R, 2) where gshift is.
template <typename T>
void backward(const Plan& p, const Shape& s, Scratch& scratch, const T* grad, T* gx, float* gshift) {
  Planes &planes = scratch.planes, &totals = scratch.totals;
  std::fill(totals.values.begin(), totals.values.end(), 0.0f);
  std::fill(scratch.horizontal.begin(), scratch.horizontal.end(), Vec{});
  std::fill(scratch.vertical.begin(), scratch.vertical.end(), Vec{});
  float* line = scratch.line.data() + kLanes;
  for (int64_t h = 0; h < s.height; ++h) {
    if (gx) copy_row(p, s, grad, gx, h);
    for (size_t r = 0; r < p.slots.size(); ++r) {
      const Slot& slot = p.slots[r];
      const Step &down = slot.down, &right = slot.right;
      const T* from = grad + s.at(slot.channel, h);
      for (int64_t w = 0; w < s.width; ++w) line[w] = widen(from[w * s.step()]);
      if (gx) {
        T* zeros = gx + s.at(slot.channel, h);
        for (int64_t w = 0; w < s.width; ++w) zeros[w * s.step()] = T{};
        float* a = totals.clamped(slot.plane, h + down.whole) + right.whole;
        float* b = totals.clamped(slot.plane, h + down.whole + 1) + right.whole;
        const auto give = [&](int64_t w, Vec g) {  // one after the other: both rows may be the border's
          store(a + w, load(a + w) + splat(down.near) * g);
          store(b + w, load(b + w) + splat(down.far) * g);
        };
        for (int64_t w = 0; w <= s.width; w += kLanes)
          give(w, splat(right.near) * load(line + w) + splat(right.far) * load(line + w - 1));
      }
      if (gshift) {
        const float* a = planes.clamped(slot.plane, h + down.whole) + right.whole;
        const float* b = planes.clamped(slot.plane, h + down.whole + 1) + right.whole;
        for (int64_t w = 0; w < s.width; w += kLanes) {
          const Vec g = load(line + w), a0 = load(a + w), a1 = load(a + w + 1), b0 = load(b + w), b1 = load(b + w + 1);
          scratch.horizontal[r] += g * (splat(down.near) * (a1 - a0) + splat(down.far) * (b1 - b0));
          scratch.vertical[r] += g * (splat(right.near) * (b0 - a0) + splat(right.far) * (b1 - a1));
        }
      }
    }
  }
  for (size_t r = 0; gshift && r < p.slots.size(); ++r) {
    gshift[2 * r] = sum(scratch.horizontal[r]);
    gshift[2 * r + 1] = sum(scratch.vertical[r]);
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
