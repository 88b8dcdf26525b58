// One vector of an embeddings answer, as text.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace deepserve::daemon {

// Cuts `values` [model width] to its first `dimensions` (0: leaves it whole), and gives what is left length 1
// again. A vector of zeros stays one.
void shorten_embedding(std::vector<float>& values, size_t dimensions);

// Appends the vector as a list of numbers, each the shortest that reads back as the same float, or as a
// string: the float32 values, little-endian, in Base64 (RFC 4648 section 4).
void append_embedding(std::string& out, std::span<const float> values, bool base64);

}  // namespace deepserve::daemon
