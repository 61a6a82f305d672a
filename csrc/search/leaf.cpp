#include "search/leaf.hpp"

#include <algorithm>
#include <climits>
#include <cmath>

#include "proof/writer.hpp"

namespace plv {

namespace {

constexpr int kBits = 44;       // of the largest multiplier of a leaf
constexpr int kLeastBits = 24;  // of the smallest one, of units with large values perhaps
constexpr int kMostBits = 120;  // of the largest one for the smallest one's sake

void put_zigzag(std::string& out, int e) {
    put_var(out, e < 0 ? 2 * static_cast<uint64_t>(-(e + 1)) + 1 : 2 * static_cast<uint64_t>(e));
}

void put_listed(std::string& out, const std::vector<std::pair<uint64_t, Int>>& listed) {
    put_var(out, listed.size());
    uint64_t last = 0;
    for (const auto& [at, v] : listed) {
        put_var(out, at - last);
        put_big(out, v);
        last = at;
    }
}

void put_body(std::string& out, std::vector<std::pair<int, Int>> goals,
              const std::vector<std::pair<uint64_t, Int>>& listed) {
    std::erase_if(goals, [](const auto& v) { return v.second.sign() <= 0; });
    std::sort(goals.begin(), goals.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    put_var(out, goals.size());
    for (const auto& [goal, v] : goals) {
        put_var(out, static_cast<uint64_t>(goal));
        put_big(out, v);
    }
    put_listed(out, listed);
}

void put_envelopes(std::string& out, std::vector<ListedEnvelope> envelopes) {
    std::sort(envelopes.begin(), envelopes.end(),
              [](const auto& a, const auto& b) { return a.unit < b.unit; });
    put_var(out, envelopes.size());
    uint64_t last = 0;
    for (ListedEnvelope& one : envelopes) {
        put_var(out, one.unit - last);
        last = one.unit;
        std::sort(one.terms.begin(), one.terms.end(),
                  [](const auto& a, const auto& b) { return a.first < b.first; });
        if (one.is_window) {
            put_var(out, one.shift);
            put_listed(out, one.terms);
            continue;
        }
        put_var(out, one.terms.size());
        uint64_t at = 0;
        for (const auto& [index, share] : one.terms) {
            put_var(out, index - at);
            at = index;
            put_var(out, static_cast<uint64_t>(share.to_int64()));
        }
    }
}

// In order, those of one number summed.
void sort_listed(std::vector<Listed>& listed) {
    std::stable_sort(listed.begin(), listed.end(),
                     [](const Listed& a, const Listed& b) { return a.number < b.number; });
    size_t count = 0;
    for (const Listed& v : listed) {
        if (count > 0 && listed[count - 1].number == v.number) {
            listed[count - 1].value += v.value;
            listed[count - 1].open |= v.open;
        } else {
            listed[count++] = v;
        }
    }
    listed.resize(count);
}

// The exponent e of the unit of 2^e in which a leaf's multipliers are whole.
int unit_of(const std::vector<std::pair<int, double>>& goals, const std::vector<Listed>& listed) {
    int most = INT_MIN, least = INT_MAX;
    const auto see = [&](double v) {
        if (v == 0.0) return;
        const int at = std::ilogb(v) + 1;
        most = std::max(most, at);
        least = std::min(least, at);
    };
    for (const auto& [goal, v] : goals) see(v);
    for (const Listed& v : listed) see(v.value);
    if (most == INT_MIN) most = least = 0;
    return std::max(std::min(most - kBits, least - kLeastBits), most - kMostBits);
}

Int whole(double v, int e) {
    int own = 0;
    Int m = Int::from_double_scaled(v, own);
    if (own >= e) return m << static_cast<size_t>(own - e);
    return Int(std::llrint(std::ldexp(v, -e)));  // below 2^53: it has bits to lose
}

std::vector<std::pair<uint64_t, Int>> whole(const std::vector<Listed>& listed, int e) {
    std::vector<std::pair<uint64_t, Int>> out;
    for (const Listed& one : listed) {
        Int v = whole(one.value, e);
        // Not listed, an open unit might be taken for a known one.
        if (one.open && v.is_zero()) v = 1;
        if (!v.is_zero()) out.emplace_back(one.number, std::move(v));
    }
    return out;
}

}  // namespace

void put_bounds(std::string& out, int rule) {
    put_var(out, 4);
    put_var(out, static_cast<uint64_t>(rule));
}

void put_input_split(std::string& out, uint32_t input, const Rational& value) {
    put_var(out, 2);
    put_var(out, input);
    put_big(out, value.num);
    put_big(out, value.den);
}

void put_unit_split(std::string& out, uint64_t unit) {
    put_var(out, 3);
    put_var(out, unit);
}

void put_rule_leaf(std::string& out, int goal, int ball, double multiplier) {
    put_var(out, 0);
    put_var(out, (goal >= 0) + (ball >= 0));
    if (goal < 0) return;
    // Both over a power of two.
    int e = 0;
    Int m = ball >= 0 ? Int::from_double_scaled(multiplier, e) : Int();
    put_var(out, static_cast<uint64_t>(goal));
    put_big(out, e < 0 ? Int(1) << static_cast<size_t>(-e) : Int(1));
    if (ball < 0) return;
    put_var(out, static_cast<uint64_t>(ball));
    put_big(out, e > 0 ? m << static_cast<size_t>(e) : m);
}

void put_leaf(std::string& out, const std::vector<std::pair<int, double>>& goals,
              std::vector<Listed> listed, std::vector<ListedEnvelope> envelopes) {
    sort_listed(listed);
    const int e = unit_of(goals, listed);
    std::vector<std::pair<int, Int>> multipliers;
    for (const auto& [goal, v] : goals) multipliers.emplace_back(goal, whole(v, e));
    put_var(out, envelopes.empty() ? 1 : 7);
    put_zigzag(out, e);
    put_body(out, std::move(multipliers), whole(listed, e));
    if (!envelopes.empty()) put_envelopes(out, std::move(envelopes));
}

void put_statement(std::string& out, uint64_t input, bool upper, std::vector<Listed> listed,
                   std::vector<ListedEnvelope> envelopes) {
    sort_listed(listed);
    const int e = std::min(unit_of({{0, 1.0}}, listed), 0);
    put_var(out, 8);
    put_var(out, 2 * input + (upper ? 1 : 0));
    put_var(out, static_cast<uint64_t>(-e));
    put_listed(out, whole(listed, e));
    put_envelopes(out, std::move(envelopes));
}

void put_exact_leaf(std::string& out, std::vector<std::pair<int, Int>> goals,
                    std::vector<std::pair<uint64_t, Int>> listed) {
    std::sort(listed.begin(), listed.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::pair<uint64_t, Int>> sums;
    for (auto& [at, v] : listed) {
        if (!sums.empty() && sums.back().first == at)
            sums.back().second += v;
        else
            sums.emplace_back(at, std::move(v));
    }
    std::erase_if(sums, [](const auto& v) { return v.second.is_zero(); });
    put_var(out, 1);
    put_zigzag(out, 0);
    put_body(out, std::move(goals), sums);
}

}  // namespace plv
