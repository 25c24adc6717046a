// Loops split over PyTorch's threads, for the files without PyTorch's headers: reading these takes longer than compiling
// the loops. Defined in convolutions.cpp by ATen's functions of the same names.
#pragma once

#include <cstdint>

namespace dyc {

bool in_parallel_region();
int64_t get_num_threads();
void parallel_for(int64_t begin, int64_t end, int64_t grain, void (*call)(const void* body, int64_t, int64_t), const void* body);

// Call body(first, last) for parts of at least `grain` that together are [begin, end).
template <typename Body>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Body& body) {
  parallel_for(begin, end, grain, [](const void* b, int64_t first, int64_t last) { (*(const Body*)b)(first, last); }, &body);
}

}  // namespace dyc
