// What the files that define PyTorch operators share: memory formats, and calls that the dispatcher takes.
#pragma once

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include "geometry.h"

namespace dyc {

using at::IntArrayRef;
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

inline int64_t out_size(int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  return (size + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

inline void check_pair(const char* name, IntArrayRef pair, int64_t least) {
  TORCH_CHECK(pair.size() == 2 && pair[0] >= least && pair[1] >= least, name, ": got ", pair, "; need two numbers >= ", least);
}

struct Call {
  IntArrayRef size, kernel, stride, padding, dilation;  // (H, W) each

  // Python has checked the window, but whoever calls the operator itself may not have.
  Geometry geometry(int64_t batch, int64_t channels) const {
    check_pair("size", size, 0);
    check_pair("kernel", kernel, 1);
    check_pair("stride", stride, 1);
    check_pair("padding", padding, 0);
    check_pair("dilation", dilation, 1);
    const int64_t out_height = out_size(size[0], kernel[0], stride[0], padding[0], dilation[0]);
    const int64_t out_width = out_size(size[1], kernel[1], stride[1], padding[1], dilation[1]);
    // A division rounds towards zero, so that a kernel a little too large would still seem to give one output.
    TORCH_CHECK(fits(0) && fits(1), "kernel: got ", kernel, " with dilation ", dilation, "; need one within the image of ",
                size, " with padding ", padding);
    return {batch, channels, size[0], size[1], out_height, out_width, kernel[0], kernel[1],
            stride[0], stride[1], padding[0], padding[1], dilation[0], dilation[1]};
  }

  bool fits(int i) const { return size[i] + 2 * padding[i] > dilation[i] * (kernel[i] - 1); }
};

// Asked of symbolic sizes too, while a compiler traces.
inline bool prefers_channels_last(const Tensor& t) {
  return t.sym_size(1) > 1 && t.sym_stride(1) == 1 && !t.is_contiguous();
}

inline at::MemoryFormat format(bool last) {
  return last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

// What the gradients need besides tensors.
inline void remember(AutogradContext* ctx, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  ctx->saved_data["stride"] = s.vec();
  ctx->saved_data["padding"] = p.vec();
  ctx->saved_data["dilation"] = d.vec();
}

struct Window {
  std::vector<int64_t> stride, padding, dilation;
  explicit Window(AutogradContext* ctx)
      : stride(ctx->saved_data["stride"].toIntVector()),
        padding(ctx->saved_data["padding"].toIntVector()),
        dilation(ctx->saved_data["dilation"].toIntVector()) {}
};

}  // namespace dyc
