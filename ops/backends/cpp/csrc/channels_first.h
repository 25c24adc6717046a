// Depthwise convolution with one kernel per sample, NCHW. The usual kernels take the way of planes.h; here is the way for
// any kernel, where neighbouring pixels of a plane are one vector.
//
// Each plane is first laid out, zero-padded, as stride_h x stride_w phase planes of one row pitch (phase (a, b) holds
// the padded pixels (a + r * stride_h, b + c * stride_w)). Seen from there every tap of the kernel is one constant
// offset, for any kernel, stride, padding and dilation, and the plane can be walked as one long line: narrow images fill
// vectors as well as wide ones. Columns past the output's width are computed and dropped.
#pragma once

#include <algorithm>
#include <vector>

#include "geometry.h"
#include "parallel.h"
#include "planes.h"
#include "vec.h"

namespace dyc::channels_first {

struct Layout {
  int64_t pitch, rows, plane, line, reach;  // of a phase plane; length of the output line; largest offset of a tap
  std::vector<int64_t> phase, offset;       // of each tap

  explicit Layout(const Geometry& g) {
    const int64_t deep = (g.kernel_h - 1) * g.dilation_h / g.stride_h, wide = (g.kernel_w - 1) * g.dilation_w / g.stride_w;
    pitch = g.out_width + wide, rows = g.out_height + deep;
    // Vectors may read past the last tap's last pixel.
    plane = rows * pitch + kLanes, line = (g.out_height - 1) * pitch + g.out_width, reach = deep * pitch + wide;
    for (int64_t i = 0; i < g.kernel_h; ++i)
      for (int64_t j = 0; j < g.kernel_w; ++j) {
        const int64_t y = i * g.dilation_h, x = j * g.dilation_w;
        phase.push_back(y % g.stride_h * g.stride_w + x % g.stride_w);
        offset.push_back(y / g.stride_h * pitch + x / g.stride_w);
      }
  }
};

// The part of a line of `count` phase pixels that lies inside an image of `size`: first is a padded coordinate.
inline void inside(int64_t size, int64_t pad, int64_t first, int64_t stride, int64_t count, int64_t& begin, int64_t& end) {
  begin = pad <= first ? 0 : (pad - first + stride - 1) / stride;
  const int64_t room = size + pad - first;
  end = room <= 0 ? 0 : std::min(count, (room + stride - 1) / stride);
  begin = std::min(begin, count);
  end = std::max(begin, end);
}

inline float widen(float v) { return v; }
inline float widen(BFloat v) {
  const uint32_t bits = uint32_t(v.bits) << 16;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// Copy between types of storage; one of both is float.
template <typename From, typename To>
inline void copy_line(const From* from, To* to, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(to + i, load(from + i, count - i), count - i);
}

// Call visit(phase_plane_row_offset, image_row, first_image_column, begin, end) for every row of every phase plane.
template <typename Visit>
void for_phase_rows(const Geometry& g, const Layout& l, Visit visit) {
  for (int64_t a = 0; a < g.stride_h; ++a)
    for (int64_t b = 0; b < g.stride_w; ++b) {
      int64_t top, bottom, left, right;
      inside(g.height, g.pad_h, a, g.stride_h, l.rows, top, bottom);
      inside(g.width, g.pad_w, b, g.stride_w, l.pitch, left, right);
      for (int64_t r = top; r < bottom; ++r)
        visit((a * g.stride_w + b) * l.plane + r * l.pitch, a + r * g.stride_h - g.pad_h, b - g.pad_w, left, right);
    }
}

template <typename T>
void spread(const Geometry& g, const Layout& l, const T* image, float* phases) {
  for_phase_rows(g, l, [&](int64_t at, int64_t row, int64_t column, int64_t left, int64_t right) {
    const T* from = image + row * g.width + column;
    if (g.stride_w == 1) return copy_line(from + left, phases + at + left, right - left);
    for (int64_t c = left; c < right; ++c) phases[at + c] = widen(from[c * g.stride_w]);
  });
}

template <typename T>
void spread_grad(const Geometry& g, const Layout& l, const T* grad, float* line) {
  for (int64_t r = 0; r < g.out_height; ++r) copy_line(grad + r * g.out_width, line + r * l.pitch, g.out_width);
}

// to[i] = sum over taps of weight[t] * (from[t])[i], for i in [0, count); both ends may be overrun by a vector.
template <int N>
void weighted_sum(const float* const* from, const float* weights, int taps, float* to, int64_t count) {
  const int n = N ? N : taps;
  constexpr int kWide = 4;
  int64_t i = 0;
  for (; i + kWide * kLanes <= count; i += kWide * kLanes) {
    Vec acc[kWide] = {};
    for (int t = 0; t < n; ++t) {
      const Vec w = splat(weights[t]);
      for (int k = 0; k < kWide; ++k) acc[k] += w * load(from[t] + i + k * kLanes);
    }
    for (int k = 0; k < kWide; ++k) store(to + i + k * kLanes, acc[k]);
  }
  for (; i < count; i += kLanes) {
    Vec acc{};
    for (int t = 0; t < n; ++t) acc += splat(weights[t]) * load(from[t] + i);
    store(to + i, acc);
  }
}

inline void weighted_sum(const std::vector<const float*>& from, const std::vector<float>& w, float* to, int64_t count) {
  if (from.size() == 9) return weighted_sum<9>(from.data(), w.data(), 9, to, count);
  if (from.size() == 25) return weighted_sum<25>(from.data(), w.data(), 25, to, count);
  weighted_sum<0>(from.data(), w.data(), int(from.size()), to, count);
}

template <typename Body>
void for_planes(const Geometry& g, Body body) {
  const int64_t work = std::max<int64_t>(1, g.out_pixels() * g.taps());
  parallel_for(0, g.batch * g.channels, std::max<int64_t>(1, 16384 / work), body);
}

template <typename T>
void forward_any(const Geometry& g, const T* x, const T* w, T* y) {
  const Layout l(g);
  for_planes(g, [&](int64_t begin, int64_t end) {
    // The padding stays zero from plane to plane.
    std::vector<float> phases(g.stride_h * g.stride_w * l.plane + kLanes), line(l.line + 2 * kLanes), weights(g.taps());
    std::vector<const float*> from(g.taps());
    for (int64_t t = 0; t < g.taps(); ++t) from[t] = phases.data() + l.phase[t] * l.plane + l.offset[t];
    for (int64_t p = begin; p < end; ++p) {
      spread(g, l, x + p * g.pixels(), phases.data());
      for (int64_t t = 0; t < g.taps(); ++t) weights[t] = widen(w[p * g.taps() + t]);
      weighted_sum(from, weights, line.data(), l.line);
      for (int64_t r = 0; r < g.out_height; ++r)
        copy_line(line.data() + r * l.pitch, y + p * g.out_pixels() + r * g.out_width, g.out_width);
    }
  });
}

template <typename T>
void grad_input_any(const Geometry& g, const T* grad, const T* w, T* gx) {
  const Layout l(g);
  for_planes(g, [&](int64_t begin, int64_t end) {
    // Zeros stand before and after the gradient's line and in its dropped columns, so that taps may look past them.
    const int64_t front = l.reach + kLanes, size = l.plane + kLanes;
    std::vector<float> grads(front + size + l.reach), phases(g.stride_h * g.stride_w * l.plane + kLanes);
    std::vector<std::vector<const float*>> from(g.stride_h * g.stride_w);
    std::vector<std::vector<float>> weights(from.size());
    std::vector<std::vector<int64_t>> taps(from.size());
    for (int64_t t = 0; t < g.taps(); ++t) {
      from[l.phase[t]].push_back(grads.data() + front - l.offset[t]);
      taps[l.phase[t]].push_back(t);
    }
    for (size_t f = 0; f < from.size(); ++f) weights[f].resize(taps[f].size());
    for (int64_t p = begin; p < end; ++p) {
      spread_grad(g, l, grad + p * g.out_pixels(), grads.data() + front);
      for (size_t f = 0; f < from.size(); ++f) {
        for (size_t t = 0; t < taps[f].size(); ++t) weights[f][t] = widen(w[p * g.taps() + taps[f][t]]);
        weighted_sum(from[f], weights[f], phases.data() + f * l.plane, l.rows * l.pitch);
      }
      T* image = gx + p * g.pixels();
      std::fill(image, image + g.pixels(), T{});  // pixels that no window reaches
      for_phase_rows(g, l, [&](int64_t at, int64_t row, int64_t column, int64_t left, int64_t right) {
        T* to = image + row * g.width + column;
        if (g.stride_w == 1) return copy_line(phases.data() + at + left, to + left, right - left);
        for (int64_t c = left; c < right; ++c) {
          T one[kLanes];
          store(one, splat(phases[at + c]));
          to[c * g.stride_w] = one[0];
        }
      });
    }
  });
}

template <int N>
void dot_products(const float* grad, const float* const* from, int taps, float* to, int64_t count) {
  const int n = N ? N : taps;
  Vec acc[N ? N : 1];
  if constexpr (N > 0) {
    for (int t = 0; t < n; ++t) acc[t] = Vec{};
    for (int64_t i = 0; i < count; i += kLanes) {
      const Vec v = load(grad + i);
      for (int t = 0; t < N; ++t) acc[t] += v * load(from[t] + i);
    }
    for (int t = 0; t < n; ++t) to[t] = sum(acc[t]);
  } else {
    for (int t = 0; t < n; ++t) {
      acc[0] = Vec{};
      for (int64_t i = 0; i < count; i += kLanes) acc[0] += load(grad + i) * load(from[t] + i);
      to[t] = sum(acc[0]);
    }
  }
}

template <typename T>
void grad_weight_any(const Geometry& g, const T* grad, const T* x, T* gw) {
  const Layout l(g);
  for_planes(g, [&](int64_t begin, int64_t end) {
    std::vector<float> grads(l.line + 2 * kLanes), phases(g.stride_h * g.stride_w * l.plane + kLanes);
    std::vector<float> found(g.taps() + kLanes);
    std::vector<const float*> from(g.taps());
    for (int64_t t = 0; t < g.taps(); ++t) from[t] = phases.data() + l.phase[t] * l.plane + l.offset[t];
    const int taps = int(g.taps());
    for (int64_t p = begin; p < end; ++p) {
      spread_grad(g, l, grad + p * g.out_pixels(), grads.data());
      spread(g, l, x + p * g.pixels(), phases.data());
      if (taps == 9) dot_products<9>(grads.data(), from.data(), taps, found.data(), l.line);
      else if (taps == 25) dot_products<25>(grads.data(), from.data(), taps, found.data(), l.line);
      else dot_products<0>(grads.data(), from.data(), taps, found.data(), l.line);
      copy_line(found.data(), gw + p * g.taps(), g.taps());
    }
  });
}

template <typename T>
void forward(const Geometry& g, const T* x, const T* w, T* y) {
  if (fits(g)) {
    if (g.is(3, 1) || g.is(3, 2)) return forward_planes<3>(g, x, w, y);
    if (g.is(5, 1) || g.is(5, 2)) return forward_planes<5>(g, x, w, y);
  }
  forward_any(g, x, w, y);
}

template <typename T>
void grad_input(const Geometry& g, const T* grad, const T* w, T* gx) {
  if (fits(g) && g.padded_within_kernel()) {
    if (g.is(3, 1)) return grad_input_planes1<3>(g, grad, w, gx);
    if (g.is(5, 1)) return grad_input_planes1<5>(g, grad, w, gx);
    if (g.is(3, 2)) return grad_input_planes2<3>(g, grad, w, gx);
    if (g.is(5, 2)) return grad_input_planes2<5>(g, grad, w, gx);
  }
  grad_input_any(g, grad, w, gx);
}

template <typename T>
void grad_weight(const Geometry& g, const T* grad, const T* x, T* gw) {
  if (fits(g)) {
    if (g.is(3, 1) || g.is(3, 2)) return grad_weight_planes<3>(g, grad, x, gw);
    if (g.is(5, 1) || g.is(5, 2)) return grad_weight_planes<5>(g, grad, x, gw);
  }
  grad_weight_any(g, grad, x, gw);
}

}  // namespace dyc::channels_first
