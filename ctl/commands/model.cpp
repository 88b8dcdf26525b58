#include "ctl/commands.h"
#include "ctl/show.h"

namespace deepserve::ctl {

namespace json = boost::json;

Result<void> list_models(Session& session) {
  return ask_and_show(session, {.path = "/ctl/models"}, [&](const json::value& models) {
    Table table({{"NAME"},
                 {"GEN", Align::kRight},
                 {"STATE"},
                 {"ARCHITECTURE"},
                 {"PARAMETERS", Align::kRight},
                 {"WEIGHTS"},
                 {"SIZE", Align::kRight},
                 {"CONTEXT", Align::kRight},
                 {"RUNNERS"},
                 {"PATH"}});
    for (const json::value& row : rows_of(models)) {
      table.add_row({{text_of(row, "name"), Style::kBold},
                     {text_of(row, "generation")},
                     state_cell(row),
                     {text_of(row, "architecture")},
                     {count_of(row, "parameters")},
                     {text_of(row, "weights_type")},
                     {bytes_of(row, "bytes")},
                     {count_of(row, "context_tokens")},
                     {text_of(row, "runners")},
                     {text_of(row, "path")}});
    }
    return table.render(session.terminal());
  });
}

Result<void> show_model(Session& session, const std::string& name) {
  return ask_and_show(session, {.path = "/ctl/models/" + path_segment(name)},
                      [&](const json::value& row) { return describe(row, session.terminal()); });
}

}  // namespace deepserve::ctl
