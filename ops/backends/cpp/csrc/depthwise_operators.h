// PyTorch operators around the kernels: dyc::depthwise, dyc::depthwise_grad_input, dyc::depthwise_grad_weight.
//
// The operation is bilinear in features and kernels, so the gradient of each of the three is made of the other two and
// the operators are differentiable to any order.

#pragma once

#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "geometry.h"
#include "operators.h"
#include "vec.h"

namespace dyc::depthwise_operators {
namespace {

using at::IntArrayRef;
using at::Tensor;
using dyc::BFloat;
using dyc::Call;
using dyc::format;
using dyc::Geometry;
using dyc::prefers_channels_last;
using dyc::remember;
using dyc::Window;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Run body with typed pointers: body(first, second, result) of float or of bfloat16.
template <typename Body>
void typed(const Tensor& first, const Tensor& second, Tensor& result, Body body) {
  if (first.scalar_type() == at::kBFloat16) {
    body((const BFloat*)first.const_data_ptr(), (const BFloat*)second.const_data_ptr(), (BFloat*)result.mutable_data_ptr());
  } else {
    TORCH_CHECK(first.scalar_type() == at::kFloat, "dyc::depthwise: got ", first.scalar_type(), "; need float32 or bfloat16");
    body((const float*)first.const_data_ptr(), (const float*)second.const_data_ptr(), (float*)result.mutable_data_ptr());
  }
}

// Hold the two factors to each other: Python has checked them, but whoever calls the operator itself may not have.
void check(const Tensor& first, const Tensor& second) {
  TORCH_CHECK(first.dim() == 4 && second.dim() == 4 && first.size(0) == second.size(0) && first.size(1) == second.size(1),
              "dyc::depthwise: got ", first.sizes(), " and ", second.sizes(), "; need the same batch and channels");
  TORCH_CHECK(first.scalar_type() == second.scalar_type(), "dyc::depthwise: got ", first.scalar_type(), " and ",
              second.scalar_type(), "; need one type");
}

// Hold a gradient to the output that it belongs to.
void check_gradient(const Tensor& grad, const Geometry& g) {
  TORCH_CHECK(grad.size(2) == g.out_height && grad.size(3) == g.out_width, "dyc::depthwise: got a gradient of ",
              grad.sizes(), "; need ", g.out_height, " x ", g.out_width, " pixels");
}

Tensor forward_cpu(const Tensor& x, const Tensor& w, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  check(x, w);
  const bool last = prefers_channels_last(x);
  const Tensor features = x.contiguous(format(last)), kernels = w.contiguous(format(last));
  const Call call{x.sizes().slice(2), w.sizes().slice(2), stride, padding, dilation};
  const Geometry g = call.geometry(x.size(0), x.size(1));
  Tensor y = at::empty({g.batch, g.channels, g.out_height, g.out_width}, x.options(), format(last));
  if (y.numel() == 0) return y;  // the loops are for at least one sample
  typed(features, kernels, y, [&](auto* a, auto* b, auto* c) {
    last ? dyc::channels_last::forward(g, a, b, c) : dyc::channels_first::forward(g, a, b, c);
  });
  return y;
}

Tensor grad_input_cpu(const Tensor& grad, const Tensor& w, IntArrayRef size, IntArrayRef stride, IntArrayRef padding,
                      IntArrayRef dilation) {
  check(grad, w);
  const bool last = prefers_channels_last(grad);
  const Tensor gradient = grad.contiguous(format(last)), kernels = w.contiguous(format(last));
  const Call call{size, w.sizes().slice(2), stride, padding, dilation};
  const Geometry g = call.geometry(grad.size(0), grad.size(1));
  check_gradient(grad, g);
  Tensor gx = at::empty({g.batch, g.channels, g.height, g.width}, grad.options(), format(last));
  if (gx.numel() == 0) return gx;
  typed(gradient, kernels, gx, [&](auto* a, auto* b, auto* c) {
    last ? dyc::channels_last::grad_input(g, a, b, c) : dyc::channels_first::grad_input(g, a, b, c);
  });
  return gx;
}

Tensor grad_weight_cpu(const Tensor& grad, const Tensor& x, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                       IntArrayRef dilation) {
  check(grad, x);
  const bool last = prefers_channels_last(x);
  const Tensor gradient = grad.contiguous(format(last)), features = x.contiguous(format(last));
  const Call call{x.sizes().slice(2), kernel, stride, padding, dilation};
  const Geometry g = call.geometry(x.size(0), x.size(1));
  check_gradient(grad, g);
  Tensor gw = at::empty({g.batch, g.channels, g.kernel_h, g.kernel_w}, x.options(), format(last));
  if (gw.numel() == 0) return gw;
  typed(gradient, features, gw, [&](auto* a, auto* b, auto* c) {
    last ? dyc::channels_last::grad_weight(g, a, b, c) : dyc::channels_first::grad_weight(g, a, b, c);
  });
  return gw;
}

using c10::SymIntArrayRef;
using torch::autograd::Function;

using Plain = Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef);
using Sized = Tensor(const Tensor&, const Tensor&, SymIntArrayRef, IntArrayRef, IntArrayRef, IntArrayRef);

Tensor depthwise(const Tensor& x, const Tensor& w, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  static const auto op = dyc::find<Plain>("dyc::depthwise");
  return op.call(x, w, s, p, d);
}

Tensor grad_input(const Tensor& grad, const Tensor& w, SymIntArrayRef size, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  static const auto op = dyc::find<Sized>("dyc::depthwise_grad_input");
  return op.call(grad, w, size, s, p, d);
}

Tensor grad_weight(const Tensor& grad, const Tensor& x, SymIntArrayRef kernel, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  static const auto op = dyc::find<Sized>("dyc::depthwise_grad_weight");
  return op.call(grad, x, kernel, s, p, d);
}

// Incoming gradients have any strides; the features' memory format decides.
Tensor like(const Tensor& t, const Tensor& features) { return t.contiguous(format(prefers_channels_last(features))); }

struct Depthwise : Function<Depthwise> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({x, w});
    remember(ctx, s, p, d);
    return depthwise(x, w, s, p, d);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &w = saved[1];
    const Tensor grad = like(grads[0], x);
    const Window v(ctx);
    Tensor gx, gw;
    if (ctx->needs_input_grad(0)) gx = grad_input(grad, w, x.sym_sizes().slice(2), v.stride, v.padding, v.dilation);
    if (ctx->needs_input_grad(1)) gw = grad_weight(grad, x, w.sym_sizes().slice(2), v.stride, v.padding, v.dilation);
    return {gx, gw, {}, {}, {}};
  }
};

struct GradInput : Function<GradInput> {
  static Tensor forward(AutogradContext* ctx, const Tensor& grad, const Tensor& w, SymIntArrayRef size, IntArrayRef s,
                        IntArrayRef p, IntArrayRef d) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({grad, w});
    remember(ctx, s, p, d);
    return grad_input(grad, w, size, s, p, d);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &grad = saved[0], &w = saved[1];
    const Tensor gg = like(grads[0], grad);
    const Window v(ctx);
    Tensor ggrad, gw;
    if (ctx->needs_input_grad(0)) ggrad = depthwise(gg, w, v.stride, v.padding, v.dilation);
    if (ctx->needs_input_grad(1)) gw = grad_weight(grad, gg, w.sym_sizes().slice(2), v.stride, v.padding, v.dilation);
    return {ggrad, gw, {}, {}, {}, {}};
  }
};

struct GradWeight : Function<GradWeight> {
  static Tensor forward(AutogradContext* ctx, const Tensor& grad, const Tensor& x, SymIntArrayRef kernel, IntArrayRef s,
                        IntArrayRef p, IntArrayRef d) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({grad, x});
    remember(ctx, s, p, d);
    return grad_weight(grad, x, kernel, s, p, d);
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor &grad = saved[0], &x = saved[1], &gg = grads[0];
    const Window v(ctx);
    Tensor ggrad, gx;
    if (ctx->needs_input_grad(0)) ggrad = depthwise(x, gg, v.stride, v.padding, v.dilation);
    if (ctx->needs_input_grad(1))
      gx = grad_input(like(grad, x), gg, x.sym_sizes().slice(2), v.stride, v.padding, v.dilation);
    return {ggrad, gx, {}, {}, {}, {}};
  }
};

bool differentiates(const Tensor& a, const Tensor& b) {
  return at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad());
}

Tensor depthwise_autograd(const Tensor& x, const Tensor& w, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  if (differentiates(x, w)) return Depthwise::apply(x, w, s, p, d);
  at::AutoDispatchBelowADInplaceOrView below;
  return depthwise(x, w, s, p, d);
}

Tensor grad_input_autograd(const Tensor& grad, const Tensor& w, SymIntArrayRef size, IntArrayRef s, IntArrayRef p,
                           IntArrayRef d) {
  if (differentiates(grad, w)) return GradInput::apply(grad, w, size, s, p, d);
  at::AutoDispatchBelowADInplaceOrView below;
  return grad_input(grad, w, size, s, p, d);
}

Tensor grad_weight_autograd(const Tensor& grad, const Tensor& x, SymIntArrayRef kernel, IntArrayRef s, IntArrayRef p,
                            IntArrayRef d) {
  if (differentiates(grad, x)) return GradWeight::apply(grad, x, kernel, s, p, d);
  at::AutoDispatchBelowADInplaceOrView below;
  return grad_weight(grad, x, kernel, s, p, d);
}

}  // namespace

TORCH_LIBRARY_IMPL(dyc, CPU, m) {
  m.impl("depthwise", forward_cpu);
  m.impl("depthwise_grad_input", grad_input_cpu);
  m.impl("depthwise_grad_weight", grad_weight_cpu);
}

TORCH_LIBRARY_IMPL(dyc, AutogradCPU, m) {
  m.impl("depthwise", depthwise_autograd);
  m.impl("depthwise_grad_input", grad_input_autograd);
  m.impl("depthwise_grad_weight", grad_weight_autograd);
}

}  // namespace dyc::depthwise_operators
