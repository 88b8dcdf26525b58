#include "runner/model/huggingface/json_keys.h"

#include <boost/json/basic_parser_impl.hpp>
#include <string>
#include <unordered_set>
#include <vector>

#include "runner/model/stored_tensor.h"

namespace deepserve::runner {
namespace {

namespace json = boost::json;
using boost::system::error_code;

// What json::basic_parser calls as it goes; only objects and their keys matter.
class KeyHandler {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = static_cast<size_t>(-1);
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) {
    open_.emplace_back();
    return true;
  }
  bool on_object_end(size_t, error_code&) {
    open_.pop_back();
    return true;
  }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(size_t, error_code&) { return true; }
  bool on_key_part(json::string_view part, size_t, error_code&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, size_t, error_code& error) {
    key_.append(part.data(), part.size());
    if (!open_.back().insert(key_).second) {
      error = json::error::extra_data;  // any will do: it ends the parse, and repeated() says why
      is_repeated_ = true;
      return false;
    }
    key_.clear();
    return true;
  }
  bool on_string_part(json::string_view, size_t, error_code&) { return true; }
  bool on_string(json::string_view, size_t, error_code&) { return true; }
  bool on_number_part(json::string_view, error_code&) { return true; }
  bool on_int64(int64_t, json::string_view, error_code&) { return true; }
  bool on_uint64(uint64_t, json::string_view, error_code&) { return true; }
  bool on_double(double, json::string_view, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

  const std::string* repeated() const { return is_repeated_ ? &key_ : nullptr; }

 private:
  std::vector<std::unordered_set<std::string>> open_;  // the keys so far of the objects that are not closed
  std::string key_;
  bool is_repeated_ = false;
};

}  // namespace

Result<void> refuse_repeated_keys(std::string_view text, std::string_view file, const JsonLimits& limits) {
  json::parse_options options;
  options.max_depth = limits.depth_max;
  json::basic_parser<KeyHandler> parser(options);
  error_code error;
  const size_t offset = parser.write_some(false, text.data(), text.size(), error);
  if (const std::string* key = parser.handler().repeated()) {
    return fail(Code::kBadModelFile, "{}: \"{}\" is there twice, again before offset {}", file,
                printable(*key), offset);
  }
  if (error) return fail(Code::kBadModelFile, "{}: offset {}: {}", file, offset, error.message());
  return {};
}

}  // namespace deepserve::runner
