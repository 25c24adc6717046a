// The channels_last kernels of one type of storage: compiled in a file of their own, declared `extern` elsewhere.
#pragma once

#include "channels_last.h"

#define DYC_TILES(EXTERN, K, S, T)                                                                                 \
  EXTERN template void convolve_tiles<K, K, S>(const Geometry&, const T*, const Vec (*)[K * K], T*, int64_t, int64_t, \
                                               int64_t);

#define DYC_CHANNELS_LAST(EXTERN, T)                                           \
  namespace dyc::channels_last {                                               \
  DYC_TILES(EXTERN, 3, 1, T)                                                   \
  DYC_TILES(EXTERN, 3, 2, T)                                                   \
  DYC_TILES(EXTERN, 5, 1, T)                                                   \
  DYC_TILES(EXTERN, 5, 2, T)                                                   \
  EXTERN template void forward(const Geometry&, const T*, const T*, T*);       \
  EXTERN template void grad_input(const Geometry&, const T*, const T*, T*);    \
  EXTERN template void grad_weight(const Geometry&, const T*, const T*, T*);   \
  }
