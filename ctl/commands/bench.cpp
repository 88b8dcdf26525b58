#include <fstream>

#include "ctl/bench/experiment.h"
#include "ctl/bench/report_text.h"
#include "ctl/bench/svg_plot.h"
#include "ctl/commands.h"
#include "ctl/interrupt.h"

namespace deepserve::ctl {
namespace {

Result<void> write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return fail(Code::kIo, "{} cannot be written", path);
  return {};
}

}  // namespace

Result<void> run_bench(Session& session, const BenchOptions& options) {
  TRY_ASSIGN(const bench::Settings settings, bench::check_options(options));
  TRY_ASSIGN(const bench::Endpoint endpoint,
             options.url.empty() ? bench::Endpoint::unix_socket(session.socket_path("api.sock"))
                                 : bench::Endpoint::url(options.url));
  const InterruptScope interrupt;
  bench::Poller poller(interrupt.fd());
  bench::ProgressLine progress(session.terminal());
  TRY_ASSIGN(const bench::Report report, bench::run_experiment(settings, endpoint, poller, progress));
  if (!options.svg.empty() && !report.points.empty())
    TRY(write_file(options.svg, bench::svg_plot(settings, report)));
  if (session.options().json) return print_json(session, bench::report_json(settings, endpoint, report));
  return session.out().write(bench::report_tables(settings, endpoint, report, session.terminal()));
}

}  // namespace deepserve::ctl
