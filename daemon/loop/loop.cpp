#include "daemon/loop/loop.h"

#include <uv.h>

#include <utility>
#include <vector>

#include "ipc/base/check.h"

namespace deepserve::daemon {

// Work posted with defer(): a prepare handle with an idle handle that keeps the loop from sleeping while
// there is some.
struct Loop::Deferred {
  uv_prepare_t prepare{};
  uv_idle_t idle{};
  std::vector<std::function<void()>> functions;
};

Loop::Loop() : uv_(std::make_unique<uv_loop_s>()), deferred_(std::make_unique<Deferred>()) {
  CHECK(uv_loop_init(uv_.get()) == 0);
  CHECK(uv_prepare_init(uv_.get(), &deferred_->prepare) == 0);
  CHECK(uv_idle_init(uv_.get(), &deferred_->idle) == 0);
  deferred_->prepare.data = this;
  CHECK(uv_prepare_start(&deferred_->prepare, [](uv_prepare_t* handle) noexcept {
          static_cast<Loop*>(handle->data)->run_deferred();
        }) == 0);
}

Loop::~Loop() {
  uv_close(reinterpret_cast<uv_handle_t*>(&deferred_->prepare), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&deferred_->idle), nullptr);
  uv_run(uv_.get(), UV_RUN_DEFAULT);
  CHECK(uv_loop_close(uv_.get()) == 0);
}

void Loop::run() {
  uv_run(uv_.get(), UV_RUN_DEFAULT);
}
void Loop::stop() {
  uv_stop(uv_.get());
}

void Loop::defer(std::function<void()> function) {
  if (deferred_->functions.empty()) uv_idle_start(&deferred_->idle, [](uv_idle_t*) noexcept {});
  deferred_->functions.push_back(std::move(function));
}

void Loop::run_deferred() {
  // The idle handle stays for one more turn after any work: other prepare handles (lanes) may have run before
  // it.
  if (deferred_->functions.empty()) {
    uv_idle_stop(&deferred_->idle);
    return;
  }
  while (!deferred_->functions.empty()) {
    const auto functions = std::exchange(deferred_->functions, {});
    for (const auto& function : functions) function();
  }
}

namespace {

template <typename State>
void close_handle(State* state) {
  state->callback = nullptr;
  state->handle.data = state;
  uv_close(reinterpret_cast<uv_handle_t*>(&state->handle),
           [](uv_handle_t* handle) noexcept { delete static_cast<State*>(handle->data); });
}

// Calls a copy, so that the callback may destroy its own handle.
template <typename State, typename... Args>
void call(State* state, Args... args) {
  if (const auto callback = state->callback; callback && *callback) (*callback)(args...);
}

}  // namespace

struct Poll::State {
  uv_poll_t handle{};
  std::shared_ptr<Callback> callback;
};

Poll::Poll(Loop& loop, int fd, Callback callback) : state_(new State) {
  state_->callback = std::make_shared<Callback>(std::move(callback));
  state_->handle.data = state_;
  CHECK(uv_poll_init(loop.uv(), &state_->handle, fd) == 0);
}

Poll::~Poll() {
  uv_poll_stop(&state_->handle);
  close_handle(state_);
}

void Poll::watch(int readiness) {
  if (readiness == kNone) {
    uv_poll_stop(&state_->handle);
    return;
  }
  int events = 0;
  if ((readiness & kReadable) != 0) events |= UV_READABLE;
  if ((readiness & kWritable) != 0) events |= UV_WRITABLE;
  if ((readiness & kHungUp) != 0) events |= UV_DISCONNECT;
  CHECK(uv_poll_start(&state_->handle, events, [](uv_poll_t* handle, int status, int ready) noexcept {
          int happened = kNone;
          if ((ready & UV_READABLE) != 0) happened |= kReadable;
          if ((ready & UV_WRITABLE) != 0) happened |= kWritable;
          if ((ready & UV_DISCONNECT) != 0) happened |= kHungUp;
          call(static_cast<State*>(handle->data), happened, status < 0 ? status : 0);
        }) == 0);
}

struct Timer::State {
  uv_timer_t handle{};
  std::shared_ptr<std::function<void()>> callback;
};

Timer::Timer(Loop& loop, std::function<void()> callback) : state_(new State) {
  state_->callback = std::make_shared<std::function<void()>>(std::move(callback));
  state_->handle.data = state_;
  CHECK(uv_timer_init(loop.uv(), &state_->handle) == 0);
}

Timer::~Timer() {
  uv_timer_stop(&state_->handle);
  close_handle(state_);
}

void Timer::start(uint64_t delay_ms, uint64_t repeat_ms) {
  uv_update_time(state_->handle.loop);
  CHECK(uv_timer_start(
            &state_->handle, [](uv_timer_t* handle) noexcept { call(static_cast<State*>(handle->data)); },
            delay_ms, repeat_ms) == 0);
}

void Timer::stop() {
  uv_timer_stop(&state_->handle);
}

struct Prepare::State {
  uv_prepare_t handle{};
  std::shared_ptr<std::function<void()>> callback;
};

Prepare::Prepare(Loop& loop, std::function<void()> callback) : state_(new State) {
  state_->callback = std::make_shared<std::function<void()>>(std::move(callback));
  state_->handle.data = state_;
  CHECK(uv_prepare_init(loop.uv(), &state_->handle) == 0);
  CHECK(uv_prepare_start(&state_->handle, [](uv_prepare_t* handle) noexcept {
          call(static_cast<State*>(handle->data));
        }) == 0);
}

Prepare::~Prepare() {
  uv_prepare_stop(&state_->handle);
  close_handle(state_);
}

struct Signal::State {
  uv_signal_t handle{};
  std::shared_ptr<std::function<void()>> callback;
};

Signal::Signal(Loop& loop, int number, std::function<void()> callback) : state_(new State) {
  state_->callback = std::make_shared<std::function<void()>>(std::move(callback));
  state_->handle.data = state_;
  CHECK(uv_signal_init(loop.uv(), &state_->handle) == 0);
  CHECK(uv_signal_start(
            &state_->handle,
            [](uv_signal_t* handle, int) noexcept { call(static_cast<State*>(handle->data)); }, number) == 0);
}

Signal::~Signal() {
  uv_signal_stop(&state_->handle);
  close_handle(state_);
}

struct PoolTask::State {
  uv_work_t request{};
  Loop* loop = nullptr;
  PoolTask* task = nullptr;  // null: destroyed
  std::function<void()> work;
  std::function<void()> done;
};

PoolTask::PoolTask(Loop& loop, std::function<void()> work, std::function<void()> done)
    : state_(new State{.loop = &loop, .task = this, .work = std::move(work), .done = std::move(done)}) {
  state_->request.data = state_;
  ++loop.in_pool_;
  const auto run = [](uv_work_t* request) noexcept { static_cast<State*>(request->data)->work(); };
  const auto end = [](uv_work_t* request, int) noexcept {
    const std::unique_ptr<State> state(static_cast<State*>(request->data));
    --state->loop->in_pool_;
    if (state->task == nullptr) return;
    state->task->state_ = nullptr;
    state->done();  // may destroy the task
  };
  CHECK(uv_queue_work(loop.uv(), &state_->request, run, end) == 0);
}

PoolTask::~PoolTask() {
  if (state_ != nullptr) state_->task = nullptr;
}

}  // namespace deepserve::daemon
