// Unicode normalisation forms (UAX #15), in time n log n of any text, as Hugging Face's tokenisers see them:
// with the characters of Unicode 9.0. What is younger stays as it is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace deepserve::runner {

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// Brings `text` into the form: a view of `text` itself when it is in it (most text is), else of `changed`,
// which must not be what `text` views. Bytes that are no UTF-8 stay as they are. Any number of threads.
std::string_view normalize(std::string_view text, NormalForm form, std::string& changed);

}  // namespace deepserve::runner
