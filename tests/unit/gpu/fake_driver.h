// A driver of the test's own: the fake libnvidia-ml.so.1 that LD_LIBRARY_PATH names, and the file that it
// answers from.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace deepserve::daemon {

class FakeDriver {
 public:
  FakeDriver() : path_(::testing::TempDir() + "fake_nvml." + std::to_string(::getpid())) {
    ::setenv("FAKE_NVML_FILE", path_.c_str(), 1);
    write("");
  }
  ~FakeDriver() {
    ::unsetenv("FAKE_NVML_FILE");
    std::remove(path_.c_str());
  }
  FakeDriver(const FakeDriver&) = delete;
  FakeDriver& operator=(const FakeDriver&) = delete;

  // What it answers from here on: at once, never half of it.
  void write(const std::string& lines) {
    std::ofstream(path_ + ".next") << lines;
    std::rename((path_ + ".next").c_str(), path_.c_str());
  }

 private:
  const std::string path_;
};

}  // namespace deepserve::daemon
