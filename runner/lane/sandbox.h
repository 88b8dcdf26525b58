// Gives up what a runner does not need before it opens a model: model files and prompts are hostile
// (DESIGN 10).
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace deepserve::runner {

// Irrevocable, for this thread and those it starts from here on:
// - PR_SET_NO_NEW_PRIVS;
// - Landlock, where the kernel has it: the file system is closed, apart from reading `readable`, reading and
//   writing `writable`, and what is beneath either; of paths that are not there nothing is said;
// - seccomp, on x86-64: no new sockets (on the one that it listens at connections are accepted), no other
//   programs or processes, no tracing, no mounts, no kernel modules, keys, BPF, io_uring or user namespaces.
//   Threads, memory and the descriptors that are open go on working.
// What the kernel lacks is left out; the result says what holds, for the log: "no_new_privs, landlock,
// seccomp".
std::string enter_sandbox(std::span<const std::filesystem::path> readable,
                          std::span<const std::filesystem::path> writable = {});

}  // namespace deepserve::runner
