// Tape, forward and backward.
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <variant>

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
                      const py::object &h0, const py::object &c0, const py::object &lengths,
                      const LayerDropout<T> &dropout, bool training, int threads, const py::object &embedding,
                      const py::object &cells) {
  const bool by_id = !embedding.is_none();
  if (x_any.ndim() != (by_id ? 2 : 3))
    throw py::value_error("x: got " + std::to_string(x_any.ndim()) + " dimensions, expected " +
                          (by_id ? "2" : "3"));
  const Size steps = x_any.shape(0), N = x_any.shape(1), R = pack->outputs, D = pack->directions;
  const Size table = by_id ? py::len(embedding) : 0;
  const auto x = by_id ? expect_array<T>(embedding, {table, pack->inputs}, "embedding")
                       : expect_array<T>(x_any, {steps, N, pack->inputs}, "x");
  Buffer<int64_t> ids;
  if (by_id) ids = checked_ids(x_any, table);
  const Extents state{pack->layers * D, N, R}, c_state{pack->layers * D, N, pack->hidden};
  const bool pair = pack->pair();
  // a ragged batch has zeros past the rows' ends
  auto y = new_array<T>({steps, N, pack->width}, !lengths.is_none());
  py::array_t<T> h(state), c(pair ? c_state : Extents{0});
  if (!lengths.is_none()) {
    const auto each = expect_array<int64_t>(lengths, {N}, "lengths");
    for (Size n = 0; n < N; ++n)
      if (each.at(n) < 0 || each.at(n) > steps)
        throw py::value_error("lengths: got " + std::to_string(each.at(n)) + ", expected 0 to " +
                              std::to_string(steps));
  }
  ForwardArgs<T> args{pack,
                      steps,
                      N,
                      x.data(),
                      optional_data<T>(h0, state, "h0"),
                      pair ? optional_data<T>(c0, c_state, "c0") : nullptr,
                      optional_data<int64_t>(lengths, {N}, "lengths"),
                      y.mutable_data(),
                      h.mutable_data(),
                      pair ? c.mutable_data() : nullptr,
                      training ? dropout : LayerDropout<T>{},
                      training,
                      threads_of(threads),
                      signal_check(),
                      ids.data(),
                      table};
  if (!cells.is_none() && pack->cell.cell_state)
    args.cells = expect_array<T>(cells, {steps, N, D * pack->hidden}, "cells").mutable_data();
  TapePtr<T> tape = run_driver([&] { return forward(args); });
  py::object kept = py::none();
  if (tape) {
    auto result = std::make_unique<PyTape>();
    *result = {{}, std::move(tape), py_pack, x, lengths, std::move(ids), steps, N};
    kept = py::cast(std::move(result));
  }
  return py::make_tuple(y, h, pair ? py::object(c) : py::object(py::none()), kept);
}

py::tuple py_forward(const py::object &py_pack, const py::array &x, const py::object &h0,
                     const py::object &c0, const py::object &lengths, double dropout, uint64_t seed,
                     bool training, int threads, const py::object &embedding, const py::object &cells,
                     double input_dropout, double recurrent_dropout) {
  return std::visit(
      [&](const auto &pack) {
        return run_forward(pack, py_pack, x, h0, c0, lengths,
                           {dropout, seed, input_dropout, recurrent_dropout}, training, threads, embedding,
                           cells);
      },
      py_pack.cast<const PyPack &>().pack);
}

constexpr Size kFewRows = 1024;  // T N of a call for which microseconds count

template <class T> py::object run_infer(const PackPtr<T> &pack, const py::handle &x,
                                        const py::handle &state) {
  if (!is_plain<T>(x, {-1, -1, pack->inputs})) return py::none();
  const py::ssize_t *shape = py::detail::array_proxy(x.ptr())->dimensions;
  const Size steps = shape[0], N = shape[1], H = pack->hidden, R = pack->outputs, D = pack->directions;
  const Size runs = pack->layers * D;
  if (steps * N == 0 || steps * N > kFewRows) return py::none();
  const bool given = PyTuple_CheckExact(state.ptr()) && PyTuple_GET_SIZE(state.ptr()) == 2;
  const bool pair = pack->pair();
  const py::handle h0 = given ? PyTuple_GET_ITEM(state.ptr(), 0) : state.ptr();
  const py::handle c0 = given ? PyTuple_GET_ITEM(state.ptr(), 1) : state.ptr();
  if (!state.is_none() &&
      (given != pair || !is_plain<T>(h0, {runs, N, R}) || (pair && !is_plain<T>(c0, {runs, N, H}))))
    return py::none();
  const auto start = [&](const py::handle &part) { return state.is_none() ? nullptr : plain_data<T>(part); };
  py::array_t<T> y({steps, N, pack->width}), h({runs, N, R});
  py::object final_state = h;
  T *c = nullptr;
  if (pair) {
    py::array_t<T> array({runs, N, H});
    c = array.mutable_data();
    final_state = py::make_tuple(h, array);
  }
  const ForwardArgs<T> args{pack,
                            steps,
                            N,
                            plain_data<T>(x),
                            start(h0),
                            pair ? start(c0) : nullptr,
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
                       const py::object &dc, bool input_gradient, int threads, const py::object &dcells,
                       const py::object &grad_norms) {
  const Pack<T> &pack = *tape.pack;
  const Size steps = tape.steps, N = tape.rows, H = pack.hidden, R = pack.outputs, L = pack.layers,
             D = pack.directions, G = pack.cell.gates;
  const Extents state{L * D, N, R}, c_state{L * D, N, H};
  const bool pair = pack.pair();
  py::object dx = py::none();
  T *dx_data = nullptr;
  if (input_gradient) {
    auto array = tape.ids == nullptr ? new_array<T>({steps, N, pack.inputs}, true)
                                     : new_array<T>({tape.table, pack.inputs}, true);
    dx_data = array.mutable_data();
    dx = std::move(array);
  }
  py::array_t<T> dh0(state), dc0(pair ? c_state : Extents{0});
  BackwardArgs<T> args{&tape,
                       optional_data<T>(dy, {steps, N, pack.width}, "dy"),
                       optional_data<T>(dh, state, "dh"),
                       pair ? optional_data<T>(dc, c_state, "dc") : nullptr,
                       dx_data,
                       dh0.mutable_data(),
                       pair ? dc0.mutable_data() : nullptr,
                       {},
                       threads_of(threads),
                       signal_check()};
  if (pack.cell.cell_state) args.dcells = optional_data<T>(dcells, {steps, N, D * H}, "dcells");
  if (!grad_norms.is_none())
    args.grad_norms = expect_array<double>(grad_norms, {L * D, steps}, "grad_norms").mutable_data();
  py::list gradients;
  const auto add = [&](const Extents &shape) {
    auto array = new_array<T>(shape, false);
    T *data = array.mutable_data();
    gradients.append(std::move(array));
    return data;
  };
  for (Size i = 0; i < L * D; ++i) {
    WeightGradients<T> out{add({G * H, i < D ? pack.inputs : pack.width}), add({G * H, R}), nullptr, nullptr,
                           nullptr};
    if (bias) {
      out.bias_ih = add({G * H});
      (pack.cell.output_layer ? out.bias_hr : out.bias_hh) = add({pack.cell.output_layer ? R : G * H});
    }
    if (pack.projects()) out.weight_hr = add({R, H});
    if (pack.packs[i].options.peephole != nullptr) out.peephole = add({3 * H});
    if (pack.normed) {
      out.norm_ih = add({G * H});
      out.norm_hh = add({G * H});
      if (pack.cell.cell_state) out.norm_c = add({H});
      if (pack.cell.cell_state && bias) out.norm_c_bias = add({H});
    }
    args.weights.push_back(out);
  }
  run_driver([&] {
    backward(args);
    return 0;
  });
  return py::make_tuple(dx, dh0, pair ? py::object(dc0) : py::object(py::none()), gradients);
}

py::tuple py_backward(PyTape &tape, const py::object &dy, const py::object &dh, const py::object &dc,
                      bool input_gradient, int threads, const py::object &dcells,
                      const py::object &grad_norms) {
  const bool bias = tape.pack.cast<const PyPack &>().bias;
  return std::visit(
      [&](auto &t) {
        return run_backward(*t, bias, dy, dh, dc, input_gradient, threads, dcells, grad_norms);
      },
      tape.tape);
}

}  // namespace

void register_rnn(py::module_ &m) {
  using namespace py::literals;
  py::class_<PyTape>(m, "Tape", "What a training forward keeps for backward; opaque.")
      .def_readonly("steps", &PyTape::steps)
      .def_readonly("rows", &PyTape::rows)
      .def_readonly("pack", &PyTape::pack)
      .def_readonly("lengths", &PyTape::lengths);
  m.def("forward", &py_forward, "pack"_a, "x"_a, "h0"_a, "c0"_a, "lengths"_a, "dropout"_a, "seed"_a,
        "training"_a, "num_threads"_a, "embedding"_a = py::none(), "cells"_a = py::none(),
        "input_dropout"_a = 0.0, "recurrent_dropout"_a = 0.0,
        "Runs a stack; returns (y, h, c or None, tape or None).");
  m.def("infer", &py_infer, "pack"_a, "x"_a, "state"_a,
        "The quick way of a small call; returns (y, state), or None, where validation has the say.");
  m.def("backward", &py_backward, "tape"_a, "dy"_a, "dhT"_a, "dcT"_a, "input_gradient"_a, "num_threads"_a,
        "dcells"_a = py::none(), "grad_norms"_a = py::none(),
        "BPTT through a tape; returns (dx or None, dh0, dc0 or None, gradients of the weights in their "
        "order).");
}

}  // namespace pyrnnfast
