// The attention branch on channels_last float32 features: pooling, small matrix products, softmax over kernels, mixing.
//
// Sizes: B samples, C channels, K kernels of `taps` pixels. The bank is (K, taps, C), mixed kernels are (B, taps, C),
// attention is (B, K, C), or (B, K) where all channels share it. `samples` of them are a part of the batch, whose
// pointers are those of its first one.
#pragma once

#include <cstdint>

#include "geometry.h"

namespace dyc::branch {

struct Sizes {
  int64_t batch, channels, kernels, taps;
  bool per_channel;
};

// Of one sample.
inline int64_t attention_size(const Sizes& s) { return s.kernels * (s.per_channel ? s.channels : 1); }

// Mean over the pixels, (B, H, W, C) to (B, C).
void pool(const Geometry& g, const float* x, float* pooled);

// out[n, r] = bias[r] + dot(in[n], w[r]), or 0 if that is less and `rectify` is set; w is (rows, width).
void linear(int64_t samples, const float* in, const float* w, const float* bias, bool rectify, int64_t width, int64_t rows,
            float* out);

// Logits to attention in place: softmax over the kernels at a temperature.
void softmax(const Sizes& s, int64_t samples, float inverse_temperature, float* attention);

// Kernels mixed from the bank.
void mix(const Sizes& s, int64_t samples, const float* bank, const float* attention, float* mixed);

// Convolve with mixed kernels that go from registers into the convolution; these must be usual ones.
void convolve_mixing(const Sizes& s, const Geometry& g, const float* x, const float* bank, const float* attention, float* y);

// Gradient of the bank: gbank[k, t, c] = sum over samples of attention[n, k, c] * gmixed[n, t, c].
void grad_bank(const Sizes& s, const float* attention, const float* gmixed, float* gbank);

// Gradient of the attention, and through the softmax to the logits (before they are divided by the temperature).
void grad_logits(const Sizes& s, float inverse_temperature, const float* bank, const float* attention, const float* gmixed,
                 float* glogits);

// Add the gradient of the mean, gpooled / pixels, to every pixel of the features' gradient.
void add_pooled(const Geometry& g, const float* gpooled, float* gx);

}  // namespace dyc::branch
