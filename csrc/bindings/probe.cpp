// Measures the machine with the kernels' own vectors and the team that runs real calls: the limits that the
// benchmark holds their speed against.
#include <chrono>
#include <numeric>

#include "../dispatch/select.hpp"
#include "../driver/workspace.hpp"
#include "handles.hpp"
#include "register.hpp"

namespace pyrnnfast {

namespace {

using Steady = std::chrono::steady_clock;

class Probe : public Handle {
 public:
  Probe(int threads, Size words, const std::optional<std::string> &isa)
      : level_(find_level(isa.value_or(""))), threads_(usable_threads(threads)), words_(words) {
    if (threads < 1)
      throw py::value_error("threads: got " + std::to_string(threads) + ", expected 1 or more");
    if (words < 0 || words % kReadWords != 0) throw_words(words);
    for (int i = 0; i < threads_; ++i) buffers_.emplace_back(words);
    run([&](int id) {
      uint64_t *const data = buffers_[id].data();
      for (Size i = 0; i < words_; ++i) data[i] = uint64_t(i) * uint64_t(id + 1);
    });
  }

  int threads() const { return threads_; }

  py::tuple fma(const std::string &dtype, Size steps, double a, double b) {
    if (dtype == "float32") return fma_of<float>(steps, float(a), float(b));
    if (dtype == "float64") return fma_of<double>(steps, a, b);
    throw py::value_error("dtype: got '" + dtype + "', expected float32 or float64");
  }

  py::tuple read(Size words, Size passes) {
    if (words < 0 || words > words_ || words % kReadWords != 0) throw_words(words);
    std::vector<uint64_t> sums(threads_);
    const double seconds = run([&](int id) {
      uint64_t sum = 0;
      for (Size pass = 0; pass < passes; ++pass)
        sum += level_.float32->read_words(buffers_[id].data(), words);
      sums[id] = sum;
    });
    return py::make_tuple(seconds, std::accumulate(sums.begin(), sums.end(), uint64_t{0}));
  }

 private:
  [[noreturn]] void throw_words(Size words) const {
    throw py::value_error("words: got " + std::to_string(words) + ", expected a multiple of " +
                          std::to_string(kReadWords) +
                          " that is not negative, nor more than the buffers have");
  }

  template <class T> py::tuple fma_of(Size steps, T a, T b) {
    const KernelTable<T> &kernels = kernels_of<T>(level_);
    auto x = new_array<T>({threads_, kernels.chains * kernels.lanes}, true);
    T *const data = x.mutable_data();
    const double seconds =
        run([&](int id) { kernels.fma_chains(steps, a, b, data + id * kernels.chains * kernels.lanes); });
    return py::make_tuple(seconds, x);
  }

  // Runs work(id) on every thread at once, without the GIL: no Python object is touched. Returns the seconds
  // from the first one's start to the last one's end.
  template <class Work> double run(const Work &work) {
    const py::gil_scoped_release nogil;
    std::vector<Steady::time_point> begin(threads_), end(threads_);
    int ran = 0;
    Barrier barrier;
    run_team(threads_, [&](Member member) {
      if (member.id == 0) ran = member.threads;
      barrier.wait(member.threads, nullptr);
      begin[member.id] = Steady::now();
      work(member.id);
      end[member.id] = Steady::now();
    });
    if (ran != threads_)
      throw std::runtime_error("a probe of " + std::to_string(threads_) + " threads got " +
                               std::to_string(ran) + ": the team is taken, or this is a forked process");
    return std::chrono::duration<double>(*std::max_element(end.begin(), end.end()) -
                                         *std::min_element(begin.begin(), begin.end()))
        .count();
  }

  const Level &level_;
  int threads_;
  Size words_;
  std::vector<Buffer<uint64_t>> buffers_;  // one for each thread, touched by it first
};

}  // namespace

void register_probe(py::module_ &m) {
  using namespace py::literals;
  py::class_<Probe>(m, "Probe",
                    "A team of threads, each with a buffer of 64-bit words whose element i is i * (id + 1).")
      .def(py::init<int, Size, const std::optional<std::string> &>(), "threads"_a, "words"_a,
           "isa"_a = py::none())
      .def_property_readonly("threads", &Probe::threads, "As many as a team may have.")
      .def(
          "fma", &Probe::fma, "dtype"_a, "steps"_a, "a"_a, "b"_a,
          "x = a x + b, `steps` times from zero, in independent chains; returns (seconds, x [threads, ...]).")
      .def("read", &Probe::read, "words"_a, "passes"_a,
           "Each thread reads so many words of its buffer so often; returns (seconds, sum over threads and "
           "passes of the exclusive or of the words).");
}

}  // namespace pyrnnfast
