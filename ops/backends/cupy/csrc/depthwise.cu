// Depthwise convolution with one kernel per sample, on NVIDIA GPUs. The host adds one line DYC_KERNEL for each kernel
// that a call needs (ops/cuda_plan.py names them all) and compiles that alone.
//
// Every kernel takes one `Call`. No atomics: a call gives the same bits each time.
#include "any.cuh"
#include "channels_first.cuh"
#include "channels_last.cuh"

// `per_sm`: blocks of 256 threads that one multiprocessor must hold, which bounds the registers.
#ifndef DYC_KERNEL
#define DYC_KERNEL(name, per_sm, ...)                                                           \
  extern "C" __global__ void __launch_bounds__(256, per_sm) name(const __grid_constant__ dyc::Call call) { \
    dyc::__VA_ARGS__(call);                                                                     \
  }
#endif
