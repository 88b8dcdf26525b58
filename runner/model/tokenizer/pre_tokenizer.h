// Cuts text into the pieces that BPE merges within, step by step: each step cuts the pieces that the one
// before it left.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"
#include "runner/model/tokenizer/piece_scanner.h"
#include "runner/model/tokenizer/split_pattern.h"
#include "runner/model/tokenizer/text_pipeline.h"

namespace deepserve::runner {

class PreTokenizer {
 public:
  // What a GGUF file's tokenizer.ggml.pre stands for.
  struct Named {
    std::string_view name;
    std::span<const std::string_view> expressions;  // matches are isolated
    bool whole_pieces_first = false;                // "ignore_merges" of Llama 3
    bool composed = false;                          // the published tokeniser brings text to NFC first
  };
  // An empty name and "default" are GPT-2's. kNotSupported names an unknown one, and lists those that are
  // known.
  static Result<const Named*> find_named(std::string_view name);

  // kNotSupported: an expression that is not supported (split_pattern.h).
  static Result<PreTokenizer> make(std::span<const SplitStep> steps);
  static Result<PreTokenizer> make(const Named& named);

  // Appends the pieces of `text` to `pieces`; none is empty, and together they are `text` but for what a step
  // removes. A run of bytes that are no UTF-8 is a piece of its own. They view `text`. Any number of threads.
  //
  // Takes time linear in `text`, but for expressions that are not of a well-known model: those get a number
  // of steps that is linear in it, and when they are used up the rest of a piece stays whole.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

  bool is_empty() const { return steps_.empty(); }

 private:
  struct Step {
    SplitStep rule;
    MatchEnd scanner = nullptr;           // else
    std::optional<SplitPattern> pattern;  // else the rule's text is looked for
  };
  class Cutter;

  PreTokenizer() = default;

  std::vector<Step> steps_;
};

}  // namespace deepserve::runner
