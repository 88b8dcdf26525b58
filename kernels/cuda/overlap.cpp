#include "kernels/cuda/overlap.h"

#include <atomic>

namespace deepserve::kernels::cuda {
namespace {

std::atomic<bool> may_overlap = false;

}  // namespace

void let_kernels_overlap(bool may) {
  may_overlap = may;
}

bool kernels_may_overlap() {
  return may_overlap;
}

}  // namespace deepserve::kernels::cuda
