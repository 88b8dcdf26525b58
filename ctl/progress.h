// One line on stderr that says what takes so long: drawn only on a terminal and only after the first second.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "ctl/terminal.h"

namespace deepserve::ctl {

class Progress {
 public:
  // "restarting tiny@cpu0": what is being done, drawn with the seconds it has taken.
  Progress(const Terminal& terminal, std::string doing);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Takes the line away again. Call it before anything else is printed; the destructor does it too.
  void stop();

 private:
  void draw();

  std::string doing_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace deepserve::ctl
