// What one client may cost the daemon before it is answered with an error and closed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace deepserve::daemon {

struct HttpLimits {
  size_t head_bytes_max = 16 * 1024;            // request line and header fields; beyond: 431
  size_t head_fields_max = 100;                 // beyond: 431
  size_t body_bytes_max = 8 * 1024 * 1024;      // beyond: 413; as JSON of what a lane takes (4 MiB)
  size_t bodies_bytes_max = 512 * 1024 * 1024;  // of all unfinished bodies together; beyond: 503
  size_t pipelined_bytes_max = 64 * 1024;       // kept unparsed while a request runs; beyond: not read
  size_t connections_max = 10'000;              // of clients; beyond: 503 and closed
  // Of these, clients over TCP, where whoever is on this host may connect: the rest stays with the Unix
  // socket.
  size_t tcp_connections_max = 1'000;
  size_t operator_connections_max = 64;   // the same, of sockets for operators: a count of their own
  size_t unsent_bytes_max = 1024 * 1024;  // from here on the connection asks its responder for no more

  uint64_t head_timeout_ms = 5'000;    // from the first byte of a head to its end; then 408
  uint64_t body_timeout_ms = 30'000;   // without a byte of an unfinished body; then 408
  uint64_t body_total_ms = 120'000;    // from the end of the head to the end of the body; then 408
  uint64_t idle_timeout_ms = 120'000;  // between requests; then closed without a word
  uint64_t tcp_first_head_ms = 5'000;  // to the first byte of a first request over TCP; then closed as well
  uint64_t write_timeout_ms = 30'000;  // unsent bytes and not one taken; then reset, its request forgotten

  // After an answer that ends the connection early, what the client still sends is discarded so long and so
  // far, so that it gets to read the answer.
  uint64_t linger_ms = 1'000;
  size_t linger_bytes_max = 32 * 1024 * 1024;
  // Of a request that was refused on its head: the body that is waited for before the answer, no longer than
  // linger_ms, so that the connection can go on; and how much of a longer one is discarded after it.
  size_t refused_wait_bytes = 64 * 1024;
  size_t refused_bytes_max = 1024 * 1024;

  uint64_t sweep_ms = 250;  // how often the timeouts are looked at
};

}  // namespace deepserve::daemon
