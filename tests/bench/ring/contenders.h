// What ring_bench compares. Each function is one run in a fresh pair of processes; the receiver checks every
// message.
#pragma once

#include <cstdint>

namespace deepserve::bench {

// One-way: messages per second. A message carries its number in its first and last word, and the receiver
// checks both. The lane's messages take one 64-byte slot with a 48-byte body; the rivals' are 64 bytes.
double one_way_ring(uint64_t messages);  // RingProducer and RingConsumer, published and woken per 64
double one_way_lane(uint64_t messages);  // the same through Lane (virtual calls, std::function handler)
double one_way_message_queue(uint64_t messages);  // boost::interprocess::message_queue, 1024 messages deep
double one_way_socket(uint64_t messages, uint64_t messages_per_write);  // AF_UNIX stream
double one_way_spsc(uint64_t messages);  // boost::lockfree::spsc_queue, 1024 deep, push and pop of one item
double one_way_spsc_batched(uint64_t messages);  // its array push and pop, 64 items a call

// Spinning round trips: nanoseconds for one, the median of blocks of 1,000.
double round_trip_cache_line(uint64_t trips);  // one word of one shared cache line, stored in turn
double round_trip_ring(uint64_t trips);  // 48-byte messages through both directions, with the wake protocol
double round_trip_lane(uint64_t trips);  // the same through Lane::send, flush, wait and drain

}  // namespace deepserve::bench
