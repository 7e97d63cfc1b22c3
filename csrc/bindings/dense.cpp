// The compiled twins of reference/dense.py, losses.py and optim.py that a training step cannot do without.
#include <cmath>
#include <vector>

#include "../dispatch/select.hpp"
#include "../driver/linear.hpp"
#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

// Elements below which a second thread is not worth waking: beside busy processes it may take milliseconds to
// come. Adam waits for memory more than for a thread.
constexpr Size kParallelSoftmax = 1 << 15, kParallelAdam = 1 << 20;

// Runs `work(begin, end)` over [0, count), each thread a contiguous part.
template <class F> void split(Size count, bool parallel, const F &work) {
  run_team(parallel ? threads_of(0) : 1,
           [&](Member m) { work(count * m.id / m.threads, count * (m.id + 1) / m.threads); });
}

template <class T>
py::tuple softmax(const py::array_t<T> &logits, const py::object &targets_any, const py::object &weights_any,
                  int64_t ignore_index) {
  if (logits.ndim() != 2) throw py::value_error("logits: expected two dimensions");
  const Size M = logits.shape(0), V = logits.shape(1);
  const auto checked = expect_array<T>(logits, {M, V}, "logits");
  const auto labels = expect_array<int64_t>(targets_any, {M}, "targets");
  const std::vector<int64_t> targets(labels.data(), labels.data() + M);  // nobody can change them any more
  const T *given = optional_data<T>(weights_any, {M}, "weights");
  std::vector<double> weights(M), losses(M);
  std::vector<T> partition(M);
  double total = 0;
  for (Size m = 0; m < M; ++m) {
    const int64_t target = targets.data()[m];
    if (target != ignore_index && (target < 0 || target >= V))
      throw py::value_error("targets: a class is out of range");
    weights[m] = target == ignore_index ? 0.0 : given == nullptr ? 1.0 : double(given[m]);
    total += weights[m];
  }
  auto gradient = new_array<T>({M, V});
  T *out = gradient.mutable_data();
  if (total == 0 || V == 0) {
    std::fill_n(out, gradient.size(), T(0));
    return py::make_tuple(0.0, gradient);
  }
  const KernelTable<T> &kernels = kernels_of<T>(find_level(""));
  const T *x = checked.data();
  const int64_t *target = targets.data();
  double loss = 0;
  {
    py::gil_scoped_release nogil;  // only raw memory below
    for (double &w : weights) w /= total;
    split(M, M * V >= kParallelSoftmax, [&](Size begin, Size end) {
      kernels.softmax_cross_entropy({end - begin, V, x + begin * V, target + begin, weights.data() + begin,
                                     out + begin * V, losses.data() + begin, partition.data() + begin});
    });
    for (Size m = 0; m < M; ++m)
      if (weights[m] != 0) loss += losses[m] + weights[m] * std::log(double(partition[m]));
  }
  return py::make_tuple(loss, gradient);
}

py::tuple py_softmax(const py::array &logits, const py::object &targets, const py::object &weights,
                     int64_t ignore_index) {
  if (py::isinstance<py::array_t<float>>(logits))
    return softmax<float>(logits, targets, weights, ignore_index);
  return softmax<double>(expect_array<double>(logits, extents_of(logits), "logits"), targets, weights,
                         ignore_index);
}

template <class T>
LinearArgs<T> linear_args(const py::array_t<T> &x, const py::array_t<T> &weight) {
  return {x.shape(0), x.shape(1), weight.shape(0), x.data(), weight.data(), threads_of(0), signal_check()};
}

void expect_matrices(const py::array &x, const py::array &weight) {
  if (x.ndim() != 2 || weight.ndim() != 2) throw py::value_error("x and weight: expected two dimensions");
}

template <class T>
py::array run_linear(const py::array &x, const py::array &weight, const py::object &bias) {
  const Size M = x.shape(0), C = x.shape(1), V = weight.shape(0);
  const auto args = linear_args(expect_array<T>(x, {M, C}, "x"), expect_array<T>(weight, {V, C}, "weight"));
  const T *start = optional_data<T>(bias, {V}, "bias");
  auto y = new_array<T>({M, V});
  T *out = y.mutable_data();
  run_driver([&] {
    linear(kernels_of<T>(find_level("")), args, start, out);
    return 0;
  });
  return std::move(y);
}

template <class T>
py::tuple run_linear_backward(const py::array &dy_any, const py::array &x, const py::array &weight) {
  const Size M = x.shape(0), C = x.shape(1), V = weight.shape(0);
  const auto args = linear_args(expect_array<T>(x, {M, C}, "x"), expect_array<T>(weight, {V, C}, "weight"));
  const auto dy = expect_array<T>(dy_any, {M, V}, "dy");
  auto dx = new_array<T>({M, C});
  auto dweight = new_array<T>({V, C}, true), dbias = new_array<T>({V}, true);
  const LinearGradients<T> out{dx.mutable_data(), dweight.mutable_data(), dbias.mutable_data()};
  run_driver([&] {
    linear_backward(kernels_of<T>(find_level("")), args, dy.data(), out);
    return 0;
  });
  return py::make_tuple(dx, dweight, dbias);
}

template <class T>
void adam(const py::array &parameter, const py::object &gradient, const py::object &mean,
          const py::object &square, double lr, double beta1, double beta2, double eps, double weight_decay,
          bool decoupled, int64_t step) {
  const Extents shape = extents_of(parameter);
  auto p = expect_array<T>(parameter, shape, "parameter"), m = expect_array<T>(mean, shape, "exp_avg"),
       v = expect_array<T>(square, shape, "exp_avg_sq");
  const auto g = expect_array<T>(gradient, shape, "gradient");
  const double root = std::sqrt(1 - std::pow(beta2, double(step)));
  const AdamArgs<T> all{p.size(),
                        p.mutable_data(),
                        g.data(),
                        m.mutable_data(),
                        v.mutable_data(),
                        T(lr * root / (1 - std::pow(beta1, double(step)))),
                        T(beta1),
                        T(beta2),
                        T(eps * root),
                        T(weight_decay),
                        T(1 - lr * weight_decay),
                        decoupled};
  const KernelTable<T> &kernels = kernels_of<T>(find_level(""));
  py::gil_scoped_release nogil;  // only raw memory below
  split(all.count, all.count >= kParallelAdam, [&](Size begin, Size end) {
    AdamArgs<T> part = all;
    part.count = end - begin;
    part.parameter += begin;
    part.gradient += begin;
    part.mean += begin;
    part.square += begin;
    kernels.adam(part);
  });
}

}  // namespace

void register_dense(py::module_ &m) {
  using namespace py::literals;
  m.def("softmax_cross_entropy", &py_softmax, "logits"_a, "targets"_a, "weights"_a, "ignore_index"_a,
        "Weighted mean of -log softmax(logits)[target], and its gradient.");
  m.def(
      "linear",
      [](const py::array &x, const py::array &weight, const py::object &bias) {
        expect_matrices(x, weight);
        const auto run = py::isinstance<py::array_t<float>>(x) ? &run_linear<float> : &run_linear<double>;
        return run(x, weight, bias);
      },
      "x"_a, "weight"_a, "bias"_a, "x W^T + b.");
  m.def(
      "linear_backward",
      [](const py::array &dy, const py::array &x, const py::array &weight) {
        expect_matrices(x, weight);
        const auto run = py::isinstance<py::array_t<float>>(x) ? &run_linear_backward<float>
                                                               : &run_linear_backward<double>;
        return run(dy, x, weight);
      },
      "dy"_a, "x"_a, "weight"_a, "Returns dx, dW and db.");
  m.def(
      "adam",
      [](const py::array &parameter, const py::object &gradient, const py::object &exp_avg,
         const py::object &exp_avg_sq, double lr, double beta1, double beta2, double eps, double weight_decay,
         bool decoupled, int64_t step) {
        const auto run = py::isinstance<py::array_t<float>>(parameter) ? &adam<float> : &adam<double>;
        run(parameter, gradient, exp_avg, exp_avg_sq, lr, beta1, beta2, eps, weight_decay, decoupled, step);
      },
      "parameter"_a, "gradient"_a, "exp_avg"_a, "exp_avg_sq"_a, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
      "weight_decay"_a, "decoupled"_a, "step"_a, "Adam or AdamW, in place.");
}

}  // namespace pyrnnfast
