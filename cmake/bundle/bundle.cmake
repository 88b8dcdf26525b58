# The bundle: what runs on another distribution with the same or a newer glibc, and on a GPU host with nothing
# but the driver, cuBLASLt and NCCL (which ds-runner loads itself). `cmake --build build/release --target
# bundle` makes build/release/bundle/ and build/release/deepserve-VERSION-linux-ARCHITECTURE.tar.gz of it.
#
# One rule for every library that is not glibc's: what Debian has as an archive, or wholly in headers, is
# inside the programs, libstdc++ and libgcc too; what it has as a shared library alone lies in lib/, with what
# that needs, and is found by the program's own path. The second half is prometheus-cpp, in dsd. So ds-runner
# holds no shared libstdc++ that a newer NCCL could find too old. The objects are those of the ordinary
# programs: nothing is compiled again.
function(archive_of_headers name target)
  add_library(bundled_${name} STATIC EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/cmake/bundle/${name}.cpp)
  target_compile_definitions(bundled_${name} PRIVATE
    $<TARGET_PROPERTY:${target},INTERFACE_COMPILE_DEFINITIONS>)
endfunction()
archive_of_headers(fmt fmt::fmt)
archive_of_headers(spdlog spdlog::spdlog)
target_link_libraries(bundled_spdlog INTERFACE bundled_fmt)

# bundled_program(NAME FOLDER [SHARED_LIBRARIES]): the target bundled_NAME links the objects of program NAME
# once more, as they go into build/<preset>/FOLDER/bin. SHARED_LIBRARIES: one that is C++ lies in FOLDER/lib,
# and then libstdc++ has to as well, because the two hand each other strings.
function(bundled_program name folder)
  cmake_parse_arguments(ARG "SHARED_LIBRARIES" "" "" ${ARGN})
  add_executable(bundled_${name} EXCLUDE_FROM_ALL $<TARGET_OBJECTS:${name}>)
  get_target_property(libraries ${name} LINK_LIBRARIES)
  target_link_libraries(bundled_${name} PRIVATE ${libraries})
  set_target_properties(bundled_${name} PROPERTIES
    DEEPSERVE_BUNDLED ON OUTPUT_NAME ${name} LINKER_LANGUAGE CXX
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${folder}/bin)
  target_link_options(bundled_${name} PRIVATE -s -Wl,--as-needed)
  if(ARG_SHARED_LIBRARIES)
    # RPATH and not RUNPATH: it holds for what the libraries need as well, and before LD_LIBRARY_PATH.
    target_link_options(bundled_${name} PRIVATE -Wl,--disable-new-dtags)
    set_target_properties(bundled_${name} PROPERTIES BUILD_WITH_INSTALL_RPATH ON
      INSTALL_RPATH "$ORIGIN/../lib")
  else()
    target_link_options(bundled_${name} PRIVATE -static-libgcc -static-libstdc++)
  endif()
endfunction()

bundled_program(dsd bundle SHARED_LIBRARIES)
bundled_program(ds-runner bundle)
bundled_program(dsctl bundle)

set(bundle_libraries $<TARGET_SONAME_FILE:prometheus-cpp::core>)
foreach(name libstdc++.so.6 libgcc_s.so.1)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${name}
    OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  list(APPEND bundle_libraries ${path})
endforeach()

set(bundle_name deepserve-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
if(DEEPSERVE_WITH_CUDA)
  string(APPEND bundle_name -cuda)
endif()
add_custom_target(bundle
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DBUNDLE=${CMAKE_BINARY_DIR}/bundle
    "-DLIBRARIES=${bundle_libraries}" -DARCHIVE=${CMAKE_BINARY_DIR}/${bundle_name}.tar.gz
    -P ${CMAKE_CURRENT_LIST_DIR}/fill_bundle.cmake
  DEPENDS bundled_dsd bundled_ds-runner bundled_dsctl
  VERBATIM COMMENT "")
