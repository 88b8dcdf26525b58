// A model over several ranks inside one process.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "runner/backend/rank_group.h"
#include "runner/collective/shared_collective.h"
#include "runner/model/loaded_model.h"

namespace deepserve::runner {

// The other ranks are threads of this process; each has its own part of the model.
class ThreadedRanks {
 public:
  ThreadedRanks(const std::filesystem::path& path, uint32_t ranks, BackendOptions options) {
    const auto memory = *ipc::GroupMemory::map(*ipc::create_group_memory({.ranks = ranks}), 1);
    for (uint32_t rank = 1; rank < ranks; ++rank) {
      threads_.emplace_back([=]() mutable {
        const auto collective = *SharedCollective::join(memory, {.rank = rank});
        options.collective = collective.get();
        auto loaded = load_model(path, options);
        if (!loaded) return;  // rank 0 is told
        const auto done = follow_rank_0(*loaded->backend, *collective);
        EXPECT_TRUE(done) << done.error().message;
      });
    }
    collective_ = *SharedCollective::join(memory, {.rank = 0});
    options.collective = collective_.get();
    loaded_ = load_model(path, options);
  }
  ~ThreadedRanks() {
    if (loaded_) loaded_->backend.reset();
    for (auto& thread : threads_) thread.join();
  }
  const Result<LoadedModel>& loaded() const { return loaded_; }
  LoadedModel& model() { return *loaded_; }
  Backend& backend() const { return *loaded_->backend; }

 private:
  std::vector<std::thread> threads_;
  std::unique_ptr<SharedCollective> collective_;
  Result<LoadedModel> loaded_ = fail(Code::kInternal, "not loaded");
};

}  // namespace deepserve::runner
