// Pack: weights and options as Python gives them, checked, to those that the driver takes.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "../dispatch/select.hpp"
#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

// One for each direction; none where the plain instantiation does.
template <class T> std::vector<Options<T>> read_options(const py::object &given, const Cell &cell, Size D) {
  std::vector<Options<T>> all;
  if (given.is_none() || !given.attr("general").cast<bool>()) return all;
  const auto directions = given.attr("activations").cast<std::vector<py::tuple>>();
  const std::size_t count = cell.cell_state ? 3 : cell.gates > 1 || cell.output_layer ? 2 : 1;
  if (Size(directions.size()) != D) throw py::value_error("options: expected activations of each direction");
  for (const py::tuple &activations : directions) {
    if (activations.size() != count)
      throw py::value_error("options: got " + std::to_string(activations.size()) + " activations, expected " +
                            std::to_string(count));
    Options<T> options{};
    for (std::size_t i = 0; i < count; ++i) {
      const auto [name, alpha, beta] = activations[i].cast<std::tuple<std::string, double, double>>();
      options.activations[i] = {find_function(name), T(alpha), T(beta)};
    }
    options.clip = T(given.attr("clip").cast<double>());
    options.coupled = given.attr("coupled").cast<bool>();
    options.cell_clip = T(given.attr("cell_clip").cast<double>());
    options.grad_clip = T(given.attr("grad_clip").cast<double>());
    const auto zoneout = given.attr("zoneout").cast<std::vector<double>>();  // (p_c, p_h) or (p_h) or none
    if (!zoneout.empty() && zoneout.size() != 1u + cell.cell_state)
      throw py::value_error("options: got " + std::to_string(zoneout.size()) + " probabilities of zoneout");
    for (std::size_t i = 0; i < zoneout.size(); ++i) {
      const std::size_t which = cell.cell_state ? i : 1;
      options.zoneout[which] = T(zoneout[i]);
      options.zone_below[which] = uint32_t(zoneout[i] * 4294967296.0);
    }
    all.push_back(options);
  }
  return all;
}

template <class T>
PackPtr<T> make_pack(const Cell &cell, const py::list &arrays, Size L, Size D, bool bias, const Level &level,
                     const py::object &given) {
  const std::vector<Options<T>> options = read_options<T>(given, cell, D);
  const bool peephole = !given.is_none() && given.attr("peephole").cast<bool>();
  const bool normed = !given.is_none() && given.attr("layer_norm").cast<bool>();
  if (!options.empty() && (peephole || options[0].coupled) && !cell.cell_state)
    throw py::value_error("options: got peephole or coupled, expected neither but for the LSTM");
  if (options.empty() && (peephole || normed))
    throw py::value_error("options: got peephole or layer_norm that is not general, expected general");
  Outputs outputs;
  if (!given.is_none())
    outputs = {given.attr("proj_size").cast<Size>(), given.attr("proj_clip").cast<double>(),
               find_merge(given.attr("merge").cast<std::string>())};
  const bool projects = outputs.projection > 0 || cell.output_layer;
  if (projects && normed)
    throw py::value_error("options: got layer_norm and proj_size, expected one of them");
  const Size each = 2 + 2 * bias + projects + peephole + normed * (2 + cell.cell_state * (1 + bias));
  if (L < 1 || Size(arrays.size()) != L * D * each)
    throw py::value_error("weights: got " + std::to_string(arrays.size()) + " arrays, expected " +
                          std::to_string(L * D * each));
  const auto hh = py::cast<py::array>(arrays[1]);
  const auto ih = py::cast<py::array>(arrays[0]);
  const Size G = cell.gates, C = ih.ndim() == 2 ? ih.shape(1) : 0;
  const Size H = hh.ndim() != 2 ? 0 : projects ? hh.shape(0) / G : hh.shape(1);
  if (projects && outputs.projection == 0) outputs.projection = H;
  const Size R = projects ? outputs.projection : H;
  if (H < 1 || C < 1)
    throw py::value_error("weights: got an empty or one-dimensional matrix, expected [G*H, C], [G*H, R]");
  if (outputs.merge != Merge::concat && D != 2)
    throw py::value_error("options: got merge of one direction, expected two");
  const Size width = outputs.merge == Merge::concat ? D * R : R;
  if (projects && cell.reset_state)
    throw py::value_error("options: got proj_size of a cell that resets its state before the product");
  std::vector<LayerWeights<T>> weights;
  for (Size i = 0; i < L * D; ++i) {
    const Size inputs = i < D ? C : width;
    Size at = i * each;
    const auto next = [&](const Extents &shape, bool there = true) {
      if (!there) return static_cast<const T *>(nullptr);
      const std::string name = "weights[" + std::to_string(at) + "]";
      return expect_array<T>(arrays[at++], shape, name).data();
    };
    const bool cell_norm = normed && cell.cell_state;
    const bool out = cell.output_layer && bias;
    weights.push_back(
        {next({G * H, inputs}), next({G * H, R}), next({G * H}, bias), next({G * H}, bias && !out)});
    LayerWeights<T> &w = weights.back();
    w.bias_hr = next({R}, out);
    w.weight_hr = next({R, H}, projects);
    w.peephole = next({3 * H}, peephole);
    w.norm_ih = next({G * H}, normed);
    w.norm_hh = next({G * H}, normed);
    w.norm_c = next({H}, cell_norm);
    w.norm_c_bias = next({H}, cell_norm && bias);
  }
  py::gil_scoped_release nogil;  // packing reads arrays that `arrays` keeps alive
  return std::make_shared<const Pack<T>>(kernels_of<T>(level), cell, C, H, L, D, weights, threads_of(0),
                                         Use::both, options, outputs);
}

PyPack new_pack(const std::string &name, const py::list &weights, Size layers, bool bidirectional, bool bias,
                const std::optional<std::string> &isa, const py::object &options) {
  const Cell &cell = find_cell(name);
  const Level &level = find_level(isa.value_or(""));
  if (weights.empty()) throw py::value_error("weights: got none");
  const Size D = bidirectional ? 2 : 1;
  if (py::isinstance<py::array_t<float>>(weights[0]))
    return {{}, make_pack<float>(cell, weights, layers, D, bias, level, options), bias, level.name, options};
  return {{}, make_pack<double>(cell, weights, layers, D, bias, level, options), bias, level.name, options};
}

}  // namespace

void register_pack(py::module_ &m) {
  using namespace py::literals;
  py::class_<PyPack>(m, "Pack", "The weights of a stack in the kernels' layout.")
      .def(py::init(&new_pack), "cell"_a, "weights"_a, "num_layers"_a, "bidirectional"_a, "bias"_a,
           "isa"_a = py::none(), "options"_a = py::none())
      .def_property_readonly(
          "cell",
          [](const PyPack &p) { return p.read([](const auto &q) { return std::string(q.cell.name); }); })
      .def_property_readonly("input_size",
                             [](const PyPack &p) { return p.read([](const auto &q) { return q.inputs; }); })
      .def_property_readonly("hidden_size",
                             [](const PyPack &p) { return p.read([](const auto &q) { return q.hidden; }); })
      .def_property_readonly("num_layers",
                             [](const PyPack &p) { return p.read([](const auto &q) { return q.layers; }); })
      .def_property_readonly(
          "num_directions",
          [](const PyPack &p) { return p.read([](const auto &q) { return q.directions; }); })
      .def_property_readonly("dtype",
                             [](const PyPack &p) -> py::dtype {
                               return p.pack.index() == 0 ? py::dtype::of<float>() : py::dtype::of<double>();
                             })
      .def_readonly("bias", &PyPack::bias)
      .def_readonly("isa", &PyPack::isa)
      .def_readonly("options", &PyPack::options);
}

}  // namespace pyrnnfast
