// What PyTorch passes to the operators of rewire.cpp, checked.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <vector>

#include "rewire_plan.h"

namespace dyc::rewire {

using at::Tensor;

// Hold indices to a number of channels. Nobody else checks their values; Python makes an ArgumentError of a ValueError.
inline Tensor indices(const char* name, const Tensor& t, int64_t count, int64_t channels) {
  TORCH_CHECK(t.dim() == 1 && t.size(0) == count && t.scalar_type() == at::kLong && t.is_cpu(), name, ": got ",
              t.scalar_type(), " of shape ", t.sizes(), "; need (", count, ",) of int64 on the CPU");
  const Tensor dense = t.contiguous();
  const int64_t* values = dense.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < count; ++r)
    TORCH_CHECK_VALUE(values[r] >= 0 && values[r] < channels, name, ": got ", values[r], "; need channels from 0 to ",
                      channels - 1);
  return dense;
}

// What is re-wired, checked and dense.
struct Wiring {
  int64_t count;
  Tensor slots, sources, shift;

  Wiring(const Tensor& x, const Tensor& slots_, const Tensor& sources_, const Tensor& shift_) {
    TORCH_CHECK(x.dim() == 4 && x.size(1) > 0 && x.size(2) > 0 && x.size(3) > 0 && x.is_cpu(), "x: got ", x.sizes(),
                "; need (B, C, H, W) on the CPU, none but B 0");
    TORCH_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16, "x: got ", x.scalar_type(),
                "; need float32 or bfloat16");
    TORCH_CHECK(slots_.dim() == 1, "slots: got ", slots_.sizes(), "; need (R,)");
    count = slots_.size(0);
    const int64_t channels = x.size(1);
    slots = indices("slots", slots_, count, channels);
    sources = indices("sources", sources_, count, channels);
    TORCH_CHECK(shift_.dim() == 2 && shift_.size(0) == count && shift_.size(1) == 2 && shift_.is_cpu() &&
                    shift_.scalar_type() == at::kFloat, "shift: got ", shift_.scalar_type(), " of shape ",
                shift_.sizes(), "; need (", count, ", 2) of float32 on the CPU");
    shift = shift_.contiguous();
    std::vector<char> seen(channels);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t slot = slots.const_data_ptr<int64_t>()[r];
      TORCH_CHECK_VALUE(!seen[slot], "slots: got ", slot, " twice; need channels that differ");
      seen[slot] = 1;
    }
  }

  Plan plan(const Shape& s, const Tensor& read) const {
    return Plan(s, count, slots.const_data_ptr<int64_t>(), read.const_data_ptr<int64_t>(), shift.const_data_ptr<float>());
  }
};

}  // namespace dyc::rewire
