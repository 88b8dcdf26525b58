#include "daemon/api/handed_reading.h"

#include <charconv>

#include "daemon/api/position.h"
#include "daemon/http/json_text.h"

namespace deepserve::daemon {
namespace {

constexpr std::string_view kWhole = "whole ";
constexpr std::string_view kStream = "stream ";
constexpr std::string_view kResume = "resume ";

}  // namespace

std::string handed_text(const HandedReading& reading) {
  std::string text(reading.streams ? kStream : kWhole);
  if (reading.position.empty()) return text + hex16(reading.request);
  return (reading.head_told ? text : std::string(kResume)) + reading.position;
}

std::optional<HandedReading> parse_handed(std::string_view text) {
  HandedReading reading;
  const bool resumes = text.starts_with(kResume);
  reading.streams = resumes || text.starts_with(kStream);
  if (!reading.streams && !text.starts_with(kWhole)) return std::nullopt;
  text.remove_prefix(text.find(' ') + 1);
  if (const auto position = parse_position(text); position && reading.streams) {
    reading.request = position->request;
    reading.head_told = !resumes;
    reading.position = text;
    return reading;
  }
  if (resumes) return std::nullopt;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), reading.request, 16);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return reading;
}

}  // namespace deepserve::daemon
