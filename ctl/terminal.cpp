#include "ctl/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "ipc/base/utf8.h"

namespace deepserve::ctl {
namespace {

constexpr std::string_view kEllipsis = "\xe2\x80\xa6";

bool environment_says(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

// U+2400 + code: the picture of a C0 control.
void append_control_picture(std::string& out, unsigned char control) {
  const unsigned offset = control == 0x7f ? 0x21 : control;
  out += "\xe2\x90";
  out += static_cast<char>(0x80 + offset);
}

std::string make_visible(std::string_view text, bool one_line) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const Utf8Step step = utf8_step(text);
    const size_t size = step.kind == Utf8Kind::kCharacter ? step.bytes : 0;
    const bool keeps = !one_line && (lead == '\n' || lead == '\t');
    const bool is_c1 = size == 2 && lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
    if (size == 0 || is_c1) {
      out += kReplacementCharacter;
    } else if ((lead < 0x20 || lead == 0x7f) && !keeps) {
      append_control_picture(out, lead);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

}  // namespace

Terminal inspect_terminal(bool no_color) {
  Terminal terminal;
  terminal.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  terminal.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  const char* kind = std::getenv("TERM");
  const bool dumb = kind == nullptr || std::string_view(kind) == "dumb";
  terminal.color = terminal.out_is_terminal && !no_color && !dumb && !environment_says("NO_COLOR");
  winsize size{};
  if (terminal.out_is_terminal && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.columns = size.ws_col;
  }
  return terminal;
}

std::string styled(const Terminal& terminal, Style style, std::string_view text) {
  if (!terminal.color || style == Style::kPlain) return std::string(text);
  constexpr std::string_view kCodes[] = {"0", "1", "2", "32", "33", "31"};
  return fmt::format("\x1b[{}m{}\x1b[0m", kCodes[static_cast<size_t>(style)], text);
}

std::string visible_text(std::string_view text) {
  return make_visible(text, false);
}

std::string visible_line(std::string_view text) {
  return make_visible(text, true);
}

size_t display_columns(std::string_view text) {
  size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return columns;
}

std::string cut_to_columns(std::string_view text, size_t columns) {
  if (display_columns(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  size_t end = 0;
  for (size_t kept = 0; end < text.size(); ++end) {
    if ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) continue;
    if (kept == columns - 1) break;
    ++kept;
  }
  return std::string(text.substr(0, end)).append(kEllipsis);
}

Result<void> Output::write(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  reader_gone_ = errno == EPIPE;
  return fail_errno("writing to stdout");
}

void complain(std::string_view line) {
  const std::string text = "dsctl: " + visible_line(line) + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace deepserve::ctl
