#include <boost/json.hpp>
#include <filesystem>

#include "ctl/commands.h"
#include "ctl/show.h"

namespace deepserve::ctl {

namespace json = boost::json;

namespace {

constexpr int kNo_limit_ms = -1;  // loading a large model takes what it takes

// What the order has come to, in a line.
std::string render_outcome(const json::value& answer) {
  const json::value& model = field(answer, "model");
  const std::string name = visible_line(text_of(model, "name"));
  if (text_of(model, "state") == "unloaded") return fmt::format("{} is unloaded\n", name);
  std::string text =
      fmt::format("{} is {}: generation {} serves {}\n", name, visible_line(text_of(model, "state")),
                  text_of(model, "generation"), visible_line(text_of(model, "path")));
  if (number_of(model, "canary").value_or(0) > 0) {
    text += fmt::format("generation {} has {} % of its requests\n", text_of(model, "canary"),
                        text_of(model, "canary_percent"));
  }
  if (number_of(model, "shadow").value_or(0) > 0) {
    text += fmt::format("generation {} has copies of {} % of its requests\n", text_of(model, "shadow"),
                        text_of(model, "shadow_percent"));
  }
  for (const json::value& row : rows_of(field(answer, "generations"))) {
    const std::string evidence = text_of(row, "evidence");
    if (evidence == kNothing) continue;
    text += fmt::format("generation {}: {}\n", text_of(row, "generation"), visible_line(evidence));
  }
  return text;
}

}  // namespace

Result<void> order_model(Session& session, const ModelOrderOptions& options) {
  json::object body;
  if (!options.path.empty()) {
    std::error_code error;
    const auto path = std::filesystem::absolute(options.path, error);
    if (error) return fail(Code::kUsage, "'{}' is no path: {}", options.path, error.message());
    body["path"] = path.lexically_normal().string();
  }
  if (options.verb == "canary" || options.verb == "shadow") body["percent"] = options.percent;
  if (options.verb == "canary") body["judged"] = options.judged;
  return ask_and_show(session,
                      {.method = "POST",
                       .path = "/ctl/orders/" + options.verb + "/" + path_segment(options.model),
                       .body = json::serialize(body)},
                      render_outcome, options.verb + " " + options.model, kNo_limit_ms);
}

Result<void> show_model_history(Session& session, const std::string& name) {
  return ask_and_show(session, {.path = "/ctl/history/" + path_segment(name)},
                      [&](const json::value& answer) {
                        Table table({{"GEN", Align::kRight},
                                     {"STATE"},
                                     {"RUNNING", Align::kRight},
                                     {"LOADED IN", Align::kRight},
                                     {"LIVE SINCE", Align::kRight},
                                     {"ENDED", Align::kRight},
                                     {"PATH"},
                                     {"REASON"}});
                        for (const json::value& row : rows_of(field(answer, "generations"))) {
                          const std::string evidence = text_of(row, "evidence");
                          std::string reason = text_of(row, "reason");
                          if (evidence != kNothing)
                            reason = reason == kNothing ? evidence : reason + "; " + evidence;
                          table.add_row({{text_of(row, "generation"), Style::kBold},
                                         state_cell(row),
                                         {text_of(row, "requests")},
                                         {duration_of(row, "load_s")},
                                         {duration_of(row, "live_ago_s")},
                                         {duration_of(row, "ended_ago_s")},
                                         {text_of(row, "path")},
                                         {reason}});
                        }
                        return table.render(session.terminal());
                      });
}

}  // namespace deepserve::ctl
