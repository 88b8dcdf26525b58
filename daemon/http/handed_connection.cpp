#include "daemon/http/handed_connection.h"

#include "daemon/http/peer_code.h"

namespace deepserve::daemon {
void HandedConnection::encode(ByteWriter& out) const {
  out.put(fd);
  out.put(listener);
  out.put(phase);
  put_peer(peer, out);
  for (const bool flag : {served, half_closed, continue_told}) out.put(flag);
  for (const uint64_t value : {since_ns, body_since_ns, write_since_ns, lingered_bytes, linger_bytes_max}) {
    out.put(value);
  }
  out.put_string(received);
  out.put_string(unsent);
  out.put(request_id);
  out.put_string(method);
  out.put_string(path);
  for (const bool flag : {http_1_0, begun, streaming, complete, close_after}) out.put(flag);
  out.put_string(answer);
}

HandedConnection HandedConnection::decode(ByteReader& in) {
  HandedConnection handed;
  handed.fd = in.get<int>();
  handed.listener = in.get<uint32_t>();
  const auto phase = in.get<uint8_t>();
  if (phase >= static_cast<uint8_t>(HandedPhase::kCount)) in.refuse();
  handed.phase = static_cast<HandedPhase>(phase);
  handed.peer = get_peer(in);
  for (bool* flag : {&handed.served, &handed.half_closed, &handed.continue_told}) {
    *flag = in.get<uint8_t>() != 0;
  }
  for (uint64_t* value : {&handed.since_ns, &handed.body_since_ns, &handed.write_since_ns,
                          &handed.lingered_bytes, &handed.linger_bytes_max}) {
    *value = in.get<uint64_t>();
  }
  handed.received = in.get_string();
  handed.unsent = in.get_string();
  handed.request_id = in.get<uint64_t>();
  handed.method = in.get_string();
  handed.path = in.get_string();
  for (bool* flag :
       {&handed.http_1_0, &handed.begun, &handed.streaming, &handed.complete, &handed.close_after}) {
    *flag = in.get<uint8_t>() != 0;
  }
  handed.answer = in.get_string();
  return handed;
}

}  // namespace deepserve::daemon
