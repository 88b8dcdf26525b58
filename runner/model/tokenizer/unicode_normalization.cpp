#include "runner/model/tokenizer/unicode_normalization.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "ipc/base/check.h"
#include "runner/model/tokenizer/utf8.h"

namespace deepserve::runner {
namespace {

constexpr char32_t kTableEnd = 0x30000;   // what lies beyond is never changed
constexpr size_t kDecompositionMax = 18;  // UAX #15: of U+FDFA

// Code points that have a decomposition or a combining class, but had none in Unicode 9.0.
constexpr std::pair<char32_t, char32_t> kYounger[] = {
    {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},
    {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x10781, 0x10785},
    {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27}, {0x10eab, 0x10eac}, {0x10efd, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e},
    {0x11839, 0x1183a}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45},
    {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1}, {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f},
    {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c},
    {0x1fbf0, 0x1fbf9},
};

bool is_younger(char32_t c) {
  return std::any_of(std::begin(kYounger), std::end(kYounger),
                     [&](const auto& range) { return c >= range.first && c <= range.second; });
}

int combining_class(int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

bool composes(NormalForm form) {
  return form == NormalForm::kNfc || form == NormalForm::kNfkc;
}

void append_decomposition(std::vector<int32_t>& points, char32_t c, NormalForm form) {
  if (is_younger(c)) return points.push_back(static_cast<int32_t>(c));
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const int options = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  std::array<int32_t, kDecompositionMax> parts;
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<int32_t>(c), parts.data(), parts.size(),
                                             static_cast<utf8proc_option_t>(options), &boundary);
  CHECK(count > 0 && static_cast<size_t>(count) <= parts.size());
  points.insert(points.end(), parts.begin(), parts.begin() + count);
}

void compose(std::vector<int32_t>& points) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const auto length =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()), options);
  CHECK(length >= 0);
  points.resize(static_cast<size_t>(length));
}

// Which code points a form leaves alone whatever stands next to them, but for marks that follow.
class InertTable {
 public:
  explicit InertTable(NormalForm form) : inert_(kTableEnd, true) {
    for (char32_t c = 0; c < kTableEnd; ++c) {
      if ((c >= 0xd800 && c < 0xe000) || is_younger(c)) continue;
      std::vector<int32_t>& canonical = points_;
      canonical.clear();
      append_decomposition(canonical, c, NormalForm::kNfd);
      // What comes second in a composition may join the character before it.
      for (size_t i = 1; i < canonical.size(); ++i) inert_[static_cast<size_t>(canonical[i])] = false;
      if (combining_class(static_cast<int32_t>(c)) != 0 || !is_stable(c, form)) inert_[c] = false;
    }
  }
  bool operator[](char32_t c) const { return c >= kTableEnd || inert_[c]; }

 private:
  bool is_stable(char32_t c, NormalForm form) {
    if (form != NormalForm::kNfc && form != NormalForm::kNfd) {
      points_.clear();
      append_decomposition(points_, c, form);
    }
    if (points_.size() > 1 && composes(form)) compose(points_);
    return points_.size() == 1 && points_[0] == static_cast<int32_t>(c);
  }

  std::vector<bool> inert_;
  std::vector<int32_t> points_;
};

const InertTable& inert_table(NormalForm form) {
  switch (form) {
    case NormalForm::kNfc: {
      static const InertTable table(NormalForm::kNfc);
      return table;
    }
    case NormalForm::kNfd: {
      static const InertTable table(NormalForm::kNfd);
      return table;
    }
    case NormalForm::kNfkc: {
      static const InertTable table(NormalForm::kNfkc);
      return table;
    }
    default: {
      static const InertTable table(NormalForm::kNfkd);
      return table;
    }
  }
}

// A stretch that may change: its last inert character and what follows it up to the next.
void append_normalized(std::string& out, std::string_view stretch, NormalForm form,
                       std::vector<int32_t>& points) {
  points.clear();
  while (!stretch.empty()) {
    const size_t bytes = utf8_step(stretch).bytes;
    append_decomposition(points, utf8_code_point(stretch.substr(0, bytes)), form);
    stretch.remove_prefix(bytes);
  }
  const auto class_of = [](int32_t c) {
    return is_younger(static_cast<char32_t>(c)) ? 0 : combining_class(c);
  };
  for (auto at = points.begin(); at != points.end();) {
    const auto run_end = std::find_if(at, points.end(), [&](int32_t c) { return class_of(c) == 0; });
    std::stable_sort(at, run_end,
                     [](int32_t a, int32_t b) { return combining_class(a) < combining_class(b); });
    at = run_end == points.end() ? run_end : run_end + 1;
  }
  if (composes(form)) compose(points);
  for (int32_t c : points) append_utf8(out, static_cast<char32_t>(c));
}

}  // namespace

std::string_view normalize(std::string_view text, NormalForm form, std::string& changed) {
  const InertTable& inert = inert_table(form);
  std::vector<int32_t> points;
  bool is_changed = false;
  size_t done = 0;       // what lies before is in `changed`
  size_t begin = 0;      // of the stretch: the last inert character
  bool is_open = false;  // the stretch holds a character that is not inert
  const auto finish = [&](size_t end) {
    if (!is_open) return;
    if (!is_changed) changed.clear();
    is_changed = true;
    changed.append(text.substr(done, begin - done));
    append_normalized(changed, text.substr(begin, end - begin), form, points);
    done = end;
    is_open = false;
  };
  for (size_t at = 0; at < text.size();) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      finish(at);
      begin = at++;
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(at));
    const bool is_character = step.kind == Utf8Kind::kCharacter;
    if (!is_character || inert[utf8_code_point(text.substr(at, step.bytes))]) {
      finish(at);
      begin = is_character ? at : at + step.bytes;
    } else {
      is_open = true;
    }
    at += step.bytes;
  }
  finish(text.size());
  if (!is_changed) return text;
  changed.append(text.substr(done));
  return changed;
}

}  // namespace deepserve::runner
