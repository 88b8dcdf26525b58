// Our declarations of NCCL against its own header, where there is one.
#include <gtest/gtest.h>

#include "runner/collective/nccl/nccl_api.h"

#if __has_include(<nccl.h>)
#include <nccl.h>

#include <cstddef>

namespace deepserve::runner::nccl {
namespace {

static_assert(sizeof(UniqueId) == sizeof(ncclUniqueId));
static_assert(static_cast<int>(Status::kUnhandledCudaError) == ncclUnhandledCudaError);
static_assert(static_cast<int>(Status::kSystemError) == ncclSystemError);
static_assert(static_cast<int>(Status::kInternalError) == ncclInternalError);
static_assert(static_cast<int>(Status::kInvalidArgument) == ncclInvalidArgument);
static_assert(static_cast<int>(Status::kInvalidUsage) == ncclInvalidUsage);
static_assert(static_cast<int>(Status::kRemoteError) == ncclRemoteError);
static_assert(static_cast<int>(Status::kInProgress) == ncclInProgress);
static_assert(static_cast<int>(DataType::kFloat32) == ncclFloat32);
static_assert(offsetof(Configuration, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(Configuration, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(Configuration, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(offsetof(Configuration, min_ctas) == offsetof(ncclConfig_t, minCTAs));
static_assert(offsetof(Configuration, net_name) == offsetof(ncclConfig_t, netName));
static_assert(offsetof(Configuration, split_share) == offsetof(ncclConfig_t, splitShare));
static_assert(sizeof(Configuration) <= sizeof(ncclConfig_t));

TEST(NcclHeader, OurConfigurationIsItsOwnInitialValue) {
  const ncclConfig_t theirs = NCCL_CONFIG_INITIALIZER;
  const Configuration ours;
  EXPECT_EQ(ours.magic, theirs.magic);
  EXPECT_EQ(ours.blocking, theirs.blocking);
  EXPECT_EQ(ours.cga_cluster_size, theirs.cgaClusterSize);
  EXPECT_EQ(ours.max_ctas, theirs.maxCTAs);
  EXPECT_EQ(ours.net_name, theirs.netName);
  EXPECT_LE(ours.version, static_cast<unsigned>(NCCL_VERSION_CODE));
}

}  // namespace
}  // namespace deepserve::runner::nccl
#endif
