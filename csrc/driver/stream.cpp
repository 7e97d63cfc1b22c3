#include "stream.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace pyrnnfast {

template <class T>
Stream<T>::Stream(std::shared_ptr<const Pack<T>> pack, Size rows, T *y, int threads,
                  std::function<bool()> interrupted)
    : args_{std::move(pack),
            1,
            rows,
            nullptr,
            nullptr,
            nullptr,
            nullptr,
            y,
            nullptr,
            nullptr,
            {},
            false,
            threads,
            std::move(interrupted)},
      tape_(new_tape(args_)), workspace_(args_, tape_) {}

template <class T> void Stream<T>::step(const T *x) {
  tape_.x = x;
  if (!run_forward(args_, tape_, workspace_)) throw Interrupted();
  for (History<T> &history : tape_.histories) {  // the states after this step are those before the next
    std::swap(history.h0, history.h);
    std::swap(history.c0, history.c);
    std::swap(history.p0, history.p);
  }
}

template <class T> bool Stream<T>::use(std::shared_ptr<const Pack<T>> pack) {
  const auto shape = [](const Pack<T> &p) {  // all that buffers depend on
    return std::make_tuple(&p.kernels, &p.cell, p.inputs, p.hidden, p.projection, p.outputs, p.layers,
                           p.directions, p.width, p.normed);
  };
  if (shape(*pack) != shape(*tape_.pack)) return false;
  args_.pack = tape_.pack = std::move(pack);
  return true;
}

template <class T> void Stream<T>::get_state(T *h, T *c) const {
  const Pack<T> &pack = *tape_.pack;
  for (const History<T> &history : tape_.histories) {
    const Buffer<T> &first = pack.projects() ? history.p0 : history.h0;
    const Buffer<T> &second = pack.cell.cell_state ? history.c0 : history.h0;
    for (Size n = 0; n < tape_.rows; ++n) {
      h = std::copy_n(first.data() + n * tape_.ld_out, pack.outputs, h);
      if (c != nullptr) c = std::copy_n(second.data() + n * tape_.ld, pack.hidden, c);
    }
  }
}

template <class T> void Stream<T>::set_state(const T *h, const T *c) {
  args_.h0 = h;
  args_.c0 = c;
  begin_states(args_, tape_);
}

template class Stream<float>;
template class Stream<double>;

}  // namespace pyrnnfast
