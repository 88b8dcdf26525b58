#include "daemon/serving/kept_request.h"

#include "daemon/http/peer_code.h"
#include "ipc/base/bytes.h"

namespace deepserve::daemon {
namespace {

constexpr uint32_t kMagic = 0x5153'4453;  // "SDSQ" in memory
constexpr uint64_t kFixedBytes = 256;     // all numbers, the lengths of the strings, and what is degraded

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

uint64_t kept_bytes(const RequestSpec& spec) {
  return kFixedBytes + spec.peer.key_client.size() + spec.peer.cgroup.size() + spec.client.size() +
         spec.endpoint.size() + spec.model.size() + spec.ticket.size() + spec.opaque.size();
}

std::vector<std::byte> encode_kept(const RequestSpec& spec, uint64_t arrived_ns, const Degraded& degraded) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.put(kMagic);
  out.put(kKeptVersion);
  out.put(kKeptReadableFrom);
  put_peer(spec.peer, out);
  out.put_string(spec.client);
  out.put_string(spec.endpoint);
  out.put(spec.service_class);
  out.put_string(spec.model);
  out.put(spec.prompt_bytes);
  out.put_string(spec.ticket);
  out.put(spec.body_hash);
  out.put(spec.body_bytes);
  out.put(static_cast<uint8_t>(spec.is_retry));
  out.put(spec.whole);
  out.put(spec.whole_parts);
  out.put(spec.whole_prompt_bytes);
  out.put_string(text_of(spec.opaque));
  out.put(arrived_ns);
  out.put_string(degraded.how);
  out.put(degraded.truncated_bytes);
  return bytes;
}

Result<KeptRequest> decode_kept(ipc::Submit&& submit) {
  ByteReader in(submit.opaque);
  const auto magic = in.get<uint32_t>();
  const auto version = in.get<uint16_t>();
  const auto readable_from = in.get<uint16_t>();
  if (!in.ok() || magic != kMagic) {
    return fail(Code::kBadLane, "request {:016x}: what its runner kept of it is not ours", submit.request);
  }
  if (readable_from > kKeptVersion) {
    return fail(Code::kNotSupported, "request {:016x} was kept in version {}, this dsd reads {}",
                submit.request, version, kKeptVersion);
  }
  KeptRequest kept;
  RequestSpec& spec = kept.spec;
  spec.peer = get_peer(in);
  spec.client = in.get_string();
  spec.endpoint = in.get_string();
  spec.service_class = in.get<ipc::Class>();
  spec.model = in.get_string();
  spec.prompt_bytes = in.get<uint64_t>();
  spec.ticket = in.get_string();
  spec.body_hash = in.get<uint64_t>();
  spec.body_bytes = in.get<uint64_t>();
  spec.is_retry = in.get<uint8_t>() != 0;
  spec.whole = in.get<uint64_t>();
  spec.whole_parts = in.get<uint32_t>();
  spec.whole_prompt_bytes = in.get<uint64_t>();
  const std::string opaque = in.get_string();
  const auto* first = reinterpret_cast<const std::byte*>(opaque.data());
  spec.opaque.assign(first, first + opaque.size());
  kept.arrived_ns = in.get<uint64_t>();
  kept.degraded.how = in.get_string();
  kept.degraded.truncated_bytes = in.get<uint64_t>();
  // What a newer version appended is not ours to know.
  const bool whole = version > kKeptVersion ? in.ok() : in.done();
  if (!whole || spec.service_class >= ipc::Class::kCount || spec.whole_parts == 0) {
    return fail(Code::kBadLane, "request {:016x}: what its runner kept of it is malformed", submit.request);
  }
  kept.id = submit.request;
  kept.deadline_ns = submit.deadline_ns;
  spec.deadline_ns = submit.deadline_ns;
  spec.work = submit.work;
  spec.prompt = std::move(submit.prompt);
  spec.generation = std::move(submit.generation);
  kept.resumed = std::move(submit.resumed);
  return kept;
}

uint64_t submit_bytes(const RequestSpec& spec) {
  constexpr uint64_t kFields = 256;  // all numbers, and the length of each list
  constexpr uint64_t kLength = 8;    // of each string
  const auto& prompt = spec.prompt;
  uint64_t bytes = kFields + kept_bytes(spec) + prompt.text.size() + prompt.tools.size() +
                   prompt.template_options.size() + spec.generation.constraint.text.size();
  bytes += prompt.tokens.size() * sizeof(ipc::TokenId);
  for (const auto& message : prompt.chat) {
    bytes += 6 * kLength + message.role.size() + message.content.size() + message.name.size() +
             message.reasoning.size() + message.tool_calls.size() + message.tool_call_id.size();
  }
  for (const auto& stop : spec.generation.stop) bytes += kLength + stop.size();
  bytes += spec.generation.stop_tokens.size() * sizeof(ipc::TokenId);
  bytes += spec.generation.logit_bias.size() * (sizeof(ipc::TokenId) + sizeof(float));
  return bytes;
}

}  // namespace deepserve::daemon
