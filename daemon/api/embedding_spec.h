// What the body of a /v1/embeddings request asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/api/field_error.h"
#include "daemon/serving/serving.h"

namespace deepserve::daemon {

struct EmbeddingSpec {
  RequestSpec request;              // without peer, client and prompt
  std::vector<ipc::Prompt> inputs;  // 1 to 2048, none empty
  uint32_t dimensions = 0;          // the first so many of the model's; 0: all
  bool base64 = false;
  std::optional<uint64_t> timeout_ns;  // as in CompletionSpec
};

// Peer, client and model row are the route's business.
Parsed<EmbeddingSpec> parse_embedding_request(const HttpRequest& request);

}  // namespace deepserve::daemon
