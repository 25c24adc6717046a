// The geometry of one depthwise call, and the three results that every memory format computes.
#pragma once

#include <cstdint>

namespace dyc {

struct Geometry {
  int64_t batch, channels, height, width;       // of the features
  int64_t out_height, out_width;                // of the output
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;

  int64_t taps() const { return kernel_h * kernel_w; }
  int64_t pixels() const { return height * width; }
  int64_t out_pixels() const { return out_height * out_width; }

  // Whether the kernel and the stride are square and have these sizes, without dilation.
  bool is(int64_t kernel, int64_t stride) const {
    return kernel_h == kernel && kernel_w == kernel && stride_h == stride && stride_w == stride && dilation_h == 1 &&
           dilation_w == 1;
  }
  // Whether there are loops for this window alone.
  bool is_usual() const { return is(3, 1) || is(3, 2) || is(5, 1) || is(5, 2); }
  bool padded_within_kernel() const { return pad_h < kernel_h && pad_w < kernel_w; }
};

// features: (B, C, H, W); kernels: (B, C, kH, kW); output: (B, C, H', W'); all in the memory format of the namespace,
// kernels in channels_last being (B, kH, kW, C).
#define DYC_DECLARE                                                                                   \
  template <typename T>                                                                               \
  void forward(const Geometry&, const T* features, const T* kernels, T* output);                      \
  template <typename T>                                                                               \
  void grad_input(const Geometry&, const T* grad, const T* kernels, T* grad_features);                \
  template <typename T>                                                                               \
  void grad_weight(const Geometry&, const T* grad, const T* features, T* grad_kernels);

namespace channels_last {
DYC_DECLARE
}
namespace channels_first {
DYC_DECLARE
}

#undef DYC_DECLARE

}  // namespace dyc
