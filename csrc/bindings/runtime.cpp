// Instruction sets, threads, and what this build is.
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "../dispatch/select.hpp"
#include "../driver/cgroup.hpp"
#include "../driver/parallel.hpp"
#include "arrays.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

// sigmoid or tanh of the kernels, for the tests of their accuracy.
py::array activation(const std::string &name, const py::array &x, const std::optional<std::string> &isa) {
  const Level &level = find_level(isa.value_or(""));
  if (name != "sigmoid" && name != "tanh")
    throw py::value_error("name: got '" + name + "', expected sigmoid or tanh");
  const auto run = [&](auto zero) -> py::array {
    using T = decltype(zero);
    const auto in = expect_array<T>(x, extents_of(x), "x");
    py::array_t<T> out(extents_of(x));
    const KernelTable<T> &kernels = kernels_of<T>(level);
    run_team(1, [&](Member) {
      (name == "tanh" ? kernels.tanh : kernels.sigmoid)(in.data(), out.mutable_data(), in.size());
    });
    return out;
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
  m.def("activation", &activation, "name"_a, "x"_a, "isa"_a = py::none(),
        "sigmoid or tanh as the kernels compute it.");
  py::module_::import("os").attr("register_at_fork")("after_in_child"_a =
                                                         py::cpp_function(&after_fork_in_child));
}

}  // namespace pyrnnfast
