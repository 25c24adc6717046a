// The channels_last kernels for float32, without PyTorch's headers: these take longer to compile than the loops.
#include "channels_last_grad.h"
#include "instances.h"

DYC_CHANNELS_LAST(, float)
