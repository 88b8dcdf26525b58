#include "daemon/admission/brownout.h"

#include <algorithm>
#include <utility>

namespace deepserve::daemon {
namespace {

constexpr size_t kLevels = static_cast<size_t>(BrownoutLevel::kCount);

struct Row {
  std::string_view name;
  BrownoutLevel worse;
  BrownoutLevel better;
  std::string_view to_normal;
  std::string_view to_batch;
};

using L = BrownoutLevel;
// clang-format off
constexpr std::array<Row, kLevels> kRows = {{
    // name        worse           better          to normal     to batch
    {"none",        L::kPauseBatch, L::kNone,       "",           ""},
    {"pause_batch", L::kCapTokens,  L::kNone,       "",           "pause_batch"},
    {"cap_tokens",  L::kSubstitute, L::kPauseBatch, "cap_tokens", "pause_batch"},
    {"substitute",  L::kTruncate,   L::kCapTokens,  "cap_tokens", "pause_batch"},
    {"truncate",    L::kVipOnly,    L::kSubstitute, "cap_tokens", "pause_batch"},
    {"vip_only",    L::kVipOnly,    L::kTruncate,   "vip_only",   "vip_only"},
}};
// clang-format on
static_assert(!kRows.back().name.empty());

const Row& row(BrownoutLevel level) {
  return kRows.at(static_cast<size_t>(level));
}

}  // namespace

std::string_view brownout_level_name(BrownoutLevel value) {
  return row(value).name;
}

std::string_view brownout_announcement(BrownoutLevel level, ipc::Class service_class) {
  switch (service_class) {
    case ipc::Class::kNormal:
      return row(level).to_normal;
    case ipc::Class::kBatch:
      return row(level).to_batch;
    default:
      return {};
  }
}

void BrownoutLadder::set_steps(const BrownoutSteps& steps) {
  enabled_.fill(true);
  enabled_[static_cast<size_t>(L::kSubstitute)] = steps.substitute;
  enabled_[static_cast<size_t>(L::kTruncate)] = steps.truncate;
}

bool BrownoutLadder::step(bool vip_misses, bool is_shedding, uint64_t now_ns) {
  now_ns_ = std::max(now_ns_, now_ns);
  const bool trouble = vip_misses && is_shedding;
  if (trouble != in_trouble_) {
    in_trouble_ = trouble;
    since_ns_ = now_ns_;
  }
  if (now_ns_ - since_ns_ < (trouble ? kEnter_ns : kLeave_ns)) return false;
  since_ns_ = now_ns_;
  L next = level_;
  do {
    next = trouble ? row(next).worse : row(next).better;
  } while (!enabled_[static_cast<size_t>(next)]);
  return std::exchange(level_, next) != next;
}

}  // namespace deepserve::daemon
