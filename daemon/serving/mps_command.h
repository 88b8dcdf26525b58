// Words to the MPS daemon of one GPU: the control program is run once more, reads them and writes what the
// daemon answers.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "daemon/loop/loop.h"
#include "daemon/supervise/child.h"

namespace deepserve::daemon {

class MpsCommand {
 public:
  static constexpr uint64_t kLimit_ms = 2'000;  // then it is ended, and counts as not answered
  static constexpr size_t kAnswerBytesMax = 64 * 1024;
  // What was answered, as far as it is that short. kUnreachable: there is no daemon, or it does not answer.
  using Done = std::function<void(Result<std::string>)>;

  // `words`: lines, as that program reads them. `done`, once, from the loop; it may destroy this.
  MpsCommand(Loop& loop, const std::string& program, const Environment& environment, const std::string& words,
             Done done);
  ~MpsCommand();
  MpsCommand(const MpsCommand&) = delete;
  MpsCommand& operator=(const MpsCommand&) = delete;

 private:
  Result<void> start(const std::string& program, const Environment& environment, const std::string& words);
  void on_ended();
  void end(Result<std::string> answer);

  Loop& loop_;
  Done done_;
  Fd answer_;
  std::unique_ptr<Child> child_;
  std::unique_ptr<Poll> poll_;
  Timer limit_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace deepserve::daemon
