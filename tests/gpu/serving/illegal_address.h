// The fault that ends a process's context on a GPU: a kernel writes to where nothing is.
#pragma once

namespace deepserve::runner {

// Puts it into the GPU's work and returns at once: it is a later call's error, CUDA's 700.
void write_to_illegal_address();

}  // namespace deepserve::runner
