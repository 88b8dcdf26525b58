#include "daemon/api/head_judge.h"

#include "ipc/base/clock.h"
#include "tests/unit/api/fake_serving.h"

namespace deepserve::daemon {
namespace {

HttpRequest head_of(const std::string& service_class, const std::string& length) {
  HttpRequest head;
  head.method = "POST";
  head.path = "/v1/chat/completions";
  head.fields = {{"x-deepserve-class", service_class}, {"content-length", length}};
  return head;
}

TEST(HeadJudge, AsksWithAllThatAHeadSays) {
  ApiServer test;
  test.client = "web";
  HttpRequest head = head_of("normal", "900");
  head.fields.emplace_back("x-deepserve-ticket", "abc");
  head.fields.emplace_back("x-deepserve-deadline-ms", "1500");
  head.fields.emplace_back("x-stainless-retry-count", "1");
  EXPECT_FALSE(test.api.judge()(head));
  ASSERT_EQ(test.serving.glanced.size(), 1u);
  const RequestSpec& spec = test.serving.glanced[0];
  EXPECT_EQ(spec.client, "web");
  EXPECT_EQ(spec.service_class, ipc::Class::kNormal);
  EXPECT_EQ(spec.body_bytes, 900u);
  EXPECT_EQ(spec.body_hash, 0u);
  EXPECT_EQ(spec.ticket, "abc");
  EXPECT_TRUE(spec.is_retry);
  EXPECT_GT(spec.deadline_ns, monotonic_ns());
}

TEST(HeadJudge, SaysWhetherTheHeadNamesTheClassAndWhatIsAgreedTo) {
  ApiServer test;
  HttpRequest head = head_of("batch", "900");
  EXPECT_FALSE(test.api.judge()(head));
  head.fields.erase(head.fields.begin());
  head.fields.emplace_back("x-deepserve-accept-degraded", "truncated_context");
  EXPECT_FALSE(test.api.judge()(head));
  ASSERT_EQ(test.serving.glanced.size(), 2u);
  EXPECT_TRUE(test.serving.glanced[0].class_named);
  EXPECT_FALSE(test.serving.glanced[0].agreed);
  EXPECT_FALSE(test.serving.glanced[1].class_named);
  EXPECT_TRUE(test.serving.glanced[1].agreed->truncated_context);
}

TEST(HeadJudge, ARefusalIsToldAsOneOfAWholeRequestIsAndCounted) {
  ApiServer test;
  Refusal refused = refusal(2'000, ipc::Class::kNormal);
  refused.booked = true;
  refused.ticket = "ticket";
  test.serving.refused_at_a_glance = refused;
  const auto response = test.api.judge()(head_of("normal", "900"));
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 503);
  EXPECT_TRUE(json_of(response->body).at_pointer("/error/booked").as_bool());
  EXPECT_NE(std::find(response->fields.begin(), response->fields.end(),
                      std::pair<std::string, std::string>("X-Deepserve-Ticket", "ticket")),
            response->fields.end());
  const std::string text = test.metrics.render(test.serving, nullptr);
  EXPECT_NE(text.find(R"(admission_total{class="normal",outcome="refused",reason="queue_full"} 1)"),
            std::string::npos);
}

TEST(HeadJudge, AKeyWhoseAnswerMayStillComeBackIsNotRefused) {
  for (const uint64_t seconds : {0, 60}) {
    const uint64_t until_ns = monotonic_ns() + seconds * kSecond_ns;
    ApiServer test({}, 10'000, 1 << 20, 0, 1 << 20, until_ns);
    test.client = "web";
    test.serving.refused_at_a_glance = refusal(2'000, ipc::Class::kNormal);
    HttpRequest head = head_of("normal", "900");
    head.fields.emplace_back("idempotency-key", "k");
    EXPECT_EQ(test.api.judge()(head).has_value(), seconds == 0);
    test.api.expect({{1, "web", "another"}, {2, "other", "k"}});
    EXPECT_TRUE(test.api.judge()(head));
  }
}

TEST(HeadJudge, AHeadThatSaysTooLittleOrSomethingWrongIsLeftToItsRoute) {
  ApiServer test;
  test.serving.refused_at_a_glance = refusal(2'000, ipc::Class::kNormal);
  const auto judge = test.api.judge();
  HttpRequest bad_agreement = head_of("normal", "900");
  bad_agreement.fields.emplace_back("x-deepserve-accept-degraded", "anything");
  HttpRequest without_length = head_of("normal", "900");
  without_length.fields.pop_back();
  HttpRequest other_route = head_of("normal", "900");
  other_route.path = "/tokenize";
  HttpRequest other_method = head_of("normal", "900");
  other_method.method = "GET";
  HttpRequest bad_deadline = head_of("normal", "900");
  bad_deadline.fields.emplace_back("x-deepserve-deadline-ms", "-5");
  HttpRequest stranger = head_of("normal", "900");
  stranger.fields.emplace_back("x-deepserve-client", "alice");
  for (const HttpRequest& head :
       {bad_agreement, without_length, other_route, other_method, bad_deadline, stranger,
        head_of("royal", "900"), head_of("normal", "many"), head_of("normal", "0")}) {
    EXPECT_FALSE(judge(head)) << head.path;
  }
  EXPECT_TRUE(test.serving.glanced.empty());
}

}  // namespace
}  // namespace deepserve::daemon
