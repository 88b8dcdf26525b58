#include "daemon/http/request_parser.h"

#include <fmt/format.h>

#include <algorithm>

// With the sanitizers GCC takes an empty boost::optional in there for one that is read.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#pragma GCC diagnostic pop

#include "daemon/http/head_scanner.h"

namespace deepserve::daemon {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

// "0\r\n\r\n": no chunked body ends with less. Beast asserts that it sees as much of an empty one at once.
constexpr size_t kLastChunk_bytes = 5;

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Beast's parser, filling an HttpRequest.
class BeastParser final : public http::basic_parser<true> {
 public:
  HttpRequest request;
  bool chunk_begun = false;       // a chunk's header was there
  uint64_t chunk_rest_bytes = 0;  // of the present chunk, not yet here

 private:
  void on_request_impl(http::verb, beast::string_view method, beast::string_view target, int version,
                       beast::error_code&) override {
    request.method = method;
    request.http_1_0 = version == 10;
    set_target(target);
  }
  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}
  void on_field_impl(http::field, beast::string_view name, beast::string_view value,
                     beast::error_code&) override {
    // Trailers of a chunked body arrive here as well: they may not add to the head that was checked.
    if (!head_done_) request.fields.emplace_back(lower_case(name), value);
  }
  void on_header_impl(beast::error_code&) override { head_done_ = true; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code&) override {}
  std::size_t on_body_impl(beast::string_view body, beast::error_code&) override {
    request.body.append(body);
    return body.size();
  }
  void on_chunk_header_impl(std::uint64_t bytes, beast::string_view, beast::error_code&) override {
    chunk_begun = true;
    chunk_rest_bytes = bytes;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, beast::error_code&) override {
    request.body.append(body);
    chunk_rest_bytes -= body.size();
    return body.size();
  }
  void on_finish_impl(beast::error_code&) override {}

  // Proxies may send "http://host/path" (RFC 9112 section 3.2.2); the host is of no interest here.
  void set_target(std::string_view target) {
    if (lower_case(target.substr(0, 7)) == "http://") {
      const size_t slash = target.find('/', 7);
      target = slash == target.npos ? std::string_view("/") : target.substr(slash);
    }
    const size_t question = target.find('?');
    request.path = target.substr(0, question);
    if (question != target.npos) request.query = target.substr(question + 1);
  }

  bool head_done_ = false;
};

size_t count_fields(const HttpRequest& request, std::string_view name) {
  return static_cast<size_t>(std::count_if(request.fields.begin(), request.fields.end(),
                                           [&](const auto& entry) { return entry.first == name; }));
}

// Who asks, and for what, is not guessed: behind a proxy that only adds its fields a client would say it.
Result<void> check_single(const HttpRequest& request) {
  constexpr std::string_view kOurs = "x-deepserve-";
  constexpr std::string_view kOnce[] = {"authorization", "content-type", "content-encoding",
                                        "idempotency-key", "last-event-id"};
  for (const auto& [name, value] : request.fields) {
    const bool once =
        name.starts_with(kOurs) || std::find(std::begin(kOnce), std::end(kOnce), name) != std::end(kOnce);
    if (once && count_fields(request, name) > 1) {
      return fail(Code::kInvalidRequest, "more than one field {}", name);
    }
  }
  return {};
}

Result<void> check_framing(const HttpRequest& request) {
  const size_t lengths = count_fields(request, "content-length");
  const size_t encodings = count_fields(request, "transfer-encoding");
  if (lengths > 1) return fail(Code::kInvalidRequest, "more than one Content-Length");
  if (encodings > 1) return fail(Code::kInvalidRequest, "more than one Transfer-Encoding");
  if (lengths + encodings > 1)
    return fail(Code::kInvalidRequest, "both Content-Length and Transfer-Encoding");
  if (const auto* length = request.field("content-length")) {
    const bool digits =
        std::all_of(length->begin(), length->end(), [](char c) { return c >= '0' && c <= '9'; });
    if (length->empty() || !digits) return fail(Code::kInvalidRequest, "Content-Length is not a number");
  }
  if (const auto* encoding = request.field("transfer-encoding")) {
    if (request.http_1_0) return fail(Code::kInvalidRequest, "Transfer-Encoding in HTTP/1.0");
    if (lower_case(*encoding) != "chunked") {
      return fail(Code::kInvalidRequest, "a Transfer-Encoding other than chunked is not supported");
    }
  }
  const size_t hosts = count_fields(request, "host");
  if (hosts > 1 || (hosts == 0 && !request.http_1_0)) {
    return fail(Code::kInvalidRequest, "an HTTP/1.1 request has exactly one Host field");
  }
  if (const auto* expect = request.field("expect");
      expect != nullptr && lower_case(*expect) != "100-continue") {
    return fail(Code::kInvalidRequest, "Expect: only 100-continue is supported");
  }
  if (request.path.empty() || request.path[0] != '/') {
    return fail(Code::kInvalidRequest, "the request's target is not a path");
  }
  return {};
}

tl::unexpected<Error> beast_failure(const beast::error_code& error, const HttpLimits& limits) {
  if (error == http::error::body_limit) {
    return fail(Code::kPayloadTooLarge, "the request's body is larger than {} bytes", limits.body_bytes_max);
  }
  if (error == http::error::header_limit) {
    return fail(Code::kHeaderTooLarge, "the request's head or trailer is longer than {} bytes",
                limits.head_bytes_max);
  }
  return fail(Code::kInvalidRequest, "malformed HTTP: {}", error.message());
}

}  // namespace

struct RequestParser::State {
  explicit State(const HttpLimits& given) : limits(given), scanner(given) {
    parser.eager(true);
    parser.header_limit(static_cast<uint32_t>(given.head_bytes_max + 2));
    parser.body_limit(given.body_bytes_max);
  }

  Result<void> parse_head();
  Result<size_t> parse_body(std::string_view bytes);

  const HttpLimits& limits;
  HeadScanner scanner;
  BeastParser parser;
  std::string unparsed;  // the beginning of a chunk's header or of the trailer, until the rest is there
};

Result<void> RequestParser::State::parse_head() {
  const std::string& head = scanner.head();
  beast::error_code error;
  const size_t parsed = parser.put(boost::asio::const_buffer(head.data(), head.size()), error);
  if (error && error != http::error::need_more) return beast_failure(error, limits);
  if (parsed != head.size()) return fail(Code::kInvalidRequest, "malformed HTTP: the head ends early");
  TRY(check_framing(parser.request));
  return check_single(parser.request);
}

// Beast wants to see a chunk's header (with the CR LF before it) whole, and the trailer as well.
Result<size_t> RequestParser::State::parse_body(std::string_view bytes) {
  const size_t old_bytes = unparsed.size();
  std::string_view whole = bytes;
  if (old_bytes != 0) {
    unparsed.append(bytes);
    whole = unparsed;
  }
  if (parser.chunked() && whole.size() < kLastChunk_bytes) {
    if (old_bytes == 0) unparsed = bytes;
    return bytes.size();
  }
  size_t parsed = 0;
  beast::error_code error;
  while (parsed < whole.size() && !parser.is_done() && !error) {
    parsed += parser.put(boost::asio::const_buffer(whole.data() + parsed, whole.size() - parsed), error);
  }
  if (error && error != http::error::need_more) return beast_failure(error, limits);
  if (parser.is_done()) {
    const size_t taken = parsed - old_bytes;
    unparsed.clear();
    return taken;
  }
  std::string rest(whole.substr(parsed));
  if (rest.size() > limits.head_bytes_max) {
    return fail(Code::kInvalidRequest, "a chunk's header or the trailer is longer than {} bytes",
                limits.head_bytes_max);
  }
  unparsed = std::move(rest);
  return bytes.size();
}

RequestParser::RequestParser(const HttpLimits& limits) : state_(std::make_unique<State>(limits)) {}
RequestParser::~RequestParser() = default;

Result<size_t> RequestParser::feed(std::string_view bytes) {
  size_t taken = 0;
  if (!state_->scanner.done()) {
    TRY_ASSIGN(taken, state_->scanner.scan(bytes));
    if (!state_->scanner.done()) return taken;
    TRY(state_->parse_head());
    bytes.remove_prefix(taken);
  }
  if (complete() || bytes.empty()) return taken;
  TRY_ASSIGN(const size_t body_taken, state_->parse_body(bytes));
  return taken + body_taken;
}

bool RequestParser::untouched() const {
  return state_->scanner.head().empty();
}
bool RequestParser::head_done() const {
  return state_->parser.is_header_done();
}
bool RequestParser::complete() const {
  return state_->parser.is_done();
}
bool RequestParser::expects_continue() const {
  return !state_->parser.request.http_1_0 && state_->parser.request.field("expect") != nullptr;
}
size_t RequestParser::body_bytes() const {
  return state_->parser.request.body.size();
}

std::string RequestParser::replay() const {
  const auto& parser = state_->parser;
  std::string bytes = state_->scanner.head();
  if (parser.chunk_begun) {
    bytes += fmt::format("{:x}\r\n", parser.request.body.size() + parser.chunk_rest_bytes);
  }
  bytes += parser.request.body;
  return bytes += state_->unparsed;
}

const HttpRequest& RequestParser::head() const {
  return state_->parser.request;
}

const HttpRequest& RequestParser::head(const Peer& peer) {
  state_->parser.request.peer = peer;
  return state_->parser.request;
}

HttpRequest RequestParser::take() {
  HttpRequest request = std::move(state_->parser.request);
  request.keep_alive = !request.http_1_0 && state_->parser.keep_alive();
  return request;
}

}  // namespace deepserve::daemon
