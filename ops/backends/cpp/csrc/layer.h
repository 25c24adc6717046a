// The steps of a whole dynamic depthwise layer on channels_last float32 features, for parts of the batch.
#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <optional>

#include "branch.h"
#include "geometry.h"
#include "operators.h"
#include "parallel.h"

namespace dyc {

using std::optional;

constexpr auto kLast = at::MemoryFormat::ChannelsLast;
constexpr int64_t kWeightsInCache = 1 << 15;  // floats: what a core keeps beside a few images
constexpr int64_t kManySamples = 8;       // from here on a thread takes whole samples

inline const float* data(const Tensor& t) { return t.const_data_ptr<float>(); }
inline const float* data(const optional<Tensor>& t) { return t && t->defined() ? data(*t) : nullptr; }

inline branch::Sizes sizes_of(const Tensor& x, const Tensor& bank, const Tensor& fc2) {
  const bool per_channel = fc2.size(0) != bank.size(0);
  return {x.size(0), x.size(1), bank.size(0), bank.size(2) * bank.size(3), per_channel};
}

inline optional<Tensor> dense(const optional<Tensor>& t) { return data(t) ? optional<Tensor>(t->contiguous()) : std::nullopt; }

// The bank (K, C, 1, kH, kW) as (K, C, kH, kW), its channels lying next to each other.
inline Tensor channels_last_bank(const Tensor& bank) { return bank.squeeze(2).contiguous(kLast); }

// One call: its tensors, and the steps for a part of the batch. A step shares its work out among threads, unless it
// already runs on one of several.
struct Layer {
  Tensor features, bank, w1, w2, pooled, hidden, attention;
  optional<Tensor> bias1, bias2;
  branch::Sizes sizes;
  Geometry g;
  float sharpness;

  Layer(const Tensor& x, const Tensor& stored_bank, const Tensor& fc1, const optional<Tensor>& b1, const Tensor& fc2,
        const optional<Tensor>& b2, const Tensor& temperature, IntArrayRef s, IntArrayRef p, IntArrayRef d)
      : features(x.contiguous(kLast)), bank(channels_last_bank(stored_bank)), w1(fc1.contiguous()), w2(fc2.contiguous()),
        bias1(dense(b1)), bias2(dense(b2)), sizes(sizes_of(x, bank, fc2)), sharpness(1.0f / *data(temperature)) {
    const Call call{x.sizes().slice(2), bank.sizes().slice(2), s, p, d};
    g = call.geometry(sizes.batch, sizes.channels);
    pooled = at::empty({sizes.batch, sizes.channels}, x.options());
    hidden = at::empty({sizes.batch, w1.size(0)}, x.options());
    attention = at::empty({sizes.batch, w2.size(0)}, x.options());
  }

  Tensor new_output() const {
    return at::empty({sizes.batch, sizes.channels, g.out_height, g.out_width}, features.options(), kLast);
  }
  Tensor new_mixed() const {
    return at::empty({sizes.batch, sizes.channels, g.kernel_h, g.kernel_w}, features.options(), kLast);
  }

  Geometry part(int64_t begin, int64_t end) const {
    Geometry few = g;
    few.batch = end - begin;
    return few;
  }
  const float* image(int64_t n) const { return data(features) + n * g.pixels() * sizes.channels; }
  float* weights(int64_t n) { return attention.data_ptr<float>() + n * branch::attention_size(sizes); }

  void linear(const Tensor& in, const Tensor& w, const optional<Tensor>& bias, bool rectify, Tensor& out, int64_t begin,
              int64_t end) {
    const int64_t width = w.size(1), rows = w.size(0);
    branch::linear(end - begin, data(in) + begin * width, data(w), data(bias), rectify, width, rows,
                   out.data_ptr<float>() + begin * rows);
  }

  void attend(int64_t begin, int64_t end) {
    branch::pool(part(begin, end), image(begin), pooled.data_ptr<float>() + begin * sizes.channels);
    linear(pooled, w1, bias1, true, hidden, begin, end);
    linear(hidden, w2, bias2, false, attention, begin, end);
    branch::softmax(sizes, end - begin, sharpness, weights(begin));
  }

  void mix(int64_t begin, int64_t end, float* mixed) {
    branch::mix(sizes, end - begin, data(bank), weights(begin), mixed + begin * sizes.taps * sizes.channels);
  }

  // Convolve with kernels that go from registers into the convolution; these must be usual ones.
  void convolve_mixing(int64_t begin, int64_t end, float* y) {
    branch::convolve_mixing(sizes, part(begin, end), image(begin), data(bank), weights(begin),
                            y + begin * g.out_pixels() * sizes.channels);
  }

  void convolve(int64_t begin, int64_t end, const float* mixed, float* y) {
    channels_last::forward(part(begin, end), image(begin), mixed + begin * sizes.taps * sizes.channels,
                           y + begin * g.out_pixels() * sizes.channels);
  }

  // Call body(begin, end) for the whole batch, or for a few samples at a time on every thread: these then stay in the
  // thread's cache from the pooling to the convolution. Large weights, read again for each part, would not.
  template <typename Body>
  void in_parts(Body body) {
    // Whatever the number of threads, so that it changes no bit of the result.
    if (sizes.batch < kManySamples || w1.numel() + w2.numel() > kWeightsInCache) return body(0, sizes.batch);
    const int64_t few = std::clamp<int64_t>(sizes.batch / kManySamples, 1, 4);
    parallel_for(0, (sizes.batch + few - 1) / few, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) body(i * few, std::min(sizes.batch, (i + 1) * few));
    });
  }
};

}  // namespace dyc
