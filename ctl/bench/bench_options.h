// What `dsctl bench` was asked for, as the command line has it; settings.h checks it.
#pragma once

#include <cstdint>
#include <string>

namespace deepserve::ctl {

struct BenchOptions {
  std::string url;  // empty: the daemon's api.sock
  std::string model;
  bool chat = false;
  bool may_stop = false;

  // Exactly one kind of load; empty: not asked for.
  std::string rate;
  std::string loads;
  std::string concurrent;
  std::string trace;
  bool find_capacity = false;
  std::string capacity;  // of the loads; without it, it is found

  std::string burstiness = "1";
  std::string mix = "vip=0.3,normal=0.6,batch=0.1";
  std::string fixed;
  std::string prompt_tokens = "128";
  std::string output_tokens = "64";
  std::string ttft;
  std::string itl = "200ms";

  std::string duration;  // "30s", of a trace: all of it
  std::string warmup = "3s";
  std::string drain = "30s";
  std::string probe = "15s";
  std::string unsent_after = "1s";

  std::string clients = "1";
  std::string weights;  // of the clients, in turn; empty: all alike
  bool as_proxy = false;
  std::string keys;
  std::string connections = "2000";
  std::string retries = "obey";
  std::string tries = "5";
  std::string seed = "1";
  std::string svg;
};

}  // namespace deepserve::ctl
