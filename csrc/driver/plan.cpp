#include "plan.hpp"

#include <algorithm>

namespace pyrnnfast {

namespace {

constexpr Size kChunkRows = 256;          // forward: the projection of a chunk stays in cache
constexpr double kChunkWork =
    4e9;  // forward: operations of a chunk, so that a signal is seen within a second
constexpr double kPieceWork = 1e9;  // the same for the rows of one step, but not fewer than
constexpr Size kPieceRows = 64;  // what one pass over the weights serves
constexpr double kTinyCall = 4e5;  // operations below which waking a second thread costs more than it gains
constexpr double kSharedProducts = 3e7;
constexpr double kTinyStep = 2e5;  // the same for a barrier per step
constexpr Size kCacheBytes = 512 * 1024;  // second-level cache of a core
constexpr Size kFarBytes = 8 << 20;  // weights that come from memory, which fewer rows than so many tiles
constexpr Size kShortTile = 5;  // rows: a tile of four has no more chains than peak needs, see RowTiles
constexpr Size kFarTiles = 2;  // of each thread cannot pay for: each thread reads its units' only

}  // namespace

template <class T> Plan make_plan(const Pack<T> &pack, const Clock &clock, int threads, bool backward) {
  const Size rows = clock.rows(), steps = clock.steps();
  const double recurrent =
      2.0 * pack.hidden * (pack.cell.gates * pack.outputs + (pack.projects() ? pack.outputs : 0));
  const double row_work =
      (recurrent + 2.0 * pack.cell.gates * pack.hidden * std::max(pack.inputs, pack.outputs)) *
      (backward ? 2 : 1);
  Plan plan;
  // Backward goes over all of dW at the end of a chunk: never a shorter one than a partial sum is long.
  const Size chunk_rows =
      backward ? kSumBlock : std::min<Size>(kChunkRows, Size(kChunkWork / std::max(1.0, row_work)));
  const Size longest = std::clamp<Size>(rows > 0 ? chunk_rows / rows : 1, 1, std::max<Size>(steps, 1));
  const Size chunks = std::max<Size>(1, (steps + longest - 1) / longest);
  plan.chunk = std::max<Size>(1, (steps + chunks - 1) / chunks);  // 25 steps of at most 8: 7, 7, 7, 4

  plan.piece = std::max<Size>(1, Size(kPieceWork / std::max(1.0, recurrent)) / kPieceRows) * kPieceRows;

  const double total = row_work * double(clock.total()) * double(pack.layers * pack.directions);
  if (total < kTinyCall) threads = 1;
  const Size weights = pack.cell.gates * pack.hidden * pack.outputs * Size(sizeof(T));
  const Size share = std::max<Size>(1, rows / threads);
  // Several jobs at a time need enough stages to keep every thread busy.
  const bool many_jobs =
      pack.directions >= threads || (pack.layers >= threads && steps / plan.chunk >= 4 * threads);
  if (threads == 1)
    plan.split = Split::serial;
  else if (share >= pack.kernels.max_rows * (weights > kFarBytes ? kFarTiles : 1))
    plan.split = Split::rows;
  else if (many_jobs)
    plan.split = Split::jobs;
  else if (share >= kShortTile && weights <= 2 * kCacheBytes)
    plan.split = Split::rows;
  else if (recurrent * double(rows) >= kTinyStep)
    plan.split = Split::units;
  else
    plan.split = rows >= threads ? Split::rows : Split::serial;
  // A serial backward shares its products only where they are worth waking the others for.
  plan.threads = plan.split == Split::serial && !(backward && total > kSharedProducts) ? 1 : threads;
  return plan;
}

template Plan make_plan(const Pack<float> &, const Clock &, int, bool);
template Plan make_plan(const Pack<double> &, const Clock &, int, bool);

Size Schedule::stages() const {
  if (chunks_ == 0) return 0;
  return directions_ == 1 ? chunks_ + layers_ - 1 : chunks_ * layers_;
}

Size Schedule::first_layer(Size stage) const { return std::max<Size>(0, stage - chunks_ + 1); }

Size Schedule::jobs(Size stage) const {
  return directions_ == 1 ? std::min(stage, layers_ - 1) - first_layer(stage) + 1 : directions_;
}

Job Schedule::job(Size stage, Size index) const {
  const Size layer = directions_ == 1 ? first_layer(stage) + index : stage / chunks_;
  const Size chunk = directions_ == 1 ? stage - layer : stage % chunks_;
  return {layer, directions_ == 1 ? 0 : index, chunk * chunk_, std::min(steps_, (chunk + 1) * chunk_)};
}

}  // namespace pyrnnfast
