#include "daemon/dispatch/request_trace.h"

#include <array>
#include <utility>

#include "ipc/base/bytes.h"
#include "ipc/base/check.h"

namespace deepserve::daemon {
namespace {

constexpr std::array<std::string_view, static_cast<size_t>(TraceKind::kCount)> kNames = {
    "arrived", "dispatched", "returned", "accepted", "first_token", "runner_died",
    "adopted", "let_go",     "finished", "failed",   "refused",     "cancelled"};
static_assert(!kNames.back().empty());

}  // namespace

std::string_view trace_kind_name(TraceKind kind) {
  return kNames.at(static_cast<size_t>(kind));
}

void RequestTrace::add(TraceEvent event) {
  if (events_.size() == kEventsMax) {
    events_.erase(events_.begin() + kEventsMax / 2);
    ++left_out_;
  }
  events_.push_back(std::move(event));
}

std::vector<std::byte> RequestTrace::encode() const {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.put(request);
  out.put_string(client);
  out.put_string(model);
  out.put_string(endpoint);
  out.put(service_class);
  out.put(left_out_);
  out.put(static_cast<uint32_t>(events_.size()));
  for (const auto& event : events_) {
    out.put(event.kind);
    out.put(event.at_ns);
    out.put_string(event.runner);
    out.put(event.pid);
    out.put(event.tokens);
    out.put_string(event.text);
  }
  return bytes;
}

RequestTrace RequestTrace::decode(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  RequestTrace trace;
  trace.request = in.get<ipc::RequestId>();
  trace.client = in.get_string();
  trace.model = in.get_string();
  trace.endpoint = in.get_string();
  trace.service_class = in.get<ipc::Class>();
  trace.left_out_ = in.get<uint64_t>();
  trace.events_.resize(in.get_count(1));
  for (auto& event : trace.events_) {
    event.kind = in.get<TraceKind>();
    event.at_ns = in.get<uint64_t>();
    event.runner = in.get_string();
    event.pid = in.get<int64_t>();
    event.tokens = in.get<uint32_t>();
    event.text = in.get_string();
  }
  CHECK(in.done());
  return trace;
}

void TraceShelf::put(const RequestTrace& trace) {
  const auto bytes = trace.encode();
  traces_.push_back({trace.request, {bytes.begin(), bytes.end(), &memory_}});
  if (traces_.size() > kTracesMax) traces_.pop_front();
}

std::optional<RequestTrace> TraceShelf::find(ipc::RequestId request) const {
  for (auto kept = traces_.rbegin(); kept != traces_.rend(); ++kept) {
    if (kept->request == request) return RequestTrace::decode(kept->trace);
  }
  return std::nullopt;
}

}  // namespace deepserve::daemon
