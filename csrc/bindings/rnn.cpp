// Pack, Tape, forward and backward.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "../dispatch/select.hpp"
#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

template <class T> using TapePtr = std::unique_ptr<Tape<T>>;

struct PyTape : Handle {
  std::variant<TapePtr<float>, TapePtr<double>> tape;
  py::object pack, x, lengths;  // x, or the embedding, is read again in backward
  Buffer<int64_t> ids;
  Size steps, rows;
};

// One for each direction; none where Python's are None.
template <class T> std::vector<Options<T>> read_options(const py::object &given, const Cell &cell, Size D) {
  std::vector<Options<T>> all;
  if (given.is_none()) return all;
  const auto directions = given.attr("activations").cast<std::vector<py::tuple>>();
  const std::size_t count = cell.cell_state ? 3 : cell.gates > 1 ? 2 : 1;
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
  if (!options.empty() && (peephole || options[0].coupled) && !cell.cell_state)
    throw py::value_error("options: got peephole or coupled, expected neither but for the LSTM");
  const Size each = 2 + 2 * bias + peephole;
  if (L < 1 || Size(arrays.size()) != L * D * each)
    throw py::value_error("weights: got " + std::to_string(arrays.size()) + " arrays, expected " +
                          std::to_string(L * D * each));
  const auto hh = py::cast<py::array>(arrays[1]);
  const auto ih = py::cast<py::array>(arrays[0]);
  const Size H = hh.ndim() == 2 ? hh.shape(1) : 0, C = ih.ndim() == 2 ? ih.shape(1) : 0, G = cell.gates;
  if (H < 1 || C < 1)
    throw py::value_error("weights: got an empty or one-dimensional matrix, expected [G*H, C], [G*H, H]");
  std::vector<LayerWeights<T>> weights;
  for (Size i = 0; i < L * D; ++i) {
    const Size inputs = i < D ? C : D * H;
    const auto get = [&](Size k, const Extents &shape) {
      return expect_array<T>(arrays[i * each + k], shape, "weights[" + std::to_string(i * each + k) + "]")
          .data();
    };
    weights.push_back({get(0, {G * H, inputs}), get(1, {G * H, H}), bias ? get(2, {G * H}) : nullptr,
                       bias ? get(3, {G * H}) : nullptr, peephole ? get(each - 1, {3 * H}) : nullptr});
  }
  py::gil_scoped_release nogil;  // packing reads arrays that `arrays` keeps alive
  return std::make_shared<const Pack<T>>(kernels_of<T>(level), cell, C, H, L, D, weights, threads_of(0),
                                         Use::both, options);
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

// A copy that nobody can change any more, each within 0..table-1.
Buffer<int64_t> checked_ids(const py::array &x, Size table) {
  const auto given = expect_array<int64_t>(x, {x.shape(0), x.shape(1)}, "x");
  Buffer<int64_t> ids(std::max<Size>(given.size(), 1));
  std::copy_n(given.data(), given.size(), ids.data());
  for (Size i = 0; i < given.size(); ++i)
    if (ids.data()[i] < 0 || ids.data()[i] >= table)
      throw py::value_error("x: got " + std::to_string(ids.data()[i]) + ", expected ids from 0 to " +
                            std::to_string(table - 1));
  return ids;
}

template <class T>
py::tuple run_forward(const PackPtr<T> &pack, const py::object &py_pack, const py::array &x_any,
                      const py::object &h0, const py::object &c0, const py::object &lengths, double dropout,
                      uint64_t seed, bool training, int threads, const py::object &embedding,
                      double input_dropout, double recurrent_dropout) {
  const bool by_id = !embedding.is_none();
  if (x_any.ndim() != (by_id ? 2 : 3))
    throw py::value_error("x: got " + std::to_string(x_any.ndim()) + " dimensions, expected " +
                          (by_id ? "2" : "3"));
  const Size steps = x_any.shape(0), N = x_any.shape(1), H = pack->hidden, D = pack->directions;
  const Size table = by_id ? py::len(embedding) : 0;
  const auto x = by_id ? expect_array<T>(embedding, {table, pack->inputs}, "embedding")
                       : expect_array<T>(x_any, {steps, N, pack->inputs}, "x");
  Buffer<int64_t> ids;
  if (by_id) ids = checked_ids(x_any, table);
  const Extents state{pack->layers * D, N, H};
  const bool cell_state = pack->cell.cell_state;
  // a ragged batch has zeros past the rows' ends
  auto y = new_array<T>({steps, N, D * H}, !lengths.is_none());
  py::array_t<T> h(state), c(cell_state ? state : Extents{0});
  if (!lengths.is_none()) {
    const auto each = expect_array<int64_t>(lengths, {N}, "lengths");
    for (Size n = 0; n < N; ++n)
      if (each.at(n) < 0 || each.at(n) > steps)
        throw py::value_error("lengths: got " + std::to_string(each.at(n)) + ", expected 0 to " +
                              std::to_string(steps));
  }
  const ForwardArgs<T> args{pack,
                            steps,
                            N,
                            x.data(),
                            optional_data<T>(h0, state, "h0"),
                            cell_state ? optional_data<T>(c0, state, "c0") : nullptr,
                            optional_data<int64_t>(lengths, {N}, "lengths"),
                            y.mutable_data(),
                            h.mutable_data(),
                            cell_state ? c.mutable_data() : nullptr,
                            training ? LayerDropout<T>{dropout, seed, input_dropout, recurrent_dropout}
                                     : LayerDropout<T>{},
                            training,
                            threads_of(threads),
                            signal_check(),
                            ids.data(),
                            table};
  TapePtr<T> tape = run_driver([&] { return forward(args); });
  py::object kept = py::none();
  if (tape) {
    auto result = std::make_unique<PyTape>();
    *result = {{}, std::move(tape), py_pack, x, lengths, std::move(ids), steps, N};
    kept = py::cast(std::move(result));
  }
  return py::make_tuple(y, h, cell_state ? py::object(c) : py::object(py::none()), kept);
}

py::tuple py_forward(const py::object &py_pack, const py::array &x, const py::object &h0,
                     const py::object &c0, const py::object &lengths, double dropout, uint64_t seed,
                     bool training, int threads, const py::object &embedding, double input_dropout,
                     double recurrent_dropout) {
  return std::visit(
      [&](const auto &pack) {
        return run_forward(pack, py_pack, x, h0, c0, lengths, dropout, seed, training, threads, embedding,
                           input_dropout, recurrent_dropout);
      },
      py_pack.cast<const PyPack &>().pack);
}

constexpr Size kFewRows = 1024;  // T N of a call for which microseconds count

template <class T> py::object run_infer(const PackPtr<T> &pack, const py::handle &x,
                                        const py::handle &state) {
  if (!is_plain<T>(x, {-1, -1, pack->inputs})) return py::none();
  const py::ssize_t *shape = py::detail::array_proxy(x.ptr())->dimensions;
  const Size steps = shape[0], N = shape[1], H = pack->hidden, D = pack->directions, runs = pack->layers * D;
  if (steps * N == 0 || steps * N > kFewRows) return py::none();
  const bool pair = PyTuple_CheckExact(state.ptr()) && PyTuple_GET_SIZE(state.ptr()) == 2;
  const bool cell_state = pack->cell.cell_state;
  const py::handle h0 = pair ? PyTuple_GET_ITEM(state.ptr(), 0) : state.ptr();
  const py::handle c0 = pair ? PyTuple_GET_ITEM(state.ptr(), 1) : state.ptr();
  if (!state.is_none() &&
      (pair != cell_state || !is_plain<T>(h0, {runs, N, H}) || !is_plain<T>(c0, {runs, N, H})))
    return py::none();
  const auto start = [&](const py::handle &part) { return state.is_none() ? nullptr : plain_data<T>(part); };
  py::array_t<T> y({steps, N, D * H}), h({runs, N, H});
  py::object final_state = h;
  T *c = nullptr;
  if (cell_state) {
    py::array_t<T> array({runs, N, H});
    c = array.mutable_data();
    final_state = py::make_tuple(h, array);
  }
  const ForwardArgs<T> args{pack,
                            steps,
                            N,
                            plain_data<T>(x),
                            start(h0),
                            cell_state ? start(c0) : nullptr,
                            nullptr,
                            y.mutable_data(),
                            h.mutable_data(),
                            c,
                            {},
                            false,
                            threads_of(0),
                            signal_check()};
  run_driver([&] { return forward(args); });
  return py::make_tuple(y, final_state);
}

py::object py_infer(const PyPack &pack, const py::handle &x, const py::handle &state) {
  return std::visit([&](const auto &p) { return run_infer(p, x, state); }, pack.pack);
}

template <class T>
py::tuple run_backward(Tape<T> &tape, bool bias, const py::object &dy, const py::object &dh,
                       const py::object &dc, bool input_gradient, int threads, const py::object &grad_norms) {
  const Pack<T> &pack = *tape.pack;
  const Size steps = tape.steps, N = tape.rows, H = pack.hidden, L = pack.layers, D = pack.directions,
             G = pack.cell.gates;
  const Extents state{L * D, N, H};
  const bool cell_state = pack.cell.cell_state;
  py::object dx = py::none();
  T *dx_data = nullptr;
  if (input_gradient) {
    auto array = tape.ids == nullptr ? new_array<T>({steps, N, pack.inputs}, true)
                                     : new_array<T>({tape.table, pack.inputs}, true);
    dx_data = array.mutable_data();
    dx = std::move(array);
  }
  py::array_t<T> dh0(state), dc0(cell_state ? state : Extents{0});
  BackwardArgs<T> args{&tape,
                       optional_data<T>(dy, {steps, N, D * H}, "dy"),
                       optional_data<T>(dh, state, "dh"),
                       cell_state ? optional_data<T>(dc, state, "dc") : nullptr,
                       dx_data,
                       dh0.mutable_data(),
                       cell_state ? dc0.mutable_data() : nullptr,
                       {},
                       threads_of(threads),
                       signal_check()};
  if (!grad_norms.is_none())
    args.grad_norms = expect_array<double>(grad_norms, {L * D, steps}, "grad_norms").mutable_data();
  py::list gradients;
  const auto add = [&](const Extents &shape) {
    auto array = new_array<T>(shape);
    T *data = array.mutable_data();
    gradients.append(std::move(array));
    return data;
  };
  for (Size i = 0; i < L * D; ++i) {
    WeightGradients<T> out{add({G * H, i < D ? pack.inputs : D * H}), add({G * H, H}), nullptr, nullptr,
                           nullptr};
    if (bias) {
      out.bias_ih = add({G * H});
      out.bias_hh = add({G * H});
    }
    if (pack.packs[i].options.peephole != nullptr) out.peephole = add({3 * H});
    args.weights.push_back(out);
  }
  run_driver([&] {
    backward(args);
    return 0;
  });
  return py::make_tuple(dx, dh0, cell_state ? py::object(dc0) : py::object(py::none()), gradients);
}

py::tuple py_backward(PyTape &tape, const py::object &dy, const py::object &dh, const py::object &dc,
                      bool input_gradient, int threads, const py::object &grad_norms) {
  const bool bias = tape.pack.cast<const PyPack &>().bias;
  return std::visit(
      [&](auto &t) { return run_backward(*t, bias, dy, dh, dc, input_gradient, threads, grad_norms); },
      tape.tape);
}

}  // namespace

void register_rnn(py::module_ &m) {
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
  py::class_<PyTape>(m, "Tape", "What a training forward keeps for backward; opaque.")
      .def_readonly("steps", &PyTape::steps)
      .def_readonly("rows", &PyTape::rows)
      .def_readonly("pack", &PyTape::pack)
      .def_readonly("lengths", &PyTape::lengths);
  m.def("forward", &py_forward, "pack"_a, "x"_a, "h0"_a, "c0"_a, "lengths"_a, "dropout"_a, "seed"_a,
        "training"_a, "num_threads"_a, "embedding"_a = py::none(), "input_dropout"_a = 0.0,
        "recurrent_dropout"_a = 0.0, "Runs a stack; returns (y, h, c or None, tape or None).");
  m.def("infer", &py_infer, "pack"_a, "x"_a, "state"_a,
        "The quick way of a small call; returns (y, state), or None, where validation has the say.");
  m.def("backward", &py_backward, "tape"_a, "dy"_a, "dhT"_a, "dcT"_a, "input_gradient"_a, "num_threads"_a,
        "grad_norms"_a = py::none(),
        "BPTT through a tape; returns (dx or None, dh0, dc0 or None, gradients of the weights in their "
        "order).");
}

}  // namespace pyrnnfast
