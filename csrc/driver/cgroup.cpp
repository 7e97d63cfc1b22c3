#include "cgroup.hpp"

#include <algorithm>
#include <climits>
#include <fstream>
#include <limits>
#include <sstream>

namespace pyrnnfast {

namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();

bool names_cpu(const std::string &list) { return ("," + list + ",").find(",cpu,") != std::string::npos; }

// The process's group in the hierarchy of version 2, or in that of version 1 which has the processors. Lines
// are id:controllers:path; version 2 has no controllers.
std::string group_of(const std::string &root, bool unified) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::string id, controllers, path;
  while (std::getline(file, id, ':') && std::getline(file, controllers, ':') && std::getline(file, path))
    if (unified ? controllers.empty() : names_cpu(controllers)) return path;
  return "";
}

// The quota that a group itself has, in processors.
double quota_of(const std::string &folder, bool unified) {
  double quota = 0, period = 0;  // "max" is no number, and -1 is none: no quota
  if (unified)
    std::ifstream(folder + "/cpu.max") >> quota >> period;
  else if (std::ifstream(folder + "/cpu.cfs_quota_us") >> quota)
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return quota > 0 && period > 0 ? quota / period : kNone;
}

// The part of the group's path that lies below the mount, whose top is the group `top`.
std::string below(const std::string &top, const std::string &group) {
  if (top == "/") return group == "/" ? "" : group;
  const bool inside = group.compare(0, top.size(), top) == 0 && group.substr(top.size(), 1) == "/";
  return inside ? group.substr(top.size()) : "";
}

}  // namespace

int cgroup_processors(const std::string &root) {
  double least = kNone;
  std::ifstream mounts(root + "/proc/self/mountinfo");
  for (std::string line, word; std::getline(mounts, line);) {
    std::istringstream words(line);  // id parent device top mount options ... - type source options
    std::string top, mount, type, source, options;
    words >> word >> word >> word >> top >> mount;
    while (words >> word && word != "-") continue;
    words >> type >> source >> options;
    const bool unified = type == "cgroup2";
    if (!unified && (type != "cgroup" || !names_cpu(options))) continue;
    for (std::string path = below(top, group_of(root, unified));; path.erase(path.rfind('/'))) {
      least = std::min(least, quota_of(root + mount + path, unified));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return least < INT_MAX ? std::max(1, static_cast<int>(least + 0.5)) : INT_MAX;
}

}  // namespace pyrnnfast
