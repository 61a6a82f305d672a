// Nodes of the split tree that wait to be visited, and the proof as it comes together.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bound/ascent.hpp"
#include "bound/crown.hpp"

namespace plv {

// In pieces: a long proof is copied once, when it is whole.
using ProofText = std::list<std::string>;

inline void append(std::string& to, const ProofText& text) {
    size_t size = to.size();
    for (const std::string& piece : text) size += piece.size();
    to.reserve(size);
    for (const std::string& piece : text) to += piece;
}

// A part of a proof that waits for the parts of its children.
struct ProofPart {
    std::shared_ptr<ProofPart> parent;
    int place = 0;     // among the parent's children
    std::string head;  // what comes before the children
    std::vector<ProofText> children;
    int missing = 0;
};

// Puts the text of a node where it belongs; all of the proof where nothing is missing any more.
inline std::optional<ProofText> put_part(std::shared_ptr<ProofPart> part, int place,
                                         std::string&& own) {
    ProofText text;
    text.push_back(std::move(own));
    while (part) {
        part->children[static_cast<size_t>(place)] = std::move(text);
        if (--part->missing > 0) return std::nullopt;
        text.clear();
        text.push_back(std::move(part->head));
        for (ProofText& child : part->children) text.splice(text.end(), child);
        place = part->place;
        part = std::move(part->parent);
    }
    return text;
}

struct Node {
    std::vector<double> lo, hi;           // over the local input
    std::vector<uint8_t> cut_lo, cut_hi;  // an end that is not the box's own
    std::vector<FixedUnit> path;
    std::vector<int8_t> pieces;          // of every unit; -1 for those that are not fixed
    std::shared_ptr<RowBounds> bounds;   // shared, but for those of a node that is being bounded
    std::shared_ptr<const Climb> climb;  // of the parent
    // Where violations are: linear bounds of the goals, of the parent, at most 0 there; or null.
    std::shared_ptr<const HalfSpaces> where;
    std::shared_ptr<const BoundLayers> layers;  // where few units are open; or null
    int halvings = 0;
    bool units = false;    // from here on units are split
    bool was_cut = false;  // so that its bounds are to be found anew
    int waits = 0;         // splits to come before it may be cut
    double score = 0.0;    // the parent's bound: how far from a violation it is at least
    double first = 0.0;    // the root's, where bounds come from ascents
    std::shared_ptr<ProofPart> part;
    int place = 0;

    CellView cell(const LocalBall* ball) {
        return {lo.data(), hi.data(), pieces.data(), *bounds, ball};
    }
    void own_bounds() { bounds = std::make_shared<RowBounds>(*bounds); }
};

// The nodes of one thread: those with the least bounds first, where a violation is most likely;
// depth first while they are many.
class NodeQueue {
public:
    bool empty() const { return size() == 0; }
    size_t size() const { return heap_.size() + stack_.size(); }
    void push(Node&& node) {
        if (heap_.size() >= kMostWaiting || node.lo.size() > kManyInputs) {
            stack_.push_back(std::move(node));
            return;
        }
        heap_.push_back(std::move(node));
        std::push_heap(heap_.begin(), heap_.end(), after);
    }
    Node pop() {
        std::vector<Node>& from = stack_.empty() ? heap_ : stack_;
        if (stack_.empty()) std::pop_heap(heap_.begin(), heap_.end(), after);
        Node node = std::move(from.back());
        from.pop_back();
        return node;
    }

private:
    static constexpr size_t kMostWaiting = 2000, kManyInputs = 100;
    static bool after(const Node& a, const Node& b) { return a.score > b.score; }
    std::vector<Node> heap_, stack_;
};

}  // namespace plv
