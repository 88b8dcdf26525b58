#include "ctl/commands.h"
#include "ctl/show.h"

namespace deepserve::ctl {

namespace json = boost::json;

Result<void> list_queue(Session& session) {
  return ask_and_show(session, {.path = "/ctl/queue"}, [&](const json::value& queue) {
    Table table({{"ID"},
                 {"CLASS"},
                 {"CLIENT"},
                 {"MODEL"},
                 {"WAITED", Align::kRight},
                 {"DEADLINE IN", Align::kRight},
                 {"PREDICTED", Align::kRight},
                 {"COST", Align::kRight},
                 {"AHEAD", Align::kRight},
                 {"BOOKED"},
                 {"WAITS FOR"}});
    for (const json::value& row : rows_of(queue)) {
      table.add_row({{text_of(row, "id"), Style::kBold},
                     {text_of(row, "class")},
                     {text_of(row, "client")},
                     {text_of(row, "model")},
                     {duration_of(row, "age_s")},
                     {duration_of(row, "deadline_in_s")},
                     {duration_of(row, "predicted_ttft_s")},
                     {duration_of(row, "cost_s")},
                     {duration_of(row, "ahead_s")},
                     {text_of(row, "booked")},
                     {text_of(row, "waits_for")}});
    }
    return table.render(session.terminal());
  });
}

}  // namespace deepserve::ctl
