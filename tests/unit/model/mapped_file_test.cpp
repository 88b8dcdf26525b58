#include "runner/model/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <vector>

#include "runner/model/content_hash.h"
#include "tests/unit/model/temporary_file.h"

namespace deepserve::runner {
namespace {

using testing::HasSubstr;

std::vector<uint8_t> some_bytes(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 31);
  return bytes;
}

TEST(MappedFile, HoldsTheBytesAndKnowsItsAddresses) {
  const auto bytes = some_bytes(10'000);
  const TemporaryFile file(bytes);
  const void* inside = nullptr;
  {
    const auto mapped = MappedFile::open(file.path());
    ASSERT_TRUE(mapped) << mapped.error().message;
    EXPECT_TRUE(std::ranges::equal(mapped->bytes(), bytes));
    EXPECT_EQ(mapped->identity().size_bytes, bytes.size());
    inside = mapped->bytes().data() + 5'000;
    EXPECT_TRUE(address_in_mapped_model(inside));
    EXPECT_FALSE(address_in_mapped_model(bytes.data()));
    EXPECT_TRUE(mapped->verify_unchanged());
  }
  EXPECT_FALSE(address_in_mapped_model(inside));
}

TEST(MappedFile, AnythingButAFileWithBytesIsRefused) {
  EXPECT_EQ(MappedFile::open("/nowhere/m.gguf").error().code, Code::kModelNotFound);
  EXPECT_EQ(MappedFile::open("/").error().code, Code::kBadModelFile);
  EXPECT_EQ(MappedFile::open("/dev/zero").error().code, Code::kBadModelFile);
  const TemporaryFile empty({});
  EXPECT_THAT(MappedFile::open(empty.path()).error().message, HasSubstr("empty"));
  std::filesystem::remove(empty.path());
  ASSERT_EQ(mkfifo(empty.path().c_str(), 0600), 0);
  EXPECT_EQ(MappedFile::open(empty.path()).error().code, Code::kBadModelFile);
}

TEST(MappedFile, AChangeOfSizeOrTimeIsNoticed) {
  const TemporaryFile file(some_bytes(100));
  const auto mapped = MappedFile::open(file.path());
  ASSERT_TRUE(mapped);
  std::filesystem::last_write_time(file.path(),
                                   std::filesystem::last_write_time(file.path()) - std::chrono::hours(1));
  EXPECT_THAT(mapped->verify_unchanged().error().message, HasSubstr("written to"));
  std::ofstream(file.path(), std::ios::app) << "more";
  const auto verified = mapped->verify_unchanged();
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code, Code::kBadModelFile);
  EXPECT_THAT(verified.error().message, HasSubstr("100 bytes, now 104"));
}

TEST(MappedFile, APieceIsFetchedAndBroughtInWhereverItBegins) {
  const auto bytes = some_bytes((1u << 20) + 12'345);
  const TemporaryFile file(bytes);
  const auto mapped = MappedFile::open(file.path());
  ASSERT_TRUE(mapped);
  const auto piece = mapped->bytes().subspan(5'001);
  ASSERT_TRUE(mapped->fetch(piece));
  mapped->bring_in(piece);
  std::vector<unsigned char> pages((mapped->bytes().size() + 4'095) / 4'096);
  ASSERT_EQ(mincore(const_cast<uint8_t*>(mapped->bytes().data()), mapped->bytes().size(), pages.data()), 0);
  EXPECT_TRUE(std::ranges::all_of(pages.begin() + 1, pages.end(), [](auto page) { return (page & 1) != 0; }));
  EXPECT_TRUE(std::ranges::equal(piece, std::span(bytes).subspan(5'001)));
}

TEST(MappedFile, AFileThatWasCutShortCannotBeFetched) {
  const TemporaryFile file(some_bytes(300'000));
  const auto mapped = MappedFile::open(file.path());
  ASSERT_TRUE(mapped);
  std::filesystem::resize_file(file.path(), 200'000);
  const auto fetched = mapped->fetch(mapped->bytes());
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, Code::kBadModelFile);
  EXPECT_THAT(fetched.error().message, HasSubstr("ends at 200000"));
}

TEST(ContentHash, DependsOnEveryByteAndNotOnThePieces) {
  auto bytes = some_bytes(1000);
  const auto hash_of = [&](size_t cut) {
    ContentHash hash;
    hash.add(std::span(bytes).first(cut));
    hash.add(std::span(bytes).subspan(cut));
    return hash.value();
  };
  const uint64_t original = hash_of(0);
  EXPECT_EQ(hash_of(64), original);
  EXPECT_EQ(hash_of(992), original);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 1;
    ASSERT_NE(hash_of(0), original) << i;
    bytes[i] ^= 1;
  }
  bytes.push_back(0);
  EXPECT_NE(hash_of(0), original);
}

}  // namespace
}  // namespace deepserve::runner
