#include "daemon/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace deepserve::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ConfigFile : public ::testing::Test {
 protected:
  ConfigFile() {
    std::string pattern = std::filesystem::temp_directory_path() / "deepserve-config-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    std::ofstream(directory_ + "/tiny.gguf") << "x";
  }
  ~ConfigFile() override { std::filesystem::remove_all(directory_); }

  tl::expected<Config, ConfigProblems> load(const std::string& text) {
    std::ofstream(directory_ + "/deepserve.toml") << text;
    return load_config(directory_ + "/deepserve.toml", {directory_ + "/run", directory_ + "/state", {0, 1}});
  }
  // The only problem of `text`.
  ConfigProblem problem(const std::string& text) {
    const auto config = load(text);
    if (config) return {0, 0, "no problem"};
    EXPECT_THAT(config.error(), SizeIs(1)) << problems_text("", config.error());
    return config.error().front();
  }

  std::string directory_;
};

const std::string kDevice = "[[device]]\nname = \"cpu0\"\nkind = \"cpu\"\ncores = [0, 1]\n";
const std::string kModel = "[[model]]\nname = \"tiny\"\npath = \"tiny.gguf\"\ndevices = [\"cpu0\"]\n";

TEST_F(ConfigFile, TheSmallestOneGetsTheDefaults) {
  const auto config = load(kDevice + kModel);
  ASSERT_TRUE(config) << problems_text("", config.error());
  EXPECT_EQ(config->server.listen.at(0).unix_path, directory_ + "/run/api.sock");
  EXPECT_EQ(config->server.control.unix_path, directory_ + "/run/ctl.sock");
  EXPECT_FALSE(config->observe.listen.is_tcp());
  EXPECT_EQ(config->models.at(0).path, directory_ + "/tiny.gguf");
  EXPECT_EQ(config->models.at(0).step_target_ns, 25 * kMillisecond_ns);
  EXPECT_EQ(config->models.at(0).step_max_ns, 100 * kMillisecond_ns);
  EXPECT_EQ(config->models.at(0).keep_warm_ns, 60 * kSecond_ns);
  EXPECT_EQ(config->models.at(0).keep_alive_ns, 0u);
  EXPECT_EQ(config->models.at(0).prefix_cache, PrefixCache::kShared);
  EXPECT_EQ(config->models.at(0).kv_type, "f16");
  EXPECT_EQ(config->classes[0].deadline_ns, 500 * kMillisecond_ns);
  EXPECT_EQ(config->classes[2].queue_max, 4096u);
  EXPECT_EQ(config->supervise.deaths_max, 5u);
}

TEST_F(ConfigFile, EverythingOfTheSchemaIsRead) {
  const auto config = load(
      "[server]\nlisten = [\"unix:a.sock\", \"unix:/tmp/b.sock\"]\ncontrol = \"unix:c.sock\"\ndrain_limit = "
      "\"3s\"\nrequest_timeout = \"2m\"\n"
      "[observe]\nlisten = \"[::1]:9465\"\n"
      "[supervise]\ndeaths_max = 2\nwindow = \"30s\"\nhang_after = \"2s\"\nload_hang_after = \"20s\"\n"
      "orphan_limit = \"500ms\"\n" +
      kDevice + "memory_limit = \"8GiB\"\n" + kModel +
      "aliases = [\"default\"]\ncontext_tokens = 512\nkv_memory = \"64MiB\"\nkv_type = \"q8\"\nsequences_max "
      "= 8\n"
      "step_target = \"40ms\"\nstep_max = \"60ms\"\nkeep_warm = \"5m\"\nkeep_alive = \"10m\"\nprefix_cache = "
      "\"per_client\"\n"
      "chat_template = \"chatml\"\nspeculation = \"off\"\n[class.vip]\nshare = 0.5\ndeadline = "
      "\"250ms\"\nqueue_max = 7\n"
      "[[client]]\nname = \"frontend\"\nuid = 1000\nclass = \"vip\"\nweight = 2\nmax_concurrent = 8\n"
      "tokens_per_minute = 60000\ntrusted_proxy = true\n");
  ASSERT_TRUE(config) << problems_text("", config.error());
  EXPECT_EQ(config->server.listen.at(1).unix_path, "/tmp/b.sock");
  EXPECT_EQ(config->server.request_timeout_ns, 120 * kSecond_ns);
  EXPECT_EQ(config->observe.listen.text(), "[::1]:9465");
  EXPECT_EQ(config->devices.at(0).memory_limit_bytes, 8ull << 30);
  EXPECT_EQ(config->models.at(0).step_target_ns, 40 * kMillisecond_ns);
  EXPECT_EQ(config->models.at(0).step_max_ns, 60 * kMillisecond_ns);
  EXPECT_EQ(config->models.at(0).keep_warm_ns, 300 * kSecond_ns);
  EXPECT_EQ(config->models.at(0).keep_alive_ns, 600 * kSecond_ns);
  EXPECT_EQ(config->models.at(0).prefix_cache, PrefixCache::kPerClient);
  EXPECT_THAT(config_json(*config), HasSubstr("\"prefix_cache\":\"per_client\""));
  EXPECT_EQ(config->models.at(0).kv_type, "q8");
  EXPECT_EQ(config->find_model("default"), &config->models.at(0));
  EXPECT_EQ(config->find_model(""), &config->models.at(0));
  EXPECT_EQ(config->find_model("other"), nullptr);
  EXPECT_EQ(config->models.at(0).speculation, "off");
  EXPECT_EQ(config->classes[0].queue_max, 7u);
  EXPECT_EQ(config->clients.at(0).weight, 2.0);
  EXPECT_EQ(config->clients.at(0).concurrent_max, 8u);
  EXPECT_EQ(config->clients.at(0).tokens_per_minute, 60'000u);
  EXPECT_TRUE(config->clients.at(0).trusted_proxy);
  EXPECT_EQ(match_client(*config, {true, 1000, 1, {}}).tokens_per_minute, 60'000u);
  EXPECT_EQ(match_client(*config, {true, 7, 7, {}}).concurrent_max, 0u);
  EXPECT_THAT(config_json(*config), HasSubstr("\"hang_after\":\"2s\""));
  EXPECT_EQ(config->supervise.orphan_limit_ns, kSecond_ns / 2);
  EXPECT_THAT(config_json(*config), HasSubstr("\"orphan_limit\":\"500ms\""));
}

TEST_F(ConfigFile, FallbacksAreOtherModelsOfTheFileAndATextForWhenNoneServes) {
  const std::string small =
      "[[model]]\nname = \"small\"\naliases = [\"little\"]\npath = \".\"\ndevices = "
      "[\"cpu0\"]\n";
  const auto config =
      load(kDevice + kModel + "fallback = [\"little\"]\nfallback_reply = \"Later.\"\n" + small);
  ASSERT_TRUE(config) << problems_text("", config.error());
  EXPECT_EQ(config->models.at(0).fallback, std::vector<std::string>{"little"});
  EXPECT_EQ(config->models.at(0).fallback_reply, "Later.");
  EXPECT_THAT(problem(kDevice + kModel + "fallback = [\"none\"]\n" + small).message,
              HasSubstr("there is no model 'none'"));
  EXPECT_THAT(problem(kDevice + kModel + small + "fallback = [\"small\"]\n").message,
              HasSubstr("'small' is this model itself"));
  EXPECT_THAT(problem(kDevice + kModel + "fallback_reply = \"" + std::string(20'000, 'x') + "\"\n").message,
              HasSubstr("longer than"));
}

TEST(PrefixSalt, EachClientHasItsOwnAndNoneThatOfPromptsThatAreShared) {
  EXPECT_EQ(prefix_salt_of("frontend"), prefix_salt_of("frontend"));
  EXPECT_NE(prefix_salt_of("frontend"), prefix_salt_of("frontenc"));
  EXPECT_NE(prefix_salt_of(""), ipc::PrefixSalt{});
}

TEST_F(ConfigFile, TheModelsOwnContextIsNullInJsonBecauseNoNumberMeansIt) {
  const auto own = load(kDevice + kModel);
  ASSERT_TRUE(own) << problems_text("", own.error());
  EXPECT_THAT(config_json(*own), HasSubstr("\"context_tokens\":null"));
  const auto named = load(kDevice + kModel + "context_tokens = 512\n");
  ASSERT_TRUE(named) << problems_text("", named.error());
  EXPECT_THAT(config_json(*named), HasSubstr("\"context_tokens\":512"));
}

TEST_F(ConfigFile, EveryProblemIsReportedAtOnceWithItsPlace) {
  const auto config =
      load("[server]\nlisten = 7\ncolour = \"red\"\n" + kDevice + kModel + "context_tokens = \"x\"\n");
  ASSERT_FALSE(config);
  ASSERT_THAT(config.error(), SizeIs(3));
  EXPECT_EQ(config.error()[0].line, 2u);
  EXPECT_EQ(config.error()[0].column, 10u);
  EXPECT_THAT(config.error()[0].message,
              HasSubstr("server.listen: expected a list of strings, found an integer"));
  EXPECT_EQ(config.error()[1].line, 3u);
  EXPECT_EQ(config.error()[1].column, 1u);
  EXPECT_THAT(config.error()[1].message,
              HasSubstr("unknown key 'server.colour'; known here: listen, control, drain_limit, "
                        "request_timeout"));
  EXPECT_THAT(config.error()[2].message,
              HasSubstr("model.context_tokens: expected an integer, found a string"));
}

TEST_F(ConfigFile, EachMistakeIsNamed) {
  EXPECT_THAT(problem(kDevice + kModel + "kv_type = \"q4\"\n").message,
              HasSubstr("model.kv_type: 'q4' is not known: \"f32\", \"f16\" or \"q8\""));
  EXPECT_THAT(problem(kDevice + kModel + "step_max = \"0s\"\n").message, HasSubstr("model.step_max"));
  EXPECT_THAT(
      problem("[supervise]\nhang_after = \"1s\"\n" + kDevice + kModel + "step_max = \"600ms\"\n").message,
      HasSubstr("step_max: 600ms is more than half of supervise.hang_after"));
  EXPECT_THAT(problem("[server\n").message, HasSubstr("]"));
  EXPECT_THAT(problem(kDevice + kModel + "prefix_cache = \"mine\"\n").message,
              HasSubstr("'mine' is not known: \"shared\", \"per_client\" or \"off\""));
  EXPECT_THAT(problem("servre = 1\n" + kDevice + kModel).message, HasSubstr("unknown key 'servre'"));
  EXPECT_THAT(problem("[server]\nlisten = [\"192.168.0.1:80\"]\n" + kDevice + kModel).message,
              HasSubstr("only loopback"));
  EXPECT_THAT(problem("[observe]\nlisten = \"0.0.0.0:9465\"\n" + kDevice + kModel).message,
              HasSubstr("only loopback"));
  EXPECT_THAT(problem("[supervise]\nwindow = 60\n" + kDevice + kModel).message, HasSubstr("a duration like"));
  EXPECT_THAT(problem("[supervise]\nwindow = \"60\"\n" + kDevice + kModel).message,
              HasSubstr("'60' is no duration"));
  EXPECT_THAT(problem(kModel).message, HasSubstr("no [[device]]"));
  EXPECT_THAT(
      problem(kDevice + "[[model]]\nname = \"m\"\npath = \"tiny.gguf\"\ndevices = [\"gpu9\"]\n").message,
      HasSubstr("no device 'gpu9'; there are: cpu0"));
  EXPECT_THAT(problem(kDevice).message, HasSubstr("no [[model]]"));
  EXPECT_THAT(problem(kDevice + kDevice + kModel).message, HasSubstr("'cpu0' is there twice"));
  EXPECT_THAT(problem(kDevice + kModel + kModel).message, HasSubstr("'tiny' is there twice"));
  EXPECT_THAT(problem(kDevice + "gpu = 1\n" + kModel).message, HasSubstr("unknown key 'device.gpu'"));
  EXPECT_THAT(problem("[[device]]\nname = \"cpu0\"\nkind = \"cpu\"\ncores = [7]\n" + kModel).message,
              HasSubstr("core 7 is not in this host's cpuset (0,1)"));
  EXPECT_THAT(
      problem(kDevice + "[[model]]\nname = \"m\"\npath = \"gone.gguf\"\ndevices = [\"cpu0\"]\n").message,
      HasSubstr("gone.gguf'"));
  EXPECT_THAT(problem(kDevice + kModel + "chat_template = \"mine\"\n").message,
              HasSubstr("'mine' is not known"));
  EXPECT_THAT(problem(kDevice + kModel + "tensor_parallel = 2\n").message,
              HasSubstr("1 devices cannot be parted into groups of 2"));
  EXPECT_THAT(problem(kDevice + kModel + "tensor_parallel = 65\n").message, HasSubstr("64"));
  EXPECT_THAT(problem(kDevice + kModel + "[class.gold]\nshare = 0.1\n").message,
              HasSubstr("unknown key 'class.gold'"));
  EXPECT_THAT(problem(kDevice + kModel + "[class.vip]\nshare = 0.9\n").message, HasSubstr("add up to 1.20"));
  EXPECT_THAT(problem(kDevice + kModel + "[[client]]\nname = \"a\"\nclass = \"vip\"\n").message,
              HasSubstr("a uid, a gid or an api_key_sha256"));
  for (const std::string name : {"unknown", "uid:1000"}) {
    EXPECT_THAT(problem(kDevice + kModel + "[[client]]\nname = \"" + name + "\"\nuid = 1\n").message,
                HasSubstr("'" + name + "' is what callers without an entry are called"));
  }
  EXPECT_THAT(
      problem(kDevice + kModel + "[[client]]\nname = \"a\"\nuid = 1\napi_key_sha256 = \"x\"\n").message,
      HasSubstr("64 hexadecimal digits"));
}

std::string gpu_device(const std::string& name, const std::string& keys) {
  return "[[device]]\nname = \"" + name + "\"\nkind = \"cuda\"\n" + keys + "\n";
}
std::string on_devices(const std::string& devices, const std::string& more = "") {
  return "[[model]]\nname = \"m" + std::to_string(more.size()) +
         "\"\npath = \"tiny.gguf\"\ndevices = " + devices + "\n" + more;
}

TEST_F(ConfigFile, AGpuIsNamedByItsNumberOrItsUuid) {
  const auto config =
      load(gpu_device("g", "gpu = 3\nthread_percent = 40\nmemory_limit = \"8GiB\"") + on_devices("[\"g\"]"));
  ASSERT_TRUE(config) << problems_text("", config.error());
  EXPECT_EQ(config->devices[0].gpu, "3");
  EXPECT_EQ(config->devices[0].thread_percent, 40u);
  EXPECT_EQ(config->models[0].devices[0], config->devices[0]);
  EXPECT_THAT(config_json(*config), HasSubstr("\"gpu\":3,\"thread_percent\":40"));
  const std::string uuid = "GPU-8F3A0000-1111-2222-3333-44445555abcd";
  const auto by_uuid = load(gpu_device("g", "gpu = \"" + uuid + "\"") + on_devices("[\"g\"]"));
  ASSERT_TRUE(by_uuid);
  EXPECT_EQ(by_uuid->devices[0].gpu, "GPU-8f3a0000-1111-2222-3333-44445555abcd");
  EXPECT_EQ(by_uuid->devices[0].thread_percent, 100u);
}

TEST_F(ConfigFile, AGpuComputesTheSameInAnyCompanyAndCompilesNothingUnlessTheFileSaysOtherwise) {
  const auto usual = load(gpu_device("g", "gpu = 0") + on_devices("[\"g\"]"));
  ASSERT_TRUE(usual) << problems_text("", usual.error());
  EXPECT_TRUE(usual->models[0].deterministic);
  EXPECT_TRUE(replays_exactly(usual->models[0]));
  EXPECT_FALSE(usual->devices[0].allow_jit);
  const auto free =
      load(gpu_device("g", "gpu = 0\nallow_jit = true") + on_devices("[\"g\"]", "deterministic = false\n"));
  ASSERT_TRUE(free) << problems_text("", free.error());
  EXPECT_FALSE(replays_exactly(free->models[0]));
  EXPECT_TRUE(free->models[0].devices[0].allow_jit);
  EXPECT_THAT(free->warnings, IsEmpty());
  EXPECT_THAT(config_json(*free), HasSubstr("\"deterministic\":false"));
  EXPECT_THAT(config_json(*free), HasSubstr("\"allow_jit\":true"));
}

TEST_F(ConfigFile, ACpuIsWarnedThatItIsDeterministicAnyway) {
  const auto config = load(kDevice + kModel + "deterministic = false\n");
  ASSERT_TRUE(config) << problems_text("", config.error());
  EXPECT_TRUE(replays_exactly(config->models[0]));
  EXPECT_THAT(problems_text("f", config->warnings),
              HasSubstr("f:9:17: warning: model.deterministic: false changes nothing on a CPU"));
  EXPECT_THAT(problem(kDevice + kModel + "deterministic = \"no\"\n").message,
              HasSubstr("model.deterministic"));
  EXPECT_THAT(problem(kDevice + "allow_jit = true\n" + kModel).message,
              HasSubstr("unknown key 'device.allow_jit'"));
}

TEST_F(ConfigFile, GpuKeysThatMakeNoSenseAreRefusedAtTheirPlace) {
  const auto message = [&](const std::string& keys) {
    return problem(gpu_device("g", keys) + on_devices("[\"g\"]"));
  };
  EXPECT_THAT(message("").message, HasSubstr("device.gpu"));
  EXPECT_THAT(message("gpu = -1").message, HasSubstr("-1 is not within 0 to 255"));
  EXPECT_EQ(message("gpu = -1").line, 4u);
  EXPECT_EQ(message("gpu = -1").column, 7u);
  for (const std::string gpu :
       {"1.5", "true", "\"0\"", "\"GPU-8f3a\"", "\"GPU-8f3a0000-1111-2222-3333-44445555abcg\"",
        "\"MIG-8f3a0000-1111-2222-3333-44445555abcd\""}) {
    EXPECT_THAT(message("gpu = " + gpu).message, HasSubstr("this is no GPU: its number, or its whole UUID"))
        << gpu;
  }
  EXPECT_THAT(message("gpu = 0\nthread_percent = 0").message, HasSubstr("0 is not within 1 to 100"));
  EXPECT_THAT(message("gpu = 0\nthread_percent = 101").message, HasSubstr("101 is not within 1 to 100"));
  EXPECT_THAT(problem(kDevice + "thread_percent = 50\n" + kModel).message,
              HasSubstr("unknown key 'device.thread_percent'"));
}

TEST_F(ConfigFile, GpusAreHeldAgainstWhatTheDriverTells) {
  const GpuInventory gpus{
      "580", 13'000, {{.index = 0, .uuid = "GPU-a", .name = "H200", .memory_bytes = 64u << 20}}};
  const auto check = [&](const std::string& keys, const Result<GpuInventory>& told) {
    std::ofstream(directory_ + "/deepserve.toml") << gpu_device("g", keys) + on_devices("[\"g\"]");
    return load_config(directory_ + "/deepserve.toml", {directory_, directory_, {0}, [&] { return told; }});
  };
  ASSERT_TRUE(check("gpu = 0\nmemory_limit = \"64MiB\"", gpus));
  EXPECT_THAT(check("gpu = 0", gpus)->warnings, IsEmpty());
  const auto refused = check("gpu = 1\nmemory_limit = \"65MiB\"", gpus);
  ASSERT_FALSE(refused);
  ASSERT_THAT(refused.error(), SizeIs(1));
  EXPECT_THAT(problems_text("f", refused.error()), HasSubstr("f:4:7: device.gpu: there is no GPU 1"));
  const auto too_large = check("gpu = 0\nmemory_limit = \"65MiB\"", gpus);
  ASSERT_FALSE(too_large);
  EXPECT_THAT(problems_text("f", too_large.error()), HasSubstr("f:5:16: device.memory_limit: 0.06 GiB is"));
  const auto unchecked = check("gpu = 7", fail(Code::kNotFound, "no driver"));
  ASSERT_TRUE(unchecked) << problems_text("", unchecked.error());
  EXPECT_THAT(problems_text("f", unchecked->warnings),
              HasSubstr("f:4:7: warning: device.gpu: cannot be checked: no driver"));
  EXPECT_THAT(problems_json("f", unchecked->warnings), HasSubstr("{\"ok\":true,"));
  EXPECT_THAT(problems_json("f", unchecked->warnings), HasSubstr("\"errors\":[],\"warnings\":[{\"line\":4"));
}

TEST_F(ConfigFile, GpusAreNotNamedInBothWays) {
  const auto found = problem(gpu_device("a", "gpu = 0") +
                             gpu_device("b", "gpu = \"GPU-8f3a0000-1111-2222-3333-44445555abcd\"") +
                             on_devices("[\"a\", \"b\"]"));
  EXPECT_THAT(found.message, HasSubstr("'a' names its GPU by number: name all in the same way"));
  EXPECT_EQ(found.line, 8u);
}

TEST_F(ConfigFile, AModelOverMoreGpusThanAreAddedIsRefused) {
  std::string devices, names;
  for (int i = 0; i < 17; ++i) {
    devices += gpu_device(fmt::format("g{}", i), fmt::format("gpu = {}", i));
    names += fmt::format("{}\"g{}\"", i == 0 ? "" : ", ", i);
  }
  const auto found = problem(devices + on_devices("[" + names + "]", "tensor_parallel = 17\n"));
  EXPECT_THAT(found.message, HasSubstr("model.tensor_parallel: a model can be spread over 16 GPUs at most"));
}

TEST_F(ConfigFile, AGpuIsSharedByWhateverMakesTwoRunnersOrAPart) {
  const auto is_shared = [&](const std::string& text) {
    const auto config = load(text);
    EXPECT_TRUE(config) << problems_text("", config.error());
    return config && config->is_shared("0");
  };
  const std::string whole = gpu_device("a", "gpu = 0");
  EXPECT_FALSE(is_shared(whole + on_devices("[\"a\"]")));
  EXPECT_FALSE(is_shared(whole + gpu_device("b", "gpu = 1") + on_devices("[\"a\", \"b\"]")));
  EXPECT_TRUE(is_shared(whole + gpu_device("b", "gpu = 0") + on_devices("[\"a\"]")));
  EXPECT_TRUE(is_shared(gpu_device("a", "gpu = 0\nthread_percent = 99") + on_devices("[\"a\"]")));
  EXPECT_TRUE(is_shared(whole + on_devices("[\"a\"]") + on_devices("[\"a\"]", "sequences_max = 8\n")));
  // MPS allows that shares add up to more than the whole.
  EXPECT_TRUE(is_shared(gpu_device("a", "gpu = 0\nthread_percent = 70") +
                        gpu_device("b", "gpu = 0\nthread_percent = 70") + on_devices("[\"a\", \"b\"]")));
}

TEST_F(ConfigFile, ARankTakesAWholeGpu) {
  const std::string group = "tensor_parallel = 2\n";
  const std::string two = gpu_device("a", "gpu = 0") + gpu_device("b", "gpu = 1");
  EXPECT_TRUE(load(two + on_devices("[\"a\", \"b\"]", group)));
  EXPECT_THAT(
      problem(gpu_device("a", "gpu = 0") + gpu_device("b", "gpu = 0") + on_devices("[\"a\", \"b\"]", group))
          .message,
      HasSubstr("a rank takes a whole GPU, and that of device 'a' (0) is shared"));
  EXPECT_THAT(problem(gpu_device("a", "gpu = 0") + gpu_device("b", "gpu = 1\nthread_percent = 50") +
                      on_devices("[\"a\", \"b\"]", group))
                  .message,
              HasSubstr("device 'b' (1) is shared"));
  EXPECT_THAT(problem(two + gpu_device("c", "gpu = 1") + on_devices("[\"a\", \"b\"]", group)).message,
              HasSubstr("device 'b' (1) is shared"));
  EXPECT_THAT(problem(two + on_devices("[\"b\"]") + on_devices("[\"a\", \"b\"]", group)).message,
              HasSubstr("device 'b' (1) is shared"));
  EXPECT_THAT(problem(kDevice + gpu_device("b", "gpu = 1") + on_devices("[\"cpu0\", \"b\"]", group)).message,
              HasSubstr("'cpu0' and 'b' are devices of different kinds"));
}

TEST_F(ConfigFile, AMissingFileIsAProblemOfTheWholeFile) {
  const auto config = load_config(directory_ + "/none.toml", {"r", "s", {0}});
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().at(0).line, 0u);
  EXPECT_THAT(problems_json("x", config.error()), HasSubstr("\"ok\":false"));
}

TEST_F(ConfigFile, WithoutClientsEveryLocalPeerMayUseVip) {
  const auto config = load(kDevice + kModel);
  EXPECT_EQ(match_client(*config, {true, 1000, 1000, {}}).class_ceiling, ipc::Class::kVip);
  EXPECT_EQ(match_client(*config, {true, 1000, 1000, {}}).name, "uid:1000");
  EXPECT_EQ(match_client(*config, {false, 0, 0, {}}).class_ceiling, ipc::Class::kNormal);
}

// SHA-256 of "sesame" and of "barley".
const std::string kSesame = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";
const std::string kBarley = "d7a9ead0b15cd7c8f3ba0d573530ad05b70052080825dda30744c9c7f44e07dc";

TEST_F(ConfigFile, ACgroupIsAClientWithAllThatIsBelowIt) {
  const auto config =
      load(kDevice + kModel +
           "[[client]]\nname = \"web\"\ncgroup = \"/system.slice/web.service\"\nclass = \"vip\"\n"
           "[[client]]\nname = \"mine\"\nuid = 1000\ncgroup = \"/user.slice\"\n");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->asks_cgroups());
  const auto name_of = [&](uint32_t uid, std::string_view cgroup) {
    return match_client(*config, {true, uid, uid, {}, cgroup}).name;
  };
  EXPECT_EQ(name_of(7, "/system.slice/web.service"), "web");
  EXPECT_EQ(name_of(7, "/system.slice/web.service/worker"), "web");
  EXPECT_EQ(name_of(7, "/system.slice/web.service2"), "uid:7");
  EXPECT_EQ(name_of(7, ""), "uid:7") << "a cgroup that is not known is none";
  EXPECT_EQ(name_of(1000, "/user.slice/user-1000.slice"), "mine");
  EXPECT_EQ(name_of(1001, "/user.slice/user-1000.slice"), "uid:1001") << "all that is named has to fit";
  EXPECT_EQ(match_client(*config, {false, 0, 0, {}, "/system.slice/web.service"}).name, "unknown");
  EXPECT_THAT(config_json(*config), HasSubstr("\"cgroup\":\"/user.slice\""));
  for (const std::string path : {"", "/", "user.slice", "/user.slice/"}) {
    EXPECT_THAT(
        problem(kDevice + kModel + "[[client]]\nname = \"a\"\nuid = 1\ncgroup = \"" + path + "\"\n").message,
        HasSubstr("is no cgroup below the root"));
  }
}

TEST_F(ConfigFile, ClientsSayWhatTheyAcceptInsteadOfARefusal) {
  const std::string client = "[[client]]\nname = \"a\"\nuid = 1\n";
  const auto config = load(kDevice + kModel + client + "accept_degraded = [\"truncated_context\"]\n");
  ASSERT_TRUE(config);
  EXPECT_EQ(match_client(*config, {true, 1, 1, {}}).agreement, (Agreement{.truncated_context = true}));
  EXPECT_EQ(match_client(*config, {true, 2, 2, {}}).agreement, Agreement{});
  EXPECT_THAT(config_json(*config), HasSubstr("\"accept_degraded\":[\"truncated_context\"]"));
  EXPECT_THAT(problem(kDevice + kModel + client + "accept_degraded = [\"silence\"]\n").message,
              HasSubstr("'silence' is not known: truncated_context or smaller_model"));
}

std::string client_with_key(const std::string& name, const std::string& digests) {
  return "[[client]]\nname = \"" + name + "\"\nclass = \"vip\"\napi_key_sha256 = " + digests + "\n";
}

TEST_F(ConfigFile, AKeyNamesItsClientWhoeverThePeerIs) {
  const auto config =
      load(kDevice + kModel + client_with_key("web", "[\"" + kBarley + "\", \"" + kSesame + "\"]") +
           "[[client]]\nname = \"root\"\nuid = 7\nclass = \"batch\"\n");
  ASSERT_TRUE(config);
  const auto* client = find_client_by_key(*config, "sesame");
  ASSERT_NE(client, nullptr);
  EXPECT_EQ(client->name, "web");
  EXPECT_EQ(find_client_by_key(*config, "sesamE"), nullptr);
  EXPECT_EQ(find_client_by_key(*config, ""), nullptr);
  EXPECT_EQ(match_client(*config, {true, 7, 7, "web"}).name, "web");
  EXPECT_EQ(match_client(*config, {true, 7, 7, {}}).name, "root");
  EXPECT_EQ(match_client(*config, {true, 8, 8, {}}).name, "uid:8")
      << "a client with a key alone is no peer's";
}

TEST_F(ConfigFile, AKeyOfTwoClientsIsRefused) {
  EXPECT_THAT(problem(kDevice + kModel + client_with_key("a", "\"" + kSesame + "\"") +
                      client_with_key("b", "\"" + kSesame + "\""))
                  .message,
              HasSubstr("there twice"));
}

TEST_F(ConfigFile, TcpNeedsAClientWithAKey) {
  const std::string listen = "[server]\nlisten = [\"unix:api.sock\", \"[::1]:8080\"]\n";
  EXPECT_THAT(problem(listen + kDevice + kModel).message, HasSubstr("no [[client]] has an api_key_sha256"));
  EXPECT_TRUE(load(listen + kDevice + kModel + client_with_key("a", "\"" + kSesame + "\"")));
}

TEST_F(ConfigFile, TheControlSocketIsNoSocketForClients) {
  EXPECT_THAT(problem("[server]\nlisten = [\"unix:ctl.sock\"]\n" + kDevice + kModel).message,
              HasSubstr("both a socket to listen on and the control socket"));
}

TEST_F(ConfigFile, WithClientsAnUnmatchedPeerIsNormalAtMost) {
  const auto config = load(kDevice + kModel +
                           "[[client]]\nname = \"front\"\nuid = 7\nclass = \"vip\"\n"
                           "[[client]]\nname = \"night\"\ngid = 9\nclass = \"batch\"\n");
  ASSERT_TRUE(config);
  EXPECT_EQ(match_client(*config, {true, 7, 1, {}}).class_ceiling, ipc::Class::kVip);
  EXPECT_EQ(match_client(*config, {true, 8, 9, {}}).name, "night");
  EXPECT_EQ(match_client(*config, {true, 8, 9, {}}).class_ceiling, ipc::Class::kBatch);
  EXPECT_EQ(match_client(*config, {true, 8, 8, {}}).class_ceiling, ipc::Class::kNormal);
}

}  // namespace
}  // namespace deepserve::daemon
