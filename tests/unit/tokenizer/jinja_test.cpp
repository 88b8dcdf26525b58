#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>

#include "runner/model/chat/jinja/json_text.h"
#include "runner/model/chat/jinja/template.h"

namespace deepserve::runner::jinja {
namespace {

std::string rendered(std::string_view source, const Variables& variables = {}) {
  const auto parsed = Template::parse(source);
  if (!parsed) return "refused: " + parsed.error().message;
  const auto text = parsed->render(variables);
  return text ? std::string(text->bytes()) : "failed: " + text.error().message;
}

Value user_text(std::string_view text) {
  return Value(text, Author::kUser);
}

// Each byte of a rendering as the letter of its author.
std::string authors(std::string_view source, const Variables& variables) {
  const MarkedText text = *Template::parse(source)->render(variables);
  std::string letters;
  for (const MarkedText::Run& run : text.runs())
    letters.append(run.end - letters.size(), run.author == Author::kUser ? 'u' : 't');
  return letters;
}

TEST(Jinja, WhoWroteAByteIsKnownWhateverBecomesOfIt) {
  const Variables variables = {{"x", user_text(" a-B ")}};
  EXPECT_EQ(authors("<{{ x }}>", variables), "tuuuuut");
  EXPECT_EQ(authors("{{ '<' + x | trim + '>' }}", variables), "tuuut");
  EXPECT_EQ(authors("{{ x.strip().upper().replace('-', '+++') }}", variables), "utttu");
  EXPECT_EQ(authors("{{ x.split('-') | join('__') }}", variables), "uuttuu");
  EXPECT_EQ(authors("{{ ('[' ~ x ~ ']')[::-1] }}", variables), "tuuuuut");
  EXPECT_EQ(authors("{% set y %}({{ x | length }}{{ x[1:2] }}){% endset %}{{ y }}", variables), "tuut");
  EXPECT_EQ(authors("{{ {'k': x} | tojson }}", variables), std::string(14, 'u'));
  EXPECT_EQ(authors("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(x) }}", variables), "tuuuuut");
}

TEST(Jinja, WhiteSpaceGoesAsTagsSay) {
  EXPECT_EQ(rendered("a\n  {% if true %}\n b\n  {% endif %}\nc\n"), "a\n b\nc");
  EXPECT_EQ(rendered("a \n {%- if true -%} \n b {%- endif %}\n\nc"), "ab\nc");
  EXPECT_EQ(rendered("a\n  {%+ if true +%}\n b{% endif %}"), "a\n  \n b");
  EXPECT_EQ(rendered("a {# note #}\n  {#- more -#} b\r\n{{ 1 }}\r{{ 2 }}"), "a b\n1\n2");
  EXPECT_EQ(rendered("  {{ 1 }}\n  {{- 2 -}}  \n3"), "  123");
}

TEST(Jinja, SetInsideALoopStaysThereAndANamespaceDoesNot) {
  EXPECT_EQ(rendered("{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}"),
            "231");
  EXPECT_EQ(
      rendered(
          "{% set n = namespace(x=1) %}{% for i in [1, 2] %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}"),
      "4");
}

TEST(Jinja, WhatATemplateCannotDoNamesTheLineAndNotTheUsersWords) {
  const Variables variables = {{"x", user_text("secret")}};
  EXPECT_EQ(rendered("\n\n{{ raise_exception('No ' + x + '!') }}", variables),
            "failed: line 3: the model does not take this conversation: No ...!");
  EXPECT_EQ(rendered("{{ x + 1 }}", variables), "failed: line 1: str + int");
  EXPECT_EQ(rendered("{{ nothing.at_all }}"), "failed: line 1: \"at_all\" of something that is undefined");
  EXPECT_EQ(rendered("\n{{ strftime_now('%d') }}"),
            "failed: line 2: \"strftime_now\", which it calls, is not supported");
  EXPECT_EQ(rendered("{{ [1].append(2) }}"),
            "failed: line 1: the method append() of a list is not supported");
}

TEST(Jinja, HostileTemplatesAreStopped) {
  const auto repeated = [](std::string_view text, size_t count) {
    std::string made;
    for (size_t i = 0; i < count; ++i) made += text;
    return made;
  };
  EXPECT_EQ(rendered(repeated("x", kSourceBytesMax + 1)).substr(0, 8), "refused:");
  EXPECT_EQ(rendered("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}").substr(0, 8),
            "refused:");
  EXPECT_EQ(rendered("{{ x" + repeated(".a", 5000) + " }}").substr(0, 8), "refused:");
  EXPECT_EQ(rendered("{{ 1" + repeated("+1", 5000) + " }}").substr(0, 8), "refused:");
  EXPECT_EQ(rendered("{{ " + repeated("not ", 5000) + "1 }}").substr(0, 8), "refused:");
  EXPECT_EQ(rendered(repeated("{% if 1 %}", 5000)).substr(0, 8), "refused:");
  EXPECT_EQ(rendered(repeated("{% if 1 %}{% elif 1 %}", 5000)).substr(0, 8), "refused:");
  EXPECT_EQ(rendered("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").substr(0, 7), "failed:");
  const std::string loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
  EXPECT_EQ(rendered(loops).substr(0, 7), "failed:");
  const std::string doubling =
      "{% set n = namespace(x='0123456789') %}{% for a in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}";
  EXPECT_EQ(rendered(doubling).substr(0, 7), "failed:");
  const std::string nesting =
      "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% set n.x = [n.x] %}{% endfor %}";
  EXPECT_EQ(rendered(nesting).substr(0, 7), "failed:");
  const std::string widening =
      "{% set n = namespace(x=[1]) %}{% for a in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}";
  EXPECT_EQ(rendered(widening).substr(0, 7), "failed:");
  EXPECT_EQ(rendered("{{ 9223372036854775807 + 1 }}{{ -9223372036854775807 - 9 }}").substr(0, 7), "failed:");
  EXPECT_EQ(rendered("{{ 1 // 0 }}").substr(0, 7), "failed:");
  EXPECT_EQ(rendered("{{ 'x' * 9223372036854775807 }}").substr(0, 7), "failed:");
}

// As rendered() says it, and soon.
std::string stopped(std::string_view source, const Variables& variables = {}) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string text = rendered(source, variables);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << source;
  return text.substr(0, 100);
}

constexpr std::string_view kTooMuchText = "failed: line 1: the template makes too much text";
constexpr std::string_view kTooManySteps = "failed: line 1: the template takes too many steps";

TEST(Jinja, WhatMakesTextStopsWhereTheBudgetEnds) {
  for (const std::string_view made : {
           "s.replace('a', s)",
           "s | replace('a', s)",
           "s.join(s)",
           "s | join(s)",
           "s.split('a')",
           "s | list | join(s)",
           "l | join('')",
           "''.join(l)",
           "l | tojson",
           "l | string",
           "l ~ ''",
           "l | map('upper') | list",
           "{'k': l} | tojson(indent=4)",
       }) {
    std::string source =
        "{% set s = 'a' * 1048576 %}{% set l = [s, s, s, s, s, s, s, s] %}{% set l = l + l %}";
    for (int doubling = 0; doubling < 6; ++doubling) source += "{% set l = l + l %}";
    if (made.starts_with("s") && made.find("split") != made.npos) source += "{% set s = s + s + s %}";
    source += fmt::format("{{% set made = {} %}}", made);
    EXPECT_EQ(stopped(source), kTooMuchText) << made;
  }
}

TEST(Jinja, BlanksOfDeepJsonAreCounted) {
  std::string json;
  for (int level = 0; level < 90; ++level) json += '[';
  for (int i = 0; i < 150'000; ++i) json += i == 0 ? "0" : ",0";
  for (int level = 0; level < 90; ++level) json += ']';
  const Variables variables = {{"tools", *parse_json(json)}};
  EXPECT_EQ(stopped("{% for i in range(9) %}{% set x = tools | tojson(indent=16) %}{% endfor %}", variables),
            kTooMuchText);
}

TEST(Jinja, ListsAreMemoryToo) {
  EXPECT_EQ(stopped("{% set n = namespace(l=[0] + [0]) %}{% for i in range(20) %}{% set n.l = n.l + n.l %}"
                    "{% endfor %}{% for i in range(20) %}{% set x = n.l[1:] %}{% endfor %}"),
            kTooManySteps);
  EXPECT_EQ(stopped("{% set s = 'a' * 1048576 %}{% for i in range(3) %}{% for c in [s, s, s] | join %}{% "
                    "break %}{% endfor %}"
                    "{% endfor %}"),
            kTooMuchText);
}

TEST(Jinja, ComparingAndLookingForTextsIsCounted) {
  const std::string lists =
      "{% set s = 'a' * 1048576 %}{% set t = s[1:] + 'a' %}{% set l = [s, s, s, s, s, s, s, s, s, s] %}"
      "{% set k = [t, t, t, t, t, t, t, t, t, t] %}{% for i in range(999) %}";
  EXPECT_EQ(stopped(lists + "{% set x = l == k %}{% endfor %}"), kTooMuchText);
  EXPECT_EQ(stopped(lists + "{% set x = s[2:] + 'bc' in k %}{% endfor %}"), kTooMuchText);
  const std::string texts = "{% set s = 'a' * 1048576 %}{% set t = 'a' * 524288 + 'b' %}";
  for (const std::string_view searched :
       {"s.split(t)", "s.rsplit(t)", "s.replace(t, '')", "s.find(t)", "s.count(t)", "t in s", "s.strip(t)"})
    EXPECT_EQ(stopped(texts + fmt::format("{{{{ {} }}}}", searched)), kTooManySteps) << searched;
}

TEST(Jinja, LoopsAreKeptOnlyWhereANamespaceKnowsThem) {
  std::vector<Value> many(40'000, Value(None()));
  const Variables room = {{"many", Value(*List::make(std::move(many)))}};
  EXPECT_EQ(rendered("{% for i in many %}{% for j in [1] %}{% endfor %}{% endfor %}ok", room), "ok");
  EXPECT_EQ(rendered("{% set n = namespace() %}{% for i in many %}{% for j in [1] %}{% set n.kept = [loop] %}"
                     "{% endfor %}{% endfor %}",
                     room),
            "failed: line 1: more than 10000 loops");
  EXPECT_EQ(
      rendered("{% set n = namespace() %}{% for i in [1, 2] %}{% set n.kept = loop %}{% endfor %}"
               "{% for i in [1] %}{% endfor %}{{ n.kept.length }}{% for i in [3] %}{% set n.kept = loop %}"
               "{{ n.kept.length }}{% endfor %}"),
      "01");
}

TEST(Jinja, StepsGoWithTheSizeOfTheConversation) {
  const std::string_view loops =
      "{% for a in range(400) %}{% for b in range(400) %}{% endfor %}{% endfor %}ok";
  EXPECT_EQ(stopped(loops), kTooManySteps);
  std::vector<Value> many(40'000, Value(None()));
  EXPECT_EQ(stopped(loops, {{"many", Value(*List::make(std::move(many)))}}), "ok");
}

TEST(Jinja, VariablesThatAreLookedThroughAreCounted) {
  Variables variables;
  for (int i = 0; i < 2'000; ++i) variables.emplace_back(fmt::format("v{}", i), Value(None()));
  EXPECT_EQ(stopped("{% for a in range(9999) %}{{ w }}{{ w }}{{ w }}{% endfor %}", variables), kTooManySteps);
}

TEST(Jinja, AConversationAsLongAsARequestMayBeIsRendered) {
  std::vector<Value> messages;
  for (int i = 0; i < 16'384; ++i) {
    messages.emplace_back(
        *Dict::make({{MarkedText("role", Author::kUser), user_text("user")},
                     {MarkedText("content", Author::kUser), user_text(std::string(512, 'x'))}}));
  }
  const Variables variables = {{"messages", Value(*List::make(std::move(messages)))}};
  const std::string text = rendered(
      "{% for m in messages %}{% if m.role == 'user' and (loop.last or messages[loop.index0 + 1].role != "
      "'tool') %}"
      "{{ '<' + m.role + '>' + m.content.split('</think>')[-1].lstrip('\\n') }}{% endif %}{% endfor %}",
      variables);
  EXPECT_EQ(text.size(), 16'384u * 518);
}

TEST(Jinja, JsonComesBackAsPythonWritesIt) {
  const auto again = [](std::string_view text) {
    Budget budget(1000, 1000);
    const auto value = parse_json(text);
    return value ? *dump_json(*value, {}, budget) : value.error().message;
  };
  EXPECT_EQ(again(R"({"b":1,"a":[true,null,{}],"b":2})"), R"({"b": 2, "a": [true, null, {}]})");
  EXPECT_EQ(again("[1.0,-0.0,1e-7,1E16,12345678901234567890123,0.1,1e-400,5e-324]"),
            "[1.0, -0.0, 1e-07, 1e+16, 12345678901234567890123, 0.1, 0.0, 5e-324]");
  EXPECT_EQ(again(R"("\u0041\ud83d\ude00\/\u0007\u007f")"), "\"A\xf0\x9f\x98\x80/\\u0007\x7f\"");
  for (std::string_view bad : {"", "{", "[1,]", "{\"a\" 1}", "01", "1.", "-", "\"\\x\"", "\"\\ud800\"", "nul",
                               "1 2", "1e999", "\"\n\"", "{1:2}", "\"\xff\""}) {
    EXPECT_FALSE(parse_json(bad)) << bad;
  }
  EXPECT_FALSE(parse_json(std::string(100'000, '[')));
}

}  // namespace
}  // namespace deepserve::runner::jinja
