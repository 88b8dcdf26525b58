#include "kernels/cuda/attention_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

namespace deepserve::kernels::cuda {
namespace {

constexpr AttentionLimits kSevenB{.group = 7,
                                  .kv_heads = 4,
                                  .multiprocessors = 132,
                                  .wide = true,
                                  .workspace_rows = 1'000'000,
                                  .workspace_tiles = 1'000,
                                  .items_max = 100'000};

AttentionPlan plan_of(const std::vector<AttentionEntry>& entries, const AttentionLimits& limits) {
  AttentionPlan plan;
  plan_attention(entries, limits, plan);
  return plan;
}

TEST(AttentionPlan, SegmentsLieAtFixedPositionsWithoutGaps) {
  uint32_t end = 0;
  for (uint32_t segment = 0; segment < 200; ++segment) {
    EXPECT_EQ(attention_segment_begin(segment), end) << segment;
    const uint32_t tokens = attention_segment_tokens(segment);
    EXPECT_EQ(tokens % (64 * kAttentionParts), 0u) << segment;
    EXPECT_EQ(attention_segments(end), segment);
    EXPECT_EQ(attention_segments(end + 1), segment + 1);
    end += tokens;
  }
  EXPECT_EQ(attention_segments(131'072), 88u);
}

TEST(AttentionPlan, ASegmentOfADecodedTokenIsAnItem) {
  const AttentionPlan plan = plan_of({{0, 1, 8'191, 0}, {1, 1, 511, 512}, {2, 1, 512, 544}}, kSevenB);
  ASSERT_EQ(plan.count(AttentionKind::kNarrow), 16u + 1 + 2);
  EXPECT_EQ(plan.items.size(), 19u);
  EXPECT_EQ(plan.items.back().first_row, 2u) << "the one position behind 512 is the shortest item";
  for (const AttentionItem& item : plan.items) {
    EXPECT_EQ(item.segment == AttentionItem::kAllSegments, item.first_row == 1);
    EXPECT_EQ(item.rows, 7u);
  }
}

TEST(AttentionPlan, RowsGoToTheKernelOfTheirNumber) {
  const AttentionPlan plan = plan_of({{0, 2, 9, 0}, {2, 3, 9, 1}, {5, 9, 9, 2}, {14, 10, 9, 3}}, kSevenB);
  EXPECT_EQ(plan.count(AttentionKind::kNarrow), 1u);  // 14 rows
  EXPECT_EQ(plan.count(AttentionKind::kMedium), 2u);  // 21 and 63
  EXPECT_EQ(plan.count(AttentionKind::kWide), 1u);    // 70
  AttentionLimits limits = kSevenB;
  limits.wide = false;
  EXPECT_EQ(plan_of({{14, 10, 9, 3}}, limits).count(AttentionKind::kMedium), 2u);
}

// Each row of each entry with each of its segments, exactly once.
void expect_complete(const std::vector<AttentionEntry>& entries, const AttentionLimits& limits,
                     const AttentionPlan& plan) {
  std::map<std::tuple<uint32_t, uint32_t>, std::set<uint32_t>> segments;  // of (first row, row)
  std::set<uint32_t> partial_rows;
  for (const AttentionItem& item : plan.items) {
    const uint32_t end = item.rows_begin + item.rows;
    const uint32_t context = item.position + (end - 1) / limits.group + 1;
    const bool all = item.segment == AttentionItem::kAllSegments;
    for (uint32_t row = item.rows_begin; row < end; ++row) {
      for (uint32_t i = all ? 0 : item.segment; i < (all ? attention_segments(context) : item.segment + 1);
           ++i) {
        EXPECT_TRUE(segments[std::tuple(item.first_row, row)].insert(i).second);
      }
    }
    if (all) continue;
    EXPECT_LT(item.tile, limits.workspace_tiles);
    for (uint32_t i = 0; i < limits.kv_heads * item.rows; ++i) {
      const uint32_t row = item.partial_row + item.segment * limits.kv_heads * item.rows + i;
      EXPECT_LT(row, limits.workspace_rows);
      EXPECT_TRUE(partial_rows.insert(row).second);
    }
  }
  for (const AttentionEntry& entry : entries) {
    for (uint32_t row = 0; row < entry.tokens * limits.group; ++row) {
      const auto found = segments.find(std::tuple(entry.first_row, row));
      ASSERT_NE(found, segments.end());
      EXPECT_GE(found->second.size(), attention_segments(entry.position + row / limits.group + 1));
    }
  }
}

TEST(AttentionPlan, HasEverythingOnceWhateverTheRoom) {
  const std::vector<AttentionEntry> entries{{0, 1, 40'000, 0},    {1, 1, 7, 2'501},
                                            {2, 5, 1'000, 2'502}, {7, 100, 600, 2'600},
                                            {107, 512, 0, 2'700}, {619, 12, 9'000, 2'800}};
  for (const uint32_t rows : {0u, 1'300u, 4'000u, 1'000'000u}) {
    for (const uint32_t tiles : {0u, 1u, 1'000u}) {
      for (const uint32_t items : {0u, 50u, 100'000u}) {
        for (const uint32_t multiprocessors : {1u, 1'000u}) {
          AttentionLimits limits = kSevenB;
          limits.workspace_rows = rows;
          limits.workspace_tiles = tiles;
          limits.multiprocessors = multiprocessors;
          limits.items_max = items + attention_items_min(631, limits.group);
          const AttentionPlan plan = plan_of(entries, limits);
          expect_complete(entries, limits, plan);
          EXPECT_LE(plan.items.size(), limits.items_max);
        }
      }
    }
  }
}

TEST(AttentionPlan, PrefillIsSplitWhereItHasFewTiles) {
  const AttentionEntry few{0, 32, 100'000, 0}, many{0, 512, 100'000, 0};
  EXPECT_EQ(plan_of({few}, kSevenB).items.size(), 2 * attention_segments(100'032));
  AttentionLimits limits = kSevenB;
  limits.multiprocessors = 100;
  EXPECT_EQ(plan_of({many}, limits).items.size(), 28u);
}

TEST(AttentionPlan, LongItemsComeFirst) {
  const AttentionPlan plan = plan_of({{0, 1, 100, 0}, {1, 1, 40'000, 9}, {2, 1, 300, 4'000}}, kSevenB);
  uint32_t before = 0xffffffff;
  for (const AttentionItem& item : plan.items) {
    const uint32_t begin =
        item.segment == AttentionItem::kAllSegments ? 0 : attention_segment_begin(item.segment);
    const uint32_t most = item.segment == AttentionItem::kAllSegments
                              ? item.position + 1
                              : attention_segment_tokens(item.segment);
    const uint32_t length = std::min(item.position + 1 - begin, most);
    EXPECT_LE(length, before);
    before = length;
  }
}

TEST(AttentionPlan, AnEmptyStepHasNoItems) {
  AttentionPlan plan = plan_of({{0, 1, 100, 0}}, kSevenB);
  plan_attention({}, kSevenB, plan);
  EXPECT_TRUE(plan.items.empty());
  for (const uint32_t begin : plan.begins) EXPECT_EQ(begin, 0u);
}

}  // namespace
}  // namespace deepserve::kernels::cuda
