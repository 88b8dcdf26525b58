#include "daemon/upgrade/handed_state.h"

#include <algorithm>
#include <cstring>

#include "ipc/lane/crc32c.h"

// The build that stands for a later version in the tests (tests/system/next_dsd) sets it.
#ifndef DEEPSERVE_STATE_VERSION
#define DEEPSERVE_STATE_VERSION 1
#endif

namespace deepserve::daemon {
namespace {

constexpr char kMagic[8] = {'D', 'S', 'D', 'S', 'T', 'A', 'T', 'E'};
constexpr uint32_t kVersion = DEEPSERVE_STATE_VERSION;
constexpr uint32_t kReadableFrom = 1;
constexpr size_t kHeaderBytes = 28;
constexpr bool kIsLater = kVersion > 1;

enum class Section : uint32_t {
  kDaemon = 1,
  kListener,
  kConnection,
  kRequest,
  kRunner,
  kDrained,
  kAnswers,
  kBookings,
  kRunning,
  kOfALaterVersion = 1000
};

class SectionWriter {
 public:
  explicit SectionWriter(std::vector<std::byte>& out) : out_(out) {}

  // `fill` writes the record.
  template <typename Fill>
  void add(Section section, Fill fill) {
    std::vector<std::byte> record;
    ByteWriter writer(record);
    fill(writer);
    if constexpr (kIsLater) writer.put_string("appended by a later version");
    ByteWriter out(out_);
    out.put(section);
    out.put(static_cast<uint32_t>(record.size()));
    out_.insert(out_.end(), record.begin(), record.end());
  }

 private:
  std::vector<std::byte>& out_;
};

void encode_daemon(const HandedState& state, ByteWriter& out) {
  out.put_string(state.version);
  out.put_string(state.config_text);
  out.put(state.lock_fd);
  out.put(state.begun_ns);
  out.put(state.started_ns);
  out.put(state.next_request);
  for (const uint8_t byte : state.ticket_key) out.put(byte);
}

void decode_daemon(HandedState& state, ByteReader& in) {
  state.version = in.get_string();
  state.config_text = in.get_string();
  state.lock_fd = in.get<int>();
  state.begun_ns = in.get<uint64_t>();
  state.started_ns = in.get<uint64_t>();
  state.next_request = in.get<uint64_t>();
  for (uint8_t& byte : state.ticket_key) byte = in.get<uint8_t>();
}

HandedListener decode_listener(ByteReader& in) {
  HandedListener listener;
  listener.fd = in.get<int>();
  const auto kind = in.get<uint8_t>();
  if (kind >= static_cast<uint8_t>(ListenerKind::kCount)) in.refuse();
  listener.kind = static_cast<ListenerKind>(kind);
  if (!in.done()) listener.inherited = in.get<uint8_t>() != 0;
  return listener;
}

void encode_runner(const HandedRunner& runner, ByteWriter& out) {
  out.put_string(runner.id);
  out.put_array<int64_t>(runner.pids);
  runner.record.encode(out);
}

HandedRunner decode_runner(ByteReader& in) {
  HandedRunner runner;
  runner.id = in.get_string();
  runner.pids = in.get_array<int64_t>();
  runner.record = SupervisionRecord::decode(in);
  return runner;
}

void encode_names(const std::vector<std::string>& names, ByteWriter& out) {
  out.put(static_cast<uint32_t>(names.size()));
  for (const auto& name : names) out.put_string(name);
}

std::vector<std::string> decode_names(ByteReader& in) {
  std::vector<std::string> names(in.get_count(sizeof(uint32_t)));
  for (auto& name : names) name = in.get_string();
  return names;
}

void encode_drains(const HandedDrains& drained, ByteWriter& out) {
  out.put(drained.host);
  encode_names(drained.models, out);
  encode_names(drained.runners, out);
  out.put(static_cast<uint32_t>(drained.gpus.size()));
  for (const auto& [gpu, why] : drained.gpus) {
    out.put_string(gpu);
    out.put_string(why);
  }
}

HandedDrains decode_drains(ByteReader& in) {
  HandedDrains drained;
  drained.host = in.get<uint8_t>() != 0;
  drained.models = decode_names(in);
  drained.runners = decode_names(in);
  if (in.done()) return drained;
  drained.gpus.resize(in.get_count(2 * sizeof(uint32_t)));
  for (auto& [gpu, why] : drained.gpus) {
    gpu = in.get_string();
    why = in.get_string();
  }
  return drained;
}

void encode_answers(const std::vector<HandedAnswer>& answers, ByteWriter& out) {
  out.put(static_cast<uint32_t>(answers.size()));
  for (const auto& answer : answers) {
    out.put(answer.request);
    out.put_string(answer.client);
    out.put_string(answer.key);
  }
}

std::vector<HandedAnswer> decode_answers(ByteReader& in) {
  std::vector<HandedAnswer> answers(in.get_count(sizeof(uint64_t) + 2 * sizeof(uint32_t)));
  for (auto& answer : answers) {
    answer.request = in.get<uint64_t>();
    answer.client = in.get_string();
    answer.key = in.get_string();
  }
  return answers;
}

void encode_bytes(const std::vector<std::byte>& bytes, ByteWriter& out) {
  out.put_string({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::vector<std::byte> decode_bytes(ByteReader& in) {
  const std::string bytes = in.get_string();
  const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
  return {first, first + bytes.size()};
}

void encode_running(const HandedRunning& running, ByteWriter& out) {
  out.put(running.request);
  out.put_string(running.runner);
  out.put(running.accepted);
  out.put(running.prompt_tokens);
  out.put(running.cached_tokens);
  encode_bytes(running.submit, out);
  out.put(running.goes_on);
}

HandedRunning decode_running(ByteReader& in) {
  HandedRunning running;
  running.request = in.get<uint64_t>();
  running.runner = in.get_string();
  running.accepted = in.get<uint8_t>() != 0;
  running.prompt_tokens = in.get<uint32_t>();
  running.cached_tokens = in.get<uint32_t>();
  running.submit = decode_bytes(in);
  if (!in.done()) running.goes_on = in.get<uint8_t>() != 0;
  return running;
}

// False when the record is too short for what it should hold.
bool decode_record(HandedState& state, Section section, std::span<const std::byte> record) {
  ByteReader in(record);
  switch (section) {
    case Section::kDaemon:
      decode_daemon(state, in);
      break;
    case Section::kListener:
      state.listeners.push_back(decode_listener(in));
      break;
    case Section::kConnection:
      state.connections.push_back(HandedConnection::decode(in));
      break;
    case Section::kRequest:
      state.requests.push_back(decode_bytes(in));
      break;
    case Section::kRunning:
      state.running.push_back(decode_running(in));
      break;
    case Section::kBookings:
      state.bookings = decode_bytes(in);
      break;
    case Section::kRunner:
      state.runners.push_back(decode_runner(in));
      break;
    case Section::kDrained:
      state.drained = decode_drains(in);
      break;
    case Section::kAnswers:
      state.answers = decode_answers(in);
      break;
    default:
      break;  // of a later version
  }
  return in.ok();
}

Result<std::span<const std::byte>> checked_payload(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return fail(Code::kIo, "this is no state of a dsd");
  }
  ByteReader header(bytes.subspan(sizeof kMagic, kHeaderBytes - sizeof kMagic));
  const auto version = header.get<uint32_t>();
  const auto readable_from = header.get<uint32_t>();
  const auto payload_bytes = header.get<uint64_t>();
  const auto crc = header.get<uint32_t>();
  const auto payload = bytes.subspan(kHeaderBytes);
  if (readable_from > kVersion) {
    return fail(Code::kNotSupported,
                "the state is of version {}, which a dsd of version {} or later reads; this one is of {}",
                version, readable_from, kVersion);
  }
  if (payload_bytes != payload.size()) {
    return fail(Code::kIo, "the state has {} bytes instead of {}", payload.size(), payload_bytes);
  }
  if (crc != ipc::crc32c(payload)) return fail(Code::kIo, "the state's checksum is wrong");
  return payload;
}

}  // namespace

uint32_t handed_state_version() {
  return kVersion;
}

std::vector<int> HandedState::descriptors() const {
  std::vector<int> all{lock_fd};
  for (const auto& listener : listeners) all.push_back(listener.fd);
  for (const auto& connection : connections) all.push_back(connection.fd);
  return all;
}

std::vector<std::byte> HandedState::encode() const {
  std::vector<std::byte> payload;
  SectionWriter sections(payload);
  sections.add(Section::kDaemon, [this](ByteWriter& out) { encode_daemon(*this, out); });
  for (const auto& listener : listeners) {
    sections.add(Section::kListener, [&listener](ByteWriter& out) {
      out.put(listener.fd);
      out.put(listener.kind);
      out.put(listener.inherited);
    });
  }
  for (const auto& connection : connections) {
    sections.add(Section::kConnection, [&connection](ByteWriter& out) { connection.encode(out); });
  }
  for (const auto& request : requests) {
    sections.add(Section::kRequest, [&request](ByteWriter& out) { encode_bytes(request, out); });
  }
  for (const auto& one : running) {
    sections.add(Section::kRunning, [&one](ByteWriter& out) { encode_running(one, out); });
  }
  if (!bookings.empty()) {
    sections.add(Section::kBookings, [this](ByteWriter& out) { encode_bytes(bookings, out); });
  }
  for (const auto& runner : runners) {
    sections.add(Section::kRunner, [&runner](ByteWriter& out) { encode_runner(runner, out); });
  }
  sections.add(Section::kDrained, [this](ByteWriter& out) { encode_drains(drained, out); });
  if (answers) {
    sections.add(Section::kAnswers, [this](ByteWriter& out) { encode_answers(*answers, out); });
  }
  if constexpr (kIsLater) {
    sections.add(Section::kOfALaterVersion, [](ByteWriter& out) { out.put(uint64_t{7}); });
  }

  std::vector<std::byte> bytes;
  ByteWriter header(bytes);
  for (const char c : kMagic) header.put(c);
  header.put(kVersion);
  header.put(kReadableFrom);
  header.put(static_cast<uint64_t>(payload.size()));
  header.put(ipc::crc32c(payload));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

Result<HandedState> HandedState::decode(std::span<const std::byte> bytes) {
  TRY_ASSIGN(auto payload, checked_payload(bytes));
  HandedState state;
  size_t daemons = 0;
  while (!payload.empty()) {
    ByteReader in(payload);
    const auto section = in.get<Section>();
    const auto record_bytes = in.get<uint32_t>();
    constexpr size_t kBefore = sizeof section + sizeof record_bytes;
    if (!in.ok() || record_bytes > payload.size() - kBefore) {
      return fail(Code::kIo, "the state ends within a record");
    }
    if (!decode_record(state, section, payload.subspan(kBefore, record_bytes))) {
      return fail(Code::kIo, "a record of section {} of the state is malformed",
                  static_cast<uint32_t>(section));
    }
    daemons += section == Section::kDaemon;
    payload = payload.subspan(kBefore + record_bytes);
  }
  if (daemons != 1) return fail(Code::kIo, "the state speaks of {} daemons", daemons);
  auto descriptors = state.descriptors();
  std::sort(descriptors.begin(), descriptors.end());
  const bool twice = std::adjacent_find(descriptors.begin(), descriptors.end()) != descriptors.end();
  if (twice || descriptors.front() <= 2)
    return fail(Code::kIo, "the state names a descriptor that cannot be");
  return state;
}

}  // namespace deepserve::daemon
