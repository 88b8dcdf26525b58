#include <charconv>

#include "daemon/api/completion_spec.h"
#include "daemon/api/json_fields.h"
#include "ipc/base/clock.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kDeadlineMax_ms = 24ULL * 3600 * 1000;
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

void read_service_tier(Fields& fields, RequestSpec& spec) {
  std::string tier;
  fields.read_string("service_tier", tier);
  if (tier.empty()) return;
  if (tier == "priority") {
    spec.service_class = ipc::Class::kVip;
  } else if (tier == "flex") {
    spec.service_class = ipc::Class::kBatch;
  } else if (tier != "auto" && tier != "default") {
    fields.fail_at("service_tier", "must be auto, default, priority or flex");
  }
}

}  // namespace

void read_service_class(Fields& fields, const HttpRequest& request, RequestSpec& spec) {
  // The strongest comes last.
  read_service_tier(fields, spec);
  read_priority(fields, spec);
  if (const auto* name = request.field("x-deepserve-class")) {
    const auto named = ipc::class_from_name(*name);
    if (!named) return fields.fail_at("X-Deepserve-Class", kClassWords);
    spec.service_class = *named;
  }
  if (const auto* text = request.field("x-deepserve-deadline-ms")) {
    uint64_t deadline_ms = 0;
    const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), deadline_ms);
    if (problem != std::errc() || end != text->data() + text->size() || deadline_ms == 0 ||
        deadline_ms > kDeadlineMax_ms) {
      return fields.fail_at("X-Deepserve-Deadline-Ms", "must be an integer from 1 to 86400000");
    }
    spec.deadline_ns = monotonic_ns() + deadline_ms * kMillisecond_ns;
  }
}

}  // namespace deepserve::daemon
