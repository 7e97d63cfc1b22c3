// TensorStack: forward and backward on tensors of another library, none of them copied.
#include "../driver/input.hpp"
#include "register.hpp"
#include "reuse.hpp"
#include "stack_tensors.hpp"

namespace pyrnnfast {

namespace {

struct Dropping {
  double p;
  uint64_t seed;
};

class TensorStack : public StackTensors {
 public:
  using StackTensors::StackTensors;

  // (y or None, h, c or None, tape or None); None where a tensor is not as the kernels read it. `clear` makes
  // what the tape has between its rows zeros.
  py::object forward(const py::list &weights, const std::string &form, const py::object &x,
                     const py::object &h0, const py::object &c0, const py::object &batch_sizes,
                     double dropout, uint64_t seed, int threads, bool keep, bool clear, Reuse *reuse) const {
    const auto run = [&](auto zero) -> std::optional<py::object> {
      using T = decltype(zero);
      Sizes sizes;
      ForwardArgs<T> args{};
      const std::optional<bool> readable = read_input(find_form(form), x, batch_sizes, sizes, args);
      if (!readable) return std::nullopt;
      const std::vector<Weight<T>> found = *readable ? read_weights<T>(weights) : std::vector<Weight<T>>();
      const Extents state = state_shape(sizes);
      bool good = !found.empty();
      args.h0 = optional<T>(h0, state, good);
      args.c0 = optional<T>(c0, state, good);
      if (!good) return py::none();
      py::object y = py::none(), h, c = py::none(), tape = py::none();
      if (form != "NC" && form != "C") std::tie(y, args.y) = result<T>(sequence_shape(sizes, D_ * H_));
      std::tie(h, args.h) = result<T>(state);
      if (cell_.cell_state) std::tie(c, args.c) = result<T>(state);
      if (keep)
        std::tie(tape, args.memory) =
            result<T>({tape_size<T>(sizes.rows, sizes.total)}, clear && tape_has_gaps<T>());
      args.training = keep;
      args.dropout = {dropout, seed};
      args.threads = usable_threads(threads);
      args.interrupted = signal_check();
      set_team(args.threads);
      args.pack = kept_pack(found, weights, Use::forward, args.threads, reuse);
      run_driver([&] {
        if (args.pack == nullptr) args.pack = make_pack(found, Use::forward, args.threads);
        pyrnnfast::forward(args);
        return 0;
      });
      return py::make_tuple(y, h, c, tape);
    };
    return either(run);
  }

  // (dx, dh0, dc0, dweights), each None unless wanted, told in this order; None as forward's.
  py::object backward(const py::list &weights, const std::string &form, const py::object &x,
                      const py::object &batch_sizes, const py::object &tape, const py::object &dy,
                      const py::object &dh, const py::object &dc, const std::vector<bool> &wanted,
                      double dropout, uint64_t seed, int threads, Reuse *reuse) const {
    const auto run = [&](auto zero) -> std::optional<py::object> {
      using T = decltype(zero);
      Sizes sizes;
      ForwardArgs<T> made{};
      const std::optional<bool> readable = read_input(find_form(form), x, batch_sizes, sizes, made);
      if (!readable) return std::nullopt;
      const std::vector<Weight<T>> found = *readable ? read_weights<T>(weights) : std::vector<Weight<T>>();
      const Extents state = state_shape(sizes);
      bool good = !found.empty() && wanted.size() == 3 + found.size();
      // the tape is read only, but its struct serves forward too
      made.memory = const_cast<T *>(optional<T>(tape, {tape_size<T>(sizes.rows, sizes.total)}, good));
      good = good && reinterpret_cast<std::uintptr_t>(made.memory) % kAlignment == 0;
      BackwardArgs<T> args{};
      args.dy = optional<T>(dy, sequence_shape(sizes, D_ * H_), good);
      args.dh = optional<T>(dh, state, good);
      args.dc = optional<T>(dc, state, good);
      if (!good || made.memory == nullptr) return py::none();
      py::object dx = py::none(), dh0 = py::none(), dc0 = py::none();
      // two directions add to dx, and what dropout may mask is added too; else each of its rows is written
      if (wanted[0]) std::tie(dx, args.dx) = result<T>(sequence_shape(sizes, C_), D_ == 2 || dropout > 0);
      if (wanted[1]) std::tie(dh0, args.dh0) = result<T>(state);
      if (wanted[2]) std::tie(dc0, args.dc0) = result<T>(state);
      py::list dweights;
      const auto add = [&](Size i) -> T * {
        if (!wanted[std::size_t(3 + i)]) {
          dweights.append(py::none());
          return nullptr;
        }
        auto [tensor, data] = result<T>(weight_shape(i));
        dweights.append(tensor);
        return data;
      };
      for (Size i = 0; i < Size(found.size()); i += each_) {
        WeightGradients<T> out{add(i), add(i + 1), nullptr, nullptr, nullptr};
        if (each_ == 4) {
          out.bias_ih = add(i + 2);
          out.bias_hh = add(i + 3);
        }
        args.weights.push_back(out);
      }
      made.training = true;
      made.dropout = {dropout, seed};
      made.threads = args.threads = usable_threads(threads);
      args.interrupted = signal_check();
      set_team(args.threads);
      made.pack = kept_pack(found, weights, Use::backward, made.threads, reuse);
      run_driver([&] {
        if (made.pack == nullptr) made.pack = make_pack(found, Use::backward, made.threads);
        Tape<T> kept = reopen(made);
        args.tape = &kept;
        pyrnnfast::backward(args);
        return 0;
      });
      return py::make_tuple(dx, dh0, dc0, dweights);
    };
    return either(run);
  }

  // The factors by which dropout multiplies x, the output of `layer`: a new tensor; None as forward's.
  py::object mask(const std::string &form, const py::object &x, const py::object &batch_sizes, Size layer,
                  double dropout, uint64_t seed) const {
    const auto run = [&](auto zero) -> std::optional<py::object> {
      using T = decltype(zero);
      Sizes sizes;
      ForwardArgs<T> args{};
      const std::optional<bool> readable = read_input(find_form(form), x, batch_sizes, sizes, args);
      if (!readable) return std::nullopt;
      if (!*readable) return py::none();
      auto [factors, data] = result<T>(sequence_shape(sizes, C_));
      std::fill_n(data, sizes.total * C_, T(1));
      Tape<T> tape{
          {}, Clock(args.steps, args.rows, args.lengths), args.steps, args.rows, {}, {}, {}, {}, {}, {}, {}};
      tape.order = args.order;
      const LayerDropout<T> drop{dropout, seed};
      for (RowWalk walk(tape.clock, 0, tape.clock.steps(), 0, args.rows); !walk.done(); walk.next())
        drop.apply(kernels_of<T>(level_), layer, walk.s, tape.clock.user(walk.n),
                   data + tape.user_row(walk.s, walk.n) * C_, C_);
      return factors;
    };
    return either(run);
  }

 private:
  // `run` of the type that x has; none where it has neither.
  template <class Run> static py::object either(const Run &run) {
    if (std::optional<py::object> single = run(0.0f)) return *single;
    return run(0.0).value_or(py::none());
  }
};

}  // namespace

void register_tensors(py::module_ &m) {
  using namespace py::literals;
  py::class_<Reuse>(m, "Reuse", "Packed weights between calls; empty at first.")
      .def(py::init<>())
      .def_readwrite("frozen", &Reuse::frozen, "Whether places and versions are looked at, and no value.");
  py::class_<TensorReader>(m, "TensorReader", "What a library's tensors are read and made by.")
      .def(py::init<const py::handle &, const py::handle &>(), "tensor_class"_a, "parameter_class"_a);
  py::class_<TensorStack>(m, "TensorStack", "A stack's forward and backward on tensors.")
      .def(py::init<const TensorReader &, const std::string &, Size, Size, Size, bool, bool,
                    const std::optional<std::string> &>(),
           "reader"_a, "cell"_a, "inputs"_a, "hidden"_a, "layers"_a, "bidirectional"_a, "bias"_a,
           "isa"_a = py::none())
      .def("tape_sizes", &TensorStack::tape_sizes, "single"_a,
           "Elements of a tape for each row and for each step of a row.")
      .def("forward", &TensorStack::forward, "weights"_a, "form"_a, "x"_a, "h0"_a, "c0"_a, "batch_sizes"_a,
           "dropout"_a, "seed"_a, "num_threads"_a, "keep"_a, "clear"_a, "reuse"_a)
      .def("backward", &TensorStack::backward, "weights"_a, "form"_a, "x"_a, "batch_sizes"_a, "tape"_a,
           "dy"_a, "dh"_a, "dc"_a, "wanted"_a, "dropout"_a, "seed"_a, "num_threads"_a, "reuse"_a)
      .def("mask", &TensorStack::mask, "form"_a, "x"_a, "batch_sizes"_a, "layer"_a, "dropout"_a, "seed"_a);
}

}  // namespace pyrnnfast
