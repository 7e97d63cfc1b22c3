#include "select.hpp"

#include <cstdlib>
#include <stdexcept>

namespace pyrnnfast {

// Priority order. Adding an instruction set: a line here and one in csrc/CMakeLists.txt.
#define PYRNNFAST_DECLARE(level)                                                                             \
  extern const KernelTable<float> kernels_##level##_float;                                                   \
  extern const KernelTable<double> kernels_##level##_double;
#define PYRNNFAST_LEVEL(level, supported)                                                                    \
  {#level, &kernels_##level##_float, &kernels_##level##_double, supported}

#ifdef PYRNNFAST_HAVE_V4
PYRNNFAST_DECLARE(v4)
#endif
#ifdef PYRNNFAST_HAVE_V3
PYRNNFAST_DECLARE(v3)
#endif
PYRNNFAST_DECLARE(generic)
#ifdef PYRNNFAST_HAVE_WIDE
PYRNNFAST_DECLARE(wide)
#endif

namespace {

const Level kLevels[] = {
#ifdef PYRNNFAST_HAVE_V4
    PYRNNFAST_LEVEL(v4, [] { return __builtin_cpu_supports("x86-64-v4") != 0; }),
#endif
#ifdef PYRNNFAST_HAVE_V3
    PYRNNFAST_LEVEL(v3, [] { return __builtin_cpu_supports("x86-64-v3") != 0; }),
#endif
    PYRNNFAST_LEVEL(generic, [] { return true; }),
#ifdef PYRNNFAST_HAVE_WIDE  // v4's vector width and tiles without its instructions, for tests on lesser
                            // machines
    PYRNNFAST_LEVEL(wide, [] { return true; }),
#endif
};

}  // namespace

std::vector<std::string> available_levels() {
  std::vector<std::string> names;
  for (const Level &level : kLevels)
    if (level.supported()) names.emplace_back(level.name);
  return names;
}

const Level &find_level(const std::string &name) {
  static const std::string forced = [] {  // read once, at import
    const char *value = std::getenv("PYRNNFAST_ISA");
    return std::string(value != nullptr ? value : "");
  }();
  const std::string &wanted = name.empty() ? forced : name;
  for (const Level &level : kLevels)
    if (level.supported() && (wanted.empty() || wanted == level.name)) return level;
  std::string list;
  for (const std::string &each : available_levels()) list += (list.empty() ? "" : ", ") + each;
  throw std::invalid_argument("instruction set '" + wanted +
                              "' is not available here, expected one of: " + list);
}

}  // namespace pyrnnfast
