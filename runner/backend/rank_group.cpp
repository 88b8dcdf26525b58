#include "runner/backend/rank_group.h"

#include <optional>

#include "runner/backend/rank_protocol.h"

namespace deepserve::runner {
namespace {

class LeadingBackend final : public Backend {
 public:
  LeadingBackend(std::unique_ptr<Backend> own, Collective& collective)
      : own_(std::move(own)), collective_(collective) {}
  ~LeadingBackend() override {
    if (!trouble_) (void)send_end(collective_);  // they see our death, too
  }

  const BackendInfo& info() const override { return own_->info(); }

  Result<void> step(std::span<const BatchEntry> batch, const StepOutputs& outputs) override {
    if (!trouble_) note(send_step(collective_, batch, body_));
    if (!trouble_) note(own_->step(batch, outputs));
    if (!trouble_) return {};
    return tl::unexpected<Error>(*trouble_);
  }

  double device_seconds() const override { return own_->device_seconds(); }

  // Trouble is told by the next step.
  void copy_block(BlockId from, BlockId to) override {
    if (!trouble_) note(send_copy(collective_, from, to));
    if (!trouble_) own_->copy_block(from, to);
  }

 private:
  void note(Result<void> result) {
    if (result) return;
    trouble_ = std::move(result.error());
    collective_.abandon(*trouble_);
  }

  std::unique_ptr<Backend> own_;
  Collective& collective_;
  std::optional<Error> trouble_;
  std::vector<uint32_t> body_;  // kept for its memory
};

Result<void> follow(Backend& own, Collective& collective) {
  TRY(agree(collective, own.info()));
  std::vector<uint32_t> body;
  std::vector<BatchEntry> batch;
  for (;;) {
    TRY_ASSIGN(const CommandWords command, receive_command(collective));
    switch (static_cast<RankCommand>(command[0])) {
      case RankCommand::kStep:
        TRY(receive_step(collective, command, own.info(), body, batch));
        TRY(own.step(batch, {}));
        break;
      case RankCommand::kCopyBlock:
        if (command[1] >= own.info().blocks || command[2] >= own.info().blocks) {
          return fail(Code::kBadLane, "rank 0 copies block {} to {}, the last is {}", command[1], command[2],
                      own.info().blocks - 1);
        }
        own.copy_block(command[1], command[2]);
        break;
      case RankCommand::kEnd:
        return {};
      default:
        return fail(Code::kBadLane, "rank 0 gave the unknown command {}", command[0]);
    }
  }
}

}  // namespace

Result<std::unique_ptr<Backend>> lead_ranks(std::unique_ptr<Backend> own, Collective& collective) {
  TRY(agree(collective, own->info()));
  return std::make_unique<LeadingBackend>(std::move(own), collective);
}

Result<void> follow_rank_0(Backend& own, Collective& collective) {
  auto done = follow(own, collective);
  if (!done) collective.abandon(done.error());
  return done;
}

}  // namespace deepserve::runner
