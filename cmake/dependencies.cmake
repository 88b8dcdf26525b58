# Every library comes from Debian (DESIGN 13); packages.txt lists them for ./quickstart and ./check.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED COMPONENTS core)
pkg_check_modules(libuv REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(libsystemd REQUIRED libsystemd)  # its types alone: daemon/process/libsystemd.h loads it
pkg_check_modules(libedit REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)

# outside_library(NAME TARGET ARCHIVES...): outside::NAME, which our libraries link in place of TARGET. A
# program gets TARGET itself, the shared library; one whose property DEEPSERVE_BUNDLED is on (cmake/bundle)
# gets the archives, with the same objects. An archive that is not installed is missed only when a bundle is
# linked.
function(outside_library name target)
  set(bundled $<BOOL:$<TARGET_PROPERTY:DEEPSERVE_BUNDLED>>)
  add_library(outside_${name} INTERFACE)
  target_link_libraries(outside_${name} INTERFACE "$<${bundled}:${ARGN}>" "$<$<NOT:${bundled}>:${target}>")
  add_library(outside::${name} ALIAS outside_${name})
endfunction()

outside_library(json Boost::json -l:libboost_json.a)
outside_library(crypto OpenSSL::Crypto -l:libcrypto.a)
outside_library(uv PkgConfig::libuv -l:libuv_a.a)
outside_library(utf8proc PkgConfig::utf8proc -l:libutf8proc.a)
outside_library(edit PkgConfig::libedit -l:libedit.a -l:libbsd.a -l:libmd.a -l:libtinfo.a)
outside_library(fmt fmt::fmt bundled_fmt)
outside_library(spdlog spdlog::spdlog bundled_spdlog)
