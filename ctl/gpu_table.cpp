#include "ctl/gpu_table.h"

#include <fmt/format.h>

#include "ctl/json_rows.h"
#include "ctl/show.h"

namespace deepserve::ctl {
namespace {

namespace json = boost::json;

std::string figure(const json::value& row, std::string_view name, double factor, std::string_view unit) {
  const auto number = number_of(row, name);
  return number ? fmt::format("{:.0f}{}", *number * factor, unit) : std::string(kNothing);
}

// "3+0": corrected and not.
std::string ecc_errors(const json::value& row) {
  const std::string corrected = text_of(row, "ecc_corrected");
  return corrected == kNothing ? corrected : corrected + "+" + text_of(row, "ecc_uncorrected");
}

// "31 (2), 79": the numbers, and how often where that is more than once.
std::string xids(const json::value& row) {
  std::string text;
  const json::object* object = field(row, "xids").if_object();
  if (object == nullptr) return std::string(kNothing);
  for (const auto& [xid, times] : *object) {
    text += fmt::format("{}{}", text.empty() ? "" : ", ", std::string_view(xid.data(), xid.size()));
    if (const std::string count = text_of(times); count != "1") text += " (" + count + ")";
  }
  return text.empty() ? std::string(kNothing) : text;
}

}  // namespace

std::string gpu_table(const json::value& gpus, const Terminal& terminal) {
  if (rows_of(gpus).empty()) return {};
  Table table({{"GPU", Align::kRight},
               {"NAME"},
               {"STATE"},
               {"USED", Align::kRight},
               {"MEMORY", Align::kRight},
               {"BUSY", Align::kRight},
               {"TEMP", Align::kRight},
               {"POWER", Align::kRight},
               {"ECC", Align::kRight},
               {"XID"},
               {"TROUBLE"}});
  for (const json::value& row : rows_of(gpus)) {
    table.add_row({{text_of(row, "index"), Style::kBold},
                   {text_of(row, "name")},
                   state_cell(row),
                   {bytes_of(row, "memory_used_bytes")},
                   {bytes_of(row, "memory_bytes")},
                   {figure(row, "utilization", 100, " %")},
                   {figure(row, "temperature_celsius", 1, " C")},
                   {figure(row, "power_watts", 1, " W")},
                   {ecc_errors(row)},
                   {xids(row)},
                   {text_of(row, "trouble")}});
  }
  return table.render(terminal);
}

}  // namespace deepserve::ctl
