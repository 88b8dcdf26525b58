// The body of a request to the API; its first byte says to which endpoint.
#include "daemon/api/completion_spec.h"
#include "daemon/api/embedding_spec.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

// What a runner would be sent is what it would read.
void check_submit(const CompletionSpec& spec) {
  CHECK(!spec.prompts.empty());
  for (const auto& prompt : spec.prompts) {
    ipc::Submit submit;
    submit.request = 1;
    submit.prompt = prompt;
    submit.generation = spec.request.generation;
    const auto body = submit.encode();
    const auto read = ipc::Submit::decode(body);
    CHECK(read && read->encode() == body);
  }
}

}  // namespace
}  // namespace deepserve::daemon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace deepserve::daemon;
  if (size == 0) return 0;
  HttpRequest request;
  request.method = "POST";
  request.fields = {{"content-type", "application/json"}};
  request.body.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'c':
      if (const auto spec = parse_chat_request(request)) check_submit(*spec);
      break;
    case 't':
      if (const auto spec = parse_completion_request(request)) check_submit(*spec);
      break;
    default:
      (void)parse_embedding_request(request);
  }
  return 0;
}
