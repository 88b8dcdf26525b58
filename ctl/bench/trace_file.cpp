#include "ctl/bench/trace_file.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "ctl/bench/lengths.h"
#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

namespace json = boost::json;

constexpr size_t kRows_max = 5'000'000;
constexpr double kDay_ms = 86'400'000;

Result<void> take_tokens(const json::value& value, std::string_view name, uint32_t& tokens) {
  const int64_t* count = value.if_int64();
  if (!count || *count < 1 || *count > Lengths::kTokens_max) {
    return fail(Code::kUsage, "{} must be an integer from 1 to {}", name, Lengths::kTokens_max);
  }
  tokens = static_cast<uint32_t>(*count);
  return {};
}

Result<void> take_instant(const json::value& value, TraceRow& row) {
  boost::system::error_code error;
  const double at_ms = value.is_number() ? value.to_number<double>(error) : -1;
  if (error || !(at_ms >= 0 && at_ms <= kDay_ms))
    return fail(Code::kUsage, "at_ms must be a number from 0 to {}", kDay_ms);
  row.at_ns = static_cast<uint64_t>(at_ms * static_cast<double>(kMillisecond_ns));
  return {};
}

Result<TraceRow> parse_row(std::string_view line) {
  boost::system::error_code error;
  const json::value parsed = json::parse(line, error);
  if (error) return fail(Code::kUsage, "not JSON ({})", error.message());
  if (!parsed.is_object()) return fail(Code::kUsage, "not a JSON object");
  const json::object& object = parsed.get_object();
  for (const std::string_view name : {"at_ms", "prompt_tokens", "max_tokens"}) {
    if (!object.contains(name)) return fail(Code::kUsage, "{} is missing", name);
  }
  TraceRow row;
  for (const auto& [key, value] : object) {
    const std::string_view name(key.data(), key.size());
    if (name == "at_ms") {
      TRY(take_instant(value, row));
    } else if (name == "prompt_tokens") {
      TRY(take_tokens(value, name, row.prompt_tokens));
    } else if (name == "max_tokens") {
      TRY(take_tokens(value, name, row.max_tokens));
    } else if (name == "class") {
      if (!value.is_string()) return fail(Code::kUsage, "class must be a string");
      TRY_ASSIGN(row.service_class, class_named(std::string_view(value.get_string())));
    } else {
      return fail(Code::kUsage, "there is no field \"{}\"", name);
    }
  }
  return row;
}

}  // namespace

Result<std::vector<TraceRow>> parse_trace(std::string_view file, std::string_view text) {
  std::vector<TraceRow> rows;
  size_t number = 0;
  while (!text.empty()) {
    ++number;
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    auto row = parse_row(line);
    if (!row) return fail(Code::kUsage, "{}: line {}: {}", file, number, row.error().message);
    if (rows.size() == kRows_max) return fail(Code::kUsage, "{}: more than {} requests", file, kRows_max);
    rows.push_back(*row);
  }
  if (rows.empty()) return fail(Code::kUsage, "{}: there is no request in it", file);
  std::stable_sort(rows.begin(), rows.end(),
                   [](const TraceRow& a, const TraceRow& b) { return a.at_ns < b.at_ns; });
  return rows;
}

}  // namespace deepserve::ctl::bench
