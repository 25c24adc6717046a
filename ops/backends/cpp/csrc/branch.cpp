// The loops of the attention branch, without PyTorch's headers.
#include "branch.h"

#include <algorithm>
#include <cmath>

#include "channels_last.h"
#include "instances.h"
#include "linear.h"
#include "parallel.h"
#include "vec.h"

DYC_CHANNELS_LAST(extern, float)

namespace dyc::branch {

using channels_last::blocks;

namespace {

// Mean over the pixels of N blocks of channels of one sample; the last block has `lanes` channels.
template <int N>
void pool_blocks(const Geometry& g, const float* from, int64_t lanes, float* to) {
  constexpr int kAtOnce = 4 / N;  // pixels, so that sums do not wait for each other
  constexpr int64_t kChunk = 256;   // pixels that are summed by themselves: long sums in float lose the small addends
  const auto add = [&](Vec* total, const float* pixel) {
    for (int k = 0; k + 1 < N; ++k) total[k] += load(pixel + k * kLanes);
    const float* last = pixel + (N - 1) * kLanes;
    total[N - 1] += lanes == kLanes ? load(last) : load(last, lanes);
  };
  Vec whole[N] = {};
  for (int64_t begin = 0; begin < g.pixels(); begin += kChunk) {
    const int64_t end = std::min(g.pixels(), begin + kChunk);
    Vec total[kAtOnce][N] = {};
    int64_t p = begin;
    for (; p + kAtOnce <= end; p += kAtOnce)
      for (int i = 0; i < kAtOnce; ++i) add(total[i], from + (p + i) * g.channels);
    for (; p < end; ++p) add(total[0], from + p * g.channels);
    for (int i = 0; i < kAtOnce; ++i)
      for (int k = 0; k < N; ++k) whole[k] += total[i][k];
  }
  const Vec scale = splat(1.0f / float(g.pixels()));
  for (int k = 0; k < N; ++k) store(to + k * kLanes, whole[k] * scale, k + 1 < N ? kLanes : lanes);
}

}  // namespace

// Up to sixty-four channels at a time.
void pool(const Geometry& g, const float* x, float* pooled) {
  constexpr int64_t kWide = 4;
  const int64_t tiles = (blocks(g.channels) + kWide - 1) / kWide;
  const int64_t grain = std::max<int64_t>(1, 16384 / (g.pixels() * kWide));
  parallel_for(0, g.batch * tiles, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / tiles, c = i % tiles * kWide * kLanes, width = std::min(kWide * kLanes, g.channels - c);
      const int64_t count = blocks(width), lanes = width - (count - 1) * kLanes;
      const float* from = x + n * g.pixels() * g.channels + c;
      float* to = pooled + n * g.channels + c;
      if (count == 4) pool_blocks<4>(g, from, lanes, to);
      else if (count == 3) pool_blocks<3>(g, from, lanes, to);
      else if (count == 2) pool_blocks<2>(g, from, lanes, to);
      else pool_blocks<1>(g, from, lanes, to);
    }
  });
}

namespace {

// Logits to attention in place: softmax over the kernels at a temperature, for a block of channels of one sample.
void softmax_block(const Sizes& s, float inverse_temperature, float* attention, int64_t c) {
  const int64_t lanes = std::min(kLanes, s.channels - c);
  const Vec sharpness = splat(inverse_temperature);
  Vec top = load(attention + c, lanes) * sharpness, total{};
  for (int64_t k = 1; k < s.kernels; ++k) top = maximum(top, load(attention + k * s.channels + c, lanes) * sharpness);
  for (int64_t k = 0; k < s.kernels; ++k) {
    const Vec e = exp_negative(load(attention + k * s.channels + c, lanes) * sharpness - top);
    total += e;
    store(attention + k * s.channels + c, e, lanes);
  }
  const Vec scale = splat(1.0f) / total;
  for (int64_t k = 0; k < s.kernels; ++k)
    store(attention + k * s.channels + c, load(attention + k * s.channels + c, lanes) * scale, lanes);
}

// The same where one weight serves all channels.
void softmax_shared(const Sizes& s, float inverse_temperature, float* attention) {
  for (int64_t k = 0; k < s.kernels; ++k) attention[k] *= inverse_temperature;
  const float top = *std::max_element(attention, attention + s.kernels);
  float total = 0;
  for (int64_t k = 0; k < s.kernels; ++k) total += attention[k] = std::exp(attention[k] - top);
  for (int64_t k = 0; k < s.kernels; ++k) attention[k] /= total;
}

// The weight of kernel k for a block of channels of one sample, whose attention this is.
Vec weight(const Sizes& s, const float* attention, int64_t k, int64_t c, int64_t lanes) {
  return s.per_channel ? load(attention + k * s.channels + c, lanes) : splat(attention[k]);
}

// Mix one tap of the kernels of a block of channels of one sample.
Vec mix_tap(const Sizes& s, const float* bank, const float* attention, int64_t t, int64_t c, int64_t lanes) {
  Vec total{};
  for (int64_t k = 0; k < s.kernels; ++k)
    total += weight(s, attention, k, c, lanes) * load(bank + (k * s.taps + t) * s.channels + c, lanes);
  return total;
}

template <typename Body>  // body(sample, channel) over all blocks of channels
void for_sample_blocks(const Sizes& s, int64_t samples, Body body) {
  const int64_t units = blocks(s.channels), work = s.kernels * s.taps;
  parallel_for(0, samples * units, std::max<int64_t>(1, 2048 / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i / units, i % units * kLanes);
  });
}

constexpr int64_t kFewSamples = 8;  // up to here reading the weights is the cost

}  // namespace

void linear(int64_t samples, const float* in, const float* w, const float* bias, bool rectify, int64_t width, int64_t rows,
            float* out) {
  const int64_t grain = std::max<int64_t>(4, 32768 / (samples * width));
  if (samples > kFewSamples) {
    const Packed packed(samples, in, width);
    parallel_for(0, rows, grain, [&](int64_t first, int64_t last) {
      dense_packed(packed, w, bias, rectify, first, last, out, rows);
    });
    return;
  }
  parallel_for(0, rows, grain, [&](int64_t first, int64_t last) {
    dense_few(samples, in, w, bias, width, first, last, out, rows);
    if (rectify)
      for (int64_t n = 0; n < samples; ++n)
        for (int64_t r = first; r < last; ++r) out[n * rows + r] = std::max(out[n * rows + r], 0.0f);
  });
}

void softmax(const Sizes& s, int64_t samples, float inverse_temperature, float* attention) {
  const int64_t size = attention_size(s);
  if (!s.per_channel) {
    for (int64_t n = 0; n < samples; ++n) softmax_shared(s, inverse_temperature, attention + n * size);
  } else {
    for_sample_blocks(s, samples, [&](int64_t n, int64_t c) {
      softmax_block(s, inverse_temperature, attention + n * size, c);
    });
  }
}

void mix(const Sizes& s, int64_t samples, const float* bank, const float* attention, float* mixed) {
  for_sample_blocks(s, samples, [&](int64_t n, int64_t c) {
    const int64_t lanes = std::min(kLanes, s.channels - c);
    const float* weights = attention + n * attention_size(s);
    for (int64_t t = 0; t < s.taps; ++t)
      store(mixed + (n * s.taps + t) * s.channels + c, mix_tap(s, bank, weights, t, c, lanes), lanes);
  });
}

void convolve_mixing(const Sizes& s, const Geometry& g, const float* x, const float* bank, const float* attention, float* y) {
  channels_last::forward_usual(g, x, y, [&](int64_t n, int64_t c, int64_t lanes, int64_t t) {
    return mix_tap(s, bank, attention + n * attention_size(s), t, c, lanes);
  });
}

void grad_bank(const Sizes& s, const float* attention, const float* gmixed, float* gbank) {
  const int64_t units = blocks(s.channels);
  parallel_for(0, units * s.kernels, std::max<int64_t>(1, 2048 / (s.batch * s.taps)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t k = i % s.kernels, c = i / s.kernels * kLanes, lanes = std::min(kLanes, s.channels - c);
      constexpr int64_t kTaps = 9;  // at once, in registers
      for (int64_t t = 0; t < s.taps; t += kTaps) {
        const int64_t count = std::min(kTaps, s.taps - t);
        Vec total[kTaps] = {};
        for (int64_t n = 0; n < s.batch; ++n) {
          const Vec a = weight(s, attention + n * attention_size(s), k, c, lanes);
          const float* from = gmixed + (n * s.taps + t) * s.channels + c;
          if (count == kTaps)
            for (int64_t j = 0; j < kTaps; ++j) total[j] += a * load(from + j * s.channels, lanes);
          else
            for (int64_t j = 0; j < count; ++j) total[j] += a * load(from + j * s.channels, lanes);
        }
        for (int64_t j = 0; j < count; ++j) store(gbank + (k * s.taps + t + j) * s.channels + c, total[j], lanes);
      }
    }
  });
}

namespace {

// What the mixture of a block of channels says of kernel k: sum over taps of gmixed * bank.
Vec grad_share(const Sizes& s, const float* bank, const float* gmixed, int64_t k, int64_t c, int64_t lanes) {
  Vec total{};
  for (int64_t t = 0; t < s.taps; ++t)
    total += load(gmixed + t * s.channels + c, lanes) * load(bank + (k * s.taps + t) * s.channels + c, lanes);
  return total;
}

}  // namespace

void grad_logits(const Sizes& s, float inverse_temperature, const float* bank, const float* attention,
                        const float* gmixed, float* glogits) {
  const auto through_softmax = [&](const float* a, float* g, int64_t k_step, int64_t lanes) {
    Vec mean{};
    for (int64_t k = 0; k < s.kernels; ++k) mean += load(a + k * k_step, lanes) * load(g + k * k_step, lanes);
    for (int64_t k = 0; k < s.kernels; ++k) {
      const Vec v = load(a + k * k_step, lanes) * (load(g + k * k_step, lanes) - mean) * splat(inverse_temperature);
      store(g + k * k_step, v, lanes);
    }
  };
  const int64_t size = attention_size(s);
  if (s.per_channel) {
    return for_sample_blocks(s, s.batch, [&](int64_t n, int64_t c) {
      const int64_t lanes = std::min(kLanes, s.channels - c);
      float* g = glogits + n * size + c;
      for (int64_t k = 0; k < s.kernels; ++k)
        store(g + k * s.channels, grad_share(s, bank, gmixed + n * s.taps * s.channels, k, c, lanes), lanes);
      through_softmax(attention + n * size + c, g, s.channels, lanes);
    });
  }
  const int64_t work = s.kernels * s.taps * s.channels / kLanes;
  parallel_for(0, s.batch, std::max<int64_t>(1, 2048 / std::max<int64_t>(1, work)), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t k = 0; k < s.kernels; ++k) {
        Vec total{};
        for (int64_t c = 0; c < s.channels; c += kLanes)
          total += grad_share(s, bank, gmixed + n * s.taps * s.channels, k, c, std::min(kLanes, s.channels - c));
        glogits[n * size + k] = sum(total);
      }
      through_softmax(attention + n * size, glogits + n * size, 1, 1);
    }
  });
}

void add_pooled(const Geometry& g, const float* gpooled, float* gx) {
  const Vec scale = splat(1.0f / float(g.pixels()));
  const int64_t work = g.channels / kLanes + 1;
  parallel_for(0, g.batch * g.pixels(), std::max<int64_t>(1, 8192 / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* add = gpooled + i / g.pixels() * g.channels;
      float* to = gx + i * g.channels;
      for (int64_t c = 0; c < g.channels; c += kLanes) {
        const int64_t lanes = g.channels - c;
        store(to + c, load(to + c, lanes) + load(add + c, lanes) * scale, lanes);
      }
    }
  });
}

}  // namespace dyc::branch
