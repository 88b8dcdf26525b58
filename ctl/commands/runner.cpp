#include <fmt/format.h>

#include <string>
#include <vector>

#include "ctl/commands.h"
#include "ctl/gpu_table.h"
#include "ctl/show.h"

namespace deepserve::ctl {

namespace json = boost::json;

namespace {

// Of every process of a model that is spread over several, rank 0's first.
std::string pids_of(const json::value& row) {
  std::vector<std::string> pids;
  for (const json::value& rank : rows_of(field(row, "ranks"))) pids.push_back(text_of(rank, "pid"));
  return pids.empty() ? text_of(row, "pid") : fmt::format("{}", fmt::join(pids, "+"));
}

// "cpu0"; of a GPU "half0 (GPU 0, 50 %, shared)", a UUID by its first part.
std::string device_of(const json::value& row) {
  std::vector<std::string> devices;
  for (const json::value& rank : rows_of(field(row, "ranks"))) {
    std::string device = text_of(rank, "device");
    if (std::string gpu = text_of(rank, "gpu"); gpu != kNothing) {
      constexpr size_t kFirstPart = 12;
      if (gpu.starts_with("GPU-")) gpu = gpu.substr(4, kFirstPart - 4);
      device +=
          fmt::format(" (GPU {}, {} %, {})", gpu, text_of(rank, "thread_percent"), text_of(rank, "sharing"));
    }
    devices.push_back(std::move(device));
  }
  return devices.empty() ? text_of(row, "device") : fmt::format("{}", fmt::join(devices, "+"));
}

}  // namespace

Result<void> list_runners(Session& session) {
  return ask_and_show(session, {.path = "/ctl/runners"}, [&](const json::value& runners) {
    Table table({{"ID"},
                 {"PID", Align::kRight},
                 {"STATE"},
                 {"DEVICE"},
                 {"ISA"},
                 {"RESTARTS", Align::kRight},
                 {"UPTIME", Align::kRight},
                 {"STEPS", Align::kRight},
                 {"RUNNING", Align::kRight},
                 {"WAITING", Align::kRight},
                 {"LAST ERROR"}});
    for (const json::value& row : rows_of(runners)) {
      table.add_row({{text_of(row, "id"), Style::kBold},
                     {pids_of(row)},
                     state_cell(row),
                     {device_of(row)},
                     {text_of(row, "isa")},
                     {text_of(row, "restarts")},
                     {duration_of(row, "uptime_s")},
                     {count_of(row, "steps")},
                     {text_of(row, "sequences_running")},
                     {text_of(row, "sequences_waiting")},
                     {text_of(row, "last_error")}});
    }
    return table.render(session.terminal());
  });
}

Result<void> show_runner(Session& session, const std::string& id) {
  return ask_and_show(session, {.path = "/ctl/runners/" + path_segment(id)}, [&](const json::value& row) {
    const Terminal& terminal = session.terminal();
    json::value others = row;
    if (json::object* object = others.if_object()) {
      object->erase("gpus");
      if (object->contains("device")) (*object)["device"] = device_of(row);
    }
    const std::string gpus = gpu_table(field(row, "gpus"), terminal);
    return describe(others, terminal) + (gpus.empty() ? "" : "\n" + gpus);
  });
}

namespace {

// Returns once the order holds.
Result<void> order_runner(Session& session, const std::string& id, const char* verb, const char* doing) {
  constexpr int kNo_limit_ms = -1;  // loading a large model takes what it takes
  const auto render = [](const json::value& row) {
    return fmt::format("{} is {} again as pid {}\n", visible_line(text_of(row, "id")),
                       visible_line(text_of(row, "state")), visible_line(text_of(row, "pid")));
  };
  return ask_and_show(session, {.method = "POST", .path = "/ctl/runners/" + path_segment(id) + verb}, render,
                      fmt::format("{} {}", doing, id), kNo_limit_ms);
}

}  // namespace

Result<void> restart_runner(Session& session, const std::string& id) {
  return order_runner(session, id, "/restart", "restarting");
}

Result<void> reset_runner(Session& session, const std::string& id) {
  return order_runner(session, id, "/reset", "resetting");
}

}  // namespace deepserve::ctl
