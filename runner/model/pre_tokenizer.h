// Cuts text into the pieces that byte-level BPE merges within, by the regular expressions of the model's
// tokeniser.
//
// The expressions are those of the models' published tokenizer.json files, run by PCRE2 (JIT where the
// process may have executable pages, else its interpreter: slower, the same result).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "ipc/base/result.h"

struct pcre2_real_code_8;

namespace deepserve::runner {

class PreTokenizer {
 public:
  // `name` is GGUF's tokenizer.ggml.pre. An empty one and "default" are GPT-2's. kNotSupported names an
  // unknown one.
  static Result<PreTokenizer> make(std::string_view name);
  ~PreTokenizer();
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;

  // Appends the pieces of `text` to `pieces`; together they are `text`, none is empty. A run of bytes that
  // are no UTF-8 is a piece of its own. They view `text`. Any number of threads.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

  // A piece that is a token is that token, whatever the merges would make of it ("ignore_merges" of Llama 3).
  bool whole_pieces_first() const { return whole_pieces_first_; }

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const noexcept;
  };
  using Pattern = std::unique_ptr<pcre2_real_code_8, FreeCode>;

  PreTokenizer() = default;
  void split_valid(std::string_view text, std::vector<std::string_view>& pieces) const;

  std::vector<Pattern> patterns_;  // each cuts the pieces that the one before it left
  bool whole_pieces_first_ = false;
};

}  // namespace deepserve::runner
