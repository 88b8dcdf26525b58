// What one process tells the next of a connection that it hands over (an upgrade in place, DESIGN 10): no
// byte that the client sent or is to get is lost or comes twice.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/http/peer.h"
#include "ipc/base/bytes.h"

namespace deepserve::daemon {

enum class HandedPhase : uint8_t {
  kReceiving,  // between requests, or a part of one has come, or one that is to be asked again
  kAnswering,  // its request was taken; the answer may be written in part, or in whole
  kLingering,  // answered for the last time; what still comes is discarded
  kCount,
};

// Times are of CLOCK_MONOTONIC, which the next process shares.
struct HandedConnection {
  int fd = -1;            // borrowed; the same number on both sides
  uint32_t listener = 0;  // which of HttpServer::listen's calls it came from, the first one is 0
  HandedPhase phase = HandedPhase::kReceiving;
  Peer peer;
  bool served = false;
  bool half_closed = false;
  bool continue_told = false;  // of the request that is being received
  uint64_t since_ns = 0;
  uint64_t body_since_ns = 0;
  uint64_t write_since_ns = 0;
  uint64_t lingered_bytes = 0;
  uint64_t linger_bytes_max = 0;
  std::string received;  // kReceiving: of the present request and after it; kAnswering: after it
  std::string unsent;    // of answers; never a part of what was sent
  // kAnswering.
  uint64_t request_id = 0;
  std::string method;
  std::string path;
  bool http_1_0 = false;
  bool begun = false;      // its head was written
  bool streaming = false;  // it has chunks
  bool complete = false;   // all of it is in `unsent`
  bool close_after = false;
  std::string answer;  // Responder::hand_over; of a complete answer nothing

  void encode(ByteWriter& out) const;
  // Leaves it to the caller to look at in.ok(). A state that there is not fails as missing bytes do.
  static HandedConnection decode(ByteReader& in);
};

}  // namespace deepserve::daemon
