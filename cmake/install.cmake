# `cmake --install build/release --prefix /usr`: the programs, the default configuration and model, the units.
# The configuration goes to /etc whatever the prefix is, because the unit names it there.
include(GNUInstallDirs)
install(TARGETS dsd ds-runner dsctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES etc/deepserve.toml DESTINATION /etc/deepserve)
install(FILES etc/models/tiny.gguf DESTINATION /etc/deepserve/models)
file(GLOB units systemd/*.service systemd/*.socket)
install(FILES ${units} DESTINATION lib/systemd/system)
install(FILES systemd/sysusers.d/deepserve.conf DESTINATION lib/sysusers.d)
install(FILES systemd/tmpfiles.d/deepserve.conf DESTINATION lib/tmpfiles.d)
