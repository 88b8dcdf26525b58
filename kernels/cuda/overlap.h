// Whether a kernel may begin while the one before it in its stream still runs ("programmatic dependent
// launch" in NVIDIA's CUDA Programming Guide). It then asks for the weights that it reads anyhow, and waits,
// by wait_for_kernels_before() (ptx.cuh), before it reads what a kernel writes, or writes anything.
#pragma once

namespace deepserve::kernels::cuda {

inline constexpr int kOverlapCapability = 90;  // 9.0: older GPUs refuse it

// Of this process, for all launches from here on; false until it is said.
void let_kernels_overlap(bool may);
bool kernels_may_overlap();

}  // namespace deepserve::kernels::cuda
