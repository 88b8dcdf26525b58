// What a runner keeps of a request for another life of dsd: it comes back whole, or is refused by name.
#include "daemon/serving/kept_request.h"

#include <gtest/gtest.h>

#include <random>

namespace deepserve::daemon {
namespace {

RequestSpec full_spec() {
  RequestSpec spec;
  spec.peer = {
      .pid = 77, .uid = 1000, .gid = 100, .known = true, .key_client = "web", .cgroup = "/user.slice"};
  spec.client = "web";
  spec.endpoint = "chat";
  spec.service_class = ipc::Class::kBatch;
  spec.model = "tiny";
  spec.work = ipc::Work::kGenerate;
  spec.prompt.text = "Once upon a time";
  spec.generation.seed = 5;
  spec.generation.tokens_max = 9;
  spec.deadline_ns = 123;
  spec.prompt_bytes = 16;
  spec.ticket = "t1";
  spec.body_hash = 3;
  spec.body_bytes = 4;
  spec.is_retry = true;
  spec.whole = 8;
  spec.whole_parts = 2;
  spec.whole_prompt_bytes = 32;
  spec.opaque = {std::byte{1}, std::byte{0}, std::byte{255}};
  return spec;
}

ipc::Submit submit_of(const RequestSpec& spec) {
  ipc::Submit submit;
  submit.request = 42;
  submit.work = spec.work;
  submit.service_class = ipc::Class::kNormal;  // raised for one step: not what the request is
  submit.deadline_ns = spec.deadline_ns;
  submit.prompt = spec.prompt;
  submit.generation = spec.generation;
  submit.resumed = {{0, {1, 2}}};
  submit.opaque = encode_kept(spec, 7, {"cap_tokens", 11});
  return submit;
}

TEST(KeptRequest, ComesBackAsItWasTaken) {
  const RequestSpec spec = full_spec();
  const auto kept = decode_kept(submit_of(spec));
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(kept->id, 42u);
  EXPECT_EQ(kept->arrived_ns, 7u);
  EXPECT_EQ(kept->deadline_ns, 123u);
  EXPECT_EQ(kept->degraded.how, "cap_tokens");
  EXPECT_EQ(kept->degraded.truncated_bytes, 11u);
  ASSERT_EQ(kept->resumed.size(), 1u);
  const RequestSpec& back = kept->spec;
  EXPECT_EQ(back.peer.pid, 77);
  EXPECT_EQ(back.peer.uid, 1000u);
  EXPECT_EQ(back.peer.gid, 100u);
  EXPECT_TRUE(back.peer.known);
  EXPECT_EQ(back.peer.key_client, "web");
  EXPECT_EQ(back.peer.cgroup, "/user.slice");
  EXPECT_EQ(back.client, spec.client);
  EXPECT_EQ(back.endpoint, spec.endpoint);
  EXPECT_EQ(back.service_class, ipc::Class::kBatch);
  EXPECT_EQ(back.model, spec.model);
  EXPECT_EQ(back.prompt.text, spec.prompt.text);
  EXPECT_EQ(back.generation.seed, 5u);
  EXPECT_EQ(back.deadline_ns, 123u);
  EXPECT_EQ(back.prompt_bytes, 16u);
  EXPECT_EQ(back.ticket, "t1");
  EXPECT_EQ(back.body_hash, 3u);
  EXPECT_EQ(back.body_bytes, 4u);
  EXPECT_TRUE(back.is_retry);
  EXPECT_EQ(back.whole, 8u);
  EXPECT_EQ(back.whole_parts, 2u);
  EXPECT_EQ(back.whole_prompt_bytes, 32u);
  EXPECT_EQ(back.opaque, spec.opaque);
}

TEST(KeptRequest, ItsBytesAreNeverUnderstated) {
  RequestSpec spec = full_spec();
  spec.opaque.resize(5000);
  spec.client.assign(300, 'c');
  const Degraded degraded{"cap_tokens, smaller_model=tiny, truncated_context", 1};
  EXPECT_LE(encode_kept(spec, 1, degraded).size(), kept_bytes(spec));
}

TEST(KeptRequest, WhatIsCutShortOrLongerOrNotOursIsRefused) {
  const auto submit = submit_of(full_spec());
  for (size_t size = 0; size < submit.opaque.size(); ++size) {
    auto cut = submit;
    cut.opaque.resize(size);
    const auto kept = decode_kept(std::move(cut));
    ASSERT_FALSE(kept) << size;
    EXPECT_EQ(kept.error().code, Code::kBadLane);
  }
  auto longer = submit;
  longer.opaque.push_back(std::byte{0});
  EXPECT_FALSE(decode_kept(std::move(longer)));
  auto foreign = submit;
  foreign.opaque.assign(64, std::byte{'x'});
  EXPECT_FALSE(decode_kept(std::move(foreign)));
}

TEST(KeptRequest, ANewerDsdsRequestIsReadWhereThatSaysThatItMayBe) {
  auto newer = submit_of(full_spec());
  newer.opaque[4] = std::byte{kKeptVersion + 1};
  newer.opaque.insert(newer.opaque.end(), 12, std::byte{9});  // fields that this version does not know
  EXPECT_EQ(decode_kept(std::move(newer))->spec.client, "web");
  auto too_new = submit_of(full_spec());
  too_new.opaque[4] = too_new.opaque[6] = std::byte{kKeptVersion + 1};
  const auto refused = decode_kept(std::move(too_new));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kNotSupported);
}

TEST(KeptRequest, FlippedBytesNeverDoMoreThanBeRefused) {
  const unsigned seed = 20;
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    auto submit = submit_of(full_spec());
    for (int flips = 0; flips < 3; ++flips) {
      submit.opaque[random() % submit.opaque.size()] = static_cast<std::byte>(random());
    }
    const auto kept = decode_kept(std::move(submit));
    if (kept) {
      EXPECT_LT(kept->spec.service_class, ipc::Class::kCount);
    }
  }
}

}  // namespace
}  // namespace deepserve::daemon
