// One line on stderr that says how a bench goes; nothing where stderr is no terminal.
#pragma once

#include <string>

#include "ctl/bench/generator.h"
#include "ctl/terminal.h"

namespace deepserve::ctl::bench {

class ProgressLine {
 public:
  explicit ProgressLine(const Terminal& terminal) : is_shown_(terminal.err_is_terminal) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // What runs now ("load 2x"), and how long it will.
  void begin(std::string what, uint64_t length_ns);
  void show(const Moment& moment);
  // Takes the line away: before anything else is printed.
  void clear();

 private:
  bool is_shown_;
  bool is_drawn_ = false;
  std::string what_;
  uint64_t length_ns_ = 0;
};

}  // namespace deepserve::ctl::bench
