#include "runner/generate.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>

#include "ipc/base/clock.h"
#include "runner/device_kind.h"
#include "runner/engine/engine.h"
#include "runner/engine_options.h"
#include "runner/forked_ranks.h"
#include "runner/lane/process_share.h"
#include "runner/model/loaded_model.h"

namespace deepserve::runner {
namespace {

struct Arguments {
  std::string model;
  std::string prompt;
  std::string chat_template;
  std::string kind = "cpu";
  bool deterministic = false;
  bool allow_jit = false;
  std::string isa;
  bool chat = false;
  bool speculation = true;
  uint32_t threads = 0;  // 0: the usable cores, shared among the ranks
  uint32_t ranks = 1;
  uint32_t context_tokens = 4096;
  uint64_t kv_bytes = 512ull << 20;
  kernels::KvType kv_type = kernels::KvType::kF16;
  ipc::Generation generation;
};

// Prints what it is told, and keeps the end.
class PrintingSink final : public EventSink {
 public:
  void accepted(const ipc::Accepted&) override {}
  void delta(const ipc::Delta& event) override {
    std::fwrite(event.text.data(), 1, event.text.size(), stdout);
    std::fflush(stdout);
  }
  void embedding(const ipc::Embedding&) override {}
  void finished(const ipc::Finished& event) override { end = event; }
  void failed(const ipc::Failed& event) override { error = Error{event.code, event.message}; }

  ipc::Finished end;
  std::optional<Error> error;
};

double per_second(uint64_t count, uint64_t duration_ns) {
  return duration_ns == 0 ? 0 : static_cast<double>(count) * 1e9 / static_cast<double>(duration_ns);
}

void print_figures(const ipc::Finished& end, uint64_t load_ns) {
  const auto& usage = end.usage;
  fmt::print(stderr,
             "\n[load {:.3f} s; prompt {} tokens, {:.1f} tokens/s; answer {} tokens, {:.1f} tokens/s; {}; "
             "drafts {} right, {} wrong]\n",
             static_cast<double>(load_ns) / 1e9, usage.prompt_tokens,
             per_second(usage.prompt_tokens, end.timings.prefill_ns), usage.completion_tokens,
             per_second(std::max(usage.completion_tokens, 1u) - 1, end.timings.decode_ns),
             ipc::finish_reason_name(end.reason), usage.drafts_accepted, usage.drafts_rejected);
}

Result<ChatTemplate> chat_template(const Arguments& arguments, const Vocabulary& vocabulary) {
  if (arguments.chat_template.empty()) return ChatTemplate::detect(vocabulary);
  TRY_ASSIGN(const ChatFamily family, chat_family_from_name(arguments.chat_template));
  return ChatTemplate::of_family(family, vocabulary);
}

Result<void> generate(const Arguments& arguments) {
  const uint64_t begin_ns = monotonic_ns();
  BackendOptions backend_options;
  backend_options.kv_bytes = arguments.kv_bytes;
  backend_options.kv_type = arguments.kv_type;
  backend_options.threads = arguments.threads;
  if (arguments.threads == 0) backend_options.threads = std::max(1u, usable_cores() / arguments.ranks);
  backend_options.isa = arguments.isa;
  backend_options.deterministic = arguments.deterministic;
  backend_options.allow_jit = arguments.allow_jit;
  TRY_ASSIGN(const DeviceKind device, device_kind(arguments.kind));
  backend_options.make = device.make;
  TRY_ASSIGN(const auto ranks, ForkedRanks::start(arguments.ranks, arguments.model, device, backend_options));
  backend_options.collective = ranks->collective();
  backend_options.nccl = ranks->nccl();
  TRY_ASSIGN(LoadedModel model, load_model(arguments.model, backend_options));
  if (!model.vocabulary) return tl::unexpected<Error>(model.vocabulary_error);
  const auto chat = chat_template(arguments, *model.vocabulary);
  const auto tokenizer = Tokenizer::make(std::move(*model.vocabulary));
  if (!tokenizer) return tl::unexpected<Error>(of_file(arguments.model, tokenizer.error()));
  const uint64_t load_ns = monotonic_ns() - begin_ns;

  PrintingSink sink;
  EngineOptions options;
  options.context_tokens = arguments.context_tokens;
  options.speculation = arguments.speculation ? Speculation::kAuto : Speculation::kOff;
  TRY_ASSIGN(const auto engine, Engine::make(*model.backend, **tokenizer, chat, options, sink));
  ipc::Submit submit;
  submit.request = 1;
  submit.generation = arguments.generation;
  if (arguments.chat) {
    submit.prompt.kind = ipc::PromptKind::kChat;
    submit.prompt.chat = {{"user", arguments.prompt}};
  } else {
    submit.prompt.text = arguments.prompt;
  }
  engine->submit(submit);
  while (engine->has_work()) TRY(engine->step());
  if (sink.error) return tl::unexpected<Error>(*sink.error);
  print_figures(sink.end, load_ns);
  return {};
}

}  // namespace

Result<int> run_generate(std::vector<std::string> words) {
  Arguments arguments;
  auto& generation = arguments.generation;
  generation.tokens_max = 256;
  CLI::App app("One answer from a model file, without a daemon", "ds-runner generate");
  app.add_option("MODEL", arguments.model, "A GGUF file or a Hugging Face directory")->required();
  app.add_option("--prompt,-p", arguments.prompt, "What comes first")->required();
  app.add_flag("--chat", arguments.chat,
               "The prompt is a user's message, put into the model's chat template");
  app.add_option("--chat-template", arguments.chat_template, "A family by name, when the file does not say");
  app.add_option("--max-tokens,-n", generation.tokens_max, "How many tokens at most (256)");
  app.add_option("--temperature", generation.temperature, "0: always the most likely token (1)");
  app.add_option("--top-p", generation.top_p, "Only the most likely tokens that reach this probability (1)");
  app.add_option("--top-k", generation.top_k, "Only so many of the most likely tokens (0: all)");
  app.add_option("--seed", generation.seed, "The same seed draws the same answer (0)");
  app.add_flag("--ignore-eos", generation.ignore_eos, "Go on after the end token");
  app.add_option("--threads", arguments.threads,
                 "Threads of each process (all usable cores, shared among them)")
      ->check(CLI::Range(1u, 1024u));
  app.add_option("--tensor-parallel", arguments.ranks, "Processes to spread the model over (1)")
      ->check(CLI::Range(1u, ipc::kRanksMax));
  app.add_option("--context-tokens", arguments.context_tokens, "Context in tokens (4096)");
  app.add_option("--kv-bytes", arguments.kv_bytes, "Memory for the KV cache (512 MiB)");
  add_kind_option(app, arguments.kind);
  add_gpu_flags(app, arguments.deterministic, arguments.allow_jit);
  add_kv_type_option(app, arguments.kv_type);
  app.add_option("--isa", arguments.isa,
                 "\"scalar\", \"avx2\" or \"avx512\"; without it the best this CPU has");
  add_speculation_option(app, arguments.speculation);
  TRY(parse_words(app, "generate", std::move(words)));
  TRY(generate(arguments));
  return 0;
}

}  // namespace deepserve::runner
