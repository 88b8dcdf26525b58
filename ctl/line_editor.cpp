#include "ctl/line_editor.h"

#include <histedit.h>
#include <langinfo.h>

#include <clocale>
#include <cstdio>
#include <cstring>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::ctl {

struct LineEditor::State {
  std::string prompt;
  EditLine* editor = nullptr;
  History* history = nullptr;
  bool interrupted = false;

  static State& of(EditLine* editor) {
    void* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return *static_cast<State*>(self);
  }
  static char* give_prompt(EditLine* editor) { return of(editor).prompt.data(); }
  // Ctrl-C comes as a key, because signals from keys are off while a line is edited.
  static unsigned char on_interrupt_key(EditLine* editor, int) {
    of(editor).interrupted = true;
    std::fputs("^C\r\n", stdout);
    return CC_NEWLINE;
  }
};

LineEditor::LineEditor(std::string prompt) : state_(std::make_unique<State>()) {
  constexpr int kRemembered_lines = 1000;
  // Input is UTF-8 whatever the environment says: the API takes nothing else.
  if (std::setlocale(LC_CTYPE, "") == nullptr || std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
    std::setlocale(LC_CTYPE, "C.UTF-8");
  }
  state_->prompt = std::move(prompt);
  state_->editor = el_init("dsctl", stdin, stdout, stderr);
  state_->history = history_init();
  CHECK(state_->editor != nullptr && state_->history != nullptr);
  HistEvent event{};
  history(state_->history, &event, H_SETSIZE, kRemembered_lines);
  history(state_->history, &event, H_SETUNIQUE, 1);
  EditLine* editor = state_->editor;
  el_set(editor, EL_CLIENTDATA, static_cast<void*>(state_.get()));
  el_set(editor, EL_PROMPT, &State::give_prompt);
  el_set(editor, EL_EDITOR, "emacs");
  el_set(editor, EL_HIST, history, state_->history);
  el_set(editor, EL_SIGNAL,
         1);  // a signal that ends us restores the terminal first; a resize redraws the line
  el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
  // The wide call keeps the names as they are; the narrow one copies them and never frees the copies.
  el_wset(editor, EL_ADDFN, L"dsctl-interrupt", L"drop the line", &State::on_interrupt_key);
  el_set(editor, EL_BIND, "^C", "dsctl-interrupt", nullptr);
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

LineEditor::~LineEditor() {
  el_end(state_->editor);
  history_end(state_->history);
}

TypedLine LineEditor::read_line() {
  state_->interrupted = false;
  int size = 0;
  // Before the prompt is seen, or a quick Ctrl-D would still be the terminal's and reach us as a NUL.
  el_set(state_->editor, EL_PREP_TERM, 1);
  const char* text = el_gets(state_->editor, &size);
  if (state_->interrupted) return {LineEnd::kInterrupted, {}};
  if (text == nullptr || size <= 0) return {LineEnd::kEndOfInput, {}};
  std::string line(text, static_cast<size_t>(size));
  while (line.ends_with('\n')) line.pop_back();
  return {LineEnd::kLine, std::move(line)};
}

void LineEditor::remember(const std::string& line) {
  HistEvent event{};
  history(state_->history, &event, H_ENTER, line.c_str());
}

}  // namespace deepserve::ctl
