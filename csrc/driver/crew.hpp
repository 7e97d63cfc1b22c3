// The threads of one call: which part of the recurrence each has, where they meet, and how a call ends early.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>

#include "parallel.hpp"
#include "plan.hpp"

namespace pyrnnfast {

// One thread's part: jobs job, job + jobs, ...; sorted rows [row_begin, row_end); part `part` of `parts` of
// the units.
struct Share {
  Member member;
  int job, jobs, part, parts;
  Size row_begin, row_end;
  double left = 0;  // when it last left a barrier

  // Its groups of hidden units. A strip of weights may hold two groups: parts begin at even ones.
  std::pair<Size, Size> groups(Size count) const {
    const Size pairs = (count + 1) / 2;
    return {pairs * part / parts * 2, std::min(count, pairs * (part + 1) / parts * 2)};
  }
  // Its rows of those that are active, where threads that split units share rows out instead.
  std::pair<Size, Size> rows(Size active) const {
    const Size count = std::max<Size>(0, std::min(row_end, active) - row_begin);
    return {row_begin + count * part / parts, row_begin + count * (part + 1) / parts};
  }
};

class Crew {
 public:
  Crew(const Plan &plan, const Clock &clock, std::function<bool()> interrupted)
      : plan_(plan), clock_(clock), poll_(std::move(interrupted)) {}

  // Runs `work` on every thread. False: the caller was interrupted, the results are not whole.
  bool run(const std::function<void(Share &)> &work) {
    run_team(plan_.threads, [&](Member member) {
      Share share = share_of(member);
      work(share);
    });
    return !barrier_.stop_requested();
  }

  // Each returns false when this thread is done: the call stops, or thread 0 goes on alone with the whole as
  // its share.
  bool meet(Share &share) { return settle(barrier_.wait(share.member.threads, nullptr), share); }
  // Within a step: only threads that split units wait for each other.
  bool meet_units(Share &share) {
    return share.parts == 1 || settle(barrier_.wait(share.member.threads, &share.left), share);
  }
  // At the end of a stage. Threads that split rows do not wait unless `all` must.
  bool end_stage(Share &share, bool all) {
    const bool going = go_on(share);
    if (plan_.split == Split::rows && !all) return going;
    return settle(barrier_.wait(share.member.threads, nullptr), share);
  }
  // Between the pieces of long work. False: the call stops, the rest up to the next meeting may be left out.
  bool go_on(const Share &share) {
    if (share.member.id == 0 && poll_()) barrier_.request_stop();
    return !barrier_.stop_requested();
  }
  // work(n0, n1) for the rows [begin, end), at most `piece` at a time.
  template <class Work>
  void in_pieces(const Share &share, Size begin, Size end, Size piece, const Work &work) {
    for (; begin < end; begin += piece) {
      work(begin, std::min(end, begin + piece));
      if (begin + piece < end && !go_on(share)) return;
    }
  }

 private:
  Share share_of(Member member) const {
    Share share{member, 0, 1, 0, 1, 0, clock_.rows()};
    if (plan_.split == Split::serial) {
      share.row_end = member.id == 0 ? clock_.rows() : 0;
    } else if (plan_.split == Split::rows) {
      share.row_begin = clock_.row_begin(member.id, member.threads);
      share.row_end = clock_.row_begin(member.id + 1, member.threads);
    } else if (plan_.split == Split::jobs) {
      share.job = member.id;
      share.jobs = member.threads;
    } else if (plan_.split == Split::units) {
      share.part = member.id;
      share.parts = member.threads;
    }
    return share;
  }

  bool settle(Barrier::Verdict verdict, Share &share) const {
    if (verdict == Barrier::Verdict::go) return true;
    if (verdict == Barrier::Verdict::stop || share.member.id != 0) return false;
    share = share_of({0, 1});
    return true;
  }

  const Plan &plan_;
  const Clock &clock_;
  Poll poll_;
  Barrier barrier_;
};

}  // namespace pyrnnfast
