// The reference meaning of every weight format: blocks to float32, one small function each.
//
// `block` is one block (weight_format().block_bytes), `out` gets its block_elements values. Each value is
// rounded as written in its comment, left to right, in binary32; every ISA path gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/weight_format.h"

namespace deepserve::kernels {

// d: half scale; 16 bytes, low nibbles are elements 0..15, high nibbles 16..31.          d * (q - 8)
void dequantize_q4_0(const uint8_t* block, float* out);
// d, m: half scale and minimum; nibbles as Q4_0.                                         d * q + m
void dequantize_q4_1(const uint8_t* block, float* out);
// d: half; 4 bytes: bit i is bit 4 of element i; nibbles as Q4_0.                        d * (q - 16)
void dequantize_q5_0(const uint8_t* block, float* out);
// d, m: half scale and minimum; 4 bytes of fifth bits and nibbles as Q5_0.               d * q + m
void dequantize_q5_1(const uint8_t* block, float* out);
// d: half; 32 signed bytes.                                                              d * q
void dequantize_q8_0(const uint8_t* block, float* out);
// d: half; nibbles as Q4_0, each the index of one of the 16 values of kFourBitLevels.    d * level
void dequantize_iq4_nl(const uint8_t* block, float* out);
// 16 bytes: scale s (low nibble) and minimum m (high) per 16 elements; 64 bytes of 2-bit numbers: 32 bytes
// hold four groups of 32 elements, lowest bits first; d, dmin: halves.            (d * s) * q - (dmin * m)
void dequantize_q2_k(const uint8_t* block, float* out);
// 32 bytes: bit g is bit 2, inverted, of group g of 32 elements; 64 bytes of 2-bit numbers as Q2_K; 12 bytes:
// sixteen 6-bit scales s, one per 16 elements; d: half.                                  (d * (s - 32)) * (q
// - 4)
void dequantize_q3_k(const uint8_t* block, float* out);
// d, dmin: halves; 12 bytes: eight 6-bit scales s and minima m; 128 bytes of nibbles: 32 bytes hold group 2i
// (low) and 2i + 1 (high) of 32 elements each.                               (d * s) * q - (dmin * m)
void dequantize_q4_k(const uint8_t* block, float* out);
// d, dmin, scales and minima as Q4_K; 32 bytes: bit g is bit 4 of group g of 32 elements; nibbles as Q4_K.
//                                                                            (d * s) * q - (dmin * m)
void dequantize_q5_k(const uint8_t* block, float* out);
// 128 bytes: low nibbles; 64 bytes: upper 2 bits; 16 signed byte scales s, one per 16 elements; d: half.
//                                                                                        (d * s) * (q - 32)
void dequantize_q6_k(const uint8_t* block, float* out);
// d: half; 2 bytes and 4 bytes: upper 2 and lower 4 bits of eight scales s, one per 32 elements; then 16
// bytes of nibbles as IQ4_NL for each group of 32.                                    (d * (s - 32)) * level
void dequantize_iq4_xs(const uint8_t* block, float* out);

// A whole row of `elements` (a multiple of the format's block_elements).
void dequantize_row(WeightType type, const uint8_t* row, size_t elements, float* out);

// Row `row` of a matrix with its scales, out[columns]: each weight as above, times its scale, rounded once.
void dequantize_matrix_row(const Matrix& matrix, size_t row, float* out);

}  // namespace deepserve::kernels
