// Runs the real dsctl, with pipes or on a terminal of its own.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ipc/base/fd.h"

namespace deepserve::ctl {

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal
  std::string out;
  std::string err;
};

// Runs `binary` with those arguments and `input` on stdin until it ends.
Outcome run_binary(const std::string& binary, const std::vector<std::string>& arguments,
                   const std::string& input = "");
// The same for the dsctl that was built.
Outcome run_dsctl(const std::vector<std::string>& arguments, const std::string& input = "");
// Runs dsctl with a stdout that nobody reads any more; `out` is empty.
Outcome run_dsctl_without_reader(const std::vector<std::string>& arguments);

// dsctl on a pseudo-terminal of 100 columns, with stderr there too.
class TerminalDsctl {
 public:
  explicit TerminalDsctl(const std::vector<std::string>& arguments);
  ~TerminalDsctl();
  TerminalDsctl(const TerminalDsctl&) = delete;
  TerminalDsctl& operator=(const TerminalDsctl&) = delete;

  void type(const std::string& keys);
  // Reads until `text` was shown after what earlier waits saw; false after 30 s or at the end of the program.
  bool wait_for(const std::string& text);
  // Reads to the end of the program and returns its exit code; kills it after 30 s of silence (-1).
  int wait_for_end();
  const std::string& screen() const { return screen_; }

 private:
  bool read_more();

  Fd terminal_;
  pid_t pid_ = -1;
  std::string screen_;
  size_t seen_ = 0;
  bool ended_ = false;
};

}  // namespace deepserve::ctl
