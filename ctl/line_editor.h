// Lines typed at a terminal, with editing and a history that lives in memory only. libedit is behind it.
#pragma once

#include <memory>
#include <string>

namespace deepserve::ctl {

enum class LineEnd {
  kLine,         // a line was typed
  kInterrupted,  // Ctrl-C: what was typed is dropped
  kEndOfInput,   // Ctrl-D on an empty line
};

struct TypedLine {
  LineEnd end = LineEnd::kLine;
  std::string text;  // without its newline
};

class LineEditor {
 public:
  explicit LineEditor(std::string prompt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  TypedLine read_line();
  // The up key finds it again. Nothing is ever written to disk.
  void remember(const std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace deepserve::ctl
