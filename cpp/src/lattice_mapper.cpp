#include "lattice_mapper.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>

#include "exact_mapper.hpp"
#include "lattice_search.hpp"
#include "lattice_window_search.hpp"
#include "quantities.hpp"
#include "quantloom/cost.hpp"
#include "quantloom/parallel.hpp"

namespace quantloom {
namespace {

constexpr std::size_t kMostLanes = std::size_t{1} << 20;
constexpr std::size_t kQuickLooks = 16;   // choices of lanes that get a quick look before the proof
constexpr std::size_t kQuickWidth = 100;  // labels for each level in it
constexpr std::size_t kQuickWindowWidth = 30;  // the same for layers with a window, whose beginnings are many
constexpr std::size_t kFirstWidth = 5;  // for a first mapping, before any bound by tables is known
constexpr std::size_t kFewLanes = 1000;  // choices whose bounds are known at once
constexpr std::size_t kBatch = 8;         // choices of lanes searched side by side; fixed, so that answers do not depend on threads

struct Candidate {
  double objective = 0;  // lower bounds
  lattice::Search::Bounds bounds;
  std::size_t lanes = 0;
  std::size_t group = 0;  // of choices with the same product of lanes in each dim
};

bool is_before(const Candidate& a, const Candidate& b) {
  return a.objective < b.objective || (a.objective == b.objective && a.bounds.energy_pj < b.bounds.energy_pj);
}

// What one choice of lanes gave.
struct Found {
  explicit Found(const lattice::Best& start) : best(start) {}
  lattice::Best best;
  lattice::Effort effort;
  bool complete = false;
};

class Solver {
 public:
  // most_looks: at beginnings of mappings of a layer with a window, if there is no budget.
  Solver(const Arch& arch, const Workload& workload, const lattice::Problem& problem, const SettingTable& table,
         const MapperOptions& options, Count most_looks, std::size_t most_entries)
      : arch_(arch),
        workload_(workload),
        problem_(problem),
        table_(table),
        options_(options),
        most_looks_(most_looks),
        most_entries_(most_entries),
        lanes_(*list_lanes(problem, kMostLanes)) {
    threads_ = std::max(1, options.threads > 0 ? options.threads : default_threads());
    searches_.resize(static_cast<std::size_t>(threads_));
    std::map<std::array<Count, lattice::kMaxLatticeDims>, std::size_t> numbers;
    Count most = 0;
    for (const lattice::Lanes& lanes : lanes_) {
      std::array<Count, lattice::kMaxLatticeDims> product{};
      product.fill(1);
      for (int l = 0; l < problem.num_levels(); ++l) {
        for (std::size_t d = 0; d < problem.dims.size(); ++d) product[d] *= lanes[static_cast<std::size_t>(l)][d];
      }
      group_of_.push_back(numbers.emplace(product, numbers.size()).first->second);
      if (group_of_.back() == groups_.size()) groups_.emplace_back();
      groups_[group_of_.back()].push_back(&lanes);
      Count width = 1;
      for (std::size_t d = 0; d < problem.dims.size(); ++d) width *= product[d];
      if (width > most) {
        most = width;
        widest_ = group_of_.size() - 1;
      }
    }
  }

  Optimum solve(std::size_t setting_class, const std::vector<int>& bits, const std::stop_token& stop, const Progress& progress) {
    for (auto& search : searches_) search.reset();
    class_ = setting_class;
    const bool is_limited = options_.budget > 0 || problem_.window.tensor() < 0;
    Task task{lattice::Best(options_.objective), lattice::Best(options_.objective), {}, is_limited ? options_.budget : most_looks_, stop, progress, lanes_.size(), 0};
    const double least = universal_bound(arch_, workload_, table_.class_mac[class_], options_.objective);
    if (lanes_.size() > kFewLanes && !stop.stop_requested()) {
      glance(task, widest_);
      tell(task, 0, least);
    }
    std::vector<Candidate> candidates = list_candidates(stop);
    double open_bound = candidates.size() < lanes_.size() ? least : kInfinity;
    tell(task, 0, std::min(open_bound, bound_from(candidates, 0)));
    // Something to compare with while there are only bounds that take no tables.
    for (std::size_t i = 0; i < std::min(kQuickLooks, candidates.size()) && task.best.empty() && !task.is_over(); ++i) {
      run_batch(task, candidates, i, 1, {kFirstWidth, 0});
    }
    tell(task, 0, std::min(open_bound, bound_from(candidates, 0)));
    // Tight bounds know the best choice of lanes, but for rounding.
    const std::size_t looks = std::min(tighten(task, candidates) ? std::size_t{1} : kQuickLooks, candidates.size());
    for (std::size_t i = 0; i < looks && !task.is_over(); i += kBatch) {
      run_batch(task, candidates, i, std::min(kBatch, looks - i), {quick_width(), 0});
      tell(task, 0, std::min(open_bound, bound_from(candidates, 0)));
    }
    for (std::size_t i = 0; i < candidates.size(); i += kBatch) {
      if (task.is_over()) {
        open_bound = std::min(open_bound, bound_from(candidates, i));
        break;
      }
      const std::size_t count = std::min(kBatch, candidates.size() - i);
      const Count rest = task.budget > 0 ? task.budget - task.effort.labels : 0;
      open_bound = std::min(open_bound, run_batch(task, candidates, i, count, {0, rest}));
      tell(task, i + count, std::min(open_bound, bound_from(candidates, i + count)));
    }
    if (open_bound < kInfinity) merge(task.known, task.best);
    Optimum out = describe(task.best, task.effort, open_bound, bits);
    if (options_.budget == 0 && !out.certificate.exhausted && !stop.stop_requested()) out.refusal = refuse(out, task.effort, bits);
    return out;
  }

 private:
  // One class of bits while it is solved.
  struct Task {
    lattice::Best best;
    lattice::Best known;  // from glances: no answer of a search that ends by itself, so that ties do not hang on it
    lattice::Effort effort;
    Count budget;  // of looks at beginnings; 0: no limit
    const std::stop_token& stop;
    const Progress& progress;
    std::size_t total;      // choices of lanes
    double lower_bound = 0;  // the largest that was told
    [[nodiscard]] bool is_over() const { return stop.stop_requested() || (budget > 0 && effort.labels >= budget); }
  };

  // done: choices of lanes that are finished; what is open costs at least open_bound.
  void tell(Task& task, std::size_t done, double open_bound) const {
    if (!task.progress) return;
    SearchState state{done, task.total};
    if (options_.objective != Objective::pareto) {
      for (const lattice::Best* best : {&task.best, &task.known}) {
        if (!best->empty()) state.best = std::min(state.best, best->points().front().objective);
      }
      const double least = std::min(state.best, open_bound);
      if (least < kInfinity) task.lower_bound = std::max(task.lower_bound, least * kBoundMargin);
      state.lower_bound = task.lower_bound;
    }
    task.progress(state);
  }

  // The least energy with which anything at these cycles may be worth having.
  [[nodiscard]] static double energy_limit(const Task& task, double cycles) {
    return std::min(task.best.energy_limit(cycles), task.known.energy_limit(cycles));
  }

  static void merge(const lattice::Best& from, lattice::Best& to) {
    for (const auto& point : from.points()) {
      to.offer(point.energy_pj, point.cycles, [&] { return point.place; }, [](const Mapping&) { return false; });
    }
  }

  // A narrow look at one choice of lanes, for something to compare bounds with. Not counted: there is one for many tables.
  void glance(Task& task, std::size_t lanes) {
    lattice::Effort ignored;
    search_of(0).search(lanes_[lanes], {kFirstWidth, 0}, task.known, ignored, task.stop);
  }

  [[nodiscard]] static double bound_from(const std::vector<Candidate>& candidates, std::size_t first) {
    return first < candidates.size() ? candidates[first].objective : kInfinity;
  }

  [[nodiscard]] std::size_t quick_width() const { return problem_.window.tensor() < 0 ? kQuickWidth : kQuickWindowWidth; }

  // Without a budget an answer is a proven one.
  [[nodiscard]] Refusal refuse(const Optimum& found, const lattice::Effort& effort, const std::vector<int>& bits) const {
    std::ostringstream text;
    text.precision(3);
    text << "workload '" << workload_.name() << "' on '" << arch_.name() << "', bits ";
    for (std::size_t t = 0; t < bits.size(); ++t) text << (t > 0 ? ", " : "") << workload_.tensors()[t].name << ' ' << bits[t];
    text << ": the mapspace is too large to prove an optimum: after " << effort.labels << " beginnings of mappings ";
    if (!found.found) {
      text << "none that fits was found";
    } else if (options_.objective == Objective::pareto) {
      text << "the front found so far may not be complete";
    } else {
      text << "the best mapping found costs at most " << 100 * (found.objective / found.certificate.lower_bound - 1) << " % more than the least possible";
    }
    return {text.str(),
            "give a budget of beginnings to look at: the answer is then the best found, with its gap; or constraints that leave fewer mappings"};
  }

  lattice::Search& search_of(int worker) {
    auto& search = searches_[static_cast<std::size_t>(worker)];
    if (!search && problem_.window.tensor() >= 0)
      search = std::make_unique<lattice::WindowSearch>(problem_, table_, class_, most_entries_);
    if (!search) search = std::make_unique<lattice::Search>(problem_, table_, class_, most_entries_);
    return *search;
  }

  // The most promising first. Not all of them if stopped.
  std::vector<Candidate> list_candidates(const std::stop_token& stop) {
    std::vector<Candidate> out;
    for (std::size_t i = 0; i < lanes_.size() && !stop.stop_requested(); ++i) {
      const auto bounds = search_of(0).bounds(lanes_[i]);
      out.push_back({objective_value(options_.objective, bounds.energy_pj, bounds.cycles), bounds, i, group_of_[i]});
    }
    std::stable_sort(out.begin(), out.end(), is_before);
    return out;
  }

  // False if there is nothing to raise the bounds with. Those of a window's layer depend much on which level has which lanes, so they are raised
  // once more for single choices.
  bool tighten(Task& task, std::vector<Candidate>& candidates) {
    if (candidates.empty() || !search_of(0).has_joint_bound(lanes_[candidates.front().lanes])) return false;
    raise(task, candidates, groups_.size(), [](const Candidate& candidate) { return candidate.group; }, [&](std::size_t group) { return groups_[group]; });
    if (problem_.window.tensor() >= 0) {
      raise(task, candidates, lanes_.size(), [](const Candidate& candidate) { return candidate.lanes; },
            [&](std::size_t lanes) { return std::vector<const lattice::Lanes*>{&lanes_[lanes]}; });
    }
    return true;
  }

  // Raises the bounds of sets of candidates, in the order of their first ones, until one that was raised comes before all that were not
  // or the task is over.
  template <class Set, class Choices>
  void raise(Task& task, std::vector<Candidate>& candidates, std::size_t sets, const Set& set_of, const Choices& choices) {
    std::vector<std::size_t> order;  // the first candidate of each set
    std::vector<double> joint_pj(sets, -1);
    std::vector<double> least_cycles(sets, kInfinity);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const std::size_t set = set_of(candidates[i]);
      if (joint_pj[set] < 0) order.push_back(i);
      joint_pj[set] = 0;
      least_cycles[set] = std::min(least_cycles[set], candidates[i].bounds.cycles);
    }
    const auto raised = [&](Candidate candidate) {
      candidate.bounds.energy_pj = std::max(candidate.bounds.energy_pj, joint_pj[set_of(candidate)]);
      candidate.objective = objective_value(options_.objective, candidate.bounds.energy_pj, candidate.bounds.cycles);
      return candidate;
    };
    Candidate least{kInfinity, {}, 0, 0};
    std::size_t seen = lanes_.size();  // by the latest glance
    double not_raised = kInfinity;  // those whose tables would be too large, or that a stop kept from it
    for (std::size_t i = 0; i < order.size() && !task.is_over(); i += kBatch) {
      if (options_.objective != Objective::pareto && is_before(least, candidates[order[i]])) break;
      const std::size_t count = std::min(kBatch, order.size() - i);
      for_each_chunk(static_cast<int>(count), threads_, task.stop, [&](int chunk, int worker) {
        const std::size_t set = set_of(candidates[order[i + static_cast<std::size_t>(chunk)]]);
        joint_pj[set] = search_of(worker).joint_bound_pj(choices(set), energy_limit(task, least_cycles[set]));
      });
      for (std::size_t j = i; j < i + count; ++j) task.effort.labels += search_of(0).table_looks(choices(set_of(candidates[order[j]])));
      for (const Candidate& candidate : candidates) {
        if (joint_pj[set_of(candidate)] > 0 && is_before(raised(candidate), least)) least = raised(candidate);
      }
      for (std::size_t j = i; j < i + count; ++j) {
        if (joint_pj[set_of(candidates[order[j]])] == 0) not_raised = std::min(not_raised, candidates[order[j]].objective);
      }
      if (least.objective < kInfinity && least.lanes != seen) {
        seen = least.lanes;
        glance(task, seen);
      }
      const double next = i + count < order.size() ? candidates[order[i + count]].objective : kInfinity;
      tell(task, 0, std::min({least.objective, not_raised, next}));
    }
    for (Candidate& candidate : candidates) candidate = raised(candidate);
    std::stable_sort(candidates.begin(), candidates.end(), is_before);
  }

  // `count` candidates from the first on, each from the same best; merged in order. Those that may hold anything better
  // share the labels of the limits. Returns the least bound of those that were not finished.
  double run_batch(Task& task, const std::vector<Candidate>& candidates, std::size_t first, std::size_t count,
                   const lattice::Search::Limits& limits) {
    std::vector<Found> found(count, Found(task.best));
    Count searched = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const Candidate& candidate = candidates[first + i];
      found[i].complete = candidate.bounds.energy_pj > task.best.energy_limit(candidate.bounds.cycles);
      searched += found[i].complete ? 0 : 1;
    }
    if (searched == 0) return kInfinity;
    const Count share = limits.labels > 0 ? std::max<Count>(1, limits.labels / searched) : 0;
    for_each_chunk(static_cast<int>(count), threads_, task.stop, [&](int chunk, int worker) {
      const Candidate& candidate = candidates[first + static_cast<std::size_t>(chunk)];
      Found& mine = found[static_cast<std::size_t>(chunk)];
      if (mine.complete) return;
      mine.complete =
          search_of(worker).search(lanes_[candidate.lanes], {limits.width, share}, mine.best, mine.effort, task.stop);
    });
    double open_bound = kInfinity;
    for (std::size_t i = 0; i < count; ++i) {
      task.effort.labels += found[i].effort.labels;
      task.effort.whole += found[i].effort.whole;
      task.effort.cut += found[i].effort.cut;
      if (!found[i].complete) open_bound = std::min(open_bound, candidates[first + i].objective);
      merge(found[i].best, task.best);
    }
    return open_bound;
  }

  // open_bound: of what is left, as it was added up.
  [[nodiscard]] Optimum describe(const lattice::Best& best, const lattice::Effort& effort, double open_bound, const std::vector<int>& bits) const {
    Optimum out;
    out.certificate.method = "shortest chain of tile shapes, for every choice of lanes";
    out.certificate.considered = effort.whole;  // only what fits is priced to the end
    out.certificate.fitting = effort.whole;
    out.certificate.pruned_by_bound = effort.cut;
    std::vector<Tradeoff> points;
    for (const auto& point : best.points()) {
      // The search adds up in another order: what counts is what the model says.
      const Cost cost = evaluate(arch_, workload_, point.place, bits, table_.options);
      points.push_back({point.place, cost.energy_pj, cost.cycles});
    }
    set_points(std::move(points), options_.objective, out);
    // What was left open does not matter where none of it costs less than the best, as far as sums in another order tell. A front
    // has no one bound.
    const bool is_beaten = options_.objective != Objective::pareto && out.found && open_bound >= out.objective * kBoundMargin;
    out.certificate.exhausted = open_bound == kInfinity || is_beaten;
    if (options_.objective != Objective::pareto) {
      const double least = std::min(out.found ? out.objective : kInfinity, open_bound) * kBoundMargin;
      out.certificate.lower_bound = least < kInfinity ? least : 0;
    }
    return out;
  }

  const Arch& arch_;
  const Workload& workload_;
  const lattice::Problem& problem_;
  const SettingTable& table_;
  const MapperOptions& options_;
  Count most_looks_;
  std::size_t most_entries_;  // see lattice::Onward
  std::vector<lattice::Lanes> lanes_;
  std::vector<std::vector<const lattice::Lanes*>> groups_;  // with the same product in each dim
  std::vector<std::size_t> group_of_;                       // [lanes]
  std::size_t widest_ = 0;                                  // the first choice with the most lanes
  int threads_ = 1;
  std::size_t class_ = 0;
  std::vector<std::unique_ptr<lattice::Search>> searches_;  // [worker]
};

}  // namespace

bool can_optimize_on_lattice(const Arch& arch, const Workload& workload, const MapperOptions& options) {
  const lattice::Problem problem(arch, workload, options.selection);
  return problem.is_supported(options) && list_lanes(problem, kMostLanes).has_value();
}

std::vector<Optimum> optimize_on_lattice(const Arch& arch, const Workload& workload,
                                         const std::vector<std::vector<int>>& settings, const MapperOptions& options,
                                         std::stop_token stop, const Progress& progress, Count most_looks,
                                         std::size_t most_entries) {
  const SettingTable table = group_settings(arch, workload, settings, options);
  const lattice::Problem problem(arch, workload, options.selection);
  const std::string size = Mapspace(arch, workload, options.selection).size().to_string();
  Solver solver(arch, workload, problem, table, options, most_looks, most_entries);
  const std::size_t classes = table.classes.size();
  std::vector<Optimum> by_class;
  for (std::size_t c = 0; c < classes; ++c) {
    const auto setting = std::find(table.class_of.begin(), table.class_of.end(), static_cast<int>(c)) - table.class_of.begin();
    const Progress part = progress ? Progress([&](SearchState state) {
      state.done += c * state.total;
      state.total *= classes;
      progress(state);
    })
                                   : Progress();
    by_class.push_back(solver.solve(c, settings[static_cast<std::size_t>(setting)], stop, part));
    by_class.back().certificate.space_size = size;
  }
  std::vector<Optimum> out;
  for (const int c : table.class_of) out.push_back(by_class[static_cast<std::size_t>(c)]);
  return out;
}

}  // namespace quantloom
