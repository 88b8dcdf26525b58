#include "ctl/commands.h"
#include "ctl/show.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

// "chatcmpl-00c0ffee00c0ffee" -> "/ctl/requests/00c0ffee00c0ffee".
std::string request_path(const std::string& id) {
  return "/ctl/requests/" + path_segment(std::string_view(id).substr(id.rfind('-') + 1));
}

}  // namespace

Result<void> list_requests(Session& session) {
  return ask_and_show(session, {.path = "/ctl/requests"}, [&](const json::value& requests) {
    Table table({{"ID"},
                 {"STATE"},
                 {"CLASS"},
                 {"CLIENT"},
                 {"PID", Align::kRight},
                 {"MODEL"},
                 {"RUNNER"},
                 {"ENDPOINT"},
                 {"AGE", Align::kRight},
                 {"PROMPT", Align::kRight},
                 {"GENERATED", Align::kRight}});
    for (const json::value& row : rows_of(requests)) {
      table.add_row({{text_of(row, "id"), Style::kBold},
                     state_cell(row),
                     {text_of(row, "class")},
                     {text_of(row, "client")},
                     {text_of(field(row, "peer"), "pid")},
                     {text_of(row, "model")},
                     {text_of(row, "runner")},
                     {text_of(row, "endpoint")},
                     {duration_of(row, "age_s")},
                     {count_of(row, "prompt_tokens")},
                     {count_of(row, "generated_tokens")}});
    }
    return table.render(session.terminal());
  });
}

Result<void> show_request(Session& session, const std::string& id) {
  return ask_and_show(session, {.path = request_path(id)},
                      [&](const json::value& row) { return describe(row, session.terminal()); });
}

Result<void> cancel_request(Session& session, const std::string& id) {
  const auto render = [](const json::value& row) {
    return fmt::format("{} {}\n", visible_line(text_of(row, "id")), visible_line(text_of(row, "state")));
  };
  return ask_and_show(session, {.method = "POST", .path = request_path(id) + "/cancel"}, render,
                      "cancelling " + id);
}

Result<void> trace_request(Session& session, const std::string& id) {
  return ask_and_show(session, {.path = request_path(id) + "/trace"}, [&](const json::value& trace) {
    Table table({{"AT", Align::kRight},
                 {"EVENT"},
                 {"RUNNER"},
                 {"PID", Align::kRight},
                 {"TOKENS", Align::kRight},
                 {"TEXT"}});
    for (const json::value& event : rows_of(field(trace, "events"))) {
      const double at_s = number_of(event, "at_s").value_or(0);
      const bool has_pid = number_of(event, "pid").value_or(-1) >= 0;
      table.add_row({{fmt::format("{:.3f} ms", at_s * 1000)},
                     {text_of(event, "event"), Style::kBold},
                     {text_of(event, "runner")},
                     {has_pid ? text_of(event, "pid") : std::string(kNothing)},
                     {count_of(event, "tokens")},
                     {text_of(event, "text")}});
    }
    std::string text =
        fmt::format("{}  {} {} of {}, {} dispatches, {} deaths\n\n{}", visible_line(text_of(trace, "id")),
                    visible_line(text_of(trace, "class")), visible_line(text_of(trace, "endpoint")),
                    visible_line(text_of(trace, "client")), visible_line(text_of(trace, "dispatches")),
                    visible_line(text_of(trace, "deaths")), table.render(session.terminal()));
    if (number_of(trace, "left_out").value_or(0) > 0) {
      text += fmt::format("({} events in the middle are not kept)\n", count_of(trace, "left_out"));
    }
    return text;
  });
}

}  // namespace deepserve::ctl
