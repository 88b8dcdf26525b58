#include "runner/bench/report.h"

#include <fmt/format.h>

#include <algorithm>

namespace deepserve::runner {
namespace {

// A measurement's figures, per second of its median repeat. "Reached" is how near it is to its bound, 1 being
// there.
struct Figures {
  double tokens_per_second, tokens_per_second_min, tokens_per_second_max;
  double step_seconds;
  double bytes_per_second, operations_per_second;
  double of_read_limit, of_peak;
  double bound_tokens_per_second, reached;
  const char* bound_by;
};

Figures figures_of(const Measurement& measurement, const BenchReport& report) {
  Durations_ns sorted = measurement.durations;
  std::ranges::sort(sorted);
  const auto seconds_at = [&](size_t i) {
    return static_cast<double>(std::max<uint64_t>(sorted[i], 1)) / 1e9;
  };
  const double seconds = seconds_at(sorted.size() / 2);
  const auto tokens = static_cast<double>(measurement.tokens);
  uint64_t bytes = 0;
  Bound bound;
  for (const StepShape& shape : measurement.shapes) {
    bytes += report.backend.work.bytes(shape);
    bound += bound_of(report.backend.work, shape, report.limits);
  }
  Figures figures{};
  figures.tokens_per_second = tokens / seconds;
  figures.tokens_per_second_min = tokens / seconds_at(sorted.size() - 1);
  figures.tokens_per_second_max = tokens / seconds_at(0);
  figures.step_seconds = seconds / static_cast<double>(measurement.shapes.size());
  figures.bytes_per_second = static_cast<double>(bytes) / seconds;
  figures.operations_per_second = bound.operations / seconds;
  figures.of_read_limit = figures.bytes_per_second / report.limits.read_bytes_per_second;
  figures.of_peak = bound.compute_seconds / seconds;
  figures.bound_tokens_per_second = tokens / bound.seconds();
  figures.reached = bound.seconds() / seconds;
  figures.bound_by = bound.by();
  return figures;
}

std::string json_text(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<uint8_t>(c) < 0x20)
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      quoted += c;
  }
  return quoted + '"';
}

void print_json_of(const Measurement& measurement, const BenchReport& report) {
  const Figures figures = figures_of(measurement, report);
  fmt::print("  {{\"what\": \"{}\", \"sequences\": {}, \"tokens\": {}, \"steps\": {}, \"repeats\": {},\n",
             measurement.what, measurement.sequences, measurement.tokens, measurement.shapes.size(),
             measurement.durations.size());
  fmt::print(
      "   \"tokens_per_second\": {:.6g}, \"tokens_per_second_min\": {:.6g}, "
      "\"tokens_per_second_max\": {:.6g}, \"step_seconds\": {:.6g},\n",
      figures.tokens_per_second, figures.tokens_per_second_min, figures.tokens_per_second_max,
      figures.step_seconds);
  fmt::print(
      "   \"bytes_per_second\": {:.6g}, \"operations_per_second\": {:.6g}, \"of_read_limit\": {:.6g}, "
      "\"of_peak\": {:.6g},\n",
      figures.bytes_per_second, figures.operations_per_second, figures.of_read_limit, figures.of_peak);
  fmt::print("   \"bound_by\": \"{}\", \"bound_tokens_per_second\": {:.6g}, \"reached\": {:.6g}}}",
             figures.bound_by, figures.bound_tokens_per_second, figures.reached);
}

// Its rate as a part of the other prefill's; 0: one of the two was not measured.
double deterministic_part(const BenchReport& report) {
  const auto rate = [&](std::string_view what) {
    for (const Measurement& measurement : report.measurements) {
      if (measurement.what == what) return figures_of(measurement, report).tokens_per_second;
    }
    return 0.0;
  };
  const double others = rate("prefill");
  return others == 0 ? 0 : rate(kDeterministicPrefill) / others;
}

}  // namespace

void print_table(const BenchReport& report) {
  const BackendInfo& backend = report.backend;
  const MachineLimits& limits = report.limits;
  fmt::print("{}: {}, {:.1f} million parameters, mostly {}, {:.1f} MB; loaded in {:.2f} s\n", report.model,
             backend.architecture, static_cast<double>(backend.parameters) / 1e6, backend.weights_type,
             static_cast<double>(backend.weight_bytes) / 1e6, report.load_seconds);
  fmt::print("{}\n", backend.numerics_id);
  fmt::print("limits of this host, {} thread{}, {}: reads {:.1f} GB/s (of {:.0f} MB)", limits.threads,
             limits.threads == 1 ? "" : "s", backend.isa, limits.read_bytes_per_second / 1e9,
             static_cast<double>(limits.buffer_bytes) / 1e6);
  for (const ArithmeticPeak& peak : limits.peaks) {
    fmt::print("; {} {:.0f} Gop/s ({})", arithmetic_name(peak.arithmetic), peak.operations_per_second / 1e9,
               peak.instruction);
  }
  fmt::print("\n\n{:<21} {:>5} {:>9} {:>18} {:>9} {:>6} {:>5} {:>7} {:>5} {:>9} {:<10} {:>7}\n", "", "batch",
             "tokens/s", "(min - max)", "step ms", "GB/s", "of", "Gop/s", "of", "bound", "by", "reached");
  for (const Measurement& measurement : report.measurements) {
    const Figures figures = figures_of(measurement, report);
    const uint64_t batch = measurement.tokens / measurement.shapes.size();
    fmt::print(
        "{:<21} {:>5} {:>9.1f} {:>18} {:>9.2f} {:>6.1f} {:>4.0f}% {:>7.1f} {:>4.0f}% {:>9.1f} {:<10} "
        "{:>6.0f}%\n",
        measurement.what, batch, figures.tokens_per_second,
        fmt::format("({:.1f} - {:.1f})", figures.tokens_per_second_min, figures.tokens_per_second_max),
        figures.step_seconds * 1e3, figures.bytes_per_second / 1e9, figures.of_read_limit * 100,
        figures.operations_per_second / 1e9, figures.of_peak * 100, figures.bound_tokens_per_second,
        figures.bound_by, figures.reached * 100);
  }
  if (const double part = deterministic_part(report); part != 0)
    fmt::print("deterministic prefill has {:.2f} of the rate of prefill by the library's choice\n", part);
}

void print_json(const BenchReport& report) {
  const BackendInfo& backend = report.backend;
  fmt::print(
      "{{\"model\": {}, \"architecture\": {}, \"weights_type\": {}, \"weight_bytes\": {}, "
      "\"parameters\": {},\n",
      json_text(report.model), json_text(backend.architecture), json_text(backend.weights_type),
      backend.weight_bytes, backend.parameters);
  fmt::print(
      " \"isa\": {}, \"threads\": {}, \"numerics_id\": {}, \"context_tokens\": {}, "
      "\"load_seconds\": {:.6g},\n",
      json_text(backend.isa), report.limits.threads, json_text(backend.numerics_id), report.context_tokens,
      report.load_seconds);
  fmt::print(" \"limits\": {{\"read_bytes_per_second\": {:.6g}, \"buffer_bytes\": {}, \"peaks\": [",
             report.limits.read_bytes_per_second, report.limits.buffer_bytes);
  const char* separator = "";
  for (const ArithmeticPeak& peak : report.limits.peaks) {
    fmt::print("{}{{\"arithmetic\": \"{}\", \"instruction\": {}, \"operations_per_second\": {:.6g}}}",
               separator, arithmetic_name(peak.arithmetic), json_text(peak.instruction),
               peak.operations_per_second);
    separator = ", ";
  }
  fmt::print("]}},\n \"runs\": [");
  separator = "\n";
  for (const Measurement& measurement : report.measurements) {
    fmt::print("{}", separator);
    print_json_of(measurement, report);
    separator = ",\n";
  }
  fmt::print("]");
  if (const double part = deterministic_part(report); part != 0)
    fmt::print(",\n \"deterministic_part\": {:.6g}", part);
  fmt::print("}}\n");
}

}  // namespace deepserve::runner
