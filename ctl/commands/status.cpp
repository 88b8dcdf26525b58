#include "ctl/commands.h"
#include "ctl/gpu_table.h"
#include "ctl/show.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

std::string headline(const json::value& status, const Terminal& terminal) {
  const json::value& ready = field(status, "ready");
  const json::value& stopping = field(status, "stopping");
  std::string state = styled(terminal, Style::kRed, "not ready");
  if (ready.is_bool() && ready.get_bool()) state = styled(terminal, Style::kGreen, "ready");
  if (stopping.is_bool() && stopping.get_bool()) state = styled(terminal, Style::kYellow, "stopping");
  return fmt::format("{}  pid {}  up {}  {}\n",
                     styled(terminal, Style::kBold, "deepserve " + visible_line(text_of(status, "version"))),
                     visible_line(text_of(status, "pid")), duration_of(status, "uptime_s"), state) +
         fmt::format("runtime directory {}\n", visible_line(text_of(status, "runtime_dir")));
}

std::string model_table(const json::value& models, const Terminal& terminal) {
  Table table({{"MODEL"},
               {"GEN", Align::kRight},
               {"STATE"},
               {"SIZE", Align::kRight},
               {"CONTEXT", Align::kRight},
               {"WEIGHTS"},
               {"RUNNERS"}});
  for (const json::value& row : rows_of(models)) {
    table.add_row({{text_of(row, "name")},
                   {text_of(row, "generation")},
                   state_cell(row),
                   {bytes_of(row, "bytes")},
                   {count_of(row, "context_tokens")},
                   {text_of(row, "weights_type")},
                   {text_of(row, "runners")}});
  }
  return table.render(terminal);
}

std::string runner_table(const json::value& runners, const Terminal& terminal) {
  Table table({{"RUNNER"},
               {"PID", Align::kRight},
               {"STATE"},
               {"RESTARTS", Align::kRight},
               {"UPTIME", Align::kRight},
               {"RUNNING", Align::kRight},
               {"WAITING", Align::kRight},
               {"KV FREE", Align::kRight}});
  for (const json::value& row : rows_of(runners)) {
    table.add_row({{text_of(row, "id")},
                   {text_of(row, "pid")},
                   state_cell(row),
                   {text_of(row, "restarts")},
                   {duration_of(row, "uptime_s")},
                   {text_of(row, "sequences_running")},
                   {text_of(row, "sequences_waiting")},
                   {text_of(row, "kv_blocks_free") + "/" + text_of(row, "kv_blocks_total")}});
  }
  return table.render(terminal);
}

std::string queue_line(const json::value& status, const Terminal& terminal) {
  const json::value& requests = field(status, "requests");
  std::string line = fmt::format("{}  running {}  waiting {}", styled(terminal, Style::kDim, "REQUESTS"),
                                 text_of(requests, "running"), text_of(requests, "waiting"));
  if (const json::object* classes = field(status, "classes").if_object()) {
    std::string parts;
    for (const auto& entry : *classes) {
      const std::string name(entry.key().data(), entry.key().size());
      parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", visible_line(name),
                           text_of(entry.value(), "waiting"));
    }
    if (!parts.empty()) line += " (" + parts + ")";
  }
  return line + "\n";
}

// What is given up at present, and from which models work is kept away; nothing where all is well.
std::string trouble_lines(const json::value& status, const Terminal& terminal) {
  std::string lines;
  const auto add = [&](const char* what, const std::string& text) {
    lines += fmt::format("{}  {}\n", styled(terminal, Style::kYellow, what), visible_line(text));
  };
  const json::value& brownout = field(status, "brownout");
  if (brownout.is_string() && brownout != "none") add("BROWNOUT", text_of(brownout));
  for (const json::value& row : rows_of(field(status, "models"))) {
    const json::value& breaker = field(row, "breaker");
    if (breaker.is_string() && breaker != "closed") {
      add("BREAKER", text_of(row, "name") + " " + text_of(breaker));
    }
  }
  return lines;
}

}  // namespace

Result<void> show_status(Session& session) {
  return ask_and_show(session, {.path = "/ctl/status"}, [&](const json::value& status) {
    const Terminal& terminal = session.terminal();
    std::string gpus = gpu_table(field(status, "gpus"), terminal);
    if (!gpus.empty()) gpus += "\n";
    return headline(status, terminal) + "\n" + model_table(field(status, "models"), terminal) + "\n" +
           runner_table(field(status, "runners"), terminal) + "\n" + gpus + queue_line(status, terminal) +
           trouble_lines(status, terminal);
  });
}

}  // namespace deepserve::ctl
