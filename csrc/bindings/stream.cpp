// Stream: one step a call, on buffers that stay.
#include "../driver/stream.hpp"

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

class PyStream : public Handle {
 public:
  virtual ~PyStream() = default;
  virtual py::object step(const py::handle &x) = 0;
  virtual void use(const PyPack &pack) = 0;
  virtual py::tuple state() = 0;
  virtual void set_state(const py::object &h, const py::object &c) = 0;
};

template <class T> class TypedStream : public PyStream {
 public:
  TypedStream(const PackPtr<T> &pack, Size rows, int threads)
      : inputs_(pack->inputs), rows_(rows), state_{pack->layers, rows, pack->outputs},
        cells_{pack->layers, rows, pack->hidden}, pair_(pack->pair()),
        output_(std::make_shared<Buffer<T>>(rows * pack->outputs, true)), view_(view(pack->outputs)),
        stream_(pack, rows, output_->data(), threads_of(threads), signal_check()) {}

  py::object step(const py::handle &x) override {
    if (!is_plain<T>(x, {rows_, inputs_})) return py::none();
    alone([&] { stream_.step(plain_data<T>(x)); });
    return view_;
  }

  void use(const PyPack &pack) override {
    const auto *other = std::get_if<PackPtr<T>>(&pack.pack);
    alone([&] {
      if (other == nullptr || !stream_.use(*other))
        throw std::invalid_argument("pack: expected the cell, sizes, type and instruction set of the first");
    });
  }

  py::tuple state() override {
    py::array_t<T> h(state_), c(pair_ ? cells_ : Extents{0});
    T *h_data = h.mutable_data(), *c_data = pair_ ? c.mutable_data() : nullptr;
    alone([&] { stream_.get_state(h_data, c_data); });
    return py::make_tuple(h, pair_ ? py::object(c) : py::object(py::none()));
  }

  void set_state(const py::object &h, const py::object &c) override {
    const T *h_data = optional_data<T>(h, state_, "h");
    const T *c_data = pair_ ? optional_data<T>(c, cells_, "c") : nullptr;
    alone([&] { stream_.set_state(h_data, c_data); });
  }

 private:
  // A view of the output which cannot be made writable, for its base lends no memory.
  py::array view(Size outputs) const {
    using Owner = std::shared_ptr<Buffer<T>>;
    const py::capsule owner(new Owner(output_), [](void *p) { delete static_cast<Owner *>(p); });
    py::array_t<T> out({rows_, outputs}, output_->data(), owner);
    py::detail::array_proxy(out.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return std::move(out);
  }

  // Python threads that share the stream take turns. The lock is waited for without the GIL, since who has
  // it may ask for the GIL, and run a signal's handler, which may come back here.
  template <class F> void alone(const F &call) {
    run_driver([&] {
      const std::lock_guard<std::recursive_mutex> turn(turn_);
      if (within_) throw std::runtime_error("a stream cannot be used by a handler that interrupts its step");
      within_ = true;
      try {
        call();
      } catch (...) {
        within_ = false;
        throw;
      }
      within_ = false;
      return 0;
    });
  }

  const Size inputs_, rows_;
  const Extents state_, cells_;
  const bool pair_;
  const std::shared_ptr<Buffer<T>> output_;
  const py::array view_;
  Stream<T> stream_;
  std::recursive_mutex turn_;
  bool within_ = false;  // a call of the thread that has the lock
};

std::unique_ptr<PyStream> new_stream(const PyPack &pack, Size rows, int threads) {
  if (rows < 1) throw py::value_error("rows: got " + std::to_string(rows) + ", expected at least 1");
  if (pack.read([](const auto &p) { return p.directions; }) != 1)
    throw py::value_error("pack: got two directions, expected one");
  if (const auto *single = std::get_if<PackPtr<float>>(&pack.pack))
    return std::make_unique<TypedStream<float>>(*single, rows, threads);
  return std::make_unique<TypedStream<double>>(std::get<PackPtr<double>>(pack.pack), rows, threads);
}

}  // namespace

void register_stream(py::module_ &m) {
  using namespace py::literals;
  py::class_<PyStream>(m, "Stream", "A stack that is fed one step at a time.")
      .def(py::init(&new_stream), "pack"_a, "rows"_a, "num_threads"_a)
      .def("step", &PyStream::step, "x"_a)
      .def("use", &PyStream::use, "pack"_a)
      .def("state", &PyStream::state)
      .def("set_state", &PyStream::set_state, "h"_a, "c"_a);
}

}  // namespace pyrnnfast
