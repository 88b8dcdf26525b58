// One model's generations: which there were, which one serves, what is done to replace it (DESIGN 9). Pure:
// orders and observations come in, actions go out; time is told.
//
// One order at a time. A swap beside loads the new generation while the old one serves; a swap that drains
// first ends the old one before the new one is loaded (their device has no room for both), and loads the old
// one again if the new one cannot be. Whatever fails, its reason stays in the history.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/rollout/generation.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// To be done by the owner, in the order given.
struct SpawnGeneration {
  uint32_t generation = 0;
  uint32_t settings_of = 0;  // the generation whose settings it has; itself: those of the order
};
// Requests of the model go there; it may still be loading. 0: to nobody.
struct RouteTo {
  uint32_t generation = 0;
};
// So many of a hundred requests go there, or copies of them to a shadow. 0: none; those that wait for a
// canary go to the live one.
struct RouteCanary {
  uint32_t generation = 0;
  double percent = 0;
  bool mirrors = false;
};
// Nobody serves for a while: from now until the one that drains has ended and the next one is loaded.
struct HoldQueue {};
// Its processes end; nobody has a request there any more, or they are to be served elsewhere.
struct StopGeneration {
  uint32_t generation = 0;
};
// The order is carried out, or has failed.
struct OrderDone {
  Result<void> result;
};
using RolloutAction =
    std::variant<SpawnGeneration, RouteTo, RouteCanary, HoldQueue, StopGeneration, OrderDone>;
using RolloutActions = std::vector<RolloutAction>;

enum class SwapWay : uint8_t {
  kBeside,      // there is room for both
  kDrainFirst,  // there is not
  kCount
};

// What is seen of a generation's runners.
struct GenerationTally {
  uint32_t runners = 0;
  uint32_t warming = 0;  // have read their weights and are not ready
  uint32_t ready = 0;
  uint32_t requests = 0;     // that a runner has, or that only it may serve
  bool gone = false;         // no process is left
  std::string trouble = {};  // why one of them died by its own fault; empty: none has
  bool hopeless = false;     // and no process is started in its place
};

// What another dsd has to know of it. An order that is not far is forgotten: what served before serves on.
struct RolloutRecord {
  std::deque<Generation> history;  // the oldest first
  uint32_t routed = 0;             // 0: unloaded
  uint32_t before = 0;             // what a rollback goes to; 0: nothing
  uint32_t canary = 0;             // it is being tried out; 0: none is
  double percent = 0;
  bool mirrors = false;   // it is a shadow
  bool restores = false;  // `before` is loaded again if `routed` cannot be
};

class Rollout {
 public:
  static constexpr size_t kHistoryMax = 32;

  // `keep_warm_ns`: how long the one before stays loaded for a rollback; 0: it ends once it is drained.
  // `model`: for texts.
  explicit Rollout(std::string model, uint64_t keep_warm_ns)
      : model_(std::move(model)), keep_warm_ns_(keep_warm_ns) {}

  // For those that are warm from now on.
  void set_keep_warm(uint64_t keep_warm_ns) { keep_warm_ns_ = keep_warm_ns; }
  // The number of the generation that the next order begins.
  uint32_t next_number() const { return next_number_; }

  // At the start of dsd, and on demand: what fails is for supervision to try again, or for the next demand.
  void start(const std::string& path, uint64_t now_ns, RolloutActions& actions);
  RolloutRecord record() const;
  // Before anything else. What serves, and a canary, comes up again by being adopted, or started; what is
  // warm stays so for another `keep_warm_ns`; of the others those that run go on draining.
  void restore(RolloutRecord record, uint64_t now_ns);
  // Orders: kConflict while another one is under way, or where there is nothing to do it to; nothing has
  // happened then. OrderDone comes once it holds, which may be at once.
  Result<void> load(const std::string& path, uint64_t now_ns, RolloutActions& actions);
  Result<void> swap(const std::string& path, SwapWay way, uint64_t now_ns, RolloutActions& actions);
  Result<void> unload(const std::string& why, uint64_t now_ns, RolloutActions& actions);
  // To the one before: at once while it is warm, else as a swap to what it was, `way` if that is needed.
  Result<void> rollback(SwapWay way, uint64_t now_ns, RolloutActions& actions);
  // Beside the live one. `until_judged`: OrderDone comes with the verdict, else once it has its traffic.
  Result<void> canary(const std::string& path, double percent, bool until_judged, uint64_t now_ns,
                      RolloutActions& actions);
  // Beside the live one too, and nobody gets its answers. OrderDone comes once it has its copies.
  Result<void> shadow(const std::string& path, double percent, uint64_t now_ns, RolloutActions& actions);
  // The canary, or the shadow, becomes the live one, or goes: `why` says whose word it was.
  Result<void> promote(uint64_t now_ns, RolloutActions& actions);
  Result<void> reject(const std::string& why, uint64_t now_ns, RolloutActions& actions);

  // Often, of each generation that has_runners() or whose processes are not gone yet.
  void observe(uint32_t generation, const GenerationTally& tally, uint64_t now_ns, RolloutActions& actions);
  void tick(uint64_t now_ns, RolloutActions& actions);
  // The warm one is in the way of something better.
  void drop_warm(uint64_t now_ns, RolloutActions& actions);

  const std::deque<Generation>& history() const { return history_; }  // the oldest first
  const Generation* find(uint32_t number) const;
  uint32_t routed() const { return routed_; }         // 0: nobody
  uint32_t canary_number() const { return canary_; }  // or the shadow's; 0: none
  double canary_percent() const { return canary_ == 0 || mirrors_ ? 0 : percent_; }
  double shadow_percent() const { return canary_ == 0 || !mirrors_ ? 0 : percent_; }
  uint32_t warm() const;      // kept for a rollback; 0: none
  uint32_t previous() const;  // what a rollback goes to; 0: nothing
  bool busy() const { return order_ != Order::kNone && order_ != Order::kTrying; }
  bool trying() const { return order_ == Order::kTrying; }
  // Nothing of it comes up, drains or is tried out: there is nothing to observe.
  bool settled() const;
  // Nobody serves and nobody is about to.
  bool absent() const { return routed_ == 0 && !busy(); }

 private:
  enum class Order : uint8_t {
    kNone,
    kLoad,
    kSwapBeside,
    kSwapDrain,  // the old one drains, ends, and the new one loads
    kRestore,    // that new one could not be loaded: the old one again
    kUnload,
    kCanaryLoad,  // or a shadow
    kTrying,      // it has its requests, or copies
  };

  Generation& begin(const std::string& path, uint64_t now_ns);
  Generation* get(uint32_t number);
  void step(Generation& generation, GenerationEvent event, uint64_t now_ns);
  Result<void> refuse_if_busy() const;
  std::string_view trial_name() const { return mirrors_ ? "shadow" : "canary"; }
  Result<void> try_out(const std::string& path, double percent, uint64_t now_ns, RolloutActions& actions);
  void spawn(Generation& generation, uint32_t settings_of, uint64_t now_ns, RolloutActions& actions);
  void on_ready(Generation& generation, uint64_t now_ns, RolloutActions& actions);
  void on_drained(Generation& generation, uint64_t now_ns, RolloutActions& actions);
  void on_gone(uint32_t number, uint64_t now_ns, RolloutActions& actions);
  void on_trouble(Generation& generation, const std::string& reason, uint64_t now_ns,
                  RolloutActions& actions);
  void go_live(Generation& generation, uint64_t now_ns, RolloutActions& actions);
  void take_traffic(Generation& generation, RolloutActions& actions);
  void stop(Generation& generation, GenerationEvent event, const std::string& reason, uint64_t now_ns,
            RolloutActions& actions);
  void done(Result<void> result, RolloutActions& actions);
  void forget_old();

  const std::string model_;
  uint64_t keep_warm_ns_;
  std::deque<Generation> history_;
  uint32_t next_number_ = 1;
  uint32_t routed_ = 0;
  uint32_t before_ = 0;  // was routed to before; 0: none
  uint32_t canary_ = 0;
  uint32_t target_ = 0;         // what the order loads
  uint32_t settings_of_ = 0;    // of the target
  uint32_t drained_first_ = 0;  // what has to be gone before the target is loaded
  double percent_ = 0;
  bool until_judged_ = false;
  bool mirrors_ = false;  // canary_, or what is loaded for it, is a shadow
  uint64_t warm_until_ns_ = 0;
  Order order_ = Order::kNone;
  std::optional<Error> load_error_;  // of what kRestore makes good
};

}  // namespace deepserve::daemon
