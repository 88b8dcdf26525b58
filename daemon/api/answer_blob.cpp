#include "daemon/api/answer_blob.h"

#include "ipc/base/bytes.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kNoTimeout = UINT64_MAX;  // none of its own: the server's default

void put_terms(ByteWriter& out, const AnswerTerms& terms) {
  out.put(terms.outlives);
  out.put_string(terms.key);
  out.put_array(std::span<const unsigned char>(terms.fingerprint));
  out.put(terms.timeout_ns.value_or(kNoTimeout));
  out.put(terms.created_unix);
  out.put(terms.started_ns);
}

AnswerTerms get_terms(ByteReader& in) {
  AnswerTerms terms;
  terms.outlives = in.get<uint8_t>() != 0;
  terms.key = in.get_string();
  const auto fingerprint = in.get_array<unsigned char>();
  if (fingerprint.size() == terms.fingerprint.size()) {
    std::copy(fingerprint.begin(), fingerprint.end(), terms.fingerprint.begin());
  }
  const auto timeout_ns = in.get<uint64_t>();
  if (timeout_ns != kNoTimeout) terms.timeout_ns = timeout_ns;
  terms.created_unix = in.get<int64_t>();
  terms.started_ns = in.get<uint64_t>();
  return terms;
}

void put_shape(ByteWriter& out, const CompletionShape& shape) {
  for (const bool flag :
       {shape.chat, shape.stream, shape.include_usage, shape.reads_tool_calls, shape.tell_tier}) {
    out.put(flag);
  }
  out.put(shape.choices);
  out.put(shape.logprobs);
  out.put_string(shape.constraint_param);
  out.put_string(shape.model);
  out.put_string(shape.fingerprint);
}

CompletionShape get_shape(ByteReader& in) {
  CompletionShape shape;
  for (bool* flag :
       {&shape.chat, &shape.stream, &shape.include_usage, &shape.reads_tool_calls, &shape.tell_tier}) {
    *flag = in.get<uint8_t>() != 0;
  }
  shape.choices = in.get<uint16_t>();
  shape.logprobs = in.get<uint8_t>();
  shape.constraint_param = in.get_string();
  shape.model = in.get_string();
  shape.fingerprint = in.get_string();
  return shape;
}

}  // namespace

std::vector<std::byte> encode_blob(const AnswerBlob& blob) {
  std::vector<std::byte> bytes;
  bytes.reserve(256);
  ByteWriter out(bytes);
  out.put(kBlobVersion);
  out.put(kBlobReadableFrom);
  put_terms(out, blob.terms);
  out.put(blob.member);
  out.put(blob.embeds);
  put_shape(out, blob.shape);
  out.put(blob.dimensions);
  out.put(blob.base64);
  return bytes;
}

Result<AnswerBlob> decode_blob(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  const auto version = in.get<uint16_t>();
  const auto readable_from = in.get<uint16_t>();
  if (in.ok() && readable_from > kBlobVersion) {
    return fail(Code::kNotSupported, "an answer of version {}, readable from {} on: this dsd reads {}",
                version, readable_from, kBlobVersion);
  }
  AnswerBlob blob;
  blob.terms = get_terms(in);
  blob.member = in.get<uint32_t>();
  blob.embeds = in.get<uint8_t>() != 0;
  blob.shape = get_shape(in);
  blob.dimensions = in.get<uint32_t>();
  blob.base64 = in.get<uint8_t>() != 0;
  if (!in.ok() || version == 0 || blob.terms.started_ns == 0) {
    return fail(Code::kBadLane, "what a runner kept of an answer is none, or cut short");
  }
  return blob;
}

Error lost_part(size_t present, size_t parts) {
  return {Code::kRunnerLost, fmt::format("of the {} parts of this request {} were lost with the daemon that "
                                         "had them: send it again",
                                         parts, parts - present)};
}

}  // namespace deepserve::daemon
