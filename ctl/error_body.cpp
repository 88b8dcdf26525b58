#include "ctl/error_body.h"

#include "ctl/json_rows.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

Code code_from_status(unsigned status) {
  for (size_t i = 0; i < static_cast<size_t>(Code::kCount); ++i) {
    if (error_row(static_cast<Code>(i)).http_status == status) return static_cast<Code>(i);
  }
  return status >= 400 && status < 500 ? Code::kInvalidRequest : Code::kInternal;
}

Failure failure_from(std::string_view body, Code code_without_name, std::string_view message_without_body) {
  Failure failure{Error{code_without_name, std::string(message_without_body)}, std::nullopt};
  const auto parsed = parse_json(body);
  if (!parsed) return failure;
  const json::value& error = field(*parsed, "error");
  if (const json::string* message = field(error, "message").if_string()) {
    failure.error.message.assign(message->data(), message->size());
  }
  if (const json::string* name = field(error, "code").if_string()) {
    const Code code = code_from_name(std::string_view(name->data(), name->size()));
    const bool is_known = error_row(code).name == std::string_view(name->data(), name->size());
    if (is_known) failure.error.code = code;
  }
  const auto retry_after_ms = number_of(error, "retry_after_ms");
  constexpr double kRetry_after_max_ms = 1e15;  // keeps the conversion defined
  if (retry_after_ms && *retry_after_ms >= 0 && *retry_after_ms < kRetry_after_max_ms) {
    failure.retry_after_ms = static_cast<uint64_t>(*retry_after_ms);
  }
  return failure;
}

}  // namespace

Failure failure_from_answer(const HttpHead& head, std::string_view body) {
  const std::string message = fmt::format("the daemon answered with HTTP status {}", head.status);
  Failure failure = failure_from(body, code_from_status(head.status), message);
  if (head.retry_after_ms) failure.retry_after_ms = head.retry_after_ms;
  failure.retry_is_useless = head.retry_is_useless;
  return failure;
}

Failure failure_from_event(std::string_view data) {
  return failure_from(data, Code::kInternal,
                      "the daemon ended the stream with an error that it did not explain");
}

}  // namespace deepserve::ctl
