// The channels_last kernels for bfloat16.
#include "channels_last_grad.h"
#include "instances.h"

DYC_CHANNELS_LAST(, BFloat)
