// Who answers for a model whose circuit breaker is open or that has no runner left (DESIGN 7): the other
// models that its configuration names, in order, then a text; else nobody. Pure.
//
// A fallback's own breaker counts: what fails is not failed over to. Fallbacks of fallbacks are not followed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "daemon/admission/breaker.h"

namespace deepserve::daemon {

enum class FallbackKind : uint8_t {
  kItself,  // the model that was asked for
  kModel,   // another one
  kReply,   // the configured text
  kNobody,
  kCount
};

struct FallbackChoice {
  FallbackKind kind = FallbackKind::kItself;
  uint32_t model = 0;           // kItself, kModel
  bool is_probe = false;        // kItself, kModel: its end decides over the breaker of `model`
  uint64_t retry_after_ms = 0;  // kNobody: when the model may be tried again; 0: nobody knows
};

class Fallbacks {
 public:
  struct OfModel {
    std::vector<uint32_t> models;  // its fallbacks
    bool has_reply = false;
  };
  explicit Fallbacks(std::vector<OfModel> of_models);
  // Others for the same models, and for more of them; the breakers of those that were there stay as they
  // are.
  void reconfigure(std::vector<OfModel> of_models);

  // `may_serve`: of each model, whether it has a runner or will have one.
  FallbackChoice choose(uint32_t model, const std::vector<bool>& may_serve, uint64_t now_ns);

  // Another model in place of one that serves, for a client that agreed to it: the first of its fallbacks
  // that serves and is not in trouble itself. Nothing: there is none.
  std::optional<uint32_t> substitute(uint32_t model, const std::vector<bool>& may_serve, uint64_t now_ns);

  // How the request ended that choose() let through to `model`.
  enum class Verdict : uint8_t { kSucceeded, kFailed, kNone };
  void ended(uint32_t model, bool was_probe, Verdict verdict, uint64_t now_ns);

  Breaker& breaker(uint32_t model) { return breakers_.at(model); }
  const Breaker& breaker(uint32_t model) const { return breakers_.at(model); }

 private:
  std::vector<OfModel> of_models_;
  std::vector<Breaker> breakers_;
};

}  // namespace deepserve::daemon
