// Aligned columns of text for people. Programs use --json.
#pragma once

#include <string>
#include <vector>

#include "ctl/terminal.h"

namespace deepserve::ctl {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

struct Cell {
  std::string text;
  Style style = Style::kPlain;
};

class Table {
 public:
  explicit Table(std::vector<Column> columns);
  // One cell for each column. Control characters in a cell are made visible.
  void add_row(std::vector<Cell> cells);
  // The title line and the rows, each ended by a newline. On a terminal the widest columns are cut until a
  // line fits.
  std::string render(const Terminal& terminal) const;

 private:
  std::vector<size_t> column_widths(const Terminal& terminal) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace deepserve::ctl
