#include "ctl/bench/request_text.h"

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include "ctl/bench/number_text.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

// Words that common vocabularies have as one token with the space before them.
constexpr std::array<std::string_view, 64> kWords = {
    "the",   "time",  "people", "way",     "water",  "day",     "man",      "year",    "good",   "new",
    "first", "last",  "long",   "great",   "little", "own",     "other",    "old",     "right",  "big",
    "high",  "small", "large",  "next",    "early",  "young",   "few",      "public",  "same",   "able",
    "house", "world", "school", "state",   "family", "group",   "country",  "problem", "hand",   "part",
    "place", "case",  "week",   "company", "system", "program", "question", "work",    "number", "night",
    "point", "home",  "room",   "mother",  "area",   "money",   "story",    "fact",    "month",  "lot",
    "book",  "eye",   "job",    "word"};

const ApiKey* key_for(const RequestShape& shape, const Planned& planned) {
  const auto fits = [&](const ApiKey& key) {
    return !key.service_class || *key.service_class == planned.service_class;
  };
  const auto count = static_cast<size_t>(std::count_if(shape.keys.begin(), shape.keys.end(), fits));
  if (count == 0) return nullptr;
  size_t left = planned.client % count;
  for (const ApiKey& key : shape.keys) {
    if (fits(key) && left-- == 0) return &key;
  }
  return nullptr;
}

std::string body_text(const RequestShape& shape, const Planned& planned) {
  const std::string prompt = prompt_text(planned.prompt_tokens, planned.text_seed ^ shape.text_salt);
  std::string body = "{";
  if (!shape.model.empty())
    body += fmt::format("\"model\":{},", boost::json::serialize(boost::json::string(shape.model)));
  body += shape.is_chat ? fmt::format(R"("messages":[{{"role":"user","content":"{}"}}],)", prompt)
                        : fmt::format(R"("prompt":"{}",)", prompt);
  if (!shape.may_stop) body += R"("ignore_eos":true,)";
  if (shape.clients > 1) body += fmt::format(R"("user":"bench-{}",)", planned.client);
  body += fmt::format(
      R"("max_tokens":{},"temperature":0,"stream":true,"stream_options":{{"include_usage":true}}}})",
      planned.max_tokens);
  return body;
}

}  // namespace

Result<std::vector<ApiKey>> parse_keys(std::string_view file, std::string_view text) {
  constexpr size_t kKeys_max = 100'000;
  std::vector<ApiKey> keys;
  size_t number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    ApiKey key;
    const size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      const auto named = class_named(line.substr(0, space));
      if (!named) return fail(Code::kUsage, "{}: line {}: {}", file, number, named.error().message);
      key.service_class = *named;
      line.remove_prefix(space + 1);
    }
    const bool is_visible = std::all_of(line.begin(), line.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (line.empty() || !is_visible) {
      return fail(Code::kUsage, "{}: line {}: a key has visible ASCII characters without spaces", file,
                  number);
    }
    if (keys.size() == kKeys_max) return fail(Code::kUsage, "{}: more than {} keys", file, kKeys_max);
    key.key = line;
    keys.push_back(std::move(key));
  }
  if (keys.empty()) return fail(Code::kUsage, "{}: there is no key in it", file);
  return keys;
}

std::string prompt_text(uint32_t tokens, uint64_t seed) {
  std::string text;
  uint64_t state = seed;
  for (uint32_t i = 0; i < tokens; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;  // Knuth's MMIX
    if (i != 0) text += ' ';
    text += kWords[state >> 58];
  }
  return text;
}

std::string request_text(const RequestShape& shape, const Planned& planned, std::string_view ticket) {
  const std::string body = body_text(shape, planned);
  const uint64_t deadline_ns = shape.slo.ttft_ns[index_of(planned.service_class)];
  std::string text = fmt::format(
      "POST {}{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: dsctl/{}\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\nX-Deepserve-Class: {}\r\nX-Deepserve-Deadline-Ms: {}\r\n",
      shape.prefix, shape.is_chat ? "/v1/chat/completions" : "/v1/completions", shape.host, DEEPSERVE_VERSION,
      body.size(), class_name(planned.service_class), std::max<uint64_t>(1, deadline_ns / kMillisecond_ns));
  if (shape.names_clients) text += fmt::format("X-Deepserve-Client: bench-{}\r\n", planned.client);
  if (const ApiKey* key = key_for(shape, planned)) text += "Authorization: Bearer " + key->key + "\r\n";
  if (!ticket.empty()) text += fmt::format("X-Deepserve-Ticket: {}\r\n", ticket);
  return text + "\r\n" + body;
}

}  // namespace deepserve::ctl::bench
