find_package(GTest REQUIRED)
include(GoogleTest)

# deepserve_test(NAME SOURCES... LIBRARIES...): one GoogleTest binary, every TEST a ctest case.
function(deepserve_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
