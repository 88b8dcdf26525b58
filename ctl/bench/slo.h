// The service level objective that an answer is judged by: its first token within the TTFT of its class, and
// its tokens at a pace (mean ITL of the answer, which vLLM calls TPOT). Batch answers may come at any pace:
// nobody reads along. Pure.
#pragma once

#include "ctl/bench/outcome.h"

namespace deepserve::ctl::bench {

struct Slo {
  PerClass<uint64_t> ttft_ns{};
  uint64_t itl_ns = 0;  // of vip and normal answers

  // `ttft`: "vip=500ms,normal=5s,batch=600s"; a class that is not named keeps that default (the daemon's
  // own). `itl`: one duration. kUsage names what is wrong.
  static Result<Slo> parse(std::string_view ttft, std::string_view itl);

  // Whether an answer came whole, full and in time.
  bool is_met_by(const Outcome& outcome) const;
};

}  // namespace deepserve::ctl::bench
