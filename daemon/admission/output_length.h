// How long answers get: what is expected of a request's output before it is known, from what the same
// client's and the same model's requests had lately. Pure.
//
// Histograms of powers of sqrt(2), faded by halving, one for each model and one for each of the
// kClientsMax clients of all models that were heard of last. max_tokens caps what they say and is otherwise
// not believed: who asks for 100,000 tokens and takes 50 is expected to take 50.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace deepserve::daemon {

class OutputHistogram {
 public:
  static constexpr size_t kBuckets = 40;  // the last one from 2^19.5 tokens on
  static constexpr uint32_t kFull = 512;  // at so many all are halved

  void add(uint32_t tokens);
  uint32_t count() const { return total_; }
  // The part `q` (0..1) of the answers that are longer than `beyond` tokens are at most so long; 0 when none
  // is.
  double quantile(double q, uint32_t beyond = 0) const;

 private:
  std::array<uint16_t, kBuckets> counts_{};
  uint32_t total_ = 0;
};

class OutputLength {
 public:
  static constexpr size_t kClientsMax = 8192;  // about 200 bytes each
  static constexpr uint32_t kEnough = 8;       // answers before a histogram is asked
  static constexpr uint32_t kUnknown50 = 128;
  static constexpr uint32_t kUnknown90 = 512;

  explicit OutputLength(uint32_t models) : models_(models) {}
  // More models, behind those that there are.
  void grow(uint32_t models) { models_.resize(models); }

  // One choice of a request has ended by itself, after so many tokens.
  void add(uint32_t model, std::string_view client, uint32_t tokens);
  // Tokens that a choice is expected to have in the end, at most `tokens_max` and more than `beyond`, which
  // it has already: the quantile `q` of 0.5 .. 0.9.
  uint32_t expect(uint32_t model, std::string_view client, uint32_t tokens_max, double q,
                  uint32_t beyond = 0) const;
  size_t clients() const { return by_client_.size(); }

 private:
  struct OfClient {
    OutputHistogram histogram;
    std::list<std::string>::iterator place;
  };
  static std::string key_of(uint32_t model, std::string_view client);

  std::vector<OutputHistogram> models_;
  std::list<std::string> recent_;  // keys, the one heard of last first
  std::unordered_map<std::string, OfClient> by_client_;
};

}  // namespace deepserve::daemon
