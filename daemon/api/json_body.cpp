#include "daemon/api/json_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/http/json_text.h"

namespace deepserve::daemon {
namespace {

namespace json = boost::json;

// The keys of the objects that are open, to find one that comes twice.
class OpenKeys {
 public:
  void open() { begins_.push_back(keys_.size()); }
  void append(std::string_view part) { text_ += part; }
  void complete_key() {
    const auto begin = keys_.empty() ? size_t{0} : keys_.back().end;
    const std::string_view key = std::string_view(text_).substr(begin);
    keys_.push_back({std::hash<std::string_view>()(key), begin, text_.size()});
  }
  size_t keys_of_this() const { return keys_.size() - begins_.back(); }

  // Closes the innermost object: its key that is there twice; empty when there is none (or it is the empty
  // key: then `found` alone says so).
  std::string close(bool& found) {
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(begins_.back());
    const size_t text_begin = first == keys_.end() ? text_.size() : first->begin;
    std::sort(first, keys_.end(), [](const Key& a, const Key& b) { return a.hash < b.hash; });
    const auto twice = std::adjacent_find(first, keys_.end(), [this](const Key& a, const Key& b) {
      return a.hash == b.hash && text_of(a) == text_of(b);
    });
    found = twice != keys_.end();
    std::string key(found ? text_of(*twice) : std::string_view());
    keys_.erase(first, keys_.end());
    text_.resize(text_begin);
    begins_.pop_back();
    return key;
  }

 private:
  struct Key {
    size_t hash;
    size_t begin;  // in text_
    size_t end;
  };
  std::string_view text_of(const Key& key) const {
    return std::string_view(text_).substr(key.begin, key.end - key.begin);
  }

  std::string text_;
  std::vector<Key> keys_;
  std::vector<size_t> begins_;  // of each open object, in keys_
};

// Builds the value as json::parser does, and counts.
class Handler {
 public:
  static constexpr size_t max_object_size = json::object::max_size();
  static constexpr size_t max_array_size = json::array::max_size();
  static constexpr size_t max_key_size = json::string::max_size();
  static constexpr size_t max_string_size = json::string::max_size();

  explicit Handler(const JsonLimits& limits) : limits_(limits) {}
  void begin() { stack_.reset(); }
  json::value release() { return stack_.release(); }
  // Why a callback has stopped the parser; and the key, where one is to blame.
  const std::string& complaint() const { return complaint_; }
  const std::string& key() const { return key_; }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code& error) {
    keys_.open();
    return count(containers_, limits_.containers_max, "objects and lists", error);
  }
  bool on_object_end(size_t size, json::error_code& error) {
    bool found = false;
    std::string key = keys_.close(found);
    if (found) {
      key_ = key.substr(0, 100);
      return stop(fmt::format("the key '{}' is there twice in one object", key_), error);
    }
    stack_.push_object(size);
    return count_value(error);
  }
  bool on_array_begin(json::error_code& error) {
    return count(containers_, limits_.containers_max, "objects and lists", error);
  }
  bool on_array_end(size_t size, json::error_code& error) {
    stack_.push_array(size);
    return count_value(error);
  }
  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    keys_.append(part);
    stack_.push_chars(part);
    return true;
  }
  bool on_key(json::string_view rest, size_t, json::error_code& error) {
    keys_.append(rest);
    keys_.complete_key();
    stack_.push_key(rest);
    if (keys_.keys_of_this() > limits_.object_keys_max) {
      return stop(fmt::format("an object has more than {} keys", limits_.object_keys_max), error);
    }
    return count(key_count_, limits_.keys_max, "keys", error);
  }
  bool on_string_part(json::string_view part, size_t, json::error_code&) {
    stack_.push_chars(part);
    return true;
  }
  bool on_string(json::string_view rest, size_t, json::error_code& error) {
    stack_.push_string(rest);
    return count(strings_, limits_.strings_max, "strings", error) && count_value(error);
  }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t number, json::string_view, json::error_code& error) {
    stack_.push_int64(number);
    return count_value(error);
  }
  bool on_uint64(uint64_t number, json::string_view, json::error_code& error) {
    stack_.push_uint64(number);
    return count_value(error);
  }
  bool on_double(double number, json::string_view, json::error_code& error) {
    stack_.push_double(number);
    return count_value(error);
  }
  bool on_bool(bool boolean, json::error_code& error) {
    stack_.push_bool(boolean);
    return count_value(error);
  }
  bool on_null(json::error_code& error) {
    stack_.push_null();
    return count_value(error);
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  bool stop(std::string complaint, json::error_code& error) {
    complaint_ = std::move(complaint);
    error = json::error::exception;  // any: the complaint is what is told
    return false;
  }
  bool count(size_t& counter, size_t max, const char* what, json::error_code& error) {
    return ++counter <= max || stop(fmt::format("the body has more than {} {}", max, what), error);
  }
  bool count_value(json::error_code& error) { return count(values_, limits_.values_max, "values", error); }

  const JsonLimits& limits_;
  json::value_stack stack_;
  OpenKeys keys_;
  size_t values_ = 0, containers_ = 0, strings_ = 0, key_count_ = 0;
  std::string complaint_;
  std::string key_;
};

FieldError body_error(Code code, std::string message, std::string param = "") {
  return {{code, std::move(message)}, std::move(param)};
}

bool is_json(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  for (char& c : type) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  while (type.ends_with(' ') || type.ends_with('\t')) type.pop_back();
  return type == "application/json";
}

}  // namespace

Parsed<json::object> parse_json_body(const HttpRequest& request, const JsonLimits& limits) {
  const std::string* type = request.field("content-type");
  if (type != nullptr && !is_json(*type)) {
    return tl::unexpected(body_error(Code::kUnsupportedMedia, "Content-Type must be application/json"));
  }
  if (request.field("content-encoding") != nullptr) {
    return tl::unexpected(body_error(Code::kUnsupportedMedia, "Content-Encoding is not supported"));
  }
  if (const size_t at = find_invalid_utf8(request.body); at != std::string_view::npos) {
    return tl::unexpected(
        body_error(Code::kInvalidRequest, fmt::format("the body is not UTF-8 at byte {}", at)));
  }
  json::parse_options options;
  options.max_depth = limits.depth_max;
  json::basic_parser<Handler> parser(options, limits);
  parser.handler().begin();
  json::error_code error;
  const size_t parsed = parser.write_some(false, request.body.data(), request.body.size(), error);
  const Handler& handler = parser.handler();
  if (!handler.complaint().empty()) {
    return tl::unexpected(body_error(
        Code::kInvalidRequest, fmt::format("{}, at byte {}", handler.complaint(), parsed), handler.key()));
  }
  if (!error && parsed != request.body.size()) error = json::error::extra_data;
  if (!error && !parser.done()) error = json::error::incomplete;
  if (error) {
    return tl::unexpected(body_error(
        Code::kInvalidRequest, fmt::format("the body is not JSON at byte {}: {}", parsed, error.message())));
  }
  json::value value = parser.handler().release();
  if (!value.is_object()) {
    return tl::unexpected(body_error(Code::kInvalidRequest, "the body must be a JSON object"));
  }
  return std::move(value.as_object());
}

}  // namespace deepserve::daemon
