// TensorStack: forward and backward on tensors of another library, none of them copied.
#include "../driver/input.hpp"
#include "register.hpp"
#include "reuse.hpp"
#include "stack_tensors.hpp"

namespace pyrnnfast {

namespace {

class TensorStack : public StackTensors {
 public:
  using StackTensors::StackTensors;

  bool forward(const py::list &weights, const std::string &form, const py::object &x, const py::object &h0,
               const py::object &c0, const py::object &batch_sizes, const py::object &y, const py::object &h,
               const py::object &c, const py::object &tape, double dropout, uint64_t seed, int threads,
               Reuse *reuse, const py::object &versions) const {
    const Outputs out{y, h, c, tape};
    const Inputs in{weights, find_form(form), x, h0, c0, batch_sizes};
    const std::optional<bool> done = run_forward<float>(in, out, {dropout, seed}, threads, reuse, versions);
    return done ? *done
                : run_forward<double>(in, out, {dropout, seed}, threads, reuse, versions).value_or(false);
  }

  bool backward(const py::list &weights, const std::string &form, const py::object &x,
                const py::object &batch_sizes, const py::object &tape, const py::object &dy,
                const py::object &dh, const py::object &dc, const py::object &dx, const py::object &dh0,
                const py::object &dc0, const py::list &dweights, double dropout, uint64_t seed,
                int threads) const {
    const py::none none;
    const Inputs in{weights, find_form(form), x, none, none, batch_sizes};
    const Gradients gradients{tape, dy, dh, dc, dx, dh0, dc0, dweights};
    const std::optional<bool> done = run_backward<float>(in, gradients, {dropout, seed}, threads);
    return done ? *done : run_backward<double>(in, gradients, {dropout, seed}, threads).value_or(false);
  }

  bool mask(const std::string &form, const py::object &x, const py::object &batch_sizes,
            const py::object &out, Size layer, double dropout, uint64_t seed) const {
    const py::none none;
    const py::list weights;
    const Inputs in{weights, find_form(form), x, none, none, batch_sizes};
    const std::optional<bool> done = run_mask<float>(in, out, layer, {dropout, seed});
    return done ? *done : run_mask<double>(in, out, layer, {dropout, seed}).value_or(false);
  }

 private:
  struct Inputs {
    const py::list &weights;
    Form form;
    const py::object &x, &h0, &c0, &batch_sizes;
  };
  struct Outputs {
    const py::object &y, &h, &c, &tape;
  };
  struct Gradients {
    const py::object &tape, &dy, &dh, &dc, &dx, &dh0, &dc0;
    const py::list &dweights;
  };
  struct Dropping {
    double p;
    uint64_t seed;
  };
  // The factors by which dropout multiplies the output of `layer`, into out.
  template <class T>
  std::optional<bool> run_mask(const Inputs &in, const py::object &out, Size layer,
                               const Dropping &dropping) const {
    Sizes sizes;
    ForwardArgs<T> args{};
    const std::optional<bool> readable = read_input(in.form, in.x, in.batch_sizes, sizes, args);
    if (!readable || !*readable) return readable;
    const Size width = D_ * H_;
    T *factors = find_sequence<T>(out, sizes, width);
    if (factors == nullptr) return false;
    std::fill_n(factors, sizes.total * width, T(1));
    Tape<T> tape{
        {}, Clock(sizes.steps, sizes.rows, args.lengths), sizes.steps, sizes.rows, {}, {}, {}, {}, {}, {}};
    tape.order = args.order;
    const LayerDropout<T> drop{dropping.p, dropping.seed};
    for (RowWalk walk(tape.clock, 0, tape.clock.steps(), 0, sizes.rows); !walk.done(); walk.next())
      drop.apply(kernels_of<T>(level_), layer, walk.s, tape.clock.user(walk.n),
                 factors + tape.user_row(walk.s, walk.n) * width, width);
    return true;
  }

  // Null where x is not of type T, false where something does not fit.
  template <class T>
  std::optional<bool> run_forward(const Inputs &in, const Outputs &out, const Dropping &dropping, int threads,
                                  Reuse *reuse, const py::object &versions) const {
    Sizes sizes;
    ForwardArgs<T> args{};
    const std::optional<bool> readable = read_input(in.form, in.x, in.batch_sizes, sizes, args);
    if (!readable || !*readable) return readable;
    const std::vector<T *> weights = read_weights<T>(in.weights);
    const auto state = [&](const py::object &value) { return find_state<T>(value, sizes); };
    bool good = !weights.empty();
    args.h0 = optional<T>(in.h0, state, good);
    args.c0 = optional<T>(in.c0, state, good);
    args.y =
        optional<T>(out.y, [&](const py::object &y) { return find_sequence<T>(y, sizes, D_ * H_); }, good);
    args.h = state(out.h);
    args.c = optional<T>(out.c, state, good);
    args.memory = optional<T>(out.tape, [&](const py::object &t) { return find_tape<T>(t, sizes); }, good);
    if (!good || args.h == nullptr || (args.c != nullptr) != cell_.cell_state) return false;
    args.training = args.memory != nullptr;
    args.dropout = {dropping.p, dropping.seed};
    args.threads = usable_threads(threads);
    args.interrupted = signal_check();
    set_team(args.threads);
    const auto make = [&] { return make_pack(weights, Use::forward, args.threads); };
    if (reuse != nullptr) {
      args.pack = reuse->current(kernels_of<T>(level_), counted(weights),
                                 versions.cast<std::vector<int64_t>>(), args.threads, make);
    } else {
      py::gil_scoped_release nogil;
      args.pack = make();
    }
    run_driver([&] {
      pyrnnfast::forward(args);
      return 0;
    });
    return true;
  }

  template <class T>
  std::optional<bool> run_backward(const Inputs &in, const Gradients &g, const Dropping &dropping,
                                   int threads) const {
    Sizes sizes;
    ForwardArgs<T> made{};
    const std::optional<bool> readable = read_input(in.form, in.x, in.batch_sizes, sizes, made);
    if (!readable || !*readable) return readable;
    const std::vector<T *> weights = read_weights<T>(in.weights), dweights = read_weights<T>(g.dweights);
    made.memory = find_tape<T>(g.tape, sizes);
    made.training = true;
    made.dropout = {dropping.p, dropping.seed};
    made.threads = usable_threads(threads);
    const auto state = [&](const py::object &value) { return find_state<T>(value, sizes); };
    const auto sequence = [&](Size width) {
      return [this, &sizes, width](const py::object &value) { return find_sequence<T>(value, sizes, width); };
    };
    bool good = !weights.empty() && !dweights.empty() && made.memory != nullptr;
    BackwardArgs<T> args{nullptr,
                         optional<T>(g.dy, sequence(D_ * H_), good),
                         optional<T>(g.dh, state, good),
                         optional<T>(g.dc, state, good),
                         optional<T>(g.dx, sequence(C_), good),
                         optional<T>(g.dh0, state, good),
                         optional<T>(g.dc0, state, good),
                         {},
                         made.threads,
                         signal_check()};
    if (!good) return false;
    for (std::size_t i = 0; i < dweights.size(); i += std::size_t(each_))
      args.weights.push_back({dweights[i], dweights[i + 1], each_ == 4 ? dweights[i + 2] : nullptr,
                              each_ == 4 ? dweights[i + 3] : nullptr});
    set_team(made.threads);
    run_driver([&] {
      made.pack = make_pack(weights, Use::backward, made.threads);
      Tape<T> tape = reopen(made);
      args.tape = &tape;
      pyrnnfast::backward(args);
      return 0;
    });
    return true;
  }
};

}  // namespace

void register_tensors(py::module_ &m) {
  using namespace py::literals;
  py::class_<Reuse>(m, "Reuse", "Packed weights between calls; empty at first.")
      .def(py::init<>())
      .def_readwrite("frozen", &Reuse::frozen, "Whether places and versions are looked at, and no value.");
  py::class_<TensorReader>(m, "TensorReader", "What a library's tensors are read by.")
      .def(py::init<const py::handle &, const py::handle &>(), "tensor_class"_a, "parameter_class"_a);
  m.def(
      "new_array",
      [](const Extents &shape, bool single) -> py::array {
        if (single) return new_array<float>(shape);
        return new_array<double>(shape);
      },
      "shape"_a, "single"_a, "An array that is not set; a large one from the pool of memory.");
  py::class_<TensorStack>(m, "TensorStack", "A stack's forward and backward on tensors.")
      .def(py::init<const TensorReader &, const std::string &, Size, Size, Size, bool, bool,
                    const std::optional<std::string> &>(),
           "reader"_a, "cell"_a, "inputs"_a, "hidden"_a, "layers"_a, "bidirectional"_a, "bias"_a,
           "isa"_a = py::none())
      .def("tape_sizes", &TensorStack::tape_sizes, "single"_a,
           "Elements of a tape for each row and for each step of a row.")
      .def("forward", &TensorStack::forward, "weights"_a, "form"_a, "x"_a, "h0"_a, "c0"_a, "batch_sizes"_a,
           "y"_a, "h"_a, "c"_a, "tape"_a, "dropout"_a, "seed"_a, "num_threads"_a, "reuse"_a, "versions"_a)
      .def("mask", &TensorStack::mask, "form"_a, "x"_a, "batch_sizes"_a, "out"_a, "layer"_a, "dropout"_a,
           "seed"_a, "The factors of dropout on the output of a layer.")
      .def("backward", &TensorStack::backward, "weights"_a, "form"_a, "x"_a, "batch_sizes"_a, "tape"_a,
           "dy"_a, "dh"_a, "dc"_a, "dx"_a, "dh0"_a, "dc0"_a, "dweights"_a, "dropout"_a, "seed"_a,
           "num_threads"_a);
}

}  // namespace pyrnnfast
