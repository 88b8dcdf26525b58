// What a runner gives back of a request that an earlier dsd began: the bytes that serving/ keeps there, and
// in them those of the API. Whatever they are, the answer that is made of them is told or refused.
#include "daemon/api/adoption.h"
#include "daemon/api/answer_blob.h"
#include "daemon/api/routes.h"
#include "daemon/serving/kept_request.h"
#include "ipc/base/check.h"
#include "tests/fuzz/silent_serving.h"

namespace deepserve::daemon {
namespace {

void check_blob(const std::vector<std::byte>& bytes) {
  const auto blob = decode_blob(bytes);
  if (!blob) return;
  const auto again = decode_blob(encode_blob(*blob));
  CHECK(again && encode_blob(*again) == encode_blob(*blob));
}

void tell(ResponseSink& sink) {
  ipc::Delta delta;
  delta.tokens = {7};
  delta.text = "text";
  delta.logprobs = {{{7, -0.5f, "text"}, {8, -1.5f, "other"}}};
  ipc::Embedding embedding;
  embedding.values = {0.6f, 0.8f};
  ipc::Finished finished;
  finished.last = true;
  sink.on_accepted({});
  sink.on_delta(delta);
  sink.on_embedding(embedding);
  sink.on_finished(finished);
}

}  // namespace
}  // namespace deepserve::daemon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::daemon;
  deepserve::ipc::Submit submit;
  submit.request = 1;
  submit.generation.choices = 2;
  const auto* first = reinterpret_cast<const std::byte*>(data);
  submit.opaque.assign(first, first + size);
  const auto kept = decode_kept(std::move(submit));
  if (!kept) return 0;
  check_blob(kept->spec.opaque);
  SilentServing serving;
  Metrics metrics;
  AnswerLog log;
  const ApiOptions options;
  KeptAnswers answers({});
  const ApiParts parts{serving, metrics, log, answers, options};
  if (auto* sink = adopt_request(parts, kept->id, kept->spec)) tell(*sink);
  answers.tick(UINT64_MAX);
  return 0;
}
