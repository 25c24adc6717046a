// A whole dynamic depthwise layer in one call: pooling, two linear layers, softmax, mixing and the convolution, on
// channels_last float32 features. Alone, each of these costs more in calls than in arithmetic on small images.
//
// dyc::attended_depthwise is what users call; its gradient keeps the intermediate results of
// dyc::attended_depthwise_keeping. Gradients of gradients go through the same formula in PyTorch's own operators.

#pragma once

#include <ATen/ops/einsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/threshold_backward.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>

#include "layer.h"

namespace dyc::layer_operators {
namespace {

using namespace dyc;

using Five = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
using Six = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;
using Needs = std::array<bool, 6>;  // which of x, bank, fc1's weight and bias, fc2's weight and bias

// Hold the sizes to each other: Python has checked them, but whoever calls the operator itself may not have.
void check(const Tensor& x, const Tensor& bank, const Tensor& fc1, const optional<Tensor>& bias1, const Tensor& fc2,
           const optional<Tensor>& bias2, const Tensor& temperature) {
  TORCH_CHECK(x.dim() == 4 && x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0, "x: got ", x.sizes(),
              "; need (B, C, H, W), none but B 0");
  const int64_t channels = x.size(1);
  TORCH_CHECK(bank.dim() == 5 && bank.numel() > 0 && bank.size(1) == channels && bank.size(2) == 1, "bank: got ",
              bank.sizes(), "; need (K, ", channels, ", 1, kH, kW), none of them 0");
  TORCH_CHECK(fc1.dim() == 2 && fc1.size(0) > 0 && fc1.size(1) == channels, "fc1_weight: got ", fc1.sizes(),
              "; need (hidden, ", channels, ")");
  const int64_t kernels = bank.size(0), hidden = fc1.size(0), rows = fc2.dim() == 2 ? fc2.size(0) : 0;
  TORCH_CHECK((rows == kernels || rows == kernels * channels) && fc2.size(1) == hidden, "fc2_weight: got ", fc2.sizes(),
              "; need (", kernels, " or ", kernels * channels, ", ", hidden, ")");
  TORCH_CHECK(!data(bias1) || bias1->numel() == hidden, "fc1_bias: got ", bias1->sizes(), "; need (", hidden, ",)");
  TORCH_CHECK(!data(bias2) || bias2->numel() == rows, "fc2_bias: got ", bias2->sizes(), "; need (", rows, ",)");
  TORCH_CHECK(temperature.numel() == 1, "temperature: got ", temperature.sizes(), "; need one number");
}

void check_size(const char* name, const Tensor& t, IntArrayRef size) {
  TORCH_CHECK(t.sizes() == size, name, ": got ", t.sizes(), "; need ", size);
}

Five keeping_cpu(const Tensor& x, const Tensor& bank, const Tensor& fc1, const optional<Tensor>& bias1, const Tensor& fc2,
                 const optional<Tensor>& bias2, const Tensor& temperature, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  at::AutoDispatchBelowAutograd below;
  check(x, bank, fc1, bias1, fc2, bias2, temperature);
  Layer layer(x, bank, fc1, bias1, fc2, bias2, temperature, s, p, d);
  Tensor mixed = layer.new_mixed(), y = layer.new_output();
  if (layer.g.batch == 0) return {y, layer.pooled, layer.hidden, layer.attention, mixed};
  float *kernels = mixed.data_ptr<float>(), *to = y.data_ptr<float>();
  layer.in_parts([&](int64_t begin, int64_t end) {
    layer.attend(begin, end);
    layer.mix(begin, end, kernels);
    layer.convolve(begin, end, kernels, to);
  });
  return {y, layer.pooled, layer.hidden, layer.attention, mixed};
}

Tensor attended_cpu(const Tensor& x, const Tensor& bank, const Tensor& fc1, const optional<Tensor>& bias1, const Tensor& fc2,
                    const optional<Tensor>& bias2, const Tensor& temperature, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  at::AutoDispatchBelowAutograd below;
  check(x, bank, fc1, bias1, fc2, bias2, temperature);
  Layer layer(x, bank, fc1, bias1, fc2, bias2, temperature, s, p, d);
  if (!layer.g.is_usual()) return std::get<0>(keeping_cpu(x, bank, fc1, bias1, fc2, bias2, temperature, s, p, d));
  Tensor y = layer.new_output();
  if (layer.g.batch == 0) return y;
  float* to = y.data_ptr<float>();
  layer.in_parts([&](int64_t begin, int64_t end) {
    layer.attend(begin, end);
    layer.convolve_mixing(begin, end, to);
  });
  return y;
}

// The gradients of no samples.
Six zeros(const Tensor& x, const Tensor& bank, const Tensor& fc1, const Tensor& fc2, Needs needs) {
  const auto of = [](bool needed, const Tensor& like) { return needed ? at::zeros_like(like) : Tensor(); };
  const auto bias = [](bool needed, const Tensor& w) { return needed ? at::zeros({w.size(0)}, w.options()) : Tensor(); };
  return {of(needs[0], x), of(needs[1], bank), of(needs[2], fc1), bias(needs[3], fc1),
          of(needs[4], fc2), bias(needs[5], fc2)};
}

// The gradients that are needed; the others stay undefined, and so does what only they would be made of.
Six backward_cpu(const Tensor& grad, const Tensor& x, const Tensor& bank, const Tensor& fc1, const Tensor& fc2,
                 const Tensor& temperature, const Tensor& pooled, const Tensor& hidden, const Tensor& kept_attention,
                 const Tensor& kept_mixed, Needs needs, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
  at::AutoDispatchBelowAutograd below;
  check(x, bank, fc1, std::nullopt, fc2, std::nullopt, temperature);
  const auto [for_x, for_bank, for_fc1, for_bias1, for_fc2, for_bias2] = needs;
  const bool for_hidden = for_x || for_fc1 || for_bias1, for_logits = for_hidden || for_fc2 || for_bias2;
  const Tensor kernels = channels_last_bank(bank);
  const branch::Sizes sizes = sizes_of(x, kernels, fc2);
  const Call call{x.sizes().slice(2), kernels.sizes().slice(2), s, p, d};
  const Geometry g = call.geometry(sizes.batch, sizes.channels);
  check_size("grad", grad, {g.batch, g.channels, g.out_height, g.out_width});
  check_size("pooled", pooled, {g.batch, g.channels});
  check_size("hidden", hidden, {g.batch, fc1.size(0)});
  check_size("attention", kept_attention, {g.batch, fc2.size(0)});
  check_size("mixed", kept_mixed, {g.batch, g.channels, g.kernel_h, g.kernel_w});
  if (g.batch == 0) return zeros(x, bank, fc1, fc2, needs);
  const Tensor gy = grad.contiguous(kLast), attention = kept_attention.contiguous(), mixed = kept_mixed.contiguous(kLast);

  Tensor gx, gbank, gfc1, gbias1, gfc2, gbias2, gmixed, glogits;
  if (for_bank || for_logits) {
    gmixed = at::empty_like(mixed, mixed.options(), kLast);
    channels_last::grad_weight(g, data(gy), data(x.contiguous(kLast)), gmixed.data_ptr<float>());
  }
  if (for_bank) {
    gbank = at::empty(kernels.sizes(), bank.options(), kLast);
    branch::grad_bank(sizes, data(attention), data(gmixed), gbank.data_ptr<float>());
    gbank = gbank.unsqueeze(2);
  }
  if (for_logits) {
    glogits = at::empty_like(attention);
    const float sharpness = 1.0f / *data(temperature);
    branch::grad_logits(sizes, sharpness, data(kernels), data(attention), data(gmixed), glogits.data_ptr<float>());
    if (for_fc2) gfc2 = glogits.t().mm(hidden);
    if (for_bias2) gbias2 = glogits.sum(0);
  }
  if (for_hidden) {
    const Tensor ghidden = at::threshold_backward(glogits.mm(fc2), hidden, 0);
    if (for_fc1) gfc1 = ghidden.t().mm(pooled);
    if (for_bias1) gbias1 = ghidden.sum(0);
    if (for_x) {
      gx = at::empty(x.sizes(), x.options(), kLast);
      channels_last::grad_input(g, data(gy), data(mixed), gx.data_ptr<float>());
      branch::add_pooled(g, data(ghidden.mm(fc1)), gx.data_ptr<float>());
    }
  }
  return {gx, gbank, gfc1, gbias1, gfc2, gbias2};
}

using Attended = Tensor(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&, const Tensor&,
                        const optional<Tensor>&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef);
using Keeping = Five(const Tensor&, const Tensor&, const Tensor&, const optional<Tensor>&, const Tensor&,
                     const optional<Tensor>&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef);
using Backward = Six(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                     const Tensor&, const Tensor&, const Tensor&, Needs, IntArrayRef, IntArrayRef, IntArrayRef);
using Plain = Tensor(const Tensor&, const Tensor&, IntArrayRef, IntArrayRef, IntArrayRef);

// The formula in operators that are differentiable to any order.
Tensor composed(const Tensor& x, const Tensor& bank, const Tensor& fc1, const optional<Tensor>& bias1, const Tensor& fc2,
                const optional<Tensor>& bias2, const Tensor& temperature, const Window& v) {
  static const auto depthwise = find<Plain>("dyc::depthwise");
  const Tensor logits = at::linear(at::linear(x.mean({2, 3}), fc1, bias1).relu(), fc2, bias2).div(temperature);
  const bool per_channel = fc2.size(0) != bank.size(0);
  const Tensor attention = (per_channel ? logits.unflatten(1, {bank.size(0), -1}) : logits).softmax(1);
  const Tensor mixed = at::einsum(per_channel ? "bkc,kchw->bchw" : "bk,kchw->bchw", {attention, bank.squeeze(2)});
  return depthwise.call(x, mixed, v.stride, v.padding, v.dilation);
}

struct AttendedDepthwise : torch::autograd::Function<AttendedDepthwise> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& bank, const Tensor& fc1,
                        const optional<Tensor>& bias1, const Tensor& fc2, const optional<Tensor>& bias2,
                        const Tensor& temperature, IntArrayRef s, IntArrayRef p, IntArrayRef d) {
    static const auto keeping = find<Keeping>("dyc::attended_depthwise_keeping");
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, pooled, hidden, attention, mixed] = keeping.call(x, bank, fc1, bias1, fc2, bias2, temperature, s, p, d);
    ctx->save_for_backward({x, bank, fc1, bias1.value_or(Tensor()), fc2, bias2.value_or(Tensor()), temperature, pooled,
                            hidden, attention, mixed});
    remember(ctx, s, p, d);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto t = ctx->get_saved_variables();
    const Window v(ctx);
    Needs needs;
    for (size_t i = 0, edge = 0; i < needs.size(); ++i) needs[i] = t[i].defined() && ctx->needs_input_grad(edge++);
    if (at::GradMode::is_enabled()) return differentiable_backward(t, v, grads[0], needs);
    static const auto op = find<Backward>("dyc::attended_depthwise_backward");
    auto [gx, gbank, gfc1, gbias1, gfc2, gbias2] =
        op.call(grads[0], t[0], t[1], t[2], t[4], t[6], t[7], t[8], t[9], t[10], needs, v.stride, v.padding, v.dilation);
    return {gx, gbank, gfc1, gbias1, gfc2, gbias2, {}, {}, {}, {}};
  }

  // The gradients with respect to aliases of the arguments: to the arguments themselves there may be ways from one to
  // another, or one tensor may stand in two places, and the engine that called us adds these up.
  static variable_list differentiable_backward(const variable_list& kept, const Window& v, const Tensor& grad,
                                               const Needs& needs) {
    variable_list t(kept), wanted, result(10);
    for (int i = 0; i < 6; ++i)
      if (needs[i]) wanted.push_back(t[i] = t[i].view_as(t[i]));
    const auto given = [](const Tensor& b) { return b.defined() ? optional<Tensor>(b) : std::nullopt; };
    const Tensor y = composed(t[0], t[1], t[2], given(t[3]), t[4], given(t[5]), t[6], v);
    const auto found = torch::autograd::grad({y}, wanted, {grad}, /*retain_graph=*/true, /*create_graph=*/true);
    for (int i = 0, next = 0; i < 6; ++i)
      if (needs[i]) result[i] = found[next++];
    return result;
  }
};

Tensor attended_autograd(const Tensor& x, const Tensor& bank, const Tensor& fc1, const optional<Tensor>& bias1,
                         const Tensor& fc2, const optional<Tensor>& bias2, const Tensor& temperature, IntArrayRef s,
                         IntArrayRef p, IntArrayRef d) {
  const auto asks = [](const optional<Tensor>& t) { return t && t->defined() && t->requires_grad(); };
  if (at::GradMode::is_enabled() && (asks(x) || asks(bank) || asks(fc1) || asks(bias1) || asks(fc2) || asks(bias2)))
    return AttendedDepthwise::apply(x, bank, fc1, bias1, fc2, bias2, temperature, s, p, d);
  static const auto op = find<Attended>("dyc::attended_depthwise");
  at::AutoDispatchBelowADInplaceOrView below;
  return op.call(x, bank, fc1, bias1, fc2, bias2, temperature, s, p, d);
}

}  // namespace

TORCH_LIBRARY_IMPL(dyc, CPU, m) {
  m.impl("attended_depthwise", attended_cpu);
  m.impl("attended_depthwise_keeping", keeping_cpu);
  m.impl("attended_depthwise_backward", backward_cpu);
}

TORCH_LIBRARY_IMPL(dyc, AutogradCPU, m) { m.impl("attended_depthwise", attended_autograd); }

}  // namespace dyc::layer_operators
