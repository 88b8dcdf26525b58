// An engine over a model that is on the GPU (or its emulator), with the model's own tokeniser.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "runner/model/loaded_model.h"
#include "tests/unit/engine/fakes.h"

namespace deepserve::runner {

struct GpuEngine {
  // `backend`: the model's, or one around it.
  GpuEngine(LoadedModel& model, Backend& backend, EngineOptions options) {
    tokenizer = Tokenizer::make(*model.vocabulary).value();
    options.check_blocks = true;
    engine = Engine::make(backend, *tokenizer, testing::kNoChat, options, sink).value();
  }
  void run(const std::vector<ipc::Submit>& requests) {
    for (const auto& request : requests) engine->submit(request);
    while (engine->has_work()) ASSERT_TRUE(engine->step());
  }

  std::unique_ptr<Tokenizer> tokenizer;
  testing::RecordingSink sink;
  std::unique_ptr<Engine> engine;
};

}  // namespace deepserve::runner
