#include "kernels/cuda/attention_plan.h"

#include <algorithm>

namespace deepserve::kernels::cuda {
namespace {

AttentionKind kind_of(uint32_t rows, bool wide) {
  if (rows <= kAttentionRows[0]) return AttentionKind::kNarrow;
  return rows <= kAttentionRows[1] || !wide ? AttentionKind::kMedium : AttentionKind::kWide;
}

uint32_t tiles_of(uint32_t rows, AttentionKind kind) {
  const uint32_t most = kAttentionRows[static_cast<size_t>(kind)];
  return (rows + most - 1) / most;
}

uint32_t context_of(const AttentionItem& item, uint32_t group) {
  return item.position + (item.rows_begin + item.rows - 1) / group + 1;
}

// How many positions the item's rows attend to, at the most.
uint32_t length_of(const AttentionItem& item, uint32_t group) {
  const uint32_t context = context_of(item, group);
  if (item.segment == AttentionItem::kAllSegments) return context;
  return std::min(context - attention_segment_begin(item.segment), attention_segment_tokens(item.segment));
}

class Planner {
 public:
  Planner(const AttentionLimits& limits, AttentionPlan& plan) : limits_(limits), plan_(plan) {}

  void run(std::span<const AttentionEntry> entries) {
    uint32_t large_tiles = 0;
    for (const AttentionEntry& entry : entries) {
      const uint32_t rows = entry.tokens * limits_.group;
      const AttentionKind kind = kind_of(rows, limits_.wide);
      unplanned_tiles_ += tiles_of(rows, kind);
      if (kind != AttentionKind::kNarrow) large_tiles += tiles_of(rows, kind);
    }
    splits_large_ = large_tiles * limits_.kv_heads < limits_.multiprocessors;
    plan_.items.clear();
    for (size_t kind = 0; kind < kAttentionKinds; ++kind) {
      plan_.begins[kind] = static_cast<uint32_t>(plan_.items.size());
      for (const AttentionEntry& entry : entries) add(entry, static_cast<AttentionKind>(kind));
      const auto begin = plan_.items.begin() + plan_.begins[kind];
      std::sort(begin, plan_.items.end(), [this](const AttentionItem& a, const AttentionItem& b) {
        const uint32_t a_length = length_of(a, limits_.group), b_length = length_of(b, limits_.group);
        if (a_length != b_length) return a_length > b_length;
        if (a.first_row != b.first_row) return a.first_row < b.first_row;
        return a.rows_begin != b.rows_begin ? a.rows_begin < b.rows_begin : a.segment < b.segment;
      });
    }
    plan_.begins[kAttentionKinds] = static_cast<uint32_t>(plan_.items.size());
  }

 private:
  void add(const AttentionEntry& entry, AttentionKind kind) {
    const uint32_t rows = entry.tokens * limits_.group;
    if (kind_of(rows, limits_.wide) != kind) return;
    const uint32_t most = kAttentionRows[static_cast<size_t>(kind)];
    for (uint32_t begin = 0; begin < rows; begin += most) {
      AttentionItem item{.first_row = entry.first_row,
                         .position = entry.position,
                         .table = entry.table,
                         .rows_begin = begin,
                         .rows = std::min(most, rows - begin),
                         .segment = AttentionItem::kAllSegments,
                         .partial_row = 0,
                         .tile = 0};
      --unplanned_tiles_;
      const uint32_t segments = attention_segments(context_of(item, limits_.group));
      if (!splits(item, kind, segments)) {
        plan_.items.push_back(item);
        continue;
      }
      item.partial_row = partial_rows_;
      item.tile = tiles_++;
      partial_rows_ += segments * limits_.kv_heads * item.rows;
      for (item.segment = 0; item.segment < segments; ++item.segment) plan_.items.push_back(item);
    }
  }

  bool splits(const AttentionItem& item, AttentionKind kind, uint32_t segments) const {
    if (segments == 1 || (kind != AttentionKind::kNarrow && !splits_large_)) return false;
    const uint64_t rows = uint64_t{segments} * limits_.kv_heads * item.rows;
    return tiles_ < limits_.workspace_tiles && partial_rows_ + rows <= limits_.workspace_rows &&
           plan_.items.size() + segments + unplanned_tiles_ <= limits_.items_max;
  }

  const AttentionLimits& limits_;
  AttentionPlan& plan_;
  bool splits_large_ = false;
  uint32_t unplanned_tiles_ = 0;
  uint32_t partial_rows_ = 0;
  uint32_t tiles_ = 0;
};

}  // namespace

void plan_attention(std::span<const AttentionEntry> entries, const AttentionLimits& limits,
                    AttentionPlan& plan) {
  Planner(limits, plan).run(entries);
}

}  // namespace deepserve::kernels::cuda
