// The instruction-set levels that were compiled in, and the one that runs.
#pragma once

#include <string>
#include <vector>

#include "kernel_table.hpp"

namespace pyrnnfast {

struct Level {
  const char *name;
  const KernelTable<float> *float32;
  const KernelTable<double> *float64;
  bool (*supported)();  // by the processor and the operating system
};

std::vector<std::string> available_levels();  // best first

// The level of that name; the empty name is the default: PYRNNFAST_ISA, else the best. Throws
// std::invalid_argument, which lists what is available.
const Level &find_level(const std::string &name);

template <class T> const KernelTable<T> &kernels_of(const Level &level);
template <> inline const KernelTable<float> &kernels_of(const Level &level) { return *level.float32; }
template <> inline const KernelTable<double> &kernels_of(const Level &level) { return *level.float64; }

}  // namespace pyrnnfast
