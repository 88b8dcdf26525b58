#include "ctl/bench/tally.h"

#include <algorithm>

#include "ipc/base/clock.h"

namespace deepserve::ctl::bench {
namespace {

// A server that names a new reason each time must not fill our memory.
template <typename Value>
Value& of_name(std::map<std::string, Value>& rows, const std::string& name) {
  constexpr size_t kNames_max = 32;
  const bool is_full = rows.size() >= kNames_max && !rows.contains(name);
  return rows[is_full ? "other" : name];
}

// Jain's index, (sum x)^2 / (n sum x^2). 0: nobody got any.
double jain(const std::vector<double>& shares) {
  double sum = 0, squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 0;
}

}  // namespace

uint64_t ClassTally::refused_tries() const {
  uint64_t count = 0;
  for (const auto& [reason, row] : refusals) count += row.count;
  return count;
}

void ClassTally::add(const ClassTally& other) {
  arrived += other.arrived;
  within_slo += other.within_slo;
  for (size_t i = 0; i < ends.size(); ++i) ends[i] += other.ends[i];
  good_in_window += other.good_in_window;
  good_tokens_in_window += other.good_tokens_in_window;
  prompt_tokens += other.prompt_tokens;
  completion_tokens += other.completion_tokens;
  wasted_tokens += other.wasted_tokens;
  ttft.add(other.ttft);
  itl.add(other.itl);
  tpot.add(other.tpot);
  e2e.add(other.e2e);
  wait.add(other.wait);
  for (const auto& [reason, row] : other.refusals) {
    Refusals& mine = refusals[reason];
    mine.count += row.count;
    mine.latency.add(row.latency);
  }
  for (const auto& [how, count] : other.degradations) degradations[how] += count;
  for (const auto& [reason, count] : other.failures) failures[reason] += count;
}

Tally::Tally(const Slo& slo, Window window, std::vector<double> weights)
    : slo_(slo), window_(window), weights_(std::move(weights)) {}

void Tally::text_events(const Planned& planned, uint64_t gap_ns, uint64_t events) {
  if (!counts(planned) || events == 0) return;
  Histogram& itl = classes_[index_of(planned.service_class)].itl;
  itl.record(gap_ns);
  if (events > 1) itl.record(0, events - 1);
}

Second& Tally::second_of(uint64_t instant_ns) {
  constexpr uint64_t kSeconds_max = 2 * 86'400;  // a run is shorter: a day and its drain
  const auto second = static_cast<size_t>(std::min(instant_ns / kSecond_ns, kSeconds_max));
  if (second >= seconds_.size()) seconds_.resize(second + 1);
  return seconds_[second];
}

void Tally::refused(const Planned& planned, const Try& one) {
  ++second_of(one.end_ns).refused_tries;
  if (!counts(planned)) return;
  Refusals& row = of_name(classes_[index_of(planned.service_class)].refusals, one.reason);
  ++row.count;
  row.latency.record(one.end_ns > one.sent_ns ? one.end_ns - one.sent_ns : 0);
}

void Tally::ended(const Outcome& outcome) {
  const Try& last = outcome.last;
  ClassTally& row = classes_[index_of(outcome.planned.service_class)];
  last_end_ns_ = std::max(last_end_ns_, last.end_ns);
  const bool is_good = slo_.is_met_by(outcome);
  ++second_of(outcome.planned.at_ns).arrived;
  if (is_good) ++second_of(last.end_ns).good;
  if (is_good && window_.holds(last.end_ns)) {
    ++row.good_in_window;
    row.good_tokens_in_window += last.completion_tokens;
  }
  ClientShare& client = share_of(outcome.planned);
  if (last.text_events != 0 && window_.holds(last.end_ns)) {
    const uint64_t prompt_tokens =
        last.prompt_tokens != 0 ? last.prompt_tokens : outcome.planned.prompt_tokens;
    client.service +=
        prompt_tokens + Fairness::kAnswerTokenWeight * std::max(last.completion_tokens, last.text_events);
    ++client.answers;
  }
  if (!counts(outcome.planned)) return;
  ++row.arrived;
  ++row.ends[static_cast<size_t>(outcome.end)];
  ++(is_good ? row.within_slo : missed_);
  if (outcome.end == End::kFailed) {
    ++of_name(row.failures, last.reason);
    if (last.text_events != 0) row.wasted_tokens += outcome.planned.prompt_tokens + last.text_events;
  }
  if (outcome.end != End::kFull && outcome.end != End::kDegraded) return;
  if (outcome.end == End::kDegraded) ++of_name(row.degradations, last.degradation);
  row.prompt_tokens += last.prompt_tokens;
  row.completion_tokens += last.completion_tokens;
  client.tokens += last.completion_tokens;
  if (outcome.end == End::kFull && !is_good) row.wasted_tokens += last.prompt_tokens + last.completion_tokens;
  row.ttft.record(ttft_ns(last));
  const bool is_late_half =
      outcome.planned.at_ns - window_.start_ns >= (window_.end_ns - window_.start_ns) / 2;
  ttft_of_halves_[is_late_half ? 1 : 0].record(ttft_ns(last));
  if (std::max(last.completion_tokens, last.text_events) > 1) row.tpot.record(tpot_ns(last));
  row.e2e.record(e2e_ns(last));
  row.wait.record(ttft_ns(last) + (last.intended_ns - outcome.planned.at_ns));
}

Tally::ClientShare& Tally::share_of(const Planned& planned) {
  return clients_[index_of(planned.service_class)][planned.client];
}

void Tally::wants(const Planned& planned, uint64_t at_ns) {
  ClientShare& client = share_of(planned);
  if (client.wanted++ == 0) client.wants_since_ns = at_ns;
}

void Tally::wants_no_more(const Planned& planned, uint64_t at_ns) {
  ClientShare& client = share_of(planned);
  if (--client.wanted != 0) return;
  const uint64_t from_ns = std::max(client.wants_since_ns, window_.start_ns);
  const uint64_t to_ns = window_.end_ns != 0 ? std::min(at_ns, window_.end_ns) : at_ns;
  client.backlogged_ns += to_ns - std::min(from_ns, to_ns);
}

void Tally::sent(const Planned& planned, uint64_t late_ns, bool waited) {
  if (!counts(planned)) return;
  lateness_.record(late_ns);
  if (waited) ++waited_for_connection_;
}

ClassTally Tally::all() const {
  ClassTally sum;
  for (const ClassTally& row : classes_) sum.add(row);
  return sum;
}

std::array<double, 2> Tally::ttft_of_halves_s() const {
  constexpr double kSecond = static_cast<double>(kSecond_ns);
  return {ttft_of_halves_[0].mean_ns() / kSecond, ttft_of_halves_[1].mean_ns() / kSecond};
}

std::unordered_map<uint32_t, uint64_t> Tally::tokens_by_client() const {
  std::unordered_map<uint32_t, uint64_t> tokens;
  for (const auto& of_class : clients_) {
    for (const auto& [client, share] : of_class) tokens[client] += share.tokens;
  }
  return tokens;
}

size_t Tally::clients() const {
  return tokens_by_client().size();
}

double Tally::jain_index() const {
  std::vector<double> shares;
  for (const auto& [client, tokens] : tokens_by_client()) shares.push_back(static_cast<double>(tokens));
  return jain(shares);
}

Fairness Tally::fairness(ServiceClass service_class) const {
  std::vector<double> plain, weighted;
  uint64_t answers = 0;
  for (const auto& [client, share] : clients_[index_of(service_class)]) {
    const double backlogged_s = static_cast<double>(share.backlogged_ns) / static_cast<double>(kSecond_ns);
    if (backlogged_s < Fairness::kBacklogged * window_s()) continue;
    plain.push_back(static_cast<double>(share.service));
    weighted.push_back(plain.back() / (weights_.empty() ? 1 : weights_[client % weights_.size()]));
    answers += share.answers;
  }
  const size_t clients = plain.size();
  const double each = static_cast<double>(answers) / static_cast<double>(std::max<size_t>(clients, 1));
  return {clients, each, jain(plain), jain(weighted)};
}

double Tally::window_s() const {
  const uint64_t end_ns = window_.end_ns != 0 ? window_.end_ns : std::max(last_end_ns_, window_.start_ns);
  return static_cast<double>(end_ns - window_.start_ns) / static_cast<double>(kSecond_ns);
}

double Tally::goodput_per_s() const {
  uint64_t good = 0;
  for (const ClassTally& row : classes_) good += row.good_in_window;
  const double seconds = window_s();
  return seconds > 0 ? static_cast<double>(good) / seconds : 0;
}

}  // namespace deepserve::ctl::bench
