// The event loop: libuv behind RAII handles. Everything in dsd runs on the thread of one Loop.
//
// A handle's callback may destroy the handle itself. libuv closes handles asynchronously: the Loop keeps each
// handle's memory until then.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

struct uv_loop_s;

namespace deepserve::daemon {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(); deferred functions run before the loop sleeps.
  void run();
  void stop();
  // Runs `function` once, after the current callback has returned and before the loop sleeps.
  void defer(std::function<void()> function);
  // PoolTasks whose work has not ended, destroyed ones too. The loop's own end waits for them.
  size_t in_pool() const { return in_pool_; }
  uv_loop_s* uv() { return uv_.get(); }

 private:
  void run_deferred();

  std::unique_ptr<uv_loop_s> uv_;
  struct Deferred;
  std::unique_ptr<Deferred> deferred_;
  friend class PoolTask;
  size_t in_pool_ = 0;
};

enum Readiness : int { kNone = 0, kReadable = 1, kWritable = 2, kHungUp = 4 };

// Watches one fd, which must stay open while watched and is not owned.
class Poll {
 public:
  using Callback = std::function<void(int readiness, int error)>;  // error: 0 or a negative uv code
  Poll(Loop& loop, int fd, Callback callback);
  ~Poll();
  Poll(const Poll&) = delete;
  Poll& operator=(const Poll&) = delete;
  void watch(int readiness);  // kNone stops watching

 private:
  struct State;
  State* state_;
};

class Timer {
 public:
  Timer(Loop& loop, std::function<void()> callback);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start(uint64_t delay_ms, uint64_t repeat_ms = 0);  // restarts when running; repeat 0: once
  void stop();

 private:
  struct State;
  State* state_;
};

// Called each time just before the loop looks for events: where lanes are flushed and armed.
class Prepare {
 public:
  Prepare(Loop& loop, std::function<void()> callback);
  ~Prepare();
  Prepare(const Prepare&) = delete;
  Prepare& operator=(const Prepare&) = delete;

 private:
  struct State;
  State* state_;
};

class Signal {
 public:
  Signal(Loop& loop, int number, std::function<void()> callback);
  ~Signal();
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

 private:
  struct State;
  State* state_;
};

// Runs `work` once on a thread of libuv's pool, then `done` on the loop's. Destroyed before that it never
// calls `done`, but `work` runs to its end all the same: what it uses it must own.
class PoolTask {
 public:
  PoolTask(Loop& loop, std::function<void()> work, std::function<void()> done);
  ~PoolTask();
  PoolTask(const PoolTask&) = delete;
  PoolTask& operator=(const PoolTask&) = delete;

 private:
  struct State;
  State* state_;  // null: it is done
};

}  // namespace deepserve::daemon
