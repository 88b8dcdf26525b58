// The attention kernels of each instruction set; see Kernels for what they do.
#pragma once

#include "kernels/cpu/kernels.h"

namespace deepserve::kernels {

void scalar_attention(const AttentionArguments& arguments);
void scalar_store_kv(const KvStoreArguments& arguments);

void avx2_attention(const AttentionArguments& arguments);
void avx2_store_kv(const KvStoreArguments& arguments);

void avx512_attention(const AttentionArguments& arguments);
void avx512_store_kv(const KvStoreArguments& arguments);

}  // namespace deepserve::kernels
