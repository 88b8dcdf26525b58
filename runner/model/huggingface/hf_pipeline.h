// What surrounds the model in a tokenizer.json: normaliser, pre-tokeniser, post-processor and decoder. For
// hf_vocabulary.cpp alone.
#pragma once

#include "runner/model/huggingface/json_document.h"
#include "runner/model/vocabulary.h"

namespace deepserve::runner {

// Sets the vocabulary's normalizer, prefix and split_steps, and its kind: BPE over bytes where there is a
// ByteLevel step, else over characters.
Result<void> read_hf_normalizer(const JsonFields& tokenizer, Vocabulary& vocabulary);
Result<void> read_hf_pre_tokenizer(const JsonFields& tokenizer, Vocabulary& vocabulary);

// The tokens that go before and after every text: bos and eos, add_bos and add_eos.
Result<void> read_hf_post_processor(const JsonFields& tokenizer, Vocabulary& vocabulary);

// Sets space_mark and leading_space. `byte_fallback`: the model's.
Result<void> read_hf_decoder(const JsonFields& tokenizer, bool byte_fallback, Vocabulary& vocabulary);

}  // namespace deepserve::runner
