// Where a client says that it stands in a stream (Last-Event-ID), or another dsd that it stood: two choices
// with text, log probabilities and a text that was held back, told from there. Nothing is told that is not of
// the answer's end, and it ends once: with [DONE], or with an error.
//
// The first byte says how much of the answer is there when its reader comes.
#include "daemon/api/adoption.h"
#include "daemon/api/answer_blob.h"
#include "daemon/api/handed_reading.h"
#include "daemon/api/routes.h"
#include "ipc/base/check.h"
#include "tests/fuzz/silent_serving.h"

namespace deepserve::daemon {
namespace {

class NoExchange final : public Exchange {
 public:
  bool responded = false;

  const HttpRequest& request() const override { return request_; }
  uint64_t request_id() const override { return 1; }
  void set_request_id(uint64_t) override {}
  void respond(HttpResponse) override { begin(); }
  void start_stream(HttpResponse) override { begin(); }
  void wake() override {}
  void close_after() override {}

 private:
  void begin() { CHECK(!std::exchange(responded, true)); }

  HttpRequest request_;
};

RequestSpec begun() {
  AnswerBlob blob;
  blob.terms.outlives = true;
  blob.terms.started_ns = 1;
  blob.shape.stream = blob.shape.include_usage = true;
  blob.shape.choices = 2;
  blob.shape.logprobs = 1;
  RequestSpec spec;
  spec.client = "web";
  spec.generation.choices = 2;
  spec.opaque = encode_blob(blob);
  return spec;
}

ipc::Delta delta(uint16_t choice, std::string text, size_t tokens) {
  ipc::Delta event;
  event.choice = choice;
  for (size_t i = 0; i < tokens; ++i) {
    event.tokens.push_back(7);
    event.logprobs.push_back({{7, -0.5f, text}});
  }
  event.text = std::move(text);
  return event;
}

ipc::Finished finished(uint16_t choice) {
  ipc::Finished event;
  event.choice = choice;
  event.last = choice == 1;
  return event;
}

void tell(ResponseSink& sink, int step) {
  constexpr size_t kTokens[] = {1, 2, 0};
  const char* const kTexts[] = {"A\xc3\xa4", "B", "C"};
  if (step == 0) sink.on_accepted({});
  if (step >= 1 && step <= 6)
    sink.on_delta(delta((step - 1) % 2, kTexts[(step - 1) / 2], kTokens[(step - 1) / 2]));
  if (step == 7 || step == 8) sink.on_finished(finished(static_cast<uint16_t>(step - 7)));
}

size_t count(std::string_view text, std::string_view word) {
  size_t found = 0;
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + word.size())) ++found;
  return found;
}

}  // namespace
}  // namespace deepserve::daemon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::daemon;
  if (size == 0) return 0;
  constexpr int kSteps = 9;
  const int before = data[0] % (kSteps + 1);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (const auto handed = parse_handed(text)) CHECK(parse_handed(handed_text(*handed)) == handed);
  SilentServing serving;
  Metrics metrics;
  AnswerLog log;
  const ApiOptions options;
  KeptAnswers answers({});
  const ApiParts parts{serving, metrics, log, answers, options};
  auto* sink = adopt_request(parts, 1, begun());
  CHECK(sink != nullptr);
  for (int step = 0; step < before; ++step) tell(*sink, step);
  NoExchange exchange;
  const auto reader = resume_reading(exchange, parts, text);
  if (!reader) return 0;
  std::string told;
  bool ended = false;
  for (int step = before; step < kSteps; ++step) {
    ended = ended || reader->produce(told);
    const auto again = reader->hand_over();
    CHECK(ended || (again && parse_handed(*again)));
    tell(*sink, step);
  }
  if (!ended) ended = reader->produce(told);
  const size_t ends = count(told, "data: [DONE]") + count(told, "event: error");
  CHECK(ends == (ended && !told.empty() ? 1u : 0u));
  for (const char* one : {"A", "B", "C"}) CHECK(count(told, "\"text\":\"" + std::string(one)) <= 2);
  CHECK(count(told, "\"finish_reason\":\"stop\"") <= 2);
  return 0;
}
