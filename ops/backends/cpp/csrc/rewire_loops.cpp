// The loops of rewire.h for both types of storage, without PyTorch's headers.
#include "rewire.h"

namespace dyc::rewire {
DYC_REWIRE(, float)
DYC_REWIRE(, BFloat)
}  // namespace dyc::rewire
