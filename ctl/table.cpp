#include "ctl/table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "ipc/base/check.h"

namespace deepserve::ctl {
namespace {

constexpr size_t kGap_columns = 2;
constexpr size_t kNarrowest_columns = 6;

void append_cell(std::string& line, const Terminal& terminal, const Cell& cell, Align align, size_t width,
                 bool last) {
  const std::string text = cut_to_columns(cell.text, width);
  const std::string padding(width - display_columns(text), ' ');
  if (align == Align::kRight) line += padding;
  line += styled(terminal, cell.style, text);
  if (last) return;
  if (align == Align::kLeft) line += padding;
  line.append(kGap_columns, ' ');
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add_row(std::vector<Cell> cells) {
  CHECK(cells.size() == columns_.size());
  for (Cell& cell : cells) cell.text = visible_line(cell.text);
  rows_.push_back(std::move(cells));
}

std::string Table::render(const Terminal& terminal) const {
  const std::vector<size_t> widths = column_widths(terminal);
  std::string out;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const bool last = i + 1 == columns_.size();
    append_cell(out, terminal, {columns_[i].title, Style::kDim}, columns_[i].align, widths[i], last);
  }
  out += '\n';
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      append_cell(out, terminal, row[i], columns_[i].align, widths[i], i + 1 == row.size());
    }
    out += '\n';
  }
  return out;
}

std::vector<size_t> Table::column_widths(const Terminal& terminal) const {
  std::vector<size_t> widths;
  for (const Column& column : columns_) widths.push_back(display_columns(column.title));
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_columns(row[i].text));
  }
  if (!terminal.out_is_terminal || widths.empty()) return widths;
  const size_t gaps = kGap_columns * (widths.size() - 1);
  size_t total = std::accumulate(widths.begin(), widths.end(), gaps);
  while (total > terminal.columns) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= kNarrowest_columns) break;  // narrower would say nothing: let the terminal wrap
    --*widest;
    --total;
  }
  return widths;
}

}  // namespace deepserve::ctl
