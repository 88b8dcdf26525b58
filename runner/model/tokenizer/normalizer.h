// Changes text before it is cut, as a tokenizer.json's "normalizer" says. Immutable: any number of threads.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/model/tokenizer/text_pipeline.h"

namespace deepserve::runner {

class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizerStep> steps);  // takes some milliseconds the first time

  bool is_empty() const { return steps_.empty(); }

  // A view of `text` itself where nothing changes, else of `changed`.
  std::string_view apply(std::string_view text, std::string& changed) const;

  // The most bytes of text that one byte of the result may stand for; none: there is no such limit.
  std::optional<uint32_t> shrinks_at_most() const;

 private:
  std::vector<NormalizerStep> steps_;
};

// `text` with `content` in the place of every `pattern` (not empty).
std::string with_replaced(std::string_view text, std::string_view pattern, std::string_view content);

}  // namespace deepserve::runner
