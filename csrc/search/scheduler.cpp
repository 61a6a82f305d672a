#include "search/scheduler.hpp"

#include <algorithm>
#include <utility>

#include "base/timer.hpp"
#include "search/leaf.hpp"

namespace plv {

namespace {

constexpr size_t kFirstTurn = 16;  // visits of a case before others have theirs

}  // namespace

Scheduler::Scheduler(std::shared_ptr<const Net> net, const Spec& spec, bool attack, StopToken& stop,
                     std::atomic<int64_t>* progress)
    : net_(std::move(net)),
      spec_(spec),
      attack_(attack),
      stop_(stop),
      progress_(progress),
      cases_(spec.cases.size()) {}

// The problem of a case; null where the search cannot take it.
std::shared_ptr<const CaseProblem> Scheduler::open_case(size_t number) {
    const SpecCase& spec = spec_.cases[number];
    if (number == 0 || !box_ || spec.inputs != spec_.cases[number - 1].inputs)
        box_ = LocalBox::make(*net_, *spec.inputs);
    return box_ ? std::make_shared<const CaseProblem>(net_, spec, box_) : nullptr;
}

void Scheduler::offer(Task&& task) {
    const std::lock_guard lock(mutex_);
    offered_.push_back(std::move(task));
    hungry_ = idle_ > static_cast<int>(offered_.size());
    changed_.notify_one();
}

void Scheduler::abandon() noexcept {
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
}

void Scheduler::finish(size_t number, std::shared_ptr<ProofPart> part, int place,
                       std::string text) {
    const std::lock_guard lock(proof_mutex_);
    if (auto whole = put_part(std::move(part), place, std::move(text))) {
        cases_[number].proof = std::move(*whole);
        cases_[number].refuted = true;
    }
}

// A case that has not had its turn yet, or else, where `wait`, a node of another thread.
bool Scheduler::open_next(Task& task, bool wait) {
    std::unique_lock lock(mutex_);
    while (!done_) {
        if (opened_ < cases_.size()) {
            task = {opened_, open_case(opened_), {}};
            ++opened_;
            if (task.problem) return true;
            continue;
        }
        if (!wait) return false;
        if (!offered_.empty()) {
            task = std::move(offered_.front());
            offered_.pop_front();
            hungry_ = idle_ > static_cast<int>(offered_.size());
            return true;
        }
        if (++idle_ == threads_) {
            done_ = true;
            changed_.notify_all();
            return false;
        }
        hungry_ = true;
        changed_.wait(lock);
        --idle_;
    }
    return false;
}

void Scheduler::work() {
    {
        const std::lock_guard lock(mutex_);
        ++threads_;
    }
    VerifyResult counts;
    const Timer timer;
    std::deque<Active> active;
    size_t turn = kFirstTurn, turns = 0;
    try {
        while (!done_) {
            // Every case is begun before one is pursued: a violation may be easy to find in a
            // later one.
            Task task;
            size_t steps = turn;
            if (open_next(task, active.empty())) {
                Active& one = active.emplace_front();
                one.number = task.number;
                one.search = std::make_unique<CaseSearch>(*task.problem, attack_, stop_, counts);
                one.problem = std::move(task.problem);
                const bool is_root = task.node.lo.empty() && !task.node.part;
                one.queue.push(is_root ? one.search->root() : std::move(task.node));
                if (is_root) steps = 1;
            } else if (active.empty()) {
                break;
            } else if (++turns > active.size()) {
                steps = turn *= 2;
                turns = 1;
            }
            Active& one = active.front();
            bool open = true;
            for (size_t i = 0; i < steps && open && !one.queue.empty() && !done_; ++i) {
                if (hungry_ && one.queue.size() > 1)
                    offer({one.number, one.problem, one.queue.pop()});
                open = step(one);
            }
            const bool stays = open && !one.queue.empty();
            if (!stays) try_waiting(one);
            if (stays) active.push_back(std::move(one));
            active.pop_front();
        }
    } catch (const Stopped&) {
        abandon();
    }
    for (Active& one : active) try_waiting(one);
    const std::lock_guard lock(mutex_);
    result_.nodes += counts.nodes;
    result_.leaves += counts.leaves;
    result_.programs += counts.programs;
    result_.exact_programs += counts.exact_programs;
    result_.cpu_seconds += timer.thread_cpu();
}

// Visits nodes of a case; false where the case is given up.
bool Scheduler::step(Active& one) {
    std::vector<Node> nodes;
    std::vector<std::pair<std::shared_ptr<ProofPart>, int>> places;
    while (nodes.size() < one.search->together() && !one.queue.empty()) {
        nodes.push_back(one.queue.pop());
        places.emplace_back(nodes.back().part, nodes.back().place);
    }
    std::vector<CaseSearch::Outcome> outcomes;
    one.search->visit(nodes, outcomes);
    if (progress_)
        progress_->fetch_add(static_cast<int64_t>(nodes.size()), std::memory_order_relaxed);
    for (const CaseSearch::Outcome& outcome : outcomes)
        if (outcome.answer == CaseSearch::Answer::violated) {
            end_with(one.number, one.search->witness());
            return true;
        }
    for (size_t n = 0; n < outcomes.size(); ++n) {
        CaseSearch::Outcome& outcome = outcomes[n];
        auto& [part, place] = places[n];
        if (outcome.answer == CaseSearch::Answer::unknown) return false;
        if (outcome.stated) {
            const std::lock_guard lock(proof_mutex_);
            cases_[one.number].stated = std::move(outcome.stated);
            cases_[one.number].begun = outcome.begun;
        }
        if (outcome.answer == CaseSearch::Answer::refuted) {
            finish(one.number, std::move(part), place, std::move(outcome.text));
            continue;
        }
        const auto own = std::make_shared<ProofPart>();
        own->parent = std::move(part);
        own->place = place;
        own->head = std::move(outcome.text);
        own->children.resize(outcome.children.size() + outcome.leaves.size());
        own->missing = static_cast<int>(own->children.size());
        for (Node& child : outcome.children) {
            child.part = own;
            one.queue.push(std::move(child));
        }
        for (auto& [at, text] : outcome.leaves) finish(one.number, own, at, std::move(text));
    }
    return true;
}

// Before nodes of a case are left: points that were not evaluated yet. A case of which the
// beginning was stopped has no search.
void Scheduler::try_waiting(Active& one) {
    if (one.search && one.search->try_waiting()) end_with(one.number, one.search->witness());
}

void Scheduler::end_with(size_t number, Witness& witness) {
    const std::lock_guard lock(mutex_);
    if (result_.disjunct < 0) {
        result_.status = VerifyResult::Status::sat;
        result_.disjunct = static_cast<int>(number);
        result_.witness = std::move(witness.x);
        result_.den = std::move(witness.den);
    }
    done_ = true;
    changed_.notify_all();
}

VerifyResult Scheduler::result() {
    if (result_.disjunct >= 0 || stop_.stopped()) return std::move(result_);
    for (const Case& one : cases_)
        if (!one.refuted) return std::move(result_);
    result_.status = VerifyResult::Status::unsat;
    const std::string* stated = nullptr;
    for (Case& one : cases_) {
        std::string& first = one.proof.front();
        result_.proof.append(first, 0, one.begun);
        if (one.stated && one.stated.get() == stated)
            put_bounds(result_.proof, 2);
        else if (one.stated)
            result_.proof += *one.stated;
        if (one.stated) stated = one.stated.get();
        first.erase(0, one.begun);
        append(result_.proof, one.proof);
        one.proof.clear();
    }
    return std::move(result_);
}

}  // namespace plv
