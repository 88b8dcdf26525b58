// Packed matrices on CPUs with AVX-512 VNNI. Includes no header with inline functions of external linkage
// (see avx2_math.h).
//
// Few tokens: the weights stream by and are unpacked in registers, 16 rows at a time for each slice of 8
// tokens. More: 32 rows x 256 columns at a time are unpacked into a panel in the first-level cache, which
// tiles of 32 rows x 6 tokens share.
#include "kernels/cpu/avx512_packed_codes.h"
#include "kernels/cpu/packed_matmul.h"

namespace deepserve::kernels {
namespace {

constexpr size_t kSliceTokens = 8;  // whose sums and dot products fit into registers
constexpr int kPanelGroups = 2;
constexpr int kTileTokens = 6;
constexpr size_t kStripTokensMax = 96;
constexpr size_t kStripBlocks = 8192;  // of inputs, 48 bytes each: a strip stays in the second-level cache

inline size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

inline __m512i broadcast_4(const int8_t* codes) {
  int word;
  memcpy(&word, codes, sizeof word);
  return _mm512_set1_epi32(word);
}

// What integer sums begin with: minus the codes' sum times the weights' offset, or 0 where there is none.
template <ScaleKind kScales>
inline __m512i first_sum(const InputBlock& x, int part, __m128i shift) {
  if constexpr (has_minimum(kScales)) return _mm512_setzero_si512();
  __m512i sum = _mm512_set1_epi32(x.negative_sum);
  if constexpr (kScales == ScaleKind::kSuperOf16) {
    const __m512i first = _mm512_set1_epi32(x.negative_first_half);
    sum = part == 0 ? first : _mm512_sub_epi32(sum, first);
  }
  return _mm512_sll_epi32(sum, shift);
}

// Of kPanelGroups groups; what is not there is not touched.
inline void prefetch_outputs(const PackedMatmulArguments& a, size_t group, size_t token, size_t token_end) {
  for (size_t t = token; t < token_end; ++t) {
    const float* out = a.outputs + t * a.output_stride + group * kRowsOfGroup;
    for (size_t g = 0; g < kPanelGroups; ++g) {
      _mm_prefetch(reinterpret_cast<const char*>(out + g * kRowsOfGroup), _MM_HINT_T0);
    }
  }
}

// Writes 16 outputs of one token.
inline void write_outputs(const PackedMatmulArguments& a, size_t group, size_t token, __m512 value) {
  const size_t row = group * kRowsOfGroup, rows = smaller(kRowsOfGroup, a.weights.rows - row);
  const __mmask16 mask = static_cast<__mmask16>((1u << rows) - 1);
  float* out = a.outputs + token * a.output_stride + row;
  if (a.bias != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, a.bias + row));
  if (a.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, out), value);
  _mm512_mask_storeu_ps(out, mask, value);
}

// One block of one group against kTokens inputs, `stride` blocks apart.
template <int kBits, ScaleKind kScales, int kTokens>
inline void add_block(const uint8_t* codes, const TileScales<kScales>& scales, size_t block,
                      const InputBlock* inputs, size_t stride, __m128i shift, __m512 sums[kTokens]) {
  constexpr int kParts = parts_of_block(kScales), kVectors = 8 / kParts;
  __m512i weights[8];
  unpack_block<kBits>(codes, weights);
  UNROLLED for (int part = 0; part < kParts; ++part) {
    __m512i dots[kTokens];
    UNROLLED for (int t = 0; t < kTokens; ++t) {
      dots[t] = first_sum<kScales>(inputs[static_cast<size_t>(t) * stride], part, shift);
    }
    UNROLLED for (int j = part * kVectors; j < (part + 1) * kVectors; ++j) {
      UNROLLED for (int t = 0; t < kTokens; ++t) {
        const __m512i x = broadcast_4(inputs[static_cast<size_t>(t) * stride].codes + 4 * j);
        dots[t] = _mm512_dpbusd_epi32(dots[t], weights[j], x);
      }
    }
    const __m512 scale = scale_of<kScales>(scales, block, part);
    UNROLLED for (int t = 0; t < kTokens; ++t) {
      const __m512 factor =
          _mm512_mul_ps(scale, _mm512_set1_ps(inputs[static_cast<size_t>(t) * stride].scale));
      sums[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[t]), factor, sums[t]);
    }
  }
  if constexpr (has_minimum(kScales)) {
    const __m512 minimum = minimum_of<kScales>(scales, block);
    UNROLLED for (int t = 0; t < kTokens; ++t) {
      const __m512 sum = _mm512_set1_ps(inputs[static_cast<size_t>(t) * stride].scaled_sum);
      sums[t] = _mm512_fmadd_ps(minimum, sum, sums[t]);
    }
  }
}

struct Adder {
  using Type = __m512;
  static inline __m512 add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
};

// sums += `count` blocks, the first at `at`, times the inputs; returns where the next block would begin.
template <int kBits, ScaleKind kScales, int kTokens>
inline __attribute__((always_inline)) const uint8_t* add_blocks(const uint8_t* at,
                                                                const TileScales<kScales>& scales,
                                                                size_t count, const InputBlock* inputs,
                                                                size_t stride, __m128i shift,
                                                                __m512 sums[kTokens]) {
  constexpr size_t kAhead = 8192;  // bytes; more than one page, at which the CPU's own prefetching ends
  constexpr size_t kBlockBytes = block_code_bytes(kBits);
  for (size_t b = 0; b < count; ++b, at += kBlockBytes) {
    for (size_t line = 0; line <= kBlockBytes; line += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(at + kAhead + line), _MM_HINT_T0);
    }
    add_block<kBits, kScales, kTokens>(at, scales, b, inputs + b, stride, shift, sums);
  }
  return at;
}

// Of `groups` groups from `group` on and kTokens tokens from `token` on.
template <int kBits, ScaleKind kScales, int kTokens>
void multiply_narrow(const PackedMatmulArguments& a, size_t group, size_t groups, size_t token) {
  const size_t blocks = input_blocks(a.weights.columns);
  const InputBlock* const inputs = a.inputs + token * blocks;
  const __m128i shift = _mm_cvtsi32_si128(offset_shift(kBits));
  const uint8_t* at = a.weights.data + group * group_bytes({kBits, kScales}, a.weights.columns);
  for (const size_t group_end = group + groups; group < group_end; ++group) {
    __m512 sums[kTokens];
    UNROLLED for (__m512& sum : sums) sum = _mm512_setzero_ps();
    for (size_t tile = 0; tile < blocks; tile += kTileBlocks) {
      const size_t count = smaller(kTileBlocks, blocks - tile);
      const TileScales<kScales> scales = tile_scales<kScales>(at, 0);
      at = add_blocks<kBits, kScales, kTokens>(at + tile_scale_bytes(kScales, count), scales, count,
                                               inputs + tile, blocks, shift, sums);
    }
    UNROLLED for (int t = 0; t < kTokens; ++t)
        write_outputs(a, group, token + static_cast<size_t>(t), sums[t]);
  }
}

// The same for columns in parts: what they need would cost registers where there are none.
template <int kBits, ScaleKind kScales, int kTokens>
void multiply_narrow_parts(const PackedMatmulArguments& a, size_t group, size_t groups, size_t token) {
  const size_t blocks = input_blocks(a.weights.columns);
  const size_t bytes = group_bytes({kBits, kScales}, a.weights.columns);
  const InputBlock* const inputs = a.inputs + token * blocks;
  const __m128i shift = _mm_cvtsi32_si128(offset_shift(kBits));
  const uint8_t* weights = a.weights.data + group * bytes;
  for (const size_t group_end = group + groups; group < group_end; ++group, weights += bytes) {
    PartSums<Adder, kTokens> joined;
    __m512 sums[kTokens];
    for (size_t part = 0; part < a.parts.count; ++part) {
      UNROLLED for (__m512& sum : sums) sum = _mm512_setzero_ps();
      const size_t end = input_blocks(a.parts.ends[part]);
      for (size_t block = input_blocks(begin_of(a.parts, part)); block < end;) {
        const TileRun run = tile_run(block, end, blocks);
        const uint8_t* tile = weights + run.tile / kTileBlocks * tile_bytes({kBits, kScales}, kTileBlocks);
        const TileScales<kScales> scales = tile_scales<kScales>(tile, run.first);
        tile += tile_scale_bytes(kScales, run.count) + run.first * block_code_bytes(kBits);
        add_blocks<kBits, kScales, kTokens>(tile, scales, run.last - run.first, inputs + block, blocks, shift,
                                            sums);
        block += run.last - run.first;
      }
      joined.join(a.parts, part, sums);
    }
    UNROLLED for (int t = 0; t < kTokens; ++t)
        write_outputs(a, group, token + static_cast<size_t>(t), sums[t]);
  }
}

// Unpacked: up to kPanelGroups groups x 256 columns.
struct Panel {
  alignas(64) uint8_t unpacked[kPanelGroups][kTileBlocks * 512];
  alignas(64) float scales[kPanelGroups][2 * kTileBlocks][kRowsOfGroup];  // [block, part]
  alignas(64) float minimums[kPanelGroups][kTileBlocks][kRowsOfGroup];
  const uint8_t* codes[kPanelGroups];  // 8-bit codes are used where they lie
};

// Block run.first comes first in the panel.
template <int kBits, ScaleKind kScales>
void unpack_tile(const uint8_t* tile, const TileRun& run, int group, Panel& panel) {
  constexpr int kParts = parts_of_block(kScales);
  const TileScales<kScales> scales = tile_scales<kScales>(tile, run.first);
  const uint8_t* codes = tile + tile_scale_bytes(kScales, run.count) + run.first * block_code_bytes(kBits);
  panel.codes[group] = kBits == 8 ? codes : panel.unpacked[group];
  const size_t blocks = run.last - run.first;
  for (size_t b = 0; b < blocks; ++b, codes += block_code_bytes(kBits)) {
    if constexpr (kBits != 8) {
      __m512i vectors[8];
      unpack_block<kBits>(codes, vectors);
      UNROLLED for (int j = 0; j < 8; ++j) {
        _mm512_store_si512(panel.unpacked[group] + 512 * b + 64 * static_cast<size_t>(j), vectors[j]);
      }
    }
    UNROLLED for (int part = 0; part < kParts; ++part) {
      _mm512_store_ps(panel.scales[group][b * kParts + static_cast<size_t>(part)],
                      scale_of<kScales>(scales, b, part));
    }
    if constexpr (has_minimum(kScales)) {
      _mm512_store_ps(panel.minimums[group][b], minimum_of<kScales>(scales, b));
    }
  }
}

// Weights wanted soon, which come while others are multiplied: `lines` of 64 bytes a block, of each of two
// groups. Touching what lies behind the matrix does no harm.
struct Ahead {
  const uint8_t* at;
  size_t group_bytes;  // from one group to the next
  size_t lines;
};

inline void prefetch(Ahead& ahead) {
  for (size_t line = 0; line < ahead.lines; ++line, ahead.at += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(ahead.at), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(ahead.at + ahead.group_bytes), _MM_HINT_T0);
  }
}

// Adds `blocks` blocks of kGroups groups to the sums [kTokens][kPanelGroups][16] of kTokens tokens.
template <ScaleKind kScales, int kGroups, int kTokens>
void multiply_tile(const Panel& panel, size_t blocks, __m128i shift, const InputBlock* inputs, size_t stride,
                   float* sums_at, Ahead& ahead) {
  constexpr int kParts = parts_of_block(kScales), kVectors = 8 / kParts;
  __m512 sums[kGroups][kTokens];
  const InputBlock* x[kTokens];
  UNROLLED for (int t = 0; t < kTokens; ++t) {
    x[t] = inputs + static_cast<size_t>(t) * stride;
    UNROLLED for (int g = 0; g < kGroups; ++g) {
      sums[g][t] = _mm512_load_ps(sums_at + (t * kPanelGroups + g) * 16);
    }
  }
  for (size_t b = 0; b < blocks; ++b) {
    prefetch(ahead);
    UNROLLED for (int part = 0; part < kParts; ++part) {
      __m512i dots[kGroups][kTokens];
      UNROLLED for (int t = 0; t < kTokens; ++t) {
        const __m512i first = first_sum<kScales>(x[t][b], part, shift);
        UNROLLED for (int g = 0; g < kGroups; ++g) dots[g][t] = first;
      }
      UNROLLED for (int j = part * kVectors; j < (part + 1) * kVectors; ++j) {
        __m512i weights[kGroups];
        UNROLLED for (int g = 0; g < kGroups; ++g) weights[g] = vector_at(panel.codes[g] + 512 * b + 64 * j);
        UNROLLED for (int t = 0; t < kTokens; ++t) {
          __m512i codes = broadcast_4(x[t][b].codes + 4 * j);
          __asm__("" : "+v"(codes));  // one broadcast for all groups: as an operand each would load it again
          UNROLLED for (int g = 0; g < kGroups; ++g) {
            dots[g][t] = _mm512_dpbusd_epi32(dots[g][t], weights[g], codes);
          }
        }
      }
      UNROLLED for (int t = 0; t < kTokens; ++t) {
        const __m512 input_scale = _mm512_set1_ps(x[t][b].scale);
        UNROLLED for (int g = 0; g < kGroups; ++g) {
          const float* scale = panel.scales[g][b * kParts + static_cast<size_t>(part)];
          const __m512 factor = _mm512_mul_ps(_mm512_load_ps(scale), input_scale);
          sums[g][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[g][t]), factor, sums[g][t]);
        }
      }
    }
    if constexpr (has_minimum(kScales)) {
      UNROLLED for (int t = 0; t < kTokens; ++t) {
        const __m512 input_sum = _mm512_set1_ps(x[t][b].scaled_sum);
        UNROLLED for (int g = 0; g < kGroups; ++g) {
          sums[g][t] = _mm512_fmadd_ps(_mm512_load_ps(panel.minimums[g][b]), input_sum, sums[g][t]);
        }
      }
    }
  }
  UNROLLED for (int t = 0; t < kTokens; ++t) {
    UNROLLED for (int g = 0; g < kGroups; ++g) {
      _mm512_store_ps(sums_at + (t * kPanelGroups + g) * 16, sums[g][t]);
    }
  }
}

using TileFunction = void (*)(const Panel& panel, size_t blocks, __m128i shift, const InputBlock* inputs,
                              size_t stride, float* sums_at, Ahead& ahead);

// By groups - 1 and tokens - 1.
template <ScaleKind kScales>
constexpr TileFunction kTileFunctions[kPanelGroups][kTileTokens] = {
    {multiply_tile<kScales, 1, 1>, multiply_tile<kScales, 1, 2>, multiply_tile<kScales, 1, 3>,
     multiply_tile<kScales, 1, 4>, multiply_tile<kScales, 1, 5>, multiply_tile<kScales, 1, 6>},
    {multiply_tile<kScales, 2, 1>, multiply_tile<kScales, 2, 2>, multiply_tile<kScales, 2, 3>,
     multiply_tile<kScales, 2, 4>, multiply_tile<kScales, 2, 5>, multiply_tile<kScales, 2, 6>},
};

constexpr size_t kTokenSums = kPanelGroups * kRowsOfGroup;

// `groups` (1 or 2) groups from `group` on, `tokens` tokens from `token` on, at most kStripTokensMax.
struct Strip {
  size_t group, groups;
  size_t token, tokens;
};

// sums[tokens][kTokenSums] += the blocks of one run.
template <int kBits, ScaleKind kScales>
inline void add_run(const PackedMatmulArguments& a, const Strip& strip, const TileRun& run, bool is_last,
                    Panel& panel, float* sums) {
  constexpr size_t kWholeTile = tile_bytes({kBits, kScales}, kTileBlocks), kLines = kWholeTile / 64;
  const size_t blocks = input_blocks(a.weights.columns), count = run.last - run.first;
  const size_t bytes = group_bytes({kBits, kScales}, a.weights.columns);
  const uint8_t* const weights = a.weights.data + strip.group * bytes;
  const size_t offset = run.tile / kTileBlocks * kWholeTile;
  const __m128i shift = _mm_cvtsi32_si128(offset_shift(kBits));
  const InputBlock* const inputs = a.inputs + strip.token * blocks + run.tile + run.first;
  for (size_t g = 0; g < strip.groups; ++g) {
    unpack_tile<kBits, kScales>(weights + g * bytes + offset, run, static_cast<int>(g), panel);
  }
  const size_t pieces = (strip.tokens + kTileTokens - 1) / kTileTokens;
  // After the last tile come the next groups.
  Ahead ahead = {is_last ? weights + strip.groups * bytes : weights + offset + kWholeTile, bytes,
                 (kLines + pieces * count - 1) / (pieces * count)};
  for (size_t piece = 0, t = 0; piece < pieces; ++piece) {  // of nearly equal size
    const size_t end = (piece + 1) * strip.tokens / pieces;
    if (is_last) prefetch_outputs(a, strip.group, strip.token + t, strip.token + end);
    kTileFunctions<kScales>[strip.groups - 1][end - t - 1](panel, count, shift, inputs + t * blocks, blocks,
                                                           sums + t * kTokenSums, ahead);
    t = end;
  }
}

inline void clear_sums(float* sums, size_t tokens) {
  for (size_t i = 0; i < tokens * kTokenSums; i += 16) _mm512_store_ps(sums + i, _mm512_setzero_ps());
}

inline void write_strip(const PackedMatmulArguments& a, const Strip& strip, const float* sums) {
  for (size_t t = 0; t < strip.tokens; ++t) {
    for (size_t g = 0; g < strip.groups; ++g) {
      write_outputs(a, strip.group + g, strip.token + t,
                    _mm512_load_ps(sums + t * kTokenSums + g * kRowsOfGroup));
    }
  }
}

template <int kBits, ScaleKind kScales>
void multiply_strip(const PackedMatmulArguments& a, const Strip& strip, Panel& panel) {
  const size_t blocks = input_blocks(a.weights.columns);
  alignas(64) float sums[kStripTokensMax * kTokenSums];
  clear_sums(sums, strip.tokens);
  for (size_t tile = 0; tile < blocks; tile += kTileBlocks) {
    const size_t count = smaller(kTileBlocks, blocks - tile);
    add_run<kBits, kScales>(a, strip, {tile, count, 0, count}, tile + count == blocks, panel, sums);
  }
  write_strip(a, strip, sums);
}

// The same for columns in parts.
template <int kBits, ScaleKind kScales>
void multiply_strip_parts(const PackedMatmulArguments& a, const Strip& strip, Panel& panel) {
  const size_t blocks = input_blocks(a.weights.columns), size = strip.tokens * kTokenSums;
  alignas(64) float sums[kWaitingPartsMax + 1][kStripTokensMax * kTokenSums];  // the current part's last
  size_t depth = 0;
  for (size_t part = 0; part < a.parts.count; ++part, ++depth) {
    clear_sums(sums[depth], strip.tokens);
    const size_t end = input_blocks(a.parts.ends[part]);
    for (size_t block = input_blocks(begin_of(a.parts, part)); block < end;) {
      const TileRun run = tile_run(block, end, blocks);
      block += run.last - run.first;
      add_run<kBits, kScales>(a, strip, run, part + 1 == a.parts.count && block == end, panel, sums[depth]);
    }
    for (size_t joins = joins_behind(a.parts.count, part); joins != 0; --joins, --depth) {
      for (size_t i = 0; i < size; i += 16) {
        const __m512 left = _mm512_load_ps(sums[depth - 1] + i), right = _mm512_load_ps(sums[depth] + i);
        _mm512_store_ps(sums[depth - 1] + i, _mm512_add_ps(left, right));
      }
    }
  }
  write_strip(a, strip, sums[0]);
}

template <int kBits, ScaleKind kScales>
void multiply_wide(const PackedMatmulArguments& a) {
  Panel panel;
  const size_t fitting = kStripBlocks / input_blocks(a.weights.columns);
  const size_t strip_max = smaller(fitting < 24 ? 24 : fitting, kStripTokensMax);
  const size_t strips = (a.tokens + strip_max - 1) / strip_max;
  const size_t strip = (a.tokens + strips - 1) / strips;  // of nearly equal size
  for (size_t token = 0; token < a.tokens; token += strip) {
    const size_t tokens = smaller(strip, a.tokens - token);
    for (size_t group = a.group_begin; group < a.group_end; group += kPanelGroups) {
      const size_t groups = smaller(kPanelGroups, a.group_end - group);
      const Strip part = {group, groups, token, tokens};
      if (a.parts.count == 0)
        multiply_strip<kBits, kScales>(a, part, panel);
      else
        multiply_strip_parts<kBits, kScales>(a, part, panel);
    }
  }
}

template <int kBits, ScaleKind kScales, int kTokens>
void multiply_few(const PackedMatmulArguments& a, size_t group, size_t groups, size_t token) {
  if (a.parts.count == 0)
    multiply_narrow<kBits, kScales, kTokens>(a, group, groups, token);
  else
    multiply_narrow_parts<kBits, kScales, kTokens>(a, group, groups, token);
}

using FewFunction = void (*)(const PackedMatmulArguments& a, size_t group, size_t groups, size_t token);

// By tokens - 1.
template <int kBits, ScaleKind kScales>
constexpr FewFunction kFewFunctions[kSliceTokens] = {
    multiply_few<kBits, kScales, 1>, multiply_few<kBits, kScales, 2>, multiply_few<kBits, kScales, 3>,
    multiply_few<kBits, kScales, 4>, multiply_few<kBits, kScales, 5>, multiply_few<kBits, kScales, 6>,
    multiply_few<kBits, kScales, 7>, multiply_few<kBits, kScales, 8>,
};

// Slices keep up with the memory better than panels do, but unpack once for each: they are faster where that
// costs little.
template <int kBits, ScaleKind kScales>
inline bool goes_in_slices(const PackedMatmulArguments& a) {
  if (a.tokens <= kSliceTokens) return true;
  if (kBits == 8) return false;  // a panel has nothing to unpack
  return a.tokens <= (kBits == 4 && kScales == ScaleKind::kHalf ? 4 : 2) * kSliceTokens;
}

template <int kBits, ScaleKind kScales>
void multiply(const PackedMatmulArguments& a) {
  if (a.tokens == 0) return;
  if (!goes_in_slices<kBits, kScales>(a)) return multiply_wide<kBits, kScales>(a);
  const size_t slices = (a.tokens + kSliceTokens - 1) / kSliceTokens;
  const size_t groups = slices == 1 ? a.group_end - a.group_begin : 1;
  for (size_t group = a.group_begin; group < a.group_end; group += groups) {
    for (size_t slice = 0, token = 0; slice < slices; ++slice) {  // of nearly equal size
      const size_t end = (slice + 1) * a.tokens / slices;
      kFewFunctions<kBits, kScales>[end - token - 1](a, group, groups, token);
      token = end;
    }
  }
}

}  // namespace

void avx512_packed_matmul(const PackedMatmulArguments& a) {
  with_packed_layout(a.weights.type, [&]<int kBits, ScaleKind kScales>() { multiply<kBits, kScales>(a); });
}

}  // namespace deepserve::kernels
