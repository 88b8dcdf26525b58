#include "daemon/dispatch/request_state.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace deepserve::daemon {
namespace {

constexpr auto kStates = static_cast<int>(RequestState::kCount);
constexpr auto kEvents = static_cast<int>(RequestEvent::kCount);

// The whole table, as a reader would say it: state, then for each event (in the enum's order) the next
// state's initial (Queued Dispatched Accepted Streaming Cancelling Ended) and the rule's initial (. nothing,
// ! impossible, Go, Tell, requeUe, Refuse, Cancel, Drop).
const std::map<RequestState, std::string> kExpected = {
    {RequestState::kQueued, "Dg E! E! E! E! E! Er Ed Er Er"},
    {RequestState::kDispatched, "E! At E! E! Et Qu Er Cc D. Er"},
    {RequestState::kAccepted, "E! E! St Et Et Qu Er Cc A. Er"},
    {RequestState::kStreaming, "E! E! St Et Et Qu Er Cc S. Er"},
    {RequestState::kCancelling, "E! C. C. Ed Ed Ed Ed C. C. Ed"},
    {RequestState::kEnded, "E! E. E. E. E. E. E. E. E. E."},
};

std::string cell_text(RequestCell cell) {
  constexpr std::string_view kStateLetters = "QDASCE";
  constexpr std::string_view kRuleLetters = ".!gturcd";
  return {kStateLetters[static_cast<size_t>(cell.next)], kRuleLetters[static_cast<size_t>(cell.rule)]};
}

TEST(RequestState, EveryCellIsAsItReads) {
  for (int state = 0; state < kStates; ++state) {
    std::string row;
    for (int event = 0; event < kEvents; ++event) {
      row += cell_text(request_cell(static_cast<RequestState>(state), static_cast<RequestEvent>(event)));
      if (event + 1 < kEvents) row += ' ';
    }
    EXPECT_EQ(row, kExpected.at(static_cast<RequestState>(state)))
        << request_state_name(static_cast<RequestState>(state));
  }
}

TEST(RequestState, NothingLeavesEnded) {
  for (int event = 0; event < kEvents; ++event) {
    EXPECT_EQ(request_cell(RequestState::kEnded, static_cast<RequestEvent>(event)).next,
              RequestState::kEnded);
  }
}

TEST(RequestState, AnAcceptedRequestNeverExpires) {
  for (const auto state : {RequestState::kDispatched, RequestState::kAccepted, RequestState::kStreaming}) {
    const auto cell = request_cell(state, RequestEvent::kExpire);
    EXPECT_EQ(cell.next, state);
    EXPECT_EQ(cell.rule, RequestRule::kNothing);
  }
}

}  // namespace
}  // namespace deepserve::daemon
