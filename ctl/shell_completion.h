// Completion scripts for bash, zsh and fish, made from the commands that the command line really has.
#pragma once

#include <string>
#include <vector>

namespace deepserve::ctl {

struct CommandTree {
  std::string name;
  std::string help;
  std::vector<std::string> options;  // "--json"; those of the root hold for every command
  std::vector<CommandTree> subcommands;
};

// `shell` is "bash", "zsh" or "fish".
std::string completion_script(const std::string& shell, const CommandTree& root);

}  // namespace deepserve::ctl
