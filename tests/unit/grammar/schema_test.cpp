// JSON schemas: what is admitted, and what is refused with its keyword. Whether all that is admitted is valid
// is for schema_validity.py to say.
#include <chrono>

#include "tests/unit/grammar/language.h"

namespace deepserve::runner::testing {
namespace {

struct Case {
  const char* schema;
  std::vector<const char*> admitted;
  std::vector<const char*> refused;
};

void check(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const auto language = schema(one.schema);
    ASSERT_EQ(language.error(), "") << one.schema;
    for (const char* text : one.admitted) EXPECT_TRUE(language.admits(text)) << one.schema << " " << text;
    for (const char* text : one.refused) EXPECT_FALSE(language.admits(text)) << one.schema << " " << text;
  }
}

TEST(Schema, PropertiesComeInTheirOrder) {
  check({{R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},
             "required":["b"],"additionalProperties":false})",
          {R"({"a":1,"b":"x","c":null})", R"({"b":"x"})", R"({"a": -20, "b": "x"})", R"({"b":"","c":null})",
           "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
          {R"({})", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","b":"x"})", R"({"b":"x","d":1})",
           R"({"b":"x",})", R"({"b" :"x"})", R"( {"b":"x"})", R"({"b":"x"} )", R"({,"b":"x"})"}}});
}

TEST(Schema, ScalarsAreSpelledAsJsonDoes) {
  check(
      {{R"({"type":"number"})", {"0", "-1.50", "12e+3", "1E-02"}, {"01", "1.", ".5", "+1", "-", "1e", "NaN"}},
       {R"({"type":"integer"})", {"0", "-17"}, {"1.0", "1e3", "00"}},
       {R"({"type":"boolean"})", {"true", "false"}, {"True", "null"}},
       {R"({"type":["string","null"]})",
        {"null", R"("a\"\\\n\u00e9\ud83d\ude00 €")"},
        {R"("\ud83d")", R"("\x")", "\"\n\"", "\"\x1f\"", "\"a", "1", "\"\xff\""}},
       {R"({"type":"string","nullable":true})", {"null", R"("x")"}, {"1"}},
       {R"({"enum":["a","b\"",3,null,{"k":[1]},0.5]})",
        {R"("a")", R"("b\"")", "3", "null", R"({"k": [1]})", "0.5"},
        {R"("c")", "4"}},
       {R"({"const":"x","type":"string"})", {R"("x")"}, {R"("y")"}}});
}

TEST(Schema, LengthsAreCountedInCharacters) {
  check({{R"({"type":"string","minLength":2,"maxLength":3})",
          {R"("ab")", R"("€é😀")", R"("\n\u00e9")", R"("\ud83d\ude00a")"},
          {R"("a")", R"("abcd")", R"("\ud83d\ude00")"}},
         {R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":2})",
          {"[1]", "[1,2]", "[1, 2]"},
          {"[]", "[1,2,3]", "[1,]"}},
         {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":1})",
          {"[1]", R"([1,"a"])", R"([1,"a",null,{}])"},
          {"[]", R"(["a"])", "[1,2]"}},
         {R"({"type":"array","prefixItems":[{"type":"integer"}],"items":false})", {"[]", "[1]"}, {"[1,1]"}},
         {R"({"type":"array","items":{"type":"boolean"},"maxItems":0})", {"[]"}, {"[true]"}}});
}

TEST(Schema, NumbersStayWithinTheirBounds) {
  check({{R"({"type":"integer","minimum":-12,"maximum":305})",
          {"-12", "-9", "0", "7", "99", "300", "305"},
          {"-13", "306", "310", "1000", "-20", "-0"}},
         {R"({"type":"integer","exclusiveMinimum":0})", {"1", "123456789012345"}, {"0", "-1"}},
         {R"({"type":"integer","minimum":0.5,"exclusiveMaximum":2.5})", {"1", "2"}, {"0", "3"}},
         {R"({"type":"integer","maximum":-8})", {"-8", "-10", "-99"}, {"-7", "0", "8"}},
         {R"({"type":"number","minimum":0,"maximum":1})",
          {"0", "0.0", "0.25", "1", "1.00"},
          {"1.01", "-0.1", "2"}},
         {R"({"type":"number","exclusiveMinimum":-1.25,"exclusiveMaximum":10})",
          {"-1.249", "-1.2", "0", "9.999"},
          {"-1.25", "-1.3", "10", "10.0", "-2"}},
         {R"({"type":"number","minimum":3.14,"maximum":3.15})",
          {"3.14", "3.145", "3.15", "3.150"},
          {"3.1", "3", "3.151", "3.139"}},
         {R"({"type":"number","exclusiveMinimum":0})", {"0.001", "5"}, {"0", "0.0", "-1"}},
         {R"({"type":["integer","null"],"minimum":5,"maximum":5})", {"5", "null"}, {"4"}}});
}

TEST(Schema, TheLongestHostNameIsWithinWhatTheRfcAllows) {
  const auto language = schema(R"({"format":"hostname"})");
  std::string name(1, '"');
  GrammarMatcher matcher = language.matcher();
  ASSERT_TRUE(matcher.accept('"'));
  // Each time a label that is as long as it may be, then the next.
  while (matcher.accept('a') || matcher.accept('.')) name += 'a';
  EXPECT_LE(name.size() - 1, 253u);
  EXPECT_TRUE(matcher.accept('"'));
}

TEST(Schema, PatternsAndFormatsAreWholeStrings) {
  check({{R"({"type":"string","pattern":"^[A-Z]{2}-\\d+(\\.x)?$"})",
          {R"("AB-1")", R"("AB-12.x")"},
          {R"("xAB-1")", R"("AB-")", R"("AB-1.y")"}},
         {R"({"pattern":"b"})", {R"("abc")", R"("b")", R"("\nb\"")"}, {R"("ac")"}},
         {R"({"pattern":"^a|b$"})", {R"("axx")", R"("xxb")"}, {R"("xax")"}},
         {R"({"pattern":"^(?:é|[^\\W\\d])\\s\\\"[^\"]$"})", {R"("é \"x")", R"("a\t\"€")"}, {R"("1 \"x")"}},
         {R"({"format":"date"})",
          {R"("2024-02-29")", R"("1999-12-31")", R"("2000-02-29")"},
          {R"("2023-02-29")", R"("1900-02-29")", R"("2024-04-31")", R"("2024-13-01")", R"("0000-01-01")"}},
         {R"({"format":"date-time"})",
          {R"("2024-02-29T23:59:59.123Z")", R"("2024-01-01T00:00:00+01:30")"},
          {R"("2024-01-01")", R"("2024-01-01T24:00:00Z")"}},
         {R"({"format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
         {R"({"format":"ipv4"})", {R"("255.0.10.99")"}, {R"("256.0.0.1")", R"("01.1.1.1")"}},
         {R"({"format":"email"})", {R"("a.b+c@example.org")"}, {R"("a@")", R"("a..b@c.d")"}}});
}

TEST(Schema, BranchesPartsAndReferencesAreFollowed) {
  check(
      {{R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
        {"1", R"("a")"},
        {R"("ab")", "null"}},
       {R"({"anyOf":[{"properties":{"a":{"type":"null"}},"required":["a"]},
              {"properties":{"b":{"type":"null"}},"required":["b"]}],"type":"object"})",
        {R"({"a":null})", R"({"b":null})"},
        {"{}", "1"}},
       {R"({"oneOf":[{"type":"integer"},{"type":"null"}]})", {"1", "null"}, {"true"}},
       {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"null"}},"required":["k"]},
              {"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]})",
        {R"({"k":"a","x":null})", R"({"k":"b"})"},
        {R"({"k":"b","x":null})"}},
       {R"({"allOf":[{"type":["integer","string"],"minimum":3},{"type":"number","maximum":5}]})",
        {"3", "5"},
        {"2", "6", R"("a")", "4.5"}},
       {R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"minimum":1},
              "next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"]}}})",
        {R"({"v":1,"next":{"v":2,"next":null}})"},
        {R"({"v":1,"next":{"v":2}})"}},
       {R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]", "[[]"}}});
}

TEST(Schema, FurtherPropertiesAreNeitherNamedOnesNorRepeated) {
  check({{R"({"type":"object","properties":{"ab":{"type":"integer"},"a":{"type":"integer"}},
              "additionalProperties":{"type":"boolean"}})",
          {R"({"ab":1,"a":2,"abc":true,"":false,"b":true})", R"({"é":true})", "{}"},
          {R"({"ab":true})", R"({"a":1,"ab":true})", R"({"x":true,"x":false})", R"({"x":1})"}},
         {R"({"type":"object"})",
          {R"({"a":{"a":1},"b":[{"a":1},{"a":1}]})"},
          {R"({"a":1,"a":2})", R"({"a":{"b":1,"b":2}})", R"({"b":[{"a":1}],"b":2})"}},
         {"true", {"1", R"({"a":[null]})"}, {R"({"a":1,"a":1})"}}});
}

TEST(Schema, NoKeyIsRepeatedBesideNamesThatAreSpeltWithEscapes) {
  check({{R"({"properties":{"a\"b":{},"c":{},"\\":{}},"additionalProperties":{}})",
          {R"({"a\"b":{"k":1},"c":{"k":"{"},"\\":[1],"b":{"k":1}})"},
          {R"({"a\"b":{"k":1,"k":2}})", R"({"a\"b":1,"c":{"k":1,"k":1}})", R"({"\\":{"k":1,"k":2}})",
           R"({"a\"b":1,"b":1,"b":1})"}}});
}

TEST(Schema, ReferencesAreUriFragments) {
  check({{R"({"$ref":"#/$defs/My%20%54ype","$defs":{"My Type":{"type":"null"}}})", {"null"}, {"1"}},
         {R"({"$ref":"#/$defs/%25%C3%a9","minimum":3,"$defs":{"%é":{"type":"integer"}}})", {"3"}, {"2"}},
         {R"({"$ref":"#/$defs/a~1b","$defs":{"a/b":{"type":"null"}}})", {"null"}, {"1"}}});
  for (const char* reference : {"%", "%2", "%2x", "%-1", "a%%20"}) {
    const auto language = schema(fmt::format(R"({{"$ref":"#/$defs/{}"}})", reference));
    EXPECT_EQ(language.code(), Code::kInvalidRequest) << reference;
    EXPECT_THAT(language.error(), ::testing::HasSubstr("a % without two hexadecimal digits")) << reference;
  }
}

struct Refused {
  const char* schema;
  Code code;
  const char* why;
};

TEST(Schema, WhatCannotBeHonouredIsRefusedByNameAndPlace) {
  const Refused cases[] = {
      {R"({"type":"array","uniqueItems":true})", Code::kNotSupported, "'uniqueItems' at #"},
      {R"({"properties":{"a/b":{"multipleOf":2}}})", Code::kNotSupported,
       "'multipleOf' at #/properties/a~1b"},
      {R"({"items":{"not":{}}})", Code::kNotSupported, "'not' at #/items"},
      {R"({"if":{},"then":{}})", Code::kNotSupported, "'if' at #"},
      {R"({"patternProperties":{"a":{}}})", Code::kNotSupported, "'patternProperties' at #"},
      {R"({"minProperties":1})", Code::kNotSupported, "'minProperties' at #"},
      {R"({"contains":{}})", Code::kNotSupported, "'contains' at #"},
      {R"({"dependentRequired":{}})", Code::kNotSupported, "'dependentRequired' at #"},
      {R"({"propertyNames":{}})", Code::kNotSupported, "'propertyNames' at #"},
      {R"({"$dynamicRef":"#x"})", Code::kNotSupported, "'$dynamicRef' at #"},
      {R"({"$ref":"https://example.org/x"})", Code::kNotSupported, "'$ref' at #"},
      {R"({"format":"uri"})", Code::kNotSupported, "'format' at #"},
      {R"({"anyOf":[{"maxLenght":3}]})", Code::kNotSupported, "'maxLenght' at #/anyOf/0"},
      {R"j({"pattern":"(?=a)"})j", Code::kNotSupported,
       "'pattern' at # is not supported: offset 2: look-ahead"},
      {R"({"pattern":"\\bx"})", Code::kNotSupported, "the escape \\b"},
      {R"({"pattern":"(a)\\1"})", Code::kNotSupported, "a back-reference"},
      {R"({"pattern":"(a"})", Code::kInvalidRequest, "#/pattern: offset 2: ) is missing"},
      {R"({"type":"string","maxLength":100000})", Code::kNotSupported, "'maxLength' at #"},
      {R"({"enum":["a"],"maxLength":3})", Code::kNotSupported, "'maxLength' at # is not supported: beside"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", Code::kNotSupported, "'oneOf' at #"},
      {R"({"oneOf":[{"properties":{}},{"type":"object"}]})", Code::kNotSupported, "'oneOf' at #"},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}]})", Code::kNotSupported, "'pattern' at #/allOf/1"},
      {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       Code::kNotSupported, "'additionalProperties'"},
      {R"({"minimum":1e300})", Code::kNotSupported, "'minimum' at #"},
      {R"({"type":"integer","minimum":5,"maximum":4})", Code::kInvalidRequest, "no number lies between"},
      {R"({"type":"text"})", Code::kInvalidRequest, "#/type: that is no type"},
      {R"({"required":["a"],"additionalProperties":false})", Code::kInvalidRequest, "#/required"},
      {R"({"type":"integer","const":"x"})", Code::kInvalidRequest, "no value of const or enum"},
      {R"({"properties":{"a":false}})", Code::kInvalidRequest, "#/properties/a: false"},
      {R"({"$ref":"#/$defs/x"})", Code::kInvalidRequest, "#/$ref: there is nothing"},
      {R"({"$ref":"#"})", Code::kNotSupported, "rule # is left-recursive"},
      {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", Code::kInvalidRequest, "no finite text"},
      {R"({"allOf":[{"$ref":"#"}]})", Code::kInvalidRequest, "in circles"},
      {R"([1)", Code::kInvalidRequest, "the schema is no JSON"},
      {R"(3)", Code::kInvalidRequest, "a schema must be an object"},
  };
  for (const Refused& refused : cases) {
    const auto language = schema(refused.schema);
    EXPECT_EQ(language.code(), refused.code) << refused.schema << " " << language.error();
    EXPECT_THAT(language.error(), ::testing::HasSubstr(refused.why)) << refused.schema;
  }
}

TEST(Schema, HostileSchemasAreAnsweredSoon) {
  std::string nested = "{}", wide = R"({"type":"object","properties":{)", branches = R"({"anyOf":[)";
  for (int i = 0; i < 30; ++i) nested = R"({"anyOf":[)" + nested + "," + nested.substr(0, 2000) + "]}";
  for (int i = 0; i < 990; ++i)
    wide += fmt::format(R"({}"p{}":{{"type":"string","maxLength":{}}})", i ? "," : "", i, i);
  wide += "}}";
  for (int i = 0; i < 200; ++i)
    branches +=
        fmt::format(R"({}{{"type":"object","properties":{{"a":{{"type":"string","maxLength":{}}}}}}})",
                    i ? "," : "", 500 + i);
  branches += "]}";
  std::string references = R"({"$defs":{)";
  for (int i = 0; i < 1000; ++i)
    references += fmt::format(R"("d{}":{{"allOf":[{{"$ref":"#/$defs/d{}"}},{{"$ref":"#/$defs/d{}"}}]}},)", i,
                              i + 1, i + 1);
  references += R"("d1000":{}},"$ref":"#/$defs/d0"})";
  const std::string sources[] = {std::string(100'000, '['),
                                 nested,
                                 wide,
                                 branches,
                                 references,
                                 R"({"type":"array","items":{"type":"array","maxItems":60000,"items":{"type":
                                    "string","maxLength":60000}},"maxItems":60000})",
                                 R"({"pattern":"(a|b)*a(a|b){40}"})",
                                 R"({"pattern":"((((x{60}){60}){60}){60}){60}"})"};
  for (const std::string& source : sources) {
    const auto begin = std::chrono::steady_clock::now();
    const Language language(Grammar::from_json_schema(source));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(took.count(), 2.0) << source.substr(0, 60);  // a sanitized build on a busy machine
    if (!language.error().empty()) continue;
    auto matcher = language.matcher();
    EXPECT_TRUE(matcher.allowed()) << source.substr(0, 60);
  }
}

}  // namespace
}  // namespace deepserve::runner::testing
