// Instruction sets, threads, and what this build is.
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "../dispatch/select.hpp"
#include "../driver/cgroup.hpp"
#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

// An activation of the kernels and its slope, for the tests of their accuracy.
py::tuple activation(const std::string &name, const py::array &x, const std::optional<std::string> &isa,
                     double alpha, double beta) {
  const Level &level = find_level(isa.value_or(""));
  const auto run = [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const auto in = expect_array<T>(x, extents_of(x), "x");
    py::array_t<T> y(extents_of(x)), slope(extents_of(x));
    const Activation<T> f{find_function(name), T(alpha), T(beta)};
    run_team(1, [&](Member) {
      kernels_of<T>(level).activate(f, in.data(), y.mutable_data(), slope.mutable_data(), in.size());
    });
    return py::make_tuple(y, slope);
  };
  return py::isinstance<py::array_t<float>>(x) ? run(0.0f) : run(0.0);
}

std::map<std::string, std::string> config() {
  return {{"compiler", PYRNNFAST_COMPILER},
          {"flags", PYRNNFAST_FLAGS},
          {"openmp", openmp_runtime()},
          {"isa", find_level("").name},
          {"threads", std::to_string(default_threads())}};
}

}  // namespace

void register_runtime(py::module_ &m) {
  using namespace py::literals;
  find_level("");  // an unknown PYRNNFAST_ISA is an error at import
  m.def("available_isas", &available_levels, "The instruction sets that run here, best first.");
  m.def(
      "default_isa", [] { return std::string(find_level("").name); },
      "The one that runs when none is named.");
  m.def("get_num_threads", &default_threads, "Threads of a call that names none.");
  m.def("set_num_threads", &set_default_threads, "num_threads"_a,
        "Sets them for later calls; 0: automatic again.");
  m.def("cgroup_processors", &cgroup_processors, "root"_a = "",
        "The processors that control groups leave this process; a tree of files below `root` is read.");
  m.def("config", &config, "Compiler, flags, OpenMP runtime, instruction set and threads.");
  m.def("activation", &activation, "name"_a, "x"_a, "isa"_a = py::none(), "alpha"_a = 0.0, "beta"_a = 0.0,
        "An activation and its slope as the kernels compute them.");
  py::module_::import("os").attr("register_at_fork")("after_in_child"_a =
                                                         py::cpp_function(&after_fork_in_child));
}

}  // namespace pyrnnfast
