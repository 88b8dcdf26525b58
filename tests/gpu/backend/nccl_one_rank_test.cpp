// NCCL with a group of this process alone: that its library is found, takes our configuration, and moves what
// a stream has made. The real one where there is a GPU, else the fake.
#include <gtest/gtest.h>

#include <vector>

#include "runner/backend/cuda/device_memory.h"
#include "runner/backend/cuda/gpu.h"
#include "runner/collective/nccl/nccl_group.h"
#include "runner/collective/nccl/nccl_library.h"

namespace deepserve::runner {
namespace {

// A group of one, who has nobody to exchange with.
class Alone final : public Collective {
 public:
  uint32_t rank() const override { return 0; }
  uint32_t size() const override { return 1; }
  Result<void> all_reduce_sum(std::span<float>) override { return {}; }
  Result<void> all_gather(std::span<const float>, std::span<const size_t>, std::span<float>) override {
    return {};
  }
  Result<void> broadcast(std::span<std::byte>, uint32_t, Patience) override { return {}; }
  Result<void> barrier(Patience) override { return {}; }
  Result<void> barrier_within(uint64_t) override { return {}; }
  Result<void> all_live() override { return {}; }
  void abandon(const Error& error) override { abandoned = error.message; }

  std::string abandoned;
};

class NcclOfOneRank : public testing::Test {
 protected:
  void SetUp() override {
    prepare_nccl_environment();
    const auto gpu = cuda::open_gpu(false);
    ASSERT_TRUE(gpu) << gpu.error().message;
    const auto library = load_nccl();
    ASSERT_TRUE(library) << library.error().message;
    int version = 0;
    ASSERT_EQ((*library)->get_version(&version), nccl::Status::kSuccess);
    std::printf("NCCL %s\n", nccl_version_text(version).c_str());
    auto group = NcclGroup::join(**library, peers_);
    ASSERT_TRUE(group) << group.error().message;
    group_ = std::move(*group);
    stream_ = *cuda::make_stream();
  }

  Result<void> finish() {
    const uint64_t begin_ns = monotonic_ns();
    for (;;) {
      const cudaError_t state = cudaStreamQuery(stream_.get());
      if (state != cudaErrorNotReady) return cuda::checked(state, "waiting");
      TRY(group_->look(begin_ns));
    }
  }

  Alone peers_;
  std::unique_ptr<NcclGroup> group_;
  cuda::Stream stream_;
};

TEST_F(NcclOfOneRank, GathersWhatTheStreamHasMade) {
  std::vector<float> values(100'000), gathered(values.size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const size_t bytes = values.size() * sizeof(float);
  const auto mine = *cuda::DeviceMemory::make(bytes, "a part"), all = *cuda::DeviceMemory::make(bytes, "all");
  ASSERT_EQ(cudaMemcpyAsync(mine.data(), values.data(), bytes, cudaMemcpyHostToDevice, stream_.get()), 0);
  const auto sent = group_->all_gather(reinterpret_cast<const float*>(mine.data()), values.size(),
                                       reinterpret_cast<float*>(all.data()), stream_.get());
  ASSERT_TRUE(sent) << sent.error().message;
  ASSERT_EQ(cudaMemcpyAsync(gathered.data(), all.data(), bytes, cudaMemcpyDeviceToHost, stream_.get()), 0);
  const auto done = finish();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(gathered, values);
}

TEST_F(NcclOfOneRank, AfterItsEndEveryCallSaysWhy) {
  group_->end({Code::kDeviceFault, "the GPU is on fire"});
  EXPECT_EQ(peers_.abandoned, "the GPU is on fire");
  const auto refused = group_->all_gather(nullptr, 1, nullptr, stream_.get());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "the GPU is on fire");
  EXPECT_FALSE(group_->look(monotonic_ns()));
}

}  // namespace
}  // namespace deepserve::runner
