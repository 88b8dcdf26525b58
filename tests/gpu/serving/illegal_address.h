// The fault that ends a process's context on a GPU: a kernel writes to where nothing is.
#pragma once

namespace deepserve::runner {

// Every later call to CUDA fails with 700.
void write_to_illegal_address();

}  // namespace deepserve::runner
