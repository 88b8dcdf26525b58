// The bytes of a request: the same plan gives the same bytes, so that a retry can show its ticket for the
// body that was refused. Pure.
#pragma once

#include <string>
#include <vector>

#include "ctl/bench/schedule.h"
#include "ctl/bench/slo.h"

namespace deepserve::ctl::bench {

// An API key, for one class or for all.
struct ApiKey {
  std::optional<ServiceClass> service_class;
  std::string key;
};

// A key a line, a class before it or not: "vip 0a1b2c". Empty lines and those with a # are passed over.
// kUsage names the file and the line.
Result<std::vector<ApiKey>> parse_keys(std::string_view file, std::string_view text);

struct RequestShape {
  std::string model;      // empty: the server's default
  bool is_chat = false;   // /v1/chat/completions instead of /v1/completions
  bool may_stop = false;  // the model may end before max_tokens; else ignore_eos is sent
  uint32_t clients = 1;
  bool names_clients = false;  // in X-Deepserve-Client, which only a trusted proxy may
  std::vector<ApiKey> keys;
  uint64_t text_salt = 0;  // another one, other prompts of the same plan
  Slo slo;                 // its TTFT is sent as X-Deepserve-Deadline-Ms
  std::string host;        // of the Host header
  std::string prefix;      // of the path
};

// About so many tokens of plain English words that no other seed's text starts with.
std::string prompt_text(uint32_t tokens, uint64_t seed);

// Head and body. `ticket`: of the refusal before; empty: none.
std::string request_text(const RequestShape& shape, const Planned& planned, std::string_view ticket);

}  // namespace deepserve::ctl::bench
