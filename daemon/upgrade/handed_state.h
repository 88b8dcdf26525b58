// All that a dsd hands over to the program that takes its place (DESIGN 10), as one document.
//
// The document outlives versions: a header names the writer's version and the oldest reader that understands
// it; then sections of records, each with its length. A reader passes over sections that it does not know and
// over what a later version appended to a record; what an older one does not have stays as it is here. Fields
// are only ever appended.
//
//   magic[8] version:u32 readable_from:u32 payload_bytes:u64 payload_crc32c:u32 payload
//   payload: { section:u32 record_bytes:u32 record[record_bytes] }*
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/http/handed_connection.h"
#include "daemon/supervise/supervision_record.h"
#include "ipc/base/result.h"

namespace deepserve::daemon {

// Whom a listening socket is for.
enum class ListenerKind : uint8_t { kApi, kControl, kObserve, kCount };

struct HandedListener {
  int fd = -1;
  ListenerKind kind = ListenerKind::kApi;
  bool inherited = false;  // the service manager's, which keeps it
};

// Its processes are children of this process, whatever program that runs.
struct HandedRunner {
  std::string id;  // "tiny@cpu0"
  std::vector<int64_t> pids;
  SupervisionRecord record;
};

// Until an operator resets it.
struct HandedDrainedGpu {
  std::string gpu;  // as the configuration names it
  std::string why;
};

// What an operator has drained, and what a fault has.
struct HandedDrains {
  bool host = false;
  std::vector<std::string> models;
  std::vector<std::string> runners;
  std::vector<HandedDrainedGpu> gpus = {};  // none: an older dsd does not say
};

// An answer that its client may come back for.
struct HandedAnswer {
  uint64_t request = 0;
  std::string client;
  std::string key;  // Idempotency-Key; empty: none
};

// A request that a runner has. The runner tells the next dsd of it, unless it dies meanwhile.
struct HandedRunning {
  uint64_t request = 0;
  std::string runner;  // its id
  bool accepted = false;
  uint32_t prompt_tokens = 0;  // once it is accepted
  uint32_t cached_tokens = 0;
  std::vector<std::byte> submit;  // ipc::Submit's encoding
  bool goes_on = false;           // from what the submit says that was generated; an older dsd does not say
};

struct HandedState {
  std::string version;      // DEEPSERVE_VERSION of who wrote it
  std::string config_text;  // what it runs with, which its file may no longer say
  int lock_fd = -1;         // RuntimeDir's
  uint64_t begun_ns = 0;    // CLOCK_MONOTONIC: nobody has read from or written to a client since
  uint64_t started_ns = 0;  // of this pid's dsd
  uint64_t next_request = 0;
  std::array<uint8_t, 32> ticket_key = {};

  std::vector<HandedListener> listeners;  // in the order of HttpServer::listen
  std::vector<HandedConnection> connections;
  std::vector<HandedRunner> runners;
  HandedDrains drained;
  std::optional<std::vector<HandedAnswer>> answers;  // that are kept; nothing: an older dsd does not say
  std::vector<std::byte> bookings;                   // Service::bookings; empty: an older dsd does not say
  std::vector<std::vector<std::byte>> requests;  // ipc::Submit's encoding: those that no runner has, in order
  std::vector<HandedRunning> running;            // none: an older dsd does not say

  // Every descriptor that it names.
  std::vector<int> descriptors() const;

  std::vector<std::byte> encode() const;
  // kIo for what is cut short, changed or malformed; kNotSupported, naming both versions, for one of a later
  // version that says that this one does not understand it.
  static Result<HandedState> decode(std::span<const std::byte> bytes);
};

// Of what this program writes.
uint32_t handed_state_version();

}  // namespace deepserve::daemon
