#include "daemon/admission/client_limits.h"

#include <algorithm>
#include <cmath>

#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr uint64_t kRetryMin_ms = 50;
constexpr uint64_t kRetryMax_ms = 60'000;
constexpr double kFirstGuess_s = 1.0;  // of how long a request runs, before any of the client's has ended

double seconds_between(uint64_t from_ns, uint64_t to_ns) {
  return to_ns > from_ns ? static_cast<double>(to_ns - from_ns) * 1e-9 : 0.0;
}

double per_second(const ClientRules& rules) {
  return static_cast<double>(rules.tokens_per_minute) / 60.0;
}

uint64_t bounded_ms(double seconds) {
  const double ms = std::ceil(seconds * 1000);
  return static_cast<uint64_t>(
      std::clamp(ms, static_cast<double>(kRetryMin_ms), static_cast<double>(kRetryMax_ms)));
}

}  // namespace

// Brought up to `now_ns`, and made where it is not known.
ClientLimits::Client& ClientLimits::client_of(std::string_view name, const ClientRules& rules,
                                              uint64_t now_ns) {
  const auto found = clients_.find(name);
  if (found != clients_.end()) {
    order_.splice(order_.begin(), order_, found->second);
  } else {
    make_room();
    Client& made = order_.emplace_front();
    made.use.client = name;
    made.use.tokens_left = static_cast<double>(rules.tokens_per_minute);
    made.refilled_ns = made.faded_ns = now_ns;
    clients_.emplace(made.use.client, order_.begin());
  }
  Client& client = order_.front();
  const double full = static_cast<double>(rules.tokens_per_minute);
  const double refill = seconds_between(client.refilled_ns, now_ns) * per_second(rules);
  client.use.tokens_left = std::min(full, client.use.tokens_left + refill);
  client.refilled_ns = std::max(client.refilled_ns, now_ns);
  const double fading = std::exp(-seconds_between(client.faded_ns, now_ns) * 1e9 / kFading_ns);
  client.use.requests *= fading;
  client.use.retries *= fading;
  client.faded_ns = std::max(client.faded_ns, now_ns);
  client.use.seen_ns = now_ns;
  return client;
}

// Who runs something goes to the front again: as many as run, and no more, are looked at.
void ClientLimits::make_room() {
  if (clients_.size() < kClientsMax) return;
  for (size_t looked = 0; looked < clients_.size(); ++looked) {
    if (order_.back().use.running == 0) {
      clients_.erase(order_.back().use.client);
      order_.pop_back();
      return;
    }
    order_.splice(order_.begin(), order_, std::prev(order_.end()));
  }
}

std::optional<ClientDenial> ClientLimits::ask(std::string_view name, const ClientRules& rules,
                                              const Ask& asked, uint64_t now_ns) {
  Client& client = client_of(name, rules, now_ns);
  ClientUse& use = client.use;
  use.requests += 1;
  if (asked.is_retry) use.retries += 1;
  std::optional<ClientDenial> denial;
  const auto deny = [&denial](ClientLimit limit, double wait_s) {
    const uint64_t wait_ms = bounded_ms(wait_s);
    if (!denial || wait_ms > denial->retry_after_ms) denial = ClientDenial{limit, wait_ms};
  };
  const double full = static_cast<double>(rules.tokens_per_minute);
  const double wanted = std::min(full, static_cast<double>(asked.tokens));
  if (full > 0 && use.tokens_left < wanted) {
    deny(ClientLimit::kTokens, (wanted - use.tokens_left) / per_second(rules));
  }
  if (rules.concurrent_max != 0 && use.running >= rules.concurrent_max) {
    // So many run side by side: one of them ends after about its part of a request's time.
    const double runs_s = client.ran_mean_s > 0 ? client.ran_mean_s : kFirstGuess_s;
    deny(ClientLimit::kConcurrent, runs_s / rules.concurrent_max);
  }
  const double over = use.retries - kRetryShare * use.requests;
  if (asked.is_retry && asked.is_shedding && over > kRetriesFree) {
    deny(ClientLimit::kRetries, std::log(over / kRetriesFree) * static_cast<double>(kFading_ns) * 1e-9);
  }
  if (denial) ++use.denied_total;
  return denial;
}

void ClientLimits::begin(std::string_view name, const ClientRules& rules, uint64_t tokens, uint64_t now_ns) {
  Client& client = client_of(name, rules, now_ns);
  ++client.use.running;
  if (rules.tokens_per_minute != 0) client.use.tokens_left -= static_cast<double>(tokens);
}

void ClientLimits::end(std::string_view name, const ClientRules& rules, uint64_t tokens, uint64_t tokens_used,
                       uint64_t ran_ns, uint64_t now_ns) {
  Client& client = client_of(name, rules, now_ns);
  CHECK(client.use.running > 0);
  --client.use.running;
  const double ran_s = static_cast<double>(ran_ns) * 1e-9;
  client.ran_mean_s = client.ran_mean_s > 0 ? 0.875 * client.ran_mean_s + 0.125 * ran_s : ran_s;
  if (rules.tokens_per_minute == 0) return;
  const double owed = static_cast<double>(tokens_used) - static_cast<double>(tokens);
  client.use.tokens_left =
      std::min(static_cast<double>(rules.tokens_per_minute), client.use.tokens_left - owed);
}

const ClientUse* ClientLimits::find(std::string_view name) const {
  const auto found = clients_.find(name);
  return found == clients_.end() ? nullptr : &found->second->use;
}

std::vector<ClientUse> ClientLimits::recent(size_t count_max) const {
  std::vector<ClientUse> uses;
  for (const Client& client : order_) {
    if (uses.size() == count_max) break;
    uses.push_back(client.use);
  }
  return uses;
}

}  // namespace deepserve::daemon
