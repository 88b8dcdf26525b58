// config.json and generation_config.json of a Hugging Face directory.
#include "ipc/base/check.h"
#include "runner/model/huggingface/hf_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::runner;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto config = read_hf_config(text, "fuzz/config.json")) {
    CHECK(config->layers > 0 && config->heads > 0 && config->kv_heads > 0);
    CHECK(config->heads % config->kv_heads == 0);
    CHECK(config->rotated_dims <= config->head_dim && config->rotated_dims % 2 == 0);
    CHECK(config->context_tokens > 0);
  }
  (void)read_hf_special_tokens(text, "fuzz/generation_config.json");
  return 0;
}
