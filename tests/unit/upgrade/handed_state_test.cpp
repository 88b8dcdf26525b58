#include "daemon/upgrade/handed_state.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "ipc/lane/crc32c.h"

namespace deepserve::daemon {
namespace {

constexpr size_t kHeaderBytes = 28;

HandedState some_state() {
  HandedState state;
  state.version = "1.2.3";
  state.config_text = "[[model]]\n";
  state.lock_fd = 5;
  state.begun_ns = 11;
  state.started_ns = 12;
  state.next_request = 13;
  state.ticket_key[31] = 7;
  state.listeners = {{6, ListenerKind::kApi, true}, {7, ListenerKind::kControl}};
  HandedConnection idle;
  idle.fd = 8;
  HandedConnection answering;
  answering.fd = 9;
  answering.listener = 1;
  answering.phase = HandedPhase::kAnswering;
  answering.unsent = std::string(1000, 'u');
  answering.answer = "what the API needs";
  state.connections = {idle, answering};
  state.requests = {{std::byte{1}, std::byte{2}}, {}};
  SupervisionRecord record;
  record.restarts = 3;
  record.deaths = {100, 200};
  record.last_error = "was killed";
  state.drained = {true, {"tiny"}, {"tiny@cpu0", "tiny@cpu1"}, {{"0", "Xid 79"}, {"3", ""}}};
  state.runners = {{"tiny@cpu0", {4711, 4712}, record}};
  state.bookings = {std::byte{3}};
  state.running = {{16, "tiny@cpu0", true, 7, 3, {std::byte{4}}, true}, {17, "tiny@cpu0", false, 0, 0, {}}};
  state.answers = {{14, "uid:0", "a key"}, {15, "web", ""}};
  return state;
}

// With the payload's new length and checksum.
std::vector<std::byte> sealed_again(std::vector<std::byte> bytes) {
  const auto payload = std::span<const std::byte>(bytes).subspan(kHeaderBytes);
  const uint64_t payload_bytes = payload.size();
  const uint32_t crc = ipc::crc32c(payload);
  std::memcpy(bytes.data() + 16, &payload_bytes, sizeof payload_bytes);
  std::memcpy(bytes.data() + 24, &crc, sizeof crc);
  return bytes;
}

void append_record(std::vector<std::byte>& bytes, uint32_t section, const std::vector<std::byte>& record) {
  ByteWriter out(bytes);
  out.put(section);
  out.put(static_cast<uint32_t>(record.size()));
  bytes.insert(bytes.end(), record.begin(), record.end());
}

void expect_same(const HandedState& left, const HandedState& right) {
  EXPECT_EQ(left.version, right.version);
  EXPECT_EQ(left.config_text, right.config_text);
  EXPECT_EQ(left.descriptors(), right.descriptors());
  EXPECT_EQ(left.begun_ns, right.begun_ns);
  EXPECT_EQ(left.started_ns, right.started_ns);
  EXPECT_EQ(left.next_request, right.next_request);
  EXPECT_EQ(left.ticket_key, right.ticket_key);
  EXPECT_EQ(left.requests, right.requests);
  EXPECT_EQ(left.bookings, right.bookings);
  ASSERT_EQ(left.running.size(), right.running.size());
  for (size_t i = 0; i < left.running.size(); ++i) {
    EXPECT_EQ(left.running[i].request, right.running[i].request);
    EXPECT_EQ(left.running[i].runner, right.running[i].runner);
    EXPECT_EQ(left.running[i].accepted, right.running[i].accepted);
    EXPECT_EQ(left.running[i].prompt_tokens, right.running[i].prompt_tokens);
    EXPECT_EQ(left.running[i].cached_tokens, right.running[i].cached_tokens);
    EXPECT_EQ(left.running[i].submit, right.running[i].submit);
    EXPECT_EQ(left.running[i].goes_on, right.running[i].goes_on);
  }
  EXPECT_EQ(left.drained.host, right.drained.host);
  EXPECT_EQ(left.drained.models, right.drained.models);
  EXPECT_EQ(left.drained.runners, right.drained.runners);
  ASSERT_EQ(left.drained.gpus.size(), right.drained.gpus.size());
  for (size_t i = 0; i < left.drained.gpus.size(); ++i) {
    EXPECT_EQ(left.drained.gpus[i].gpu, right.drained.gpus[i].gpu);
    EXPECT_EQ(left.drained.gpus[i].why, right.drained.gpus[i].why);
  }
  ASSERT_EQ(left.answers.has_value(), right.answers.has_value());
  for (size_t i = 0; left.answers && i < left.answers->size(); ++i) {
    EXPECT_EQ(left.answers->at(i).request, right.answers->at(i).request);
    EXPECT_EQ(left.answers->at(i).client, right.answers->at(i).client);
    EXPECT_EQ(left.answers->at(i).key, right.answers->at(i).key);
  }
  ASSERT_EQ(left.runners.size(), right.runners.size());
  for (size_t i = 0; i < left.runners.size(); ++i) {
    EXPECT_EQ(left.runners[i].id, right.runners[i].id);
    EXPECT_EQ(left.runners[i].pids, right.runners[i].pids);
    EXPECT_EQ(left.runners[i].record, right.runners[i].record);
  }
  ASSERT_EQ(left.connections.size(), right.connections.size());
  for (size_t i = 0; i < left.connections.size(); ++i) {
    EXPECT_EQ(left.connections[i].phase, right.connections[i].phase);
    EXPECT_EQ(left.connections[i].unsent, right.connections[i].unsent);
    EXPECT_EQ(left.connections[i].answer, right.connections[i].answer);
  }
}

TEST(HandedState, IsReadAsItWasWritten) {
  const HandedState state = some_state();
  const auto read = HandedState::decode(state.encode());
  ASSERT_TRUE(read) << read.error().message;
  expect_same(*read, state);
}

TEST(HandedState, CutAnywhereIsRefused) {
  const auto bytes = some_state().encode();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(HandedState::decode(std::span(bytes.data(), size))) << size;
    if (size < kHeaderBytes) continue;
    auto cut = bytes;
    cut.resize(size);
    const auto read = HandedState::decode(sealed_again(cut));
    // At the end of a record it is a state that speaks of less.
    if (!read) continue;
    EXPECT_LT(read->descriptors().size() + read->requests.size() + read->runners.size() +
                  read->drained.runners.size() + read->bookings.size() + read->running.size() +
                  (read->answers ? read->answers->size() : 0),
              15u)
        << size;
  }
}

TEST(HandedState, ChangedAnywhereIsRefusedByItsChecksum) {
  const auto bytes = some_state().encode();
  for (size_t at = kHeaderBytes; at < bytes.size(); ++at) {
    auto changed = bytes;
    changed[at] ^= std::byte{0x10};
    EXPECT_FALSE(HandedState::decode(changed)) << at;
  }
}

TEST(HandedState, WithALyingInsideIsReadWithinItsBounds) {
  constexpr uint32_t kSeed = 11;
  constexpr int kTrials = 50'000;
  std::mt19937 random(kSeed);
  const auto bytes = some_state().encode();
  int taken = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    auto changed = bytes;
    const size_t changes = 1 + random() % 8;
    for (size_t i = 0; i < changes; ++i) {
      changed[kHeaderBytes + random() % (changed.size() - kHeaderBytes)] = static_cast<std::byte>(random());
    }
    const auto read = HandedState::decode(sealed_again(changed));
    if (!read) continue;
    ++taken;
    size_t total = read->config_text.size();
    for (const auto& one : read->connections) total += one.unsent.size() + one.received.size();
    EXPECT_LE(total, changed.size());
  }
  std::printf("seed %u, %d changed states, %d of them were taken\n", kSeed, kTrials, taken);
}

TEST(HandedState, OfALaterVersionIsReadWithoutWhatItAppended) {
  const HandedState state = some_state();
  auto bytes = state.encode();
  const uint32_t later = handed_state_version() + 1;
  std::memcpy(bytes.data() + 8, &later, sizeof later);
  // The first record, longer by a field; and a section that nobody here knows.
  uint32_t record_bytes = 0;
  std::memcpy(&record_bytes, bytes.data() + kHeaderBytes + 4, sizeof record_bytes);
  const auto end = bytes.begin() + kHeaderBytes + 8 + record_bytes;
  const std::byte appended[] = {std::byte{1}, std::byte{2}, std::byte{3}};
  bytes.insert(end, std::begin(appended), std::end(appended));
  record_bytes += sizeof appended;
  std::memcpy(bytes.data() + kHeaderBytes + 4, &record_bytes, sizeof record_bytes);
  append_record(bytes, 4711, {std::byte{9}});
  const auto read = HandedState::decode(sealed_again(bytes));
  ASSERT_TRUE(read) << read.error().message;
  expect_same(*read, state);
}

TEST(HandedState, ThatSaysItIsNotForUsIsRefusedByBothVersions) {
  auto bytes = some_state().encode();
  const uint32_t later[] = {handed_state_version() + 5, handed_state_version() + 4};
  std::memcpy(bytes.data() + 8, later, sizeof later);
  const auto read = HandedState::decode(bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kNotSupported);
  EXPECT_NE(read.error().message.find(std::to_string(later[0])), std::string::npos) << read.error().message;
  EXPECT_NE(read.error().message.find(std::to_string(later[1])), std::string::npos) << read.error().message;
}

TEST(HandedState, ThatNamesADescriptorTwiceOrAStandardStreamIsRefused) {
  HandedState twice = some_state();
  twice.connections[0].fd = twice.lock_fd;
  EXPECT_FALSE(HandedState::decode(twice.encode()));
  HandedState standard = some_state();
  standard.connections[0].fd = 2;
  EXPECT_FALSE(HandedState::decode(standard.encode()));
}

TEST(HandedState, WithoutADaemonOrWithTwoIsRefused) {
  auto bytes = some_state().encode();
  uint32_t record_bytes = 0;
  std::memcpy(&record_bytes, bytes.data() + kHeaderBytes + 4, sizeof record_bytes);
  const auto first = bytes.begin() + kHeaderBytes;
  const std::vector<std::byte> record(first, first + 8 + record_bytes);
  auto none = bytes;
  none.erase(none.begin() + kHeaderBytes, none.begin() + kHeaderBytes + 8 + record_bytes);
  EXPECT_FALSE(HandedState::decode(sealed_again(none)));
  auto two = bytes;
  two.insert(two.end(), record.begin(), record.end());
  EXPECT_FALSE(HandedState::decode(sealed_again(two)));
}

}  // namespace
}  // namespace deepserve::daemon
