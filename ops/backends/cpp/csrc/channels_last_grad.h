// The gradients of the channels_last convolution, with respect to features and kernels.
#pragma once

#include "channels_last.h"

namespace dyc::channels_last {

// Each input pixel gathers from the outputs whose windows hold it: output o meets input i at tap k when
// o * stride - pad + k * dilation == i.
template <typename T>
void grad_input_any(const Geometry& g, const T* grad, const T* w, T* gx) {
  for_blocks(g, 1, g.height, g.width * g.taps(), [&](int64_t n, int64_t c, int64_t lanes, int64_t begin, int64_t end) {
    const T* image = grad + n * g.out_pixels() * g.channels + c;
    const T* kernel = w + n * g.taps() * g.channels + c;
    for (int64_t row = begin; row < end; ++row)
      for (int64_t column = 0; column < g.width; ++column) {
        Vec acc{};
        for (int64_t i = 0; i < g.kernel_h; ++i) {
          const int64_t a = row + g.pad_h - i * g.dilation_h;
          if (a < 0 || a % g.stride_h || a / g.stride_h >= g.out_height) continue;
          for (int64_t j = 0; j < g.kernel_w; ++j) {
            const int64_t b = column + g.pad_w - j * g.dilation_w;
            if (b < 0 || b % g.stride_w || b / g.stride_w >= g.out_width) continue;
            acc += load(kernel + (i * g.kernel_w + j) * g.channels, lanes) *
                   load(image + (a / g.stride_h * g.out_width + b / g.stride_w) * g.channels, lanes);
          }
        }
        store(gx + ((n * g.height + row) * g.width + column) * g.channels + c, acc, lanes);
      }
  });
}

// Stride 2: a pixel of one parity meets the same taps everywhere, so they are walked without a division.
template <int K, typename T>
void grad_input_stride2(const Geometry& g, const T* grad, const T* w, T* gx) {
  for_blocks(g, 1, g.height, g.width * K * K / 4, [&](int64_t n, int64_t c, int64_t lanes, int64_t begin, int64_t end) {
    Vec taps[K * K];
    for (int t = 0; t < K * K; ++t) taps[t] = load(w + (n * K * K + t) * g.channels + c, lanes);
    const T* image = grad + n * g.out_pixels() * g.channels + c;
    for (int64_t row = begin; row < end; ++row) {
      T* out = gx + ((n * g.height + row) * g.width) * g.channels + c;
      for (int64_t column = 0; column < g.width; ++column) {
        Vec acc{};
        const int64_t odd_row = (row + g.pad_h) & 1, odd_column = (column + g.pad_w) & 1;
        const int64_t a = (row + g.pad_h) >> 1, b = (column + g.pad_w) >> 1;
        for (int i = 0; i < (K + 1) / 2; ++i) {
          const int64_t tap_row = 2 * i + odd_row, from_row = a - i;
          if (tap_row >= K || from_row < 0 || from_row >= g.out_height) continue;
          for (int j = 0; j < (K + 1) / 2; ++j) {
            const int64_t tap_column = 2 * j + odd_column, from_column = b - j;
            if (tap_column >= K || from_column < 0 || from_column >= g.out_width) continue;
            acc += taps[tap_row * K + tap_column] *
                   load(image + (from_row * g.out_width + from_column) * g.channels, lanes);
          }
        }
        store(out + column * g.channels, acc, lanes);
      }
    }
  });
}

template <int K, typename T>
void grad_input_stride1(const Geometry& g, const T* grad, const T* w, T* gx) {
  // The gradient is the convolution of the incoming one with the kernel turned around.
  Geometry turned = g;
  turned.height = g.out_height, turned.width = g.out_width;
  turned.out_height = g.height, turned.out_width = g.width;
  turned.pad_h = K - 1 - g.pad_h, turned.pad_w = K - 1 - g.pad_w;
  forward_fixed<K, K, 1>(turned, grad, gx, [&](int64_t n, int64_t c, int64_t lanes, int64_t t) {
    return load(w + (n * K * K + K * K - 1 - t) * g.channels + c, lanes);
  });
}

template <typename T>
void grad_input(const Geometry& g, const T* grad, const T* w, T* gx) {
  if (g.is(3, 1) && g.padded_within_kernel()) return grad_input_stride1<3>(g, grad, w, gx);
  if (g.is(5, 1) && g.padded_within_kernel()) return grad_input_stride1<5>(g, grad, w, gx);
  if (g.is(3, 2)) return grad_input_stride2<3>(g, grad, w, gx);
  if (g.is(5, 2)) return grad_input_stride2<5>(g, grad, w, gx);
  grad_input_any(g, grad, w, gx);
}

// Output columns whose taps all lie inside the image: [first, last).
struct Interior {
  int64_t first, last;
  Interior(int64_t size, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    first = std::min(out, (pad + stride - 1) / stride);
    const int64_t room = size - 1 + pad - dilation * (kernel - 1);  // the last start of an inside window, padded
    last = room < 0 ? first : std::max(first, std::min(out, room / stride + 1));
  }
};

template <int KH, int KW, int S, typename T>
void grad_weight_fixed(const Geometry& g, const T* grad, const T* x, T* gw) {
  const Interior inside(g.width, g.out_width, KW, S, g.pad_w, 1);
  const int64_t work = g.out_pixels() * KH * KW;
  parallel_for(0, g.batch * blocks(g.channels), std::max<int64_t>(1, 4096 / work), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / blocks(g.channels), c = unit % blocks(g.channels) * kLanes;
      const int64_t lanes = std::min(kLanes, g.channels - c);
      const T* image = x + n * g.pixels() * g.channels + c;
      Vec acc[KH * KW] = {};
      const bool small = S == 1 && Scratch::fits(g);
      if (small) {
        Scratch scratch;
        correlate_packed<KH, KW, S>(g, scratch, image, grad + n * g.out_pixels() * g.channels + c, acc, lanes);
      }
      for (int64_t row = 0; row < (small ? 0 : g.out_height); ++row) {
        const int64_t top = row * S - g.pad_h;
        const T* from = grad + ((n * g.out_height + row) * g.out_width) * g.channels + c;
        const bool whole_rows = top >= 0 && top + KH <= g.height;
        auto edge = [&](int64_t column) {
          const int64_t left = column * S - g.pad_w;
          const Vec v = load(from + column * g.channels, lanes);
          for (int i = 0; i < KH; ++i) {
            if (top + i < 0 || top + i >= g.height) continue;
            for (int j = 0; j < KW; ++j) {
              if (left + j < 0 || left + j >= g.width) continue;
              acc[i * KW + j] += v * load(image + ((top + i) * g.width + left + j) * g.channels, lanes);
            }
          }
        };
        if (!whole_rows || lanes < kLanes) {
          for (int64_t column = 0; column < g.out_width; ++column) edge(column);
          continue;
        }
        for (int64_t column = 0; column < inside.first; ++column) edge(column);
        const T* window = image + (top * g.width + inside.first * S - g.pad_w) * g.channels;
        for (int64_t column = inside.first; column < inside.last; ++column, window += S * g.channels) {
          const Vec v = load(from + column * g.channels);
          for (int i = 0; i < KH; ++i)
            for (int j = 0; j < KW; ++j) acc[i * KW + j] += v * load(window + (i * g.width + j) * g.channels);
        }
        for (int64_t column = inside.last; column < g.out_width; ++column) edge(column);
      }
      for (int t = 0; t < KH * KW; ++t) store(gw + (n * KH * KW + t) * g.channels + c, acc[t], lanes);
    }
  });
}

template <typename T>
void grad_weight_any(const Geometry& g, const T* grad, const T* x, T* gw) {
  parallel_for(0, g.batch * blocks(g.channels), 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / blocks(g.channels), c = unit % blocks(g.channels) * kLanes;
      const int64_t lanes = std::min(kLanes, g.channels - c);
      for (int64_t i = 0; i < g.kernel_h; ++i)
        for (int64_t j = 0; j < g.kernel_w; ++j) {
          Vec acc{};
          for (int64_t row = 0; row < g.out_height; ++row) {
            const int64_t in_row = row * g.stride_h - g.pad_h + i * g.dilation_h;
            if (in_row < 0 || in_row >= g.height) continue;
            for (int64_t column = 0; column < g.out_width; ++column) {
              const int64_t in_column = column * g.stride_w - g.pad_w + j * g.dilation_w;
              if (in_column < 0 || in_column >= g.width) continue;
              acc += load(grad + ((n * g.out_height + row) * g.out_width + column) * g.channels + c, lanes) *
                     load(x + ((n * g.height + in_row) * g.width + in_column) * g.channels + c, lanes);
            }
          }
          store(gw + (n * g.taps() + i * g.kernel_w + j) * g.channels + c, acc, lanes);
        }
    }
  });
}

template <typename T>
void grad_weight(const Geometry& g, const T* grad, const T* x, T* gw) {
  if (g.is(3, 1)) return grad_weight_fixed<3, 3, 1>(g, grad, x, gw);
  if (g.is(3, 2)) return grad_weight_fixed<3, 3, 2>(g, grad, x, gw);
  if (g.is(5, 1)) return grad_weight_fixed<5, 5, 1>(g, grad, x, gw);
  if (g.is(5, 2)) return grad_weight_fixed<5, 5, 2>(g, grad, x, gw);
  grad_weight_any(g, grad, x, gw);
}

}  // namespace dyc::channels_last
