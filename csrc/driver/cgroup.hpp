// The processors that control groups leave this process.
#pragma once

#include <string>

namespace pyrnnfast {

// The least quota of the process's group and of those around it, of either version, rounded to whole
// processors, at least 1; INT_MAX where none is set. `root` stands before every path, for tests.
int cgroup_processors(const std::string &root = "");

}  // namespace pyrnnfast
