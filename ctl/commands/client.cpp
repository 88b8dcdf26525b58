#include "ctl/commands.h"
#include "ctl/show.h"

namespace deepserve::ctl {

namespace json = boost::json;

Result<void> list_clients(Session& session) {
  return ask_and_show(session, {.path = "/ctl/clients"}, [&](const json::value& clients) {
    Table table({{"CLIENT"},
                 {"RUNNING", Align::kRight},
                 {"AT MOST", Align::kRight},
                 {"TOKENS LEFT", Align::kRight},
                 {"A MINUTE", Align::kRight},
                 {"REQUESTS", Align::kRight},
                 {"RETRIES", Align::kRight},
                 {"DENIED", Align::kRight},
                 {"SEEN", Align::kRight}});
    for (const json::value& row : rows_of(clients)) {
      table.add_row({{text_of(row, "client"), Style::kBold},
                     {text_of(row, "running")},
                     {text_of(row, "max_concurrent")},
                     {count_of(row, "tokens_left")},
                     {count_of(row, "tokens_per_minute")},
                     {text_of(row, "recent_requests")},
                     {text_of(row, "recent_retries")},
                     {count_of(row, "denied_total")},
                     {duration_of(row, "seen_s")}});
    }
    return table.render(session.terminal());
  });
}

}  // namespace deepserve::ctl
