#include "tests/gpu/bench/draw_figures.h"

#include <fmt/format.h>

#include <functional>
#include <random>

#include "runner/backend/cuda/step_draws.h"
#include "runner/backend/cuda/stream_timer.h"

namespace deepserve::runner {
namespace {

constexpr uint32_t kDifferentRows = 4;
constexpr uint32_t kRowsMax = 256;
constexpr uint16_t kChoice = 0;

struct Kind {
  std::string name;
  std::function<void(ipc::Generation&)> ask;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"greedy", [](auto& g) { g.temperature = 0; }},
      {"temperature 0.8", [](auto&) {}},
      {"top-k 40, top-p 0.95", [](auto& g) { g.top_k = 40, g.top_p = 0.95f; }},
      {"top-p 0.95, logit_bias, logprobs of 5",
       [](auto& g) {
         g.top_p = 0.95f, g.logit_bias = {{7, 1.0f}}, g.logprobs = 5;
       }},
  };
  return all;
}

Result<cuda::DeviceMemory> make_rows(uint32_t vocabulary, cudaStream_t stream) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(-2, 2.5f);
  std::vector<float> rows(size_t{kDifferentRows} * vocabulary);
  for (float& logit : rows) logit = normal(random);
  for (int peak = 0; peak < 200; ++peak) rows[random() % rows.size()] += 12;
  const size_t bytes = rows.size() * sizeof(float);
  TRY_ASSIGN(cuda::DeviceMemory memory, cuda::DeviceMemory::make(bytes * kRowsMax / kDifferentRows, "rows"));
  for (uint32_t row = 0; row < kRowsMax; row += kDifferentRows) {
    uint8_t* to = memory.data() + size_t{row} * vocabulary * sizeof(float);
    TRY(cuda::checked(cudaMemcpyAsync(to, rows.data(), bytes, cudaMemcpyHostToDevice, stream), "rows"));
  }
  TRY(cuda::checked(cudaStreamSynchronize(stream), "rows"));
  return memory;
}

}  // namespace

Result<void> time_draws(uint32_t vocabulary, uint32_t repeats, std::vector<Figure>& figures) {
  TRY_ASSIGN(const cuda::Stream stream, cuda::make_stream());
  TRY_ASSIGN(const cuda::DeviceMemory logits, make_rows(vocabulary, stream.get()));
  TRY_ASSIGN(cuda::StepDraws draws, cuda::StepDraws::make(vocabulary, kRowsMax));
  for (const Kind& kind : kinds()) {
    ipc::Generation generation;
    generation.temperature = 0.8f;
    kind.ask(generation);
    for (const uint32_t rows : {1u, 32u, kRowsMax}) {
      std::vector<RowDraw> row_draws(rows, {.generation = &generation, .choices = {&kChoice, 1}});
      std::vector<BatchEntry> entries(rows);
      for (uint32_t i = 0; i < rows; ++i) row_draws[i].index = i;
      for (uint32_t i = 0; i < rows; ++i) entries[i].logits_rows = 1, entries[i].draws = {&row_draws[i], 1};
      TRY_ASSIGN(const auto seconds,
                 cuda::seconds_of(stream.get(), static_cast<int>(repeats), [&]() -> Result<void> {
                   TRY(draws.send(entries, 0, stream.get()));
                   TRY(draws.run(0, reinterpret_cast<float*>(logits.data()), stream.get()));
                   return draws.fetch(stream.get());
                 }));
      figures.push_back({fmt::format("draws, {}, {} rows", kind.name, rows), seconds[repeats / 2] * 1e6, "us",
                         seconds.size(), seconds.front() * 1e6, seconds.back() * 1e6});
    }
  }
  return {};
}

}  // namespace deepserve::runner
