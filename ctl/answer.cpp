#include "ctl/answer.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "ctl/error_body.h"
#include "ctl/interrupt.h"
#include "ctl/json_rows.h"
#include "ctl/progress.h"
#include "ctl/sse.h"
#include "ctl/units.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

constexpr uint64_t kComeBackMax_ns = 30 * kSecond_ns;  // so long the daemon keeps an answer without a reader
constexpr int kComeBackPause_ms = 50;

HttpRequest generation_request(const GenerationOptions& options, std::string path, json::object body,
                               bool stream, bool with_usage) {
  const auto put = [&](const char* name, const auto& value) {
    if (value) body[name] = *value;
  };
  if (!options.model.empty()) body["model"] = options.model;
  put("max_tokens", options.max_tokens);
  put("temperature", options.temperature);
  put("top_p", options.top_p);
  put("top_k", options.top_k);
  put("min_p", options.min_p);
  put("seed", options.seed);
  if (!options.stop.empty()) body["stop"] = json::array(options.stop.begin(), options.stop.end());
  body["stream"] = stream;
  if (stream && with_usage) body["stream_options"] = json::object{{"include_usage", true}};
  HttpRequest request{"POST", std::move(path), json::serialize(body), {}};
  if (!options.service_class.empty())
    request.headers.emplace_back("X-Deepserve-Class", options.service_class);
  if (options.deadline_ms) {
    request.headers.emplace_back("X-Deepserve-Deadline-Ms", std::to_string(*options.deadline_ms));
  }
  return request;
}

// One try of a streamed answer.
class AnswerStream {
 public:
  AnswerStream(Session& session, const AnswerHandlers& handlers, Answer& answer)
      : session_(session), handlers_(handlers), answer_(answer) {}

  // Nothing on success.
  std::optional<Failure> run(const HttpRequest& request, int interrupt_fd) {
    start_ns_ = monotonic_ns();
    Progress progress(session_.terminal(), "waiting for the first token");
    progress_ = &progress;
    auto failure = follow(request, interrupt_fd);
    if (failure && lost_) failure = come_back(std::move(*failure), interrupt_fd);
    answer_.total_ns = monotonic_ns() - start_ns_;
    return failure;
  }

 private:
  static std::optional<Failure> failed(Error error) { return Failure{std::move(error), std::nullopt}; }

  // Follows what the daemon answers to its end. `lost_`: the connection ended before the answer did.
  std::optional<Failure> follow(const HttpRequest& request, int interrupt_fd) {
    lost_ = false;
    auto exchange = HttpExchange::start(session_.socket_path("api.sock"), request, {interrupt_fd, -1});
    if (!exchange) return failed(exchange.error());
    auto head = exchange->read_head();
    if (!head) return failed(head.error());
    if (head->status != 200) {
      auto body = read_body(*exchange);
      return failure_from_answer(*head, body ? *body : std::string());
    }
    session_.note(fmt::format("request {}", head->request_id.empty() ? "without an id" : head->request_id));
    request_id_ = head->request_id;
    SseReader events;
    for (;;) {
      auto piece = exchange->read_some();
      if (!piece && piece.error().code == Code::kCancelled) return failed(piece.error());
      if (!piece || piece->empty()) {
        lost_ = !request_id_.empty();
        return failed({Code::kIo, "the stream ended early, without its [DONE]"});
      }
      events.feed(*piece);
      while (const auto event = events.next()) {
        if (!event->id.empty()) last_event_id_ = event->id;
        if (event->event == "error") return failure_from_event(event->data);
        if (event->data == "[DONE]") return std::nullopt;
        if (auto taken = take_chunk(event->data); !taken) return failed(taken.error());
      }
    }
  }

  // The daemon died or was stopped: where another one takes its place, the answer goes on there after the
  // last event that came. What nobody has any more is told as what went wrong first.
  std::optional<Failure> come_back(Failure first, int interrupt_fd) {
    const uint64_t limit_ns = monotonic_ns() + kComeBackMax_ns;
    session_.note("the connection was lost; coming back for the rest");
    while (monotonic_ns() < limit_ns) {
      HttpRequest request{"GET", "/v1/requests/" + request_id_ + "/events", {}, {}};
      if (!last_event_id_.empty()) request.headers.emplace_back("Last-Event-ID", last_event_id_);
      auto failure = follow(request, interrupt_fd);
      if (!failure) return std::nullopt;
      const Code code = failure->error.code;
      if (code == Code::kGone || code == Code::kNotFound || code == Code::kConflict) return first;
      if (code != Code::kUnreachable && !lost_) return failure;
      if (wait_readable(-1, interrupt_fd, kComeBackPause_ms) == Ready::kInterrupted) {
        return failed({Code::kCancelled, "interrupted"});
      }
    }
    return first;
  }

  Result<void> take_chunk(const std::string& data) {
    TRY_ASSIGN(const json::value chunk, parse_json(data));
    if (!field(chunk, "error").is_null()) {
      return tl::unexpected<Error>(failure_from_event(data).error);
    }
    if (handlers_.on_chunk) {
      progress_->stop();
      answer_.is_shown = true;
      TRY(handlers_.on_chunk(data));
    }
    take_usage(field(chunk, "usage"));
    const json::array* choices = field(chunk, "choices").if_array();
    if (choices == nullptr || choices->empty()) return {};
    const json::value& choice = choices->front();
    if (const json::string* reason = field(choice, "finish_reason").if_string())
      answer_.finish_reason = reason->c_str();
    const json::value& chat_text = field(field(choice, "delta"), "content");
    const json::value& text = chat_text.is_string() ? chat_text : field(choice, "text");
    if (!text.is_string() || text.get_string().empty()) return {};
    return take_text(std::string_view(text.get_string().data(), text.get_string().size()));
  }

  Result<void> take_text(std::string_view piece) {
    progress_->stop();
    if (answer_.text.empty()) answer_.first_text_ns = monotonic_ns() - start_ns_;
    answer_.text += piece;
    answer_.is_shown = true;
    return handlers_.on_text ? handlers_.on_text(piece) : Result<void>();
  }

  void take_usage(const json::value& usage) {
    const auto count = [&](std::string_view name) -> std::optional<uint64_t> {
      const auto number = number_of(usage, name);
      if (!number || *number < 0 || *number > 1e15) return std::nullopt;
      return static_cast<uint64_t>(*number);
    };
    if (!usage.is_object()) return;
    answer_.prompt_tokens = count("prompt_tokens");
    answer_.completion_tokens = count("completion_tokens");
  }

  Session& session_;
  const AnswerHandlers& handlers_;
  Answer& answer_;
  Progress* progress_ = nullptr;
  uint64_t start_ns_ = 0;
  std::string request_id_;     // of the answer; empty: it has not begun
  std::string last_event_id_;  // empty: no event came
  bool lost_ = false;
};

// One try of an answer in one piece. `lost`: the connection ended before the answer did.
std::optional<Failure> ask_whole(Session& session, const HttpRequest& request, std::string& answer,
                                 bool& lost) {
  auto exchange = HttpExchange::start(session.socket_path("api.sock"), request, {});
  if (!exchange) return Failure{exchange.error(), std::nullopt};
  auto head = exchange->read_head();
  auto body = head ? read_body(*exchange) : tl::unexpected<Error>(head.error());
  lost = !body;
  if (!body) return Failure{body.error(), std::nullopt};
  if (head->status != 200) return failure_from_answer(*head, *body);
  answer = std::move(*body);
  return std::nullopt;
}

}  // namespace

HttpRequest chat_request(const GenerationOptions& options, const std::vector<ChatMessage>& messages,
                         bool stream, bool with_usage) {
  json::array list;
  if (!options.system.empty()) list.push_back({{"role", "system"}, {"content", options.system}});
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
  }
  json::object body{{"messages", std::move(list)}};
  return generation_request(options, "/v1/chat/completions", std::move(body), stream, with_usage);
}

HttpRequest completion_request(const GenerationOptions& options, const std::string& prompt, bool stream,
                               bool with_usage) {
  return generation_request(options, "/v1/completions", json::object{{"prompt", prompt}}, stream, with_usage);
}

Result<void> stream_answer(Session& session, const HttpRequest& request, int interrupt_fd,
                           const AnswerHandlers& handlers, Answer& answer) {
  std::optional<Error> final_error;
  TRY(session.with_retries(interrupt_fd, [&]() -> std::optional<Failure> {
    auto failure = AnswerStream(session, handlers, answer).run(request, interrupt_fd);
    if (!failure || !answer.is_shown) return failure;
    final_error = std::move(failure->error);
    return std::nullopt;
  }));
  if (final_error) return tl::unexpected<Error>(std::move(*final_error));
  return {};
}

Result<std::string> whole_answer(Session& session, const HttpRequest& request) {
  std::string answer;
  TRY(session.with_retries(-1, [&] {
    const Progress progress(session.terminal(), "waiting for the answer");
    bool lost = false;
    auto failure = ask_whole(session, request, answer, lost);
    const uint64_t limit_ns = monotonic_ns() + kComeBackMax_ns;
    if (lost) session.note("the connection was lost; asking once more");
    for (bool asked = !lost; !asked && monotonic_ns() < limit_ns;) {
      auto again = ask_whole(session, request, answer, asked);
      asked = asked || !again || again->error.code != Code::kUnreachable;
      if (asked) return again;
      wait_readable(-1, -1, kComeBackPause_ms);
    }
    return failure;
  }));
  return answer;
}

std::string describe_usage(const Answer& answer) {
  const auto seconds = [](uint64_t time_ns) {
    return static_cast<double>(time_ns) / static_cast<double>(kSecond_ns);
  };
  const auto count = [](const std::optional<uint64_t>& tokens) {
    return tokens ? human_count(*tokens) : std::string("an unknown number of");
  };
  std::string text = fmt::format("{} prompt tokens, {} tokens in {}", count(answer.prompt_tokens),
                                 count(answer.completion_tokens), human_duration(seconds(answer.total_ns)));
  if (answer.first_text_ns != 0)
    text += fmt::format(" (first after {:.3f} s)", seconds(answer.first_text_ns));
  // The first token's time is the prompt's; speed is that of the others.
  const uint64_t decode_ns = answer.total_ns - answer.first_text_ns;
  if (answer.completion_tokens.value_or(0) > 1 && answer.first_text_ns != 0 && decode_ns != 0) {
    text += fmt::format(", {:.1f} tokens/s",
                        static_cast<double>(*answer.completion_tokens - 1) / seconds(decode_ns));
  }
  if (!answer.finish_reason.empty()) text += fmt::format(", ended by {}", answer.finish_reason);
  return text;
}

}  // namespace deepserve::ctl
