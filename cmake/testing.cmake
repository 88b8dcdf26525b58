find_package(GTest REQUIRED)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)  # what our own matcher is held to
include(GoogleTest)

# deepserve_test(NAME SOURCES... LIBRARIES... [LABELS...]): one GoogleTest binary, every TEST a ctest case.
function(deepserve_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60
    PROPERTIES TIMEOUT 300 LABELS "${ARG_LABELS}")
endfunction()

# deepserve_campaign(NAME COMMAND...): a long random run, only under `ctest -C Long` (so does ./check --full).
# Programs that take their length from the environment read DEEPSERVE_SEEDS.
function(deepserve_campaign name)
  add_test(NAME campaign.${name} COMMAND ${ARGN} CONFIGURATIONS Long)
  set_tests_properties(campaign.${name} PROPERTIES
    TIMEOUT 1800 LABELS campaign ENVIRONMENT DEEPSERVE_SEEDS=1000)
endfunction()
