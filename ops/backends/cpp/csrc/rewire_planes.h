// The sources of an image, laid out as planes of floats, and sums of what goes back to them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "rewire_plan.h"

namespace dyc::rewire {

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

}  // namespace dyc::rewire
