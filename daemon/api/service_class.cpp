#include <charconv>
#include <optional>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kMillisecondsMax = 24ULL * 3600 * 1000;
constexpr const char* kClassWords = "must be vip, normal or batch";

void read_priority(Fields& fields, RequestSpec& spec) {
  const auto* priority = fields.take("priority");
  if (priority == nullptr) return;
  if (const auto* word = priority->if_string()) {
    const auto named = ipc::class_from_name(*word);
    if (!named) return fields.fail_at("priority", kClassWords);
    spec.service_class = *named;
  } else if (const auto number = integer_in(*priority, INT64_MIN, INT64_MAX)) {
    spec.service_class = *number < 0    ? ipc::Class::kVip
                         : *number == 0 ? ipc::Class::kNormal
                                        : ipc::Class::kBatch;
  } else {
    fields.fail_at("priority", "must be vip, normal or batch, or an integer");
  }
}

bool read_service_tier(Fields& fields, RequestSpec& spec) {
  if (!fields.has("service_tier")) return false;
  std::string tier;
  fields.read_string("service_tier", tier);
  if (tier == "priority") {
    spec.service_class = ipc::Class::kVip;
  } else if (tier == "flex") {
    spec.service_class = ipc::Class::kBatch;
  } else if (tier != "auto" && tier != "default") {
    fields.fail_at("service_tier", "must be auto, default, priority or flex");
  }
  return true;
}

// A header with a whole number of milliseconds, up to a day; nothing when it is not there or wrong.
std::optional<uint64_t> read_milliseconds(Fields& fields, const HttpRequest& request, const char* field,
                                          const char* name) {
  const auto* text = request.field(field);
  if (text == nullptr) return std::nullopt;
  uint64_t value_ms = 0;
  const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), value_ms);
  if (problem != std::errc() || end != text->data() + text->size() || !is_deadline(value_ms)) {
    fields.fail_at(name, "must be an integer from 1 to 86400000");
    return std::nullopt;
  }
  return value_ms * kMillisecond_ns;
}

}  // namespace

bool is_deadline(uint64_t milliseconds) {
  return milliseconds != 0 && milliseconds <= kMillisecondsMax;
}

bool read_service_class(Fields& fields, const HttpRequest& request, RequestSpec& spec) {
  // The strongest comes last.
  const bool names_tier = read_service_tier(fields, spec);
  read_priority(fields, spec);
  if (const auto* name = request.field("x-deepserve-class")) {
    const auto named = ipc::class_from_name(*name);
    if (!named) fields.fail_at("X-Deepserve-Class", kClassWords);
    spec.service_class = named.value_or(spec.service_class);
  }
  if (const auto deadline_ns =
          read_milliseconds(fields, request, "x-deepserve-deadline-ms", "X-Deepserve-Deadline-Ms")) {
    spec.deadline_ns = monotonic_ns() + *deadline_ns;
  }
  return names_tier;
}

void read_timeout(Fields& fields, const HttpRequest& request, std::optional<uint64_t>& timeout_ns) {
  timeout_ns = read_milliseconds(fields, request, "x-deepserve-timeout-ms", "X-Deepserve-Timeout-Ms");
}

std::string_view service_tier_name(ipc::Class service_class) {
  switch (service_class) {
    case ipc::Class::kVip:
      return "priority";
    case ipc::Class::kBatch:
      return "flex";
    default:
      return "default";
  }
}

}  // namespace deepserve::daemon
