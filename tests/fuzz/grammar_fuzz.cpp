// A constraint as a client sends it: "g" and GBNF, or "s" and a JSON schema.
#include "runner/grammar/grammar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using deepserve::runner::Grammar;
  if (size == 0) return 0;
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'g') {
    (void)Grammar::from_gbnf(source);
  } else {
    (void)Grammar::from_json_schema(source);
  }
  return 0;
}
