// What one client may do by itself, whatever the load (DESIGN 7): requests at once, tokens a minute, retries
// that nobody asked for. Pure.
//
//   ask()    on arrival: nothing is wrong, or which limit and when to come back.
//   begin()  it was admitted: it counts among the running ones and its tokens are charged.
//   end()    it is over: the charge is settled with the truth.
//
// Tokens: a bucket that holds a minute's worth and refills all the time. A request larger than the bucket
// passes when the bucket is full, and the debt is paid off before the next one passes.
//
// Retries: requests that say that they are one, or that came before the time that they were told. Where more
// than a tenth of a client's recent requests are such retries, they are refused early; they would only take
// room from others. "Recent" fades with kFading_ns. A few are always allowed.
//
// State is kept for the kClientsMax clients that asked last; who has requests running is never forgotten.
// Forgetting is lenient: a forgotten client starts anew, with a full bucket.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ipc/base/clock.h"

namespace deepserve::daemon {

// Of one configured client; 0: no limit.
struct ClientRules {
  uint32_t concurrent_max = 0;
  uint64_t tokens_per_minute = 0;
};

enum class ClientLimit : uint8_t { kConcurrent, kTokens, kRetries, kCount };

struct ClientDenial {
  ClientLimit limit = ClientLimit::kConcurrent;
  uint64_t retry_after_ms = 0;
};

// What is known of a client; tokens as of the last time that it was asked about.
struct ClientUse {
  std::string client;
  uint32_t running = 0;
  double tokens_left = 0;  // negative: it owes; of a client without a limit: 0
  double requests = 0;     // recent, fading
  double retries = 0;      // of these
  uint64_t denied_total = 0;
  uint64_t seen_ns = 0;
};

class ClientLimits {
 public:
  static constexpr size_t kClientsMax = 16'384;
  static constexpr uint64_t kFading_ns = 10 * kSecond_ns;
  static constexpr double kRetryShare = 0.1;
  static constexpr double kRetriesFree = 3;

  struct Ask {
    uint64_t tokens = 0;       // that it will probably take, prompt and answer
    bool is_retry = false;     // and came without a slot of its own
    bool is_shedding = false;  // only then do retries take room from others
  };
  // Counts the request. With several limits exceeded: the one that takes longest.
  std::optional<ClientDenial> ask(std::string_view client, const ClientRules& rules, const Ask& asked,
                                  uint64_t now_ns);
  void begin(std::string_view client, const ClientRules& rules, uint64_t tokens, uint64_t now_ns);
  // `tokens`: as for begin(); `ran_ns`: how long it took.
  void end(std::string_view client, const ClientRules& rules, uint64_t tokens, uint64_t tokens_used,
           uint64_t ran_ns, uint64_t now_ns);

  // Null: nothing is remembered of it. Valid until the next call.
  const ClientUse* find(std::string_view client) const;
  // Those that asked last, the last first.
  std::vector<ClientUse> recent(size_t count_max) const;
  size_t size() const { return clients_.size(); }

 private:
  struct Client {
    ClientUse use;
    uint64_t refilled_ns = 0;
    uint64_t faded_ns = 0;
    double ran_mean_s = 0;  // of its requests; 0: none has ended
  };
  using Order = std::list<Client>;  // the one that asked last comes first

  Client& client_of(std::string_view name, const ClientRules& rules, uint64_t now_ns);
  void make_room();

  Order order_;
  std::unordered_map<std::string_view, Order::iterator> clients_;  // keys are the names in order_
};

}  // namespace deepserve::daemon
