// The operators of the depthwise convolution and of the whole layer, in one file: PyTorch's headers, which both need, take
// longer to compile than the operators themselves.

#include "depthwise_operators.h"
#include "layer_operators.h"
