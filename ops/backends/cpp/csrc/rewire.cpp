// PyTorch operators around the loops of rewire.h: dyc::rewire and its gradient dyc::rewire_backward.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/library.h>

#include <array>
#include <optional>
#include <tuple>

#include "operators.h"
#include "rewire.h"
#include "rewire_wiring.h"

namespace {

using at::Tensor;
using dyc::BFloat;
using dyc::format;
using dyc::prefers_channels_last;
using dyc::rewire::indices;
using dyc::rewire::Plan;
using dyc::rewire::Planes;
using dyc::rewire::Shape;
using dyc::rewire::Wiring;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

using Two = std::tuple<Tensor, Tensor>;
using Needs = std::array<bool, 2>;  // of x and of the shifts
using Forward = Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&);
using Backward = Two(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, Needs);

Shape shape_of(const Tensor& t, bool last) { return {t.size(1), t.size(2), t.size(3), last}; }

template <typename Body>  // body with a value of the type that a tensor stores
void typed(const Tensor& t, Body body) {
  if (t.scalar_type() == at::kBFloat16) body(BFloat{});
  else body(float{});
}

// The output; and where they are asked for, the planes of the sources (B, D, H, W) and which of them each slot reads.
Tensor run(const Tensor& x, const Tensor& slots, const Tensor& sources, const Tensor& shift, Tensor* kept, Tensor* rows) {
  const Wiring wiring(x, slots, sources, shift);
  const bool last = prefers_channels_last(x);
  const Tensor features = x.contiguous(format(last));
  Tensor out = at::empty(x.sizes(), x.options(), format(last));
  const Shape s = shape_of(x, last);
  const Plan plan = wiring.plan(s, wiring.sources);
  const int64_t batch = x.size(0), distinct = plan.sources.size();
  float* keep = nullptr;
  if (kept) {
    *kept = at::empty({batch, distinct, s.height, s.width}, x.options().dtype(at::kFloat));
    *rows = at::empty({wiring.count}, wiring.slots.options());
    keep = kept->mutable_data_ptr<float>();
    for (int64_t r = 0; r < wiring.count; ++r) rows->mutable_data_ptr<int64_t>()[plan.slots[r].place] = plan.slots[r].plane;
  }
  if (batch == 0) return out;
  // Rows are shared out only where there are fewer images than threads: each part lays out the sources anew.
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  const int64_t parts = batch >= threads ? 1 : std::min(s.height, (threads + batch - 1) / batch);
  const int64_t grain = std::max<int64_t>(1, 16384 * parts / s.numel());
  typed(x, [&](auto type) {
    using T = decltype(type);
    const T* from = (const T*)features.const_data_ptr();
    T* to = (T*)out.mutable_data_ptr();
    at::parallel_for(0, batch * parts, grain, [&](int64_t begin, int64_t end) {
      Planes planes(plan, s);
      dyc::rewire::Tile<T> tile(plan, s);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t n = i / parts, part = i % parts;
        read_sources(plan, s, from + n * s.numel(), planes);
        if (keep && part == 0) planes.copy_to(keep + n * distinct * s.pixels());
        forward(plan, s, planes, tile, from + n * s.numel(), to + n * s.numel(), s.height * part / parts,
                s.height * (part + 1) / parts);
      }
    });
  });
  return out;
}

Tensor forward_cpu(const Tensor& x, const Tensor& slots, const Tensor& sources, const Tensor& shift) {
  return run(x, slots, sources, shift, nullptr, nullptr);
}

// `kept[:, rows[r]]` is what slot r read: the features and the sources themselves, or the planes of `run`.
Two backward_cpu(const Tensor& grad, const Tensor& slots, const Tensor& sources, const Tensor& shift, const Tensor& kept,
                 const Tensor& rows, Needs needs) {
  at::AutoDispatchBelowAutograd below;
  const Wiring wiring(grad, slots, sources, shift);
  const bool last = prefers_channels_last(grad);
  const Tensor gradient = grad.contiguous(format(last));
  const Shape s = shape_of(grad, last);
  const Plan plan = wiring.plan(s, wiring.sources);
  const int64_t batch = grad.size(0), distinct = plan.sources.size();
  Tensor gx, gshift, planes, shares;
  if (needs[0]) gx = at::empty(grad.sizes(), grad.options(), format(last));
  if (needs[1]) {
    TORCH_CHECK(kept.dim() == 4 && kept.size(0) == batch && kept.size(2) == s.height && kept.size(3) == s.width &&
                    kept.is_floating_point() && kept.is_cpu(), "kept: got ", kept.sizes(), "; need (", batch, ", D, ",
                s.height, ", ", s.width, ") on the CPU");
    const Tensor read = indices("rows", rows, wiring.count, kept.size(1));
    // The plane of a source is the one that its first slot read.
    std::vector<int64_t> order(distinct, -1);
    bool in_order = kept.size(1) == distinct;
    for (int64_t r = 0; r < wiring.count; ++r) {
      const int64_t row = read.const_data_ptr<int64_t>()[plan.slots[r].place];
      int64_t& d = order[plan.slots[r].plane];
      if (d < 0) d = row;
      TORCH_CHECK(d == row, "rows: got ", rows, "; need one row for each of the sources ", sources);
    }
    for (int64_t d = 0; d < distinct; ++d) in_order &= order[d] == d;
    planes = (in_order ? kept : at::index_select(kept, 1, at::tensor(order, at::kLong))).to(at::kFloat).contiguous();
    shares = at::empty({batch, wiring.count, 2}, shift.options());
  }
  float* share = needs[1] ? shares.mutable_data_ptr<float>() : nullptr;
  const float* plane = needs[1] ? planes.const_data_ptr<float>() : nullptr;
  typed(grad, [&](auto type) {
    using T = decltype(type);
    const T* from = (const T*)gradient.const_data_ptr();
    T* to = needs[0] ? (T*)gx.mutable_data_ptr() : nullptr;
    at::parallel_for(0, batch, std::max<int64_t>(1, 16384 / s.numel()), [&](int64_t begin, int64_t end) {
      dyc::rewire::Scratch<T> scratch(plan, s);
      for (int64_t n = begin; n < end; ++n) {
        if (plane) scratch.planes.copy_from(plane + n * distinct * s.pixels());
        backward(plan, s, scratch, from + n * s.numel(), to ? to + n * s.numel() : nullptr,
                 share ? share + n * 2 * wiring.count : nullptr);
      }
    });
  });
  if (needs[1]) gshift = shares.sum(0);
  return {gx, gshift};
}

Tensor rewire(const Tensor& x, const Tensor& slots, const Tensor& sources, const Tensor& shift) {
  static const auto op = dyc::find<Forward>("dyc::rewire");
  return op.call(x, slots, sources, shift);
}

Two rewire_backward(const Tensor& grad, const Tensor& slots, const Tensor& sources, const Tensor& shift,
                    const Tensor& kept, const Tensor& rows, Needs needs) {
  static const auto op = dyc::find<Backward>("dyc::rewire_backward");
  return op.call(grad, slots, sources, shift, kept, rows, needs);
}

struct Rewire : Function<Rewire> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& slots, const Tensor& sources,
                        const Tensor& shift) {
    at::AutoDispatchBelowADInplaceOrView below;
    // The planes of the few sources are kept rather than all features, which nobody else may need any more. How many
    // they are depends on values, so whoever traces without values keeps the features.
    const bool traced = x.unsafeGetTensorImpl()->is_python_dispatch() || c10::impl::dispatch_mode_enabled();
    Tensor out, kept, rows;
    if (!shift.requires_grad() || traced) {
      out = rewire(x, slots, sources, shift);
      if (shift.requires_grad()) kept = x, rows = sources;
    } else {
      // Past the dispatcher, which would have resolved views whose sign is a note beside the values.
      out = run(x.resolve_neg(), slots.resolve_neg(), sources.resolve_neg(), shift.resolve_neg(), &kept, &rows);
    }
    ctx->save_for_backward({slots, sources, shift, kept, rows});
    ctx->saved_data["last"] = prefers_channels_last(x);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Tensor grad = grads[0].contiguous(format(ctx->saved_data["last"].toBool()));  // it has any strides
    const Needs needs{ctx->needs_input_grad(0), ctx->needs_input_grad(3)};
    const Tensor &kept = needs[1] ? saved[3] : grad, &rows = needs[1] ? saved[4] : saved[1];
    auto [gx, gshift] = rewire_backward(grad, saved[0], saved[1], saved[2], kept, rows, needs);
    return {gx, {}, {}, gshift};
  }
};

Tensor rewire_autograd(const Tensor& x, const Tensor& slots, const Tensor& sources, const Tensor& shift) {
  if (at::GradMode::is_enabled() && (x.requires_grad() || shift.requires_grad()))
    return Rewire::apply(x, slots, sources, shift);
  at::AutoDispatchBelowADInplaceOrView below;
  return rewire(x, slots, sources, shift);
}

struct RewireBackward : Function<RewireBackward> {
  static variable_list forward(AutogradContext*, const Tensor& grad, const Tensor& slots, const Tensor& sources,
                               const Tensor& shift, const Tensor& kept, const Tensor& rows, Needs needs) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [gx, gshift] = rewire_backward(grad, slots, sources, shift, kept, rows, needs);
    variable_list found;
    for (const Tensor& t : {gx, gshift})
      if (t.defined()) found.push_back(t);
    return found;
  }
  static variable_list backward(AutogradContext*, variable_list) {
    TORCH_CHECK_NOT_IMPLEMENTED(false, "rewire_channels: got a second derivative of the backend 'cpp'; need backend='eager'");
  }
};

Two backward_autograd(const Tensor& grad, const Tensor& slots, const Tensor& sources, const Tensor& shift,
                      const Tensor& kept, const Tensor& rows, Needs needs) {
  if (at::GradMode::is_enabled() && (grad.requires_grad() || shift.requires_grad() || kept.requires_grad())) {
    const auto found = RewireBackward::apply(grad, slots, sources, shift, kept, rows, needs);
    return {needs[0] ? found.front() : Tensor(), needs[1] ? found.back() : Tensor()};
  }
  at::AutoDispatchBelowADInplaceOrView below;
  return rewire_backward(grad, slots, sources, shift, kept, rows, needs);
}

}  // namespace

TORCH_LIBRARY_IMPL(dyc, CPU, m) {
  m.impl("rewire", forward_cpu);
  m.impl("rewire_backward", backward_cpu);
}

TORCH_LIBRARY_IMPL(dyc, AutogradCPU, m) {
  m.impl("rewire", rewire_autograd);
  m.impl("rewire_backward", backward_autograd);
}
