#include "runner/backend/cuda/driver_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace deepserve::runner::cuda {
namespace {

using testing::ElementsAre;

TEST(DriverFiles, AreTheDevicesThatAMappingOpensAndWhatIsReadBesides) {
  const std::filesystem::path root =
      std::filesystem::path(testing::TempDir()) / ("driver_files_" + std::to_string(getpid()));
  for (const char* directory : {"dev", "proc/self/task/1", "proc/driver/nvidia"}) {
    std::filesystem::create_directories(root / directory);
  }
  for (const char* file : {"nvidia0", "nvidia11", "nvidiactl", "nvidia-uvm", "nvidia-modeset", "null"}) {
    std::ofstream(root / "dev" / file) << "";
  }
  const DeviceFiles files = driver_files(root);
  EXPECT_THAT(files.writable,
              ElementsAre(root / "dev/nvidia-uvm", root / "dev/nvidia0", root / "dev/nvidia11",
                          root / "dev/nvidiactl", root / "proc/self/task"));
  EXPECT_THAT(files.readable, ElementsAre(root / "proc/driver/nvidia"));
  std::filesystem::remove_all(root);
}

TEST(DriverFiles, WithoutADriverThereAreNone) {
  const DeviceFiles files = driver_files("/no/such/place");
  EXPECT_TRUE(files.writable.empty());
  EXPECT_TRUE(files.readable.empty());
}

}  // namespace
}  // namespace deepserve::runner::cuda
