// What stdout and stderr are, and text made fit for them: colours only on a terminal, control characters
// never.
#pragma once

#include <string>
#include <string_view>

#include "ipc/base/result.h"

namespace deepserve::ctl {

struct Terminal {
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool color = false;     // stdout takes colours
  unsigned columns = 80;  // of stdout's terminal
};

// Looks at stdout, stderr and the environment (NO_COLOR, TERM=dumb).
Terminal inspect_terminal(bool no_color);

enum class Style { kPlain, kBold, kDim, kGreen, kYellow, kRed };

// `text` in that style where the terminal takes colours, else as it is.
std::string styled(const Terminal& terminal, Style style, std::string_view text);

// `text` with everything that a terminal would obey replaced by something it shows: control characters but
// newline and tab by their control pictures (U+2400 on), C1 controls and bytes that are not UTF-8 by U+FFFD.
std::string visible_text(std::string_view text);

// As visible_text, for text that must stay on one line: newlines and tabs are replaced too.
std::string visible_line(std::string_view text);

// Columns that `text` takes, a code point being one.
size_t display_columns(std::string_view text);

// `text` cut to at most `columns` columns, the last being an ellipsis where something was cut off.
std::string cut_to_columns(std::string_view text, size_t columns);

// Standard output. A reader that has gone (EPIPE) is told apart from a failure: who pipes us into `head` got
// what they wanted.
class Output {
 public:
  // Writes and flushes. kIo when it cannot be written.
  Result<void> write(std::string_view text);
  bool reader_gone() const { return reader_gone_; }

 private:
  bool reader_gone_ = false;
};

// Writes to stderr: "dsctl: " and one line.
void complain(std::string_view line);

}  // namespace deepserve::ctl
