// What the command line can say, as plain values (command_line.h fills them in).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace deepserve::ctl {

// Options that every command takes, before or after its name.
struct GlobalOptions {
  std::string runtime_dir = "/run/deepserve";  // holds api.sock and ctl.sock
  bool json = false;
  bool no_color = false;
  bool verbose = false;
  bool no_retry = false;
};

// Options of `chat` and `generate`. What is not set is not sent: the daemon's defaults hold.
struct GenerationOptions {
  std::string model;  // empty: the daemon's default model
  std::string system;
  std::string service_class;  // "vip", "normal", "batch"; empty: not sent
  std::vector<std::string> stop;
  std::optional<int64_t> max_tokens;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<int64_t> top_k;
  std::optional<int64_t> seed;
  std::optional<uint64_t> deadline_ms;
  bool usage = false;   // tokens and speed on stderr at the end
  bool stream = false;  // with --json: one chunk per line instead of one object
};

// Of `model load|swap|unload|rollback|canary|shadow|promote`.
struct ModelOrderOptions {
  std::string verb;
  std::string model;
  std::string path;     // empty: as before
  double percent = 10;  // canary, shadow
  bool judged = false;  // canary: wait for the verdict
};

}  // namespace deepserve::ctl
