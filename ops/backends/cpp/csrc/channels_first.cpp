// The NCHW kernels for both types of storage.
#include "channels_first.h"

#define DYC_CHANNELS_FIRST(T)                                           \
  template void forward(const Geometry&, const T*, const T*, T*);       \
  template void grad_input(const Geometry&, const T*, const T*, T*);    \
  template void grad_weight(const Geometry&, const T*, const T*, T*);

namespace dyc::channels_first {
DYC_CHANNELS_FIRST(float)
DYC_CHANNELS_FIRST(BFloat)
}  // namespace dyc::channels_first
