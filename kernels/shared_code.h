// Marks what the code of CPUs and that of GPUs are both made of, so that they give the same bits: nothing in
// it may be contracted to a fused multiply-add that the source does not name.
#pragma once

#ifdef __CUDACC__
#define DEEPSERVE_SHARED_CODE __device__
#else
#define DEEPSERVE_SHARED_CODE
#endif
