// The operators of the depthwise convolution and of the whole layer, in one file: PyTorch's headers, which both need, take
// longer to compile than the operators themselves.

#include <ATen/Parallel.h>

#include "depthwise_operators.h"
#include "layer_operators.h"
#include "parallel.h"

namespace dyc {

bool in_parallel_region() { return at::in_parallel_region(); }

int64_t get_num_threads() { return at::get_num_threads(); }

void parallel_for(int64_t begin, int64_t end, int64_t grain, void (*call)(const void*, int64_t, int64_t), const void* body) {
  at::parallel_for(begin, end, grain, [=](int64_t first, int64_t last) { call(body, first, last); });
}

}  // namespace dyc
